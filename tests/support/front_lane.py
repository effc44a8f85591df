"""The front's tests: one lane through the real program, and what they say of its answers."""

from __future__ import annotations

import json

from fault_world import Lane
from front_client import FrontAnswer
from gateway_process import until


async def settle(lane: Lane, accepted: int) -> list[str]:
    """How the rows ended of so many requests that were accepted since the test began."""
    lane.world.asked += accepted
    return [turn["status"] for turn in await lane.world.settle(accepted)]


async def recount(lane: Lane) -> list[str]:
    """How the rows ended since the test began; for requests that may or may not have one."""
    world = lane.world
    lane.play(lane.well)
    # Rows are written in order, so that those of before are there when this one is.
    mark = (await lane.ask(streamed=False)).headers["x-gateway-request-id"]
    query = "SELECT count(*) FROM turns WHERE id = ? AND status = 'completed'"
    await until(lambda: world.home.rows(query, mark)[0][0] == 1, "a request has no terminal row")
    count = len(world.turns())
    world.asked = world.rows_before + count
    await world.settle(count)
    return [turn["status"] for turn in world.turns() if turn["id"] != mark]


def text_of(answer: FrontAnswer) -> str:
    """The words of a whole answer."""
    found = json.loads(answer.body)["content"][0]["text"]
    assert isinstance(found, str)
    return found


def judged(answer: FrontAnswer) -> int:
    """The status of a refusal that is empty or says why in the protocol's shape."""
    if answer.body:
        assert json.loads(answer.body)["error"]["message"]
    return answer.status

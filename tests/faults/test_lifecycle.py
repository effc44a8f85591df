"""Groups 5 to 7: stopping, settings that change, clocks that jump, limits in every format."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from failover_world import GOOD, failover_world, title
from fault_world import (
    GATEWAY_KEY,
    HELLO,
    TARGETS,
    C,
    Lane,
    M,
    R,
    World,
    Worlds,
    fault_world,
    settings_of,
)
from gateway_process import Call as RawCall
from scripted_upstream import Script, chunk, hang, head, pause, respond, send, steps
from shifted_clock import ShiftedClock
from vendor_replies import JSON_TYPE, error_body, events
from wire_readers import read_stream

from providers.rate_limits import read_rate_limits
from server.runner import Exit

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
STREAMS = 20


def in_two_parts(lane: Lane, until: asyncio.Event) -> Script:
    """A good answer whose second half waits."""
    found = events(lane.provider, HELLO)
    first, rest = found[:5], found[5:]
    return steps(
        send(SSE_HEAD + b"".join(map(chunk, first))),
        pause(until),
        send(b"".join(map(chunk, rest)) + chunk(b"")),
    )


def native(world: World) -> list[Lane]:
    """Its three lanes."""
    who = {M: "anthropic", R: "openai", C: "openai"}
    return [Lane(world, client, client, name) for client, name in who.items()]


async def started(
    lanes: list[Lane], count: int
) -> list[tuple[Lane, RawCall, asyncio.Task[RawCall]]]:
    """So many calls whose answers have begun."""
    found = []
    for number in range(count):
        lane = lanes[number % len(lanes)]
        body = lane.body(streamed=True)
        call = RawCall(lane.world.gateway.port, body, TARGETS[lane.client], key=GATEWAY_KEY)
        lane.world.asked += 1
        found.append((lane, call, asyncio.get_running_loop().create_task(call.run())))
    for _, call, _ in found:
        await call.begun.wait()
        assert call.status == 200, bytes(call.body)
    return found


async def test_F_088_sigterm_with_twenty_streams(tmp_path: Path) -> None:
    def settings(urls: dict[str, str]) -> str:
        return settings_of("native", urls).replace("port = 0", "port = 0\ndrain_s = 1.5")

    gate = asyncio.Event()
    async with fault_world(tmp_path / "w", settings) as world:  # type: ignore[arg-type]
        lanes = [lane for lane in native(world) if lane.client is not C]
        numbers = iter(range(STREAMS))
        for lane in lanes:
            good, stuck = in_two_parts(lane, gate), in_two_parts(lane, asyncio.Event())

            def route(_: object, good: Script = good, stuck: Script = stuck) -> Script:
                return good if next(numbers) % 4 < 2 else stuck

            lane.upstream.route = route
        calls = await started(lanes, STREAMS)
        world.gateway.signal(signal.SIGTERM)
        await _until_draining(world)
        refused = await world.call(TARGETS[M], lanes[0].body(streamed=True))
        world.asked -= 1
        gate.set()
        ended = [(lane.got(await task), lane) for lane, _, task in calls]
        # Answers had to be ended, so it was not a clean drain.
        assert await world.gateway.ended() == Exit.INTERRUPT
        whole = [got for got, _ in ended if got.told.stop == "end"]
        told = [got for got, _ in ended if got.told.error]
        assert (len(whole), len(told)) == (10, 10)
        assert {got.told.text for got in whole} == {HELLO.text}
        # Nobody is left hanging: it is refused in words, or nobody listens any more.
        assert refused.status in (503, None)
        statuses = sorted(turn["status"] for turn in world.turns())
        assert statuses == ["completed"] * 10 + ["partial"] * 10


async def _until_draining(world: World) -> None:
    async with asyncio.timeout(30):
        while True:
            call = await world.call("/health")
            if call.status is None or b"draining" in bytes(call.body):
                return


async def test_F_089_settings_that_change_below_running_streams(worlds: Worlds) -> None:
    world = await worlds.world("native")
    await world.anew("anthropic", "openai")
    gate = asyncio.Event()
    lanes = native(world)
    for lane in lanes[:2]:
        lane.upstream.script, lane.upstream.route = in_two_parts(lane, gate), None
    calls = await started(lanes[:2], STREAMS)
    before = await world.json("/routing")
    for number, (text, status) in enumerate(
        [
            (json.dumps({"modes": {"canary_percent": 7}}), 200),
            (json.dumps({"modes": {"canary_percent": -7}}), 400),
            (json.dumps({"routes": {"no_such_route": ["groq"]}}), 400),
            ('{"modes": {"canary_percent": ', 400),
            (json.dumps({"modes": {"canary_percent": None}}), 200),
        ]
    ):
        call = RawCall(world.gateway.port, text.encode(), "/routing", key=GATEWAY_KEY, method="PUT")
        await call.run()
        assert call.status == status, (number, bytes(call.body))
    gate.set()
    for lane, _, task in calls:
        told = lane.got(await task).told
        assert (told.text, told.stop) == (HELLO.text, "end")
    assert (await world.json("/routing"))["routes"] == before["routes"]
    await world.settle(STREAMS)


class WallClock(ShiftedClock):
    """Only the clock on the wall jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_F_090_a_clock_that_jumps_ends_nothing_early(tmp_path: Path) -> None:
    clock = WallClock()
    async with failover_world(tmp_path / "h", clock=clock) as world:
        limited = error_body(C, "rate_limit", "slow down", "rate_limit_exceeded")
        world.play(groq=respond(429, [*JSON_TYPE, (b"retry-after", b"30")], limited))
        await world.ask()
        world.play(groq=GOOD)
        asked = world.seen("groq")
        for day in (86_400.0, -86_400.0, 3_600.0, 0.0):
            clock.ahead = day
            got = await world.ask(title())
            assert read_stream(M, got.body).stop == "end"
            assert world.seen("groq") == asked
            assert world.health("groq")["cooldown"]["left_s"] == pytest.approx(30, abs=25)


WINDOWS = {
    b"6m0s": 360.0,
    b"1s": 1.0,
    b"20ms": 0.02,
    b"2m59.56s": 179.56,
    b"7": 7.0,
    b"0.5": 0.5,
}
GARBAGE = [b"", b"soon", b"-5", b"1e400", b"NaN", b"inf", b"9" * 400, b"\xff\xfe", b"1h2x", b"  "]


@pytest.mark.parametrize("reset", [*WINDOWS, *GARBAGE])
async def test_F_086_rate_limits_in_every_format_and_in_none(reset: bytes) -> None:
    fields = [
        (b"x-ratelimit-limit-tokens", b"8000"),
        (b"x-ratelimit-remaining-tokens", b"7"),
        (b"x-ratelimit-reset-tokens", reset),
    ]
    found = read_rate_limits(fields)
    assert set(found) <= {"x-ratelimit-tokens"}
    for value in (v for window in found.values() for v in window.values()):
        assert json.loads(json.dumps(value)) == value or isinstance(value, str)


@pytest.mark.parametrize("wait", GARBAGE)
async def test_F_086_a_wait_that_is_garbage_is_no_wait(worlds: Worlds, wait: bytes) -> None:
    lane = await worlds.lane("native", M)
    if b"\xff" in wait or not wait.strip():
        return
    await lane.world.anew("anthropic")
    body = error_body(M, "rate_limit_error", "slow down")
    lane.play(respond(429, [*JSON_TYPE, (b"retry-after", wait)], body))
    got = await lane.ask()
    await lane.world.settle(1)
    assert (got.status, got.body) == (429, body)
    cooldown = (await lane.world.provider("anthropic"))["cooldown"]
    assert cooldown is None or 0 <= cooldown["left_s"] <= 3600


async def test_F_008_a_vendor_that_is_left_by_deadline_is_closed(worlds: Worlds) -> None:
    lane = await worlds.lane("native", M)
    await lane.world.anew("anthropic")
    lane.play(hang())
    got = await lane.ask(headers=("x-stainless-timeout: 1",))
    await lane.world.settle(1)
    assert got.status == 504
    asked = lane.upstream.requests[-1].connection
    assert lane.upstream.peers[asked].gone.is_set()

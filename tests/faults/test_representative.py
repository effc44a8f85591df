"""A few cases of every group, through the real program, quick enough for every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fault_world import GOOD, HELLO, Case, Lane, M, R, Seen, Worlds
from scripted_upstream import Script, chunk, head, reset, respond, send, sse, steps
from vendor_replies import JSON_TYPE, Call, Reply, error_body, error_event, events, stream

pytestmark = pytest.mark.asyncio(loop_scope="session")

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
CALL = Reply("Let me look.", (Call("get_weather", {"city": "Oslo, the capital"}),))
Made = Callable[[Lane], Case]


def refused(status: int, kind: str) -> Callable[[Lane], Script]:
    """An error answer."""
    return lambda lane: respond(status, JSON_TYPE, error_body(lane.provider, kind, "not now"))


def part(lane: Lane, reply: Reply, keep: float) -> list[bytes]:
    """The first events of a stream."""
    found = events(lane.provider, reply)
    return found[: int(len(found) * keep)]


def torn(lane: Lane) -> Script:
    """A reset in the middle of an event."""
    found = b"".join(part(lane, HELLO, 0.5))
    return steps(send(SSE_HEAD + chunk(found) + chunk(b"data: {")), reset())


CASES: dict[str, Made] = {
    "F_002 refused connection": lambda _: Case(
        [], Seen(503, "failed", ("connect",) * 2, failures=2), retries=1, away=True
    ),
    "F_016 invalid request": lambda lane: Case(
        refused(400, "invalid_request_error")(lane),
        Seen(400, lane.either("error", "failed"), ("http_400",), words="not now"),
    ),
    "F_020 web page": lambda lane: Case(
        respond(200, [(b"Content-Type", b"text/html")], b"<html>Sign in</html>"),
        Seen(502, "failed", (lane.either("unusable", "refused"),), failures=1, words="web page"),
    ),
    "F_026 end in a text": lambda lane: Case(
        sse(part(lane, HELLO, 0.5)),
        Seen(200, "partial", (lane.either("truncated", "error_event"),), failures=1),
    ),
    "F_027 end in a call": lambda lane: Case(
        sse(part(lane, CALL, 0.75)),
        Seen(
            200,
            "partial",
            (lane.either("truncated", "error_event"),),
            failures=1,
            text=CALL.text,
        ),
        ask={"tools": lane.tools("get_weather")},
    ),
    "F_029 reset in an event": lambda lane: Case(
        torn(lane), Seen(200, "partial", (lane.either("dropped", "error_event"),), failures=1)
    ),
    "F_031 error event": lambda lane: Case(
        sse([*part(lane, HELLO, 0.5), error_event(lane.provider, "not now")]),
        Seen(200, lane.either("error", "partial"), ("error_event",), failures=1, words="not now"),
        relayed=lane.is_native,
    ),
    "F_036 CRLF": lambda lane: Case(
        sse([stream(lane.provider, HELLO).replace(b"\n", b"\r\n")]), GOOD
    ),
    "F_037 line separators": lambda lane: Case(
        sse([stream(lane.provider, Reply("a\u2028b\x85c\x0bd"), size=100)]),
        Seen(text="a\u2028b\x85c\x0bd", stop="end"),
    ),
    "well": lambda lane: Case([lane.well], GOOD),
}


async def test_F_a_case_of_every_group(worlds: Worlds) -> None:
    """One process native and one translating, side by side."""

    async def all_cases(lane: Lane) -> None:
        for made in CASES.values():
            await lane.run(made(lane))

    found = await asyncio.gather(worlds.lane("native", M), worlds.lane("crossed", M))
    await asyncio.gather(*(all_cases(lane) for lane in found))


async def test_F_a_case_of_every_group_for_codex(worlds: Worlds) -> None:
    lane = await worlds.lane("crossed", R)
    for name in ("F_020 web page", "F_026 end in a text", "F_027 end in a call", "well"):
        await lane.run(CASES[name](lane))

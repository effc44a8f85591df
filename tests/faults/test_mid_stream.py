"""Group 2: what goes wrong once the client has a part of the answer, which can only be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import chat_streams as chat
import pytest
from fault_world import (
    HELLO,
    LANES,
    NATIVE,
    TRANSLATED,
    C,
    Case,
    Lane,
    M,
    R,
    Seen,
    lanes,
)
from scripted_upstream import Script, chunk, close, head, reset, send, sse, steps
from vendor_replies import Call, Reply, error_event, events, stream
from wire_readers import read_stream

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
CALL = Reply("Let me look.", (Call("get_weather", {"city": "Oslo, the capital"}),))
CHAT_PROVIDERS = [lane for lane in TRANSLATED if lane in (("crossed", M), ("turned", R))]


def cut(parts: list[bytes], how: str) -> Script:
    """These events and then no more: a clean end, a closed connection, or one that is reset."""
    if how == "ended":
        return sse(parts)
    opened = send(SSE_HEAD + b"".join(map(chunk, parts)))
    return steps(opened, close() if how == "closed" else reset())


def share(lane: Lane, reply: Reply, keep: float) -> list[bytes]:
    """The first part of the vendor's stream, in whole events."""
    found = events(lane.provider, reply)
    return found[: max(1, int(len(found) * keep))]


def broken_off(lane: Lane, text: str, how: str) -> Seen:
    """A part of the answer, one error, and no end."""
    outcome = "truncated" if lane.is_native else "error_event"
    if how == "reset" and lane.is_native:
        outcome = "dropped"
    if how == "closed" and lane.is_native:
        outcome = "dropped"
    return Seen(200, "partial", (outcome,), failures=1, text=text, stop=None)


@lanes()
@pytest.mark.parametrize("how", ["ended", "closed"])
async def test_F_026_an_end_in_the_middle_of_a_text(lane: Lane, how: str) -> None:
    parts = share(lane, HELLO, 0.5)
    text = read_stream(lane.provider, b"".join(parts)).text or _text(lane, parts)
    got = await lane.run(Case(cut(parts, how), broken_off(lane, text, how)))
    assert _terminals(lane, got.body) == 0


@lanes()
@pytest.mark.parametrize("how", ["ended", "reset"])
async def test_F_027_an_end_in_the_middle_of_a_call_runs_no_tool(lane: Lane, how: str) -> None:
    for keep in (0.6, 0.8):
        parts = share(lane, CALL, keep)
        seen = broken_off(lane, CALL.text, how)
        # The event that ends a native Responses stream lists no items; the client has them.
        relayed = lane.is_native and lane.client is R
        tools = {"tools": lane.tools("get_weather")}
        await lane.run(Case(cut(parts, how), seen, relayed=relayed, ask=tools))


@lanes([lane for lane in LANES if lane in (("native", C), ("crossed", M), ("turned", R))])
async def test_F_028_an_end_after_the_finish_reason_is_one(lane: Lane) -> None:
    parts = [event for event in events(C, HELLO) if b"[DONE]" not in event]
    got = await lane.run(Case(sse(parts), Seen(), relayed=lane.is_native))
    told = read_stream(lane.client, got.body + (b"data: [DONE]\n\n" if lane.is_native else b""))
    assert (told.text, told.stop, told.error) == (HELLO.text, "end", None)


@lanes()
async def test_F_029_a_reset_in_the_middle_of_an_event(lane: Lane) -> None:
    parts = share(lane, HELLO, 0.5)
    half = events(lane.provider, HELLO)[len(parts)][:25]
    script = steps(send(SSE_HEAD + chunk(b"".join(parts)) + chunk(half)), reset())
    got = await lane.run(Case(script, broken_off(lane, _text(lane, parts), "reset")))
    assert _terminals(lane, got.body) == 0


@lanes()
async def test_F_031_the_vendors_own_error_in_the_stream(lane: Lane) -> None:
    parts = share(lane, HELLO, 0.5)
    script = sse([*parts, error_event(lane.provider, "it is overloaded")])
    turn = "error" if lane.is_native else "partial"
    seen = Seen(200, turn, ("error_event",), failures=1, words="it is overloaded")
    got = await lane.run(Case(script, seen, relayed=lane.is_native))
    assert got.told.stop is None
    if lane.is_native:
        assert got.body == b"".join([*parts, error_event(lane.provider, "it is overloaded")])


ERRORS: dict[str, Any] = {
    "Cerebras": {"error": {"message": "it broke", "type": "server_error"}, "status_code": 500},
    "Groq": chat.head() | {"choices": [], "x_groq": {"id": "req_1", "error": "it broke"}},
    "text": {"error": "it broke"},
}


@lanes([("native", C), *CHAT_PROVIDERS])
@pytest.mark.parametrize("dialect", ERRORS)
async def test_F_032_each_dialects_way_to_fail_in_a_stream(lane: Lane, dialect: str) -> None:
    script = sse([*share(lane, HELLO, 0.5), chat.data(ERRORS[dialect])])
    if lane.is_native and dialect == "Groq":
        # To a client of Chat Completions it is an unknown field; the stream then has no end.
        seen = Seen(200, "partial", ("truncated",), failures=1, stop=None)
    else:
        turn = "error" if lane.is_native else "partial"
        seen = Seen(200, turn, ("error_event",), failures=1, stop=None)
    lanes_own = Case(script, seen, relayed=True)
    if lane.is_native and dialect == "text":
        await lane.world.anew(lane.name)
        lane.play(script)
        call = await lane.world.call("/v1/chat/completions", lane.body(streamed=True))
        await lane.world.settle(1)
        assert bytes(call.body).endswith(chat.data(ERRORS[dialect]))
        return
    got = await lane.run(lanes_own)
    assert "it broke" in (got.told.error or "") or lane.is_native


@lanes(TRANSLATED)
async def test_F_033_an_event_that_is_no_json(lane: Lane) -> None:
    found = events(lane.provider, HELLO)
    at = len(found) // 2
    garbage = b"event: response.output_text.delta\ndata: {not json\n\n"
    if lane.provider is M:
        garbage = b"event: content_block_delta\ndata: {not json\n\n"
    if lane.provider is C:
        garbage = b"data: {not json\n\n"
    script = sse([*found[:at], garbage, *found[at:]])
    seen = Seen(200, "partial", ("error_event",), failures=1, stop=None)
    got = await lane.run(Case(script, seen))
    assert got.told.error
    assert b"not json" not in got.body.replace(b"is not JSON", b"").lower() or got.told.error


@lanes(NATIVE)
async def test_F_033_a_native_event_that_is_no_json_is_the_clients_to_judge(lane: Lane) -> None:
    found = events(lane.provider, HELLO)
    at = len(found) // 2
    sent = b"".join([*found[:at], b"data: {not json\n\n", *found[at:]])
    await lane.world.anew(lane.name)
    lane.play(sse([sent]))
    call = await lane.world.call(_target(lane), lane.body(streamed=True))
    (turn,) = await lane.world.settle(1)
    assert (bytes(call.body), turn["status"]) == (sent, "completed")


EVERYTHING = Reply(
    "Grüße 你好 \U0001f469\u200d\U0001f680 a\u2028b\u2029c\x85d\x0be\x0cf", CALL.calls
)


@lanes()
async def test_F_034_a_stream_cut_at_every_byte_is_the_same_stream(lane: Lane) -> None:
    """Each byte is a chunk and a segment of its own; every boundary is met once."""
    data = stream(lane.provider, EVERYTHING, size=9)
    pieces = [data[at : at + 1] for at in range(len(data))]
    await _all_of(lane, sse(pieces))


@lanes()
async def test_F_035_characters_are_never_split(lane: Lane) -> None:
    data = stream(lane.provider, EVERYTHING, size=1)
    await _all_of(lane, sse([data[at : at + 3] for at in range(0, len(data), 3)]))


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _mixed(data: bytes) -> bytes:
    return b"\xef\xbb\xbf: hi\r\n\r\n" + data.replace(b"\n\n", b"\r\n\n").replace(
        b"data: ", b"id: 7\r\nretry: 10\ndata: "
    )


def _two_lines(data: bytes) -> bytes:
    """Each event's data on two lines, broken where JSON allows white space."""
    return data.replace(b'data: {"', b'data: {\ndata: "')


LINE_ENDS: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": _crlf,
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "mixed, BOM, comment, id, retry": _mixed,
    "two data lines": _two_lines,
}


@lanes()
async def test_F_036_every_way_to_write_an_event_stream(lane: Lane) -> None:
    for write in LINE_ENDS.values():
        await _all_of(lane, sse([write(stream(lane.provider, EVERYTHING))]))


@lanes()
async def test_F_037_line_separators_within_a_text_end_no_line(lane: Lane) -> None:
    reply = Reply("one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven")
    got = await lane.run(Case(sse([stream(lane.provider, reply, size=400)]), Seen()))
    assert (got.told.text, got.told.stop) == (reply.text, "end")


@lanes()
async def test_F_038_one_event_of_eight_mebibytes(lane: Lane) -> None:
    reply = Reply("x" * (8 << 20))
    got = await lane.run(Case(sse([stream(lane.provider, reply, size=1 << 30)]), Seen()))
    assert (len(got.told.text), got.told.stop) == (len(reply.text), "end")


@lanes([("native", M), ("crossed", M), ("turned", R)])
async def test_F_038_one_event_of_twenty_mebibytes_is_too_large(lane: Lane) -> None:
    before = _peak_kib(lane.world.gateway.pid)
    parts = share(lane, HELLO, 0.5)
    large = stream(lane.provider, Reply("y" * (20 << 20)), size=1 << 30)
    outcome = "unusable" if lane.is_native else "error_event"
    seen = Seen(200, "partial", (outcome,), failures=1, stop=None)
    got = await lane.run(Case(sse([*parts, large]), seen, relayed=lane.is_native))
    assert got.told.error
    assert _peak_kib(lane.world.gateway.pid) - before < 80 << 10


@lanes()
async def test_F_039_unknown_events_pass_or_are_passed_over(lane: Lane) -> None:
    found = events(lane.provider, HELLO)
    new = b'data: {"type":"brand.new","choices":[]}\n\n'
    if lane.provider is not C:
        new = b"event: brand.new\n" + new
    script = sse([found[0], new, *found[1:3], new, *found[3:]])
    got = await lane.run(Case(script, Seen(), relayed=True))
    assert got.body.count(b"brand.new") == (2 + 2 * (lane.provider is not C)) * lane.is_native
    if not lane.is_native:
        assert (got.told.text, got.told.stop) == (HELLO.text, "end")


@lanes([("native", M), ("native", C), ("crossed", M), ("turned", C)])
async def test_F_043_ten_thousand_events_in_one_piece(lane: Lane) -> None:
    reply = Reply("word " * 10_000)
    got = await lane.run(Case(sse([stream(lane.provider, reply, size=5)]), Seen()))
    assert (got.told.text, got.told.stop) == (reply.text, "end")


@lanes(TRANSLATED)
async def test_F_044_what_comes_after_the_end_is_dropped(lane: Lane) -> None:
    data = stream(lane.provider, HELLO)
    got = await lane.run(Case(sse([data, data]), Seen()))
    assert (got.told.text, got.told.stop) == (HELLO.text, "end")


@lanes()
async def test_F_045_an_end_that_comes_twice_runs_a_tool_once(lane: Lane) -> None:
    found = events(lane.provider, CALL)
    marks = {M: b"content_block_stop", R: b"function_call_arguments.done", C: b"[DONE]"}
    doubled = []
    for event in found:
        doubled += [event] * (2 if marks[lane.provider] in event else 1)
    case = Case(
        sse(doubled), Seen(), relayed=lane.is_native, ask={"tools": lane.tools("get_weather")}
    )
    if lane.is_native:
        await lane.world.anew(lane.name)
        lane.play(sse(doubled))
        call = await lane.world.call(_target(lane), lane.body(streamed=True))
        await lane.world.settle(1)
        assert bytes(call.body) == b"".join(doubled)
        return
    got = await lane.run(case)
    assert got.told.arguments == [("get_weather", {"city": "Oslo, the capital"})]
    assert got.told.stop == "tool"


USAGE = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def chat_with_usage(*where: str, usage: Any = USAGE) -> list[bytes]:
    """A Chat stream whose usage stands in these places."""
    found = [chat.ROLE, chat.text("Hello there, my friend.")]
    if "before" in where:
        found.append(chat.usage(usage))
    extra = {"x_groq": {"id": "req_1", "usage": usage}} if "groq" in where else {}
    found.append(chat.chunk(finish="stop", **extra))
    found += [chat.usage(usage)] * where.count("after")
    return [*found, chat.DONE]


USAGES: dict[str, tuple[list[bytes], tuple[int | None, int | None], str]] = {
    "missing": (chat_with_usage(), (None, None), "estimated"),
    "before the finish": (chat_with_usage("before"), (100, 30), "provider_final"),
    "twice": (chat_with_usage("after", "after"), (100, 30), "provider_final"),
    "in x_groq alone": (chat_with_usage("groq"), (100, 30), "provider_final"),
    "zero": (chat_with_usage("after", usage=ZERO), (0, 0), "provider_final"),
}


@lanes(CHAT_PROVIDERS)
@pytest.mark.parametrize("name", USAGES)
async def test_F_047_usage_wherever_it_stands(lane: Lane, name: str) -> None:
    parts, expected, source = USAGES[name]
    got = await lane.run(Case(sse(parts), Seen(text=HELLO.text, stop="end")))
    (turn,) = lane.world.turns()
    assert turn["usage_source"] == source
    if expected != (None, None):
        assert (turn["input_tokens"], turn["output_tokens"]) == expected
        assert (got.told.prompt, got.told.output) == expected


@lanes(CHAT_PROVIDERS)
async def test_F_048_no_finish_reason_at_all(lane: Lane) -> None:
    script = sse([chat.ROLE, chat.text("Hello"), chat.usage(), chat.DONE])
    seen = Seen(200, "partial", ("error_event",), failures=1, text="Hello", stop=None)
    await lane.run(Case(script, seen))


@lanes()
async def test_F_049_a_model_that_changes_in_the_middle(lane: Lane) -> None:
    found = events(lane.provider, HELLO)
    data = b"".join(found[:3]) + b"".join(found[3:]).replace(b"gpt-", b"other-gpt-")
    got = await lane.run(Case(sse([data]), Seen()))
    assert (got.told.text, got.told.stop) == (HELLO.text, "end")
    rows = lane.world.home.rows(
        "SELECT model_asked, model_served FROM turns ORDER BY seq DESC LIMIT 1"
    )
    assert all(rows[0])


async def _all_of(lane: Lane, script: Script) -> None:
    """The whole answer, to the last character, and the call in it."""
    case = Case(script, Seen(), relayed=lane.is_native, ask={"tools": lane.tools("get_weather")})
    got = await lane.run(case)
    assert (got.told.text, got.told.stop) == (EVERYTHING.text, "tool")
    assert got.told.arguments == [("get_weather", {"city": "Oslo, the capital"})]


def _text(lane: Lane, parts: list[bytes]) -> str:
    """The text in the first events of a stream."""
    found = ""
    for event in parts:
        for line in event.split(b"\n"):
            if line.startswith(b"data: {"):
                data = json.loads(line[6:])
                delta: Any = data.get("delta")
                if lane.provider is C:
                    found += data["choices"][0]["delta"].get("content") or ""
                elif lane.provider is M:
                    found += delta.get("text", "") if isinstance(delta, dict) else ""
                elif data["type"].endswith("output_text.delta"):
                    found += delta
    return found


def _terminals(lane: Lane, body: bytes) -> int:
    """Marks of a good end in what a client got."""
    marks = {M: (b"message_stop",), R: (b"response.completed",), C: (b"[DONE]",)}
    return sum(body.count(mark) for mark in marks[lane.client])


def _target(lane: Lane) -> str:
    return {M: "/v1/messages", R: "/v1/responses", C: "/v1/chat/completions"}[lane.client]


def _peak_kib(pid: int) -> int:
    """The most memory the process has had, in KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

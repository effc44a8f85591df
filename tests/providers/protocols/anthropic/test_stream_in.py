"""Messages streams and bodies of the vendor, to neutral events and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    PING,
    START_USAGE,
    block_start,
    block_stop,
    error,
    event,
    input_json_delta,
    message_delta,
    message_start,
    signature_delta,
    text_delta,
    text_start,
    thinking_delta,
    thinking_start,
    tool_start,
)
from translating import decode, ids, request

from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    TextDelta,
    fold,
)
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, StopReason, Text, ToolCall
from providers.protocols.anthropic.response_in import read_answer
from providers.protocols.anthropic.stream_in import Decoder
from providers.tool_book import ToolBook

USED: dict[str, Any] = {"output_tokens": 21}


def read(*pieces: bytes) -> list[Event]:
    return decode(Decoder(ToolBook(request()), ids()), *pieces)


def whole(content: list[Any], stop: str | None = "end_turn", **more: Any) -> Answer | Fault:
    body = {"type": "message", "id": "msg_test_01", "model": "claude-opus-5-5"}
    found = body | {"content": content, "stop_reason": stop, "usage": START_USAGE | USED} | more
    return read_answer(found, ToolBook(request()), ids())


def end(stop: str = "end_turn") -> bytes:
    return message_delta(stop, USED) + MESSAGE_STOP


MIXED = (
    message_start(START_USAGE)
    + PING
    + thinking_start(0)
    + thinking_delta(0, "hm…")
    + signature_delta(0, "c2ln")
    + block_stop(0)
    + text_start(1)
    + text_delta(1, "Grüße ")
    + text_delta(1, "👋🏽\u2028")
    + block_stop(1)
    + tool_start(2, "Read", "toolu_01")
    + input_json_delta(2, "")
    + input_json_delta(2, '{"p": ')
    + input_json_delta(2, '"é"}')
    + block_stop(2)
    + tool_start(3, "LS", "toolu_02")
    + block_stop(3)
    + event("content_block_start", {"type": "brand_new", "index": 4})
    + end("tool_use")
)


def test_a_stream_with_everything() -> None:
    answer = fold(read(MIXED))

    assert isinstance(answer, Answer)
    assert [type(part).__name__ for part in answer.parts] == [
        "Reasoning",
        "Text",
        "ToolCall",
        "ToolCall",
    ]
    assert answer.parts[1:] == (
        Text("Grüße 👋🏽\u2028"),
        ToolCall("toolu_01", "Read", '{"p": "é"}'),
        ToolCall("toolu_02", "LS", "{}"),
    )
    assert (answer.id, answer.model, answer.stop) == (
        "msg_test_01",
        "claude-opus-5-5",
        StopReason.TOOL_CALLS,
    )
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (12, 21, 40_000)
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (1000, 2000)


def test_the_whole_answer_is_the_same() -> None:
    content = [
        {"type": "thinking", "thinking": "hm…", "signature": "c2ln"},
        {"type": "text", "text": "Grüße 👋🏽\u2028"},
        {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {"p": "é"}},
        {"type": "tool_use", "id": "toolu_02", "name": "LS", "input": {}},
    ]
    streamed, found = fold(read(MIXED)), whole(content, "tool_use")

    assert isinstance(streamed, Answer)
    assert isinstance(found, Answer)
    assert found.usage == streamed.usage
    assert found.stop == streamed.stop
    assert found.parts[:2] == streamed.parts[:2]
    assert [(c.id, c.name, json.loads(c.arguments)) for c in found.tool_calls] == [
        (c.id, c.name, json.loads(c.arguments)) for c in streamed.tool_calls
    ]


def test_a_stream_cut_at_every_byte_is_the_same() -> None:
    expected = read(MIXED)
    for cut in range(1, len(MIXED)):
        assert read(MIXED[:cut], MIXED[cut:]) == expected


def test_a_stream_that_stops_at_any_byte_is_truncated() -> None:
    # Without its last line feed the terminator is whole, and counts.
    for cut in range(len(MIXED) - 2):
        last = read(MIXED[:cut])[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind is FaultKind.TRUNCATED


def test_a_call_that_is_not_closed_is_not_handed_on() -> None:
    stream = message_start(START_USAGE) + tool_start(0) + input_json_delta(0, "{}")
    events = read(stream)

    assert not [e for e in events if isinstance(e, ToolCall)]
    assert isinstance(events[-1], Failed)


STOPS = {
    "end_turn": StopReason.END,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "refusal": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
    "pause_turn": StopReason.END,
    "brand_new": StopReason.END,
    "tool_use": StopReason.END,
}


@pytest.mark.parametrize("reason", STOPS)
def test_stop_reasons_streamed_and_whole(reason: str) -> None:
    stream = text_start(0) + text_delta(0, "a") + block_stop(0) + end(reason)
    last = read(message_start(), stream)[-1]
    found = whole([{"type": "text", "text": "a"}], reason)

    assert isinstance(last, Finished)
    assert isinstance(found, Answer)
    assert last.stop is found.stop is STOPS[reason]


def test_the_stop_sequence_is_kept() -> None:
    found = whole([{"type": "text", "text": "a"}], "stop_sequence", stop_sequence="END")

    assert isinstance(found, Answer)
    assert found.stop_sequence == "END"


@pytest.mark.parametrize(
    ("stop", "calls"), [("max_tokens", 0), ("tool_use", 1), ("model_context_window_exceeded", 0)]
)
def test_broken_arguments_are_a_cut_call_or_kept_as_text(stop: str, calls: int) -> None:
    start = message_start() + text_start(0) + text_delta(0, "a") + block_stop(0)
    stream = start + tool_start(1) + input_json_delta(1, '{"p": "/e') + block_stop(1) + end(stop)
    answer = fold(read(stream))

    assert isinstance(answer, Answer)
    assert [json.loads(c.arguments) for c in answer.tool_calls] == [{"_raw": '{"p": "/e'}] * calls
    assert answer.notes.degraded == (("raw_arguments",) if calls else ("cut_call",))


def test_input_given_whole_at_the_start_of_the_block() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    events = read(message_start() + block_start(0, block) + block_stop(0) + end("tool_use"))

    assert ToolCall("toolu_1", "f", '{"a":1}') in events


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (error("overloaded_error", "x"), FaultKind.OVERLOADED),
        (error("api_error", "x"), FaultKind.SERVER),
        (b"event: error\ndata: {}\n\n", FaultKind.SERVER),
        (b"event: content_block_delta\ndata: {nope\n\n", FaultKind.MALFORMED),
        (message_start() + end(), FaultKind.EMPTY),
        (message_start() + text_start(0) + text_delta(0, "\n\n") + end(), FaultKind.EMPTY),
        (message_start() + tool_start(0) + input_json_delta(0, "x" * 3000), FaultKind.MALFORMED),
        (b"", FaultKind.TRUNCATED),
    ],
)
def test_failures(stream: bytes, kind: FaultKind) -> None:
    events = decode(Decoder(ToolBook(request()), ids(), limit=2900), stream)

    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is kind
    assert sum(isinstance(e, Failed | Finished) for e in events) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, FaultKind.MALFORMED),
        ({"type": "message"}, FaultKind.MALFORMED),
        ({"type": "message", "content": []}, FaultKind.EMPTY),
        (
            {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
            FaultKind.RATE_LIMIT,
        ),
    ],
)
def test_whole_bodies_that_are_no_answer(body: Any, kind: FaultKind) -> None:
    found = read_answer(body, ToolBook(request()), ids())

    assert isinstance(found, Fault)
    assert found.kind is kind


def test_thinking_is_progress_but_no_content() -> None:
    decoder = Decoder(ToolBook(request()), ids())
    events = decoder.feed(message_start() + thinking_start(0) + thinking_delta(0, "hm"))

    assert [e for e in events if isinstance(e, TextDelta)] == []
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["hm"]
    assert (decoder.semantic_events, decoder.output_chars) == (1, 2)

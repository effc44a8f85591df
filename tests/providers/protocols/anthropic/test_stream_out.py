"""Neutral events to Messages streams that keep the grammar and that the vendor's SDK reads."""

from __future__ import annotations

import anthropic
import pytest
from anthropic_rules import check_stream
from anthropic_streams import PING
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk_readers import messages_answer, messages_stream
from translating import write_messages

from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageSeen,
    fold,
)
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, StopReason, ToolCall
from providers.protocols.anthropic.response_out import write_answer
from providers.protocols.anthropic.stream import StreamTap, Terminal
from providers.protocols.anthropic.stream_out import Encoder
from providers.tool_book import encode
from providers.types import Usage

USAGE = Usage(input_tokens=30, output_tokens=9, cache_read_tokens=70, reasoning_tokens=4)
READ = ToolCall("call_1", "Read", '{ "path":"a b" }')
LIST = ToolCall("functions.ls:0", "LS", "{}")
DONE = Finished(StopReason.END, USAGE)
CALLED = Finished(StopReason.TOOL_CALLS, USAGE)
OVERLOADED = Failed(Fault(FaultKind.OVERLOADED, "over capacity"))

STREAMS: dict[str, list[Event]] = {
    "text": [Started("x", "gpt"), TextDelta("Hel"), UsageSeen(USAGE), TextDelta("lo"), DONE],
    "call": [READ, CALLED],
    "text and calls": [TextDelta("I look."), READ, LIST, CALLED],
    "text after a call": [READ, TextDelta("done"), CALLED],
    "refusal": [RefusalDelta("No."), Finished(StopReason.REFUSAL, USAGE)],
    "refusal without words": [Finished(StopReason.REFUSAL)],
    "thinking": [ReasoningDelta("secret"), TextDelta("yes"), DONE],
    "cut": [TextDelta("a"), Finished(StopReason.MAX_TOKENS, USAGE)],
    "full window": [TextDelta("a"), Finished(StopReason.CONTEXT_FULL, USAGE)],
    "stop sequence": [TextDelta("a"), Finished(StopReason.STOP_SEQUENCE, USAGE, "END")],
    "no usage": [TextDelta("a" * 40), Finished(StopReason.END)],
}
STOPS = {
    "text": "end_turn",
    "call": "tool_use",
    "text and calls": "tool_use",
    "text after a call": "tool_use",
    "refusal": "refusal",
    "refusal without words": "refusal",
    "thinking": "end_turn",
    "cut": "max_tokens",
    "full window": "model_context_window_exceeded",
    "stop sequence": "stop_sequence",
    "no usage": "end_turn",
}


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_keeps_the_grammar_and_the_sdk_reads_it(name: str) -> None:
    data = write_messages(STREAMS[name])

    assert check_stream(data) == []
    message = messages_stream(data)
    assert message.stop_reason == STOPS[name]
    assert (message.id, message.model) == ("msg_1", "claude-x")
    tap = StreamTap()
    tap.feed(data)
    assert (tap.terminal, tap.malformed, tap.unknown_events) == (Terminal.STOP, 0, 0)


@pytest.mark.parametrize("name", STREAMS)
def test_whole_answers_equal_streamed_ones(name: str) -> None:
    answer = fold(STREAMS[name])
    assert isinstance(answer, Answer)
    whole = messages_answer(200, encode(write_answer(answer, answer_id="msg_1", model="claude-x")))
    streamed = messages_stream(write_messages(STREAMS[name]))

    assert [block.to_dict() for block in whole.content] == [
        {key: value for key, value in block.to_dict().items() if key != "parsed_output"}
        for block in streamed.content
    ]
    assert (whole.stop_reason, whole.stop_sequence) == (
        streamed.stop_reason,
        streamed.stop_sequence,
    )
    assert whole.usage.output_tokens == streamed.usage.output_tokens


def test_calls_keep_their_arguments_and_get_ids_the_vendor_takes() -> None:
    data = write_messages(STREAMS["text and calls"])
    blocks = [block.to_dict() for block in messages_stream(data).content]

    assert [block["type"] for block in blocks] == ["text", "tool_use", "tool_use"]
    assert [block.get("input") for block in blocks[1:]] == [{"path": "a b"}, {}]
    ids = [str(block["id"]) for block in blocks[1:]]
    assert ids[0] == "toolu_gw0call_1"
    assert all(each.startswith("toolu_") and each.replace("_", "a").isalnum() for each in ids)
    assert rb'"partial_json":"{ \"path\":\"a b\" }"' in data


def test_thinking_of_another_vendor_is_never_given_out() -> None:
    data = write_messages(STREAMS["thinking"])

    assert b"secret" not in data
    assert b'"type":"thinking' not in data
    assert b"signature" not in data


def test_usage_starts_as_an_estimate_and_ends_as_reported() -> None:
    events: list[Event] = [TextDelta("a"), DONE]
    data = write_messages(events, input_estimate=50)
    first, _, rest = data.partition(b"content_block_start")

    assert b'"usage":{"input_tokens":50,"output_tokens":0}' in first
    usage = messages_stream(data).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (30, 9, 70)
    assert b'"input_tokens":30' in rest


def test_usage_known_before_the_first_content_is_used_at_once() -> None:
    data = write_messages([UsageSeen(USAGE), TextDelta("a"), DONE], input_estimate=50)

    assert b'"usage":{"input_tokens":30,"output_tokens":0,"cache_read_input_tokens":70}' in data


def test_without_reported_usage_the_estimate_stays() -> None:
    usage = messages_stream(write_messages(STREAMS["no usage"], input_estimate=50)).usage

    assert (usage.input_tokens, usage.output_tokens) == (50, 10)


def test_nothing_is_written_before_content() -> None:
    encoder = Encoder(message_id="m", model="x")
    held: list[Event] = [Started("x", "y"), ReasoningDelta("hm"), UsageSeen(USAGE)]

    assert [encoder.encode(event) for event in held] == [b"", b"", b""]
    assert not encoder.has_content
    assert encoder.encode(TextDelta("a")).startswith(b"event: message_start\n")
    assert encoder.has_content


@pytest.mark.parametrize(
    "before", [[], [TextDelta("I look")], [TextDelta("a"), READ], [Started("x", "y")]]
)
def test_a_failure_is_an_error_event_and_closes_nothing(before: list[Event]) -> None:
    data = write_messages([*before, OVERLOADED, TextDelta("more"), DONE])

    assert check_stream(data) == []
    assert data.count(b"event: content_block_stop") == data.count(b'"type":"tool_use"') * (
        2 if TextDelta("a") in before else 1
    )
    assert b"message_stop" not in data
    assert b'"type":"overloaded_error","message":"over capacity"' in data
    with pytest.raises(anthropic.APIStatusError):
        messages_stream(data)


def test_a_terminal_event_ends_the_stream() -> None:
    encoder = Encoder(message_id="m", model="x")
    assert encoder.keepalive == PING
    encoder.encode(TextDelta("a"))
    encoder.encode(DONE)

    assert encoder.is_done
    assert encoder.keepalive == b""
    assert [encoder.encode(event) for event in (TextDelta("b"), READ, DONE, OVERLOADED)] == [
        b""
    ] * 4


def test_keepalives_fit_between_any_two_results() -> None:
    encoder = Encoder(message_id="m", model="x")
    data = b""
    for event in STREAMS["text and calls"]:
        data += encoder.keepalive + encoder.encode(event)

    assert check_stream(data) == []
    assert messages_stream(data).stop_reason == "tool_use"


_calls = st.builds(ToolCall, st.text(max_size=8), st.just("f"), st.sampled_from(["{}", '{"a":1}']))
_events = st.lists(
    st.builds(TextDelta, st.text(min_size=1, max_size=8))
    | st.builds(ReasoningDelta, st.text(min_size=1, max_size=3))
    | st.builds(RefusalDelta, st.text(min_size=1, max_size=3))
    | st.builds(UsageSeen, st.just(USAGE))
    | _calls,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(_events, st.sampled_from([DONE, CALLED, OVERLOADED, Finished(StopReason.MAX_TOKENS)]))
def test_any_events_keep_the_grammar(events: list[Event], last: Event) -> None:
    has_calls = any(isinstance(event, ToolCall) for event in events)
    if isinstance(last, Finished) and last.stop is not StopReason.MAX_TOKENS:
        last = CALLED if has_calls else DONE
    data = write_messages([*events, last, TextDelta("late")])

    assert check_stream(data) == []
    assert b"late" not in data

"""Neutral events to Chat streams and bodies that the vendor's SDK reads."""

from __future__ import annotations

import json

import openai
import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    START_USAGE,
    block_stop,
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
from chat_streams import DONE
from openai.types.chat import ChatCompletionChunk
from sdk_readers import chat_answer, chat_stream
from translating import decode, ids, read_chat, request

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
from providers.protocols.anthropic.stream_in import Decoder
from providers.protocols.openai_chat.response_out import write_answer
from providers.protocols.openai_chat.stream_out import KEEPALIVE, Encoder
from providers.tool_book import ToolBook, encode
from providers.types import Usage

USAGE = Usage(
    input_tokens=30,
    output_tokens=9,
    cache_read_tokens=60,
    cache_write_5m_tokens=6,
    cache_write_1h_tokens=4,
    reasoning_tokens=4,
)
CALL = ToolCall("toolu_01abc", "Read", '{ "path":"a b" }')
PATCH = ToolCall("toolu_01abd", "apply_patch", "*** Begin\n", is_custom=True)

STREAMS: dict[str, list[Event]] = {
    "text": [Started("x", "y"), TextDelta("Hel"), UsageSeen(USAGE), TextDelta("lo")],
    "call": [CALL],
    "text and calls": [TextDelta("I look."), CALL, ToolCall("c2", "LS", "{}")],
    "free text": [PATCH],
    "refusal": [RefusalDelta("No."), RefusalDelta(" Never.")],
    "thinking": [ReasoningDelta("secret"), TextDelta("yes")],
}
ENDS = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.TOOL_CALLS: "tool_calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTEXT_FULL: "length",
    StopReason.REFUSAL: "content_filter",
}


def write(events: list[Event], *, includes_usage: bool = False) -> bytes:
    encoder = Encoder(answer_id="chatcmpl-1", model="m", created=7, includes_usage=includes_usage)
    return b"".join(encoder.encode(event) for event in events)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("stop", ENDS)
def test_the_sdk_reads_every_stream(name: str, stop: StopReason) -> None:
    data = write([*STREAMS[name], Finished(stop, USAGE)])
    chunks = chat_stream(data)

    assert data.endswith(DONE)
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + [ENDS[stop]]
    assert chunks[0].choices[0].delta.role == "assistant"
    if name == "free text":
        # The SDK's types know no free-text call in a stream, although the vendor sends them.
        return
    for piece in data.split(b"\n\n")[:-2]:
        ChatCompletionChunk.model_validate(json.loads(piece.removeprefix(b"data: ")), strict=True)


def test_usage_only_where_it_was_asked_for() -> None:
    events: list[Event] = [TextDelta("a"), Finished(StopReason.END, USAGE)]

    assert all(chunk.usage is None for chunk in chat_stream(write(events)))
    last = chat_stream(write(events, includes_usage=True))[-1]
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (
        100,
        9,
        109,
    )
    assert last.usage.prompt_tokens_details is not None
    assert last.usage.prompt_tokens_details.cached_tokens == 60


def test_unknown_usage_is_not_made_up() -> None:
    events: list[Event] = [TextDelta("a"), Finished(StopReason.END)]

    assert chat_stream(write(events, includes_usage=True))[-1].usage is None


@pytest.mark.parametrize("name", ["text", "call", "text and calls", "refusal"])
def test_what_is_written_is_read_back(name: str) -> None:
    has_call = any(isinstance(event, ToolCall) for event in STREAMS[name])
    stop = StopReason.TOOL_CALLS if has_call else StopReason.END
    stop = StopReason.REFUSAL if name == "refusal" else stop
    events = [*STREAMS[name], Finished(stop, USAGE)]
    before, after = fold(events), fold(read_chat(write(events, includes_usage=True)))

    assert isinstance(before, Answer)
    assert isinstance(after, Answer)
    assert (after.parts, after.stop) == (before.parts, before.stop)
    assert after.usage.prompt_tokens == before.usage.prompt_tokens
    assert after.usage.input_tokens == before.usage.input_tokens


@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_reads_whole_answers(name: str) -> None:
    answer = fold([*STREAMS[name], Finished(StopReason.END, USAGE)])
    assert isinstance(answer, Answer)
    body = write_answer(answer, answer_id="chatcmpl-1", model="m", created=7)
    message = chat_answer(200, encode(body)).choices[0].message

    expected = "".join(e.text for e in STREAMS[name] if isinstance(e, TextDelta)) or None
    assert message.content == expected
    assert len(message.tool_calls or []) == len(answer.tool_calls)
    assert b"secret" not in encode(body)


def test_an_answer_without_usage_has_none() -> None:
    answer = fold([TextDelta("a"), Finished(StopReason.END)])
    assert isinstance(answer, Answer)

    assert "usage" not in write_answer(answer, answer_id="x", model="m", created=7)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_failure_in_the_stream_is_never_the_clients_fault(kind: FaultKind) -> None:
    data = write([TextDelta("a"), Failed(Fault(kind, "boom")), Finished(StopReason.END)])

    assert b"[DONE]" not in data
    assert b'"finish_reason":"' not in data
    assert b"invalid_request_error" not in data
    with pytest.raises(openai.APIError, match="boom"):
        chat_stream(data)


def test_an_answer_of_anthropic_for_a_chat_client() -> None:
    stream = (
        message_start(START_USAGE)
        + thinking_start(0)
        + thinking_delta(0, "secret")
        + signature_delta(0, "c2ln")
        + block_stop(0)
        + text_start(1)
        + text_delta(1, "I look.")
        + block_stop(1)
        + tool_start(2, "Read", "toolu_01A")
        + input_json_delta(2, '{"p": 1}')
        + block_stop(2)
        + message_delta("tool_use", {"output_tokens": 21})
        + MESSAGE_STOP
    )
    data = write(decode(Decoder(ToolBook(request()), ids()), stream), includes_usage=True)
    chunks = chat_stream(data)

    assert b"secret" not in data
    assert b"c2ln" not in data
    calls = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
    assert [(c.index, c.id, c.function and c.function.arguments) for c in calls] == [
        (0, "toolu_01A", '{"p": 1}')
    ]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (43_012, 21)


def test_a_comment_keeps_the_stream_alive() -> None:
    encoder = Encoder(answer_id="x", model="m", created=7)
    data = encoder.keepalive + encoder.encode(TextDelta("a")) + encoder.keepalive
    data += encoder.encode(Finished(StopReason.END))

    assert [c.choices[0].delta.content for c in chat_stream(data)] == ["", "a", None]
    assert data.startswith(KEEPALIVE)
    assert encoder.keepalive == b""

from __future__ import annotations

import json
import re
from typing import Any

import anthropic_streams as s
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.protocols.anthropic.response import UpstreamErrorBody
from providers.protocols.anthropic.stream import (
    PING,
    StreamTap,
    TapOverflow,
    Terminal,
    error_event,
)
from providers.sse import SseDecoder
from providers.types import Usage, UsageSource


def facts(tap: StreamTap) -> dict[str, Any]:
    """Everything public that is not a method."""
    names = [name for name in dir(tap) if not name.startswith("_") and name not in ("feed", "end")]
    return {name: getattr(tap, name) for name in names}


def tapped(*chunks: bytes, thinking: bool = False) -> StreamTap:
    """A tap after these chunks and a clean end; the bytes must come out as they went in."""
    tap = StreamTap(thinking=thinking)
    forwarded = b"".join([tap.feed(chunk) for chunk in chunks])
    assert forwarded + tap.end() == b"".join(chunks)
    return tap


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


# what an answer says


def test_a_text_answer() -> None:
    tap = tapped(s.TEXT)
    assert tap.terminal is Terminal.STOP
    assert (tap.message_id, tap.model) == ("msg_test_01", "claude-opus-5-5")
    assert (tap.stop_reason, tap.answer_kind, tap.tool_calls) == ("end_turn", "text", 0)
    assert tap.blocks == {"text": 1}
    assert (tap.events, tap.pings, tap.unknown_events, tap.malformed) == (9, 1, 0, 0)
    # Not semantic: message_start, the start of the empty block, the ping.
    assert tap.semantic_events == 6
    assert tap.usage_source is UsageSource.FINAL
    assert tap.usage == Usage(
        input_tokens=12,
        output_tokens=25,
        cache_read_tokens=40000,
        cache_write_5m_tokens=1000,
        cache_write_1h_tokens=2000,
        service_tier="standard",
        raw={**s.START_USAGE, "output_tokens": 25},
    )


def test_a_thinking_answer_with_a_tool_call() -> None:
    tap = tapped(s.THINKING_AND_TOOL)
    assert tap.blocks == {"thinking": 1, "text": 1, "tool_use": 1}
    assert (tap.tool_calls, tap.answer_kind, tap.stop_reason) == (1, "mixed", "tool_use")
    assert (tap.usage.output_tokens, tap.usage.reasoning_tokens) == (140, 60)


def test_parallel_tool_calls() -> None:
    tap = tapped(s.PARALLEL_TOOLS)
    assert (tap.tool_calls, tap.answer_kind) == (2, "tool_use")


def test_usage_is_revised_field_by_field_and_zero_is_a_value() -> None:
    tap = tapped(s.USAGE_REVISED)
    usage = tap.usage
    assert (usage.input_tokens, usage.output_tokens) == (900, 9)
    assert (usage.cache_read_tokens, usage.cache_write_5m_tokens) == (0, 700)
    assert (usage.cache_write_1h_tokens, usage.web_searches) == (None, None)


def test_server_tools_are_blocks_but_not_calls_of_the_client() -> None:
    tap = tapped(s.SERVER_TOOLS)
    assert tap.blocks == {"server_tool_use": 1, "web_search_tool_result": 1, "text": 1}
    assert (tap.tool_calls, tap.answer_kind, tap.usage.web_searches) == (0, "mixed", 2)
    assert tap.usage.input_tokens == 2500
    assert tap.output_chars == len('{"query":"weather"}') + len("Sunny.")


def test_a_refusal_without_content() -> None:
    tap = tapped(s.REFUSAL)
    assert (tap.stop_reason, tap.answer_kind, tap.blocks) == ("refusal", None, {})
    assert (tap.usage.output_tokens, tap.usage_source) == (0, UsageSource.FINAL)
    assert tap.semantic


def test_an_error_in_mid_answer() -> None:
    tap = tapped(s.MID_STREAM_ERROR)
    assert tap.terminal is Terminal.ERROR
    assert tap.error == UpstreamErrorBody("overloaded_error", "Overloaded")
    assert (tap.semantic, tap.stop_reason) == (True, None)
    assert tap.usage_source is UsageSource.PARTIAL
    assert tap.usage.output_tokens == 1


def test_an_error_before_any_content_leaves_the_answer_replaceable() -> None:
    tap = tapped(s.ERROR_FIRST)
    assert (tap.terminal, tap.semantic) == (Terminal.ERROR, False)


def test_unknown_events_and_deltas_are_relayed_and_counted() -> None:
    tap = tapped(s.UNKNOWN_EVENTS)
    assert (tap.unknown_events, tap.malformed, tap.terminal) == (1, 0, Terminal.STOP)
    assert tap.output_chars == 2


def test_broken_events_are_relayed_and_counted() -> None:
    tap = tapped(s.MALFORMED)
    assert (tap.malformed, tap.terminal, tap.usage.output_tokens) == (3, Terminal.STOP, 3)


def test_a_stop_that_is_not_json_is_no_terminator() -> None:
    tap = tapped(s.TEXT.replace(s.MESSAGE_STOP, b"event: message_stop\ndata: x\n\n"))
    assert (tap.terminal, tap.malformed) == (None, 1)


def test_an_error_event_that_cannot_be_read_still_ends_the_answer() -> None:
    tap = tapped(s.message_start(), b"event: error\ndata: oops\n\n")
    assert (tap.terminal, tap.error, tap.malformed) == (Terminal.ERROR, None, 1)


def test_events_without_a_name_are_known_by_their_type() -> None:
    tap = tapped(re.sub(rb"event: .*\n", b"", s.THINKING_AND_TOOL))
    assert facts(tap) == facts(tapped(s.THINKING_AND_TOOL))


def test_events_after_the_terminal_are_relayed_and_change_nothing() -> None:
    late = s.message_delta("max_tokens", {"output_tokens": 9999}) + s.error("x", "y") + s.PING
    tap = tapped(s.TEXT + late + s.text_delta(0, "late"))
    before = facts(tapped(s.TEXT))
    assert facts(tap) == before | {"after_terminal": 4, "events": before["events"] + 4}


@pytest.mark.parametrize("name", ["CRLF", "CR only", "BOM", "comments", "multi-line data"])
def test_the_framing_of_an_answer_does_not_matter(name: str) -> None:
    assert facts(tapped(s.ANSWERS[name])) == facts(tapped(s.TEXT))


def test_a_byte_order_mark_counts_only_at_the_very_start() -> None:
    ping = b'\xef\xbb\xbfdata: {"type":"ping"}\n\n'
    assert tapped(ping).pings == 1
    assert tapped(s.message_start(), ping).pings == 0
    assert tapped(s.message_start() + ping).pings == 0
    assert tapped(s.text_delta(0, "a"), ping).pings == 0


def test_a_delta_of_more_than_two_lines_is_read_line_by_line() -> None:
    tap = tapped(s.text_delta(0, "ab").replace(b"\n\n", b"\nevent: {x}\n\n"))
    assert (tap.unknown_events, tap.output_chars) == (1, 0)


# usage sources


@pytest.mark.parametrize(
    ("stream", "source"),
    [
        (b"", UsageSource.NONE),
        (s.message_start(), UsageSource.NONE),
        (s.message_start(s.START_USAGE), UsageSource.PARTIAL),
        (s.TEXT[: s.TEXT.rindex(b"event: message_delta")], UsageSource.PARTIAL),
        # The output count of message_start is never the final one.
        (s.message_start(s.START_USAGE) + s.MESSAGE_STOP, UsageSource.PARTIAL),
        (s.message_start(s.START_USAGE) + s.message_delta("end_turn"), UsageSource.PARTIAL),
        (s.message_start() + s.message_delta(None, {"output_tokens": 4}), UsageSource.PARTIAL),
        (s.message_start() + s.message_delta("end_turn", {"output_tokens": 4}), UsageSource.FINAL),
        (
            s.message_start() + s.message_delta(None, {"output_tokens": 4}) + s.MESSAGE_STOP,
            UsageSource.FINAL,
        ),
        (s.message_start() + s.message_delta("end_turn", {}) + s.MESSAGE_STOP, UsageSource.NONE),
    ],
)
def test_how_far_the_usage_can_be_trusted(stream: bytes, source: UsageSource) -> None:
    assert tapped(stream).usage_source is source


# the first semantic byte


@pytest.mark.parametrize(
    ("block", "semantic"),
    [
        ({"type": "text", "text": ""}, False),
        ({"type": "text", "text": "a"}, True),
        ({"type": "thinking", "thinking": "", "signature": ""}, False),
        ({"type": "thinking", "thinking": "a", "signature": ""}, True),
        ({"type": "tool_use", "id": "t", "name": "n", "input": {}}, False),
        ({"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}, True),
        ({"type": "redacted_thinking", "data": "x"}, True),
        ({"type": "server_tool_use", "id": "t", "name": "n", "input": {}}, True),
        ({"type": "future_block"}, True),
    ],
)
def test_which_block_starts_are_semantic(block: dict[str, Any], semantic: bool) -> None:
    assert tapped(s.message_start(), s.block_start(0, block)).semantic is semantic


@pytest.mark.parametrize(
    ("event", "semantic"),
    [
        (PING, False),
        (b": comment\n\n", False),
        (b"\n\n", False),
        (b"id: 5\n\n", False),
        (s.error("api_error", "x"), False),
        (s.text_delta(0, ""), True),
        (s.signature_delta(0, "x"), True),
        (s.block_stop(0), True),
        (s.message_delta("end_turn"), True),
        (s.MESSAGE_STOP, True),
        (b"event: future\ndata: {}\n\n", True),
        (b"event: message_start\ndata: garbage\n\n", False),
    ],
)
def test_which_events_are_semantic(event: bytes, semantic: bool) -> None:
    assert tapped(s.message_start(), event).semantic is semantic


def test_an_incomplete_event_is_neither_forwarded_nor_semantic() -> None:
    tap = StreamTap()
    head = s.message_start()
    assert tap.feed(head) is head
    delta = s.text_delta(0, "hello")
    for i in range(len(delta) - 1):
        assert tap.feed(delta[i : i + 1]) == b""
        assert not tap.semantic
    assert tap.feed(delta[-1:]) == delta
    assert tap.semantic


def test_thinking_is_asked_for_or_open() -> None:
    tap = StreamTap()
    seen = []
    for event in (
        s.message_start(),
        s.thinking_start(0),
        s.thinking_delta(0, "hm"),
        s.block_stop(0),
        s.text_start(1),
    ):
        tap.feed(event)
        seen.append(tap.thinking)
    assert seen == [False, True, True, False, False]
    assert not tapped(s.thinking_start(0), s.text_start(1)).thinking
    assert StreamTap(thinking=True).thinking


# chunking


@pytest.mark.parametrize("name", sorted(s.ANSWERS))
def test_a_split_at_every_byte_changes_nothing(name: str) -> None:
    stream = s.ANSWERS[name]
    whole = facts(tapped(stream))
    assert facts(tapped(*cut(stream, 1))) == whole
    for i in range(1, len(stream), 7):
        assert facts(tapped(stream[:i], stream[i:])) == whole


@given(
    st.lists(st.sampled_from(sorted(s.ANSWERS.values())), min_size=1, max_size=3).map(b"".join),
    st.lists(st.integers(1, 400), min_size=1, max_size=30),
)
@example(s.CR_ONLY + s.TEXT + s.CRLF, [5])
def test_any_chunking_gives_the_same_facts(stream: bytes, sizes: list[int]) -> None:
    chunks, start, i = [], 0, 0
    while start < len(stream):
        size = sizes[i % len(sizes)]
        chunks.append(stream[start : start + size])
        start, i = start + size, i + 1
    assert facts(tapped(*chunks)) == facts(tapped(stream))


FRAGMENTS = [
    b"event: content_block_delta\ndata: {",
    b'"text":"a\\"b"',
    b'"type":"message_stop"}',
    b"event: message_stop\ndata: {}",
    b"event: message_delta\n",
    b'data: {"usage":{"output_tokens":-1,"cache_creation":[],"input_tokens":1e999}}',
    b'data: {"delta":3,"usage":"x"}',
    b'event: message_start\ndata: {"message":[]}',
    b'event: content_block_start\ndata: {"content_block":{"type":7}}',
    b'data: {"type":"error","error":null}',
    b'data: {"a":"\\ud800"}',
    b"data: " + b"[" * 3000,
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\n",
    b"\n\n",
    b"\r",
    b"}",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=16).map(b"".join), st.integers(1, 40))
def test_garbage_never_raises_and_is_chunked_alike(stream: bytes, size: int) -> None:
    assert facts(tapped(*cut(stream, size))) == facts(tapped(stream))


@given(st.text(alphabet='ab"\\{}:,\n\té\u2028\u4f60\U0001f44b', max_size=40))
def test_characters_are_counted_whatever_the_text(text: str) -> None:
    for delta in (s.text_delta, s.thinking_delta, s.input_json_delta):
        escapes = json.dumps(text, ensure_ascii=False)[1:-1]
        expected = len(escapes) - escapes.count("\\")
        assert tapped(delta(0, text)).output_chars == expected


def test_characters_are_counted_with_other_spacing_and_key_order() -> None:
    odd = b'event: content_block_delta\ndata: {"delta": {"text" : "a\\"}bc", "type": "text_delta"}}'
    assert tapped(odd + b"\n\n").output_chars == 5
    assert tapped(s.text_delta(0, "a\n\u00e9\u4f60\U0001f44b")).output_chars == 5


# the end of the stream


def test_the_last_event_counts_without_its_blank_line() -> None:
    for missing in (1, 2):
        tap = tapped(s.TEXT[:-missing])
        assert facts(tap) == facts(tapped(s.TEXT))


def test_an_event_cut_in_its_data_does_not_count() -> None:
    tap = tapped(s.TEXT[:-4])
    assert (tap.terminal, tap.stop_reason, tap.malformed) == (None, "end_turn", 0)
    cut_delta = s.TEXT[: s.TEXT.index(b"Hello") + 2]
    assert facts(tapped(cut_delta)) == facts(tapped(cut_delta[: cut_delta.rindex(b"event: ")]))


# limits


def test_an_oversized_event_raises_and_keeps_what_came_before() -> None:
    tap = StreamTap(limit=400)
    chunk = s.message_start() + s.text_delta(0, "x" * 400)
    with pytest.raises(TapOverflow) as caught:
        tap.feed(chunk)
    assert caught.value.ready == s.message_start()
    assert (tap.message_id, tap.semantic) == ("msg_test_01", False)


def test_an_event_of_eight_mebibytes_passes() -> None:
    event = s.input_json_delta(0, "x" * (8 << 20))
    assert tapped(*cut(event, 1 << 18)).output_chars == 8 << 20


def test_ten_thousand_events_in_one_chunk() -> None:
    tap = tapped(s.message_start() + s.text_delta(0, "ab") * 10_000 + s.MESSAGE_STOP)
    assert (tap.events, tap.output_chars) == (10_002, 20_000)


# what the gateway writes


def test_the_gateways_own_events_have_the_vendors_shape() -> None:
    message = 'broken "pipe"\r\n\u2028 \ud800'
    [ping, error] = SseDecoder().feed(PING + error_event("api_error", message, "gw_1"))
    assert (ping.event, json.loads(ping.data)) == (b"ping", {"type": "ping"})
    assert error.event == b"error"
    assert error.data.isascii()
    assert json.loads(error.data) == {
        "type": "error",
        "error": {"type": "api_error", "message": message},
        "request_id": "gw_1",
    }


def test_the_tap_reads_the_gateways_own_error() -> None:
    tap = tapped(s.message_start(), PING, error_event("timeout_error", "too late", None))
    assert tap.error == UpstreamErrorBody("timeout_error", "too late")
    assert (tap.terminal, tap.pings) == (Terminal.ERROR, 1)

"""Reading OpenAI's native answers beside their bytes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_replies import (
    CACHED,
    FRESH,
    OUTPUT,
    THOUGHT,
    WRITTEN,
    Call,
    Reply,
    error_event,
    events,
    stream,
    whole,
)
from wire_readers import faults_of, read_stream

from providers.faults import Fault, FaultKind
from providers.protocols.dialects import DIALECTS, Front
from providers.types import Protocol, UsageSource
from server.taps import OpenAiTap, Tap, TapOverflow, Terminal, facts_of, last_words, tap_for

R, C, M = Protocol.RESPONSES, Protocol.CHAT, Protocol.MESSAGES
REPLY = Reply("Hello, wörld.", (Call("shell", {"cmd": "ls"}), Call("shell", {}, "call_2")))
FRONT = Front(request_id="gw_1", answer_id="new", model="m")
BROKEN = Fault(FaultKind.SERVER, "it broke off")
both = pytest.mark.parametrize("protocol", [R, C], ids=["responses", "chat"])


def fed(protocol: Protocol, *pieces: bytes, thinking: bool = False) -> tuple[Tap, bytes]:
    tap = tap_for(protocol, thinking=thinking)
    out = b"".join(tap.feed(piece) for piece in pieces)
    return tap, out + tap.end()


@both
@settings(deadline=None, database=None, max_examples=30)
@given(st.data())
def test_any_chunking_gives_the_same_bytes_and_facts(protocol: Protocol, data: Any) -> None:
    sent = stream(protocol, REPLY)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    bounds = [0, *cuts, len(sent)]
    tap, out = fed(protocol, *(sent[a:b] for a, b in itertools.pairwise(bounds)))
    assert out == sent
    assert (tap.terminal, tap.error, tap.stop_reason) == (Terminal.STOP, None, "tool_calls")
    assert (tap.tool_calls, tap.answer_kind) == (2, "mixed")
    usage = tap.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        FRESH,
        OUTPUT,
        THOUGHT,
    )
    assert (usage.cache_read_tokens, usage.cache_write_5m_tokens) == (CACHED, WRITTEN)
    assert tap.usage_source is UsageSource.FINAL


@both
def test_only_whole_events_are_handed_on(protocol: Protocol) -> None:
    sent = events(protocol, REPLY)
    tap = tap_for(protocol, thinking=False)
    for event in sent:
        assert tap.feed(event[:-1]) == b""
        assert tap.feed(event[-1:]) == event


@both
def test_the_opening_is_not_content(protocol: Protocol) -> None:
    tap = tap_for(protocol, thinking=False)
    count = 2 if protocol is R else 1
    sent = events(protocol, REPLY)
    for event in sent[:count]:
        tap.feed(event)
    tap.feed(b": a comment\n\n")
    assert (tap.semantic, tap.terminal) == (False, None)
    tap.feed(sent[count])
    assert tap.semantic


@both
def test_an_error_event_is_its_end(protocol: Protocol) -> None:
    sent = [*events(protocol, REPLY)[:4], error_event(protocol, "it broke")]
    tap, _ = fed(protocol, *sent)
    assert tap.terminal is Terminal.ERROR
    assert tap.error is not None
    assert (tap.error.type, tap.error.message) == ("server_error", "it broke")


@both
def test_a_stream_that_stops_has_no_end(protocol: Protocol) -> None:
    tap, _ = fed(protocol, *events(protocol, REPLY)[:5])
    assert tap.terminal is None
    assert tap.usage_source is UsageSource.NONE


def test_a_refused_end_is_one_too() -> None:
    tap, _ = fed(R, stream(R, Reply("So on and", stop="max_tokens")))
    assert (tap.terminal, tap.stop_reason) == (Terminal.STOP, "max_tokens")


@both
@settings(deadline=None, database=None, max_examples=60)
@given(st.binary(max_size=200))
def test_noise_passes_and_never_raises(protocol: Protocol, noise: bytes) -> None:
    sent = events(protocol, REPLY)
    data = b"".join(sent[:3]) + noise + b"\n\n" + b"".join(sent[3:])
    _, out = fed(protocol, data)
    assert out == data


@both
def test_an_event_without_end_is_too_large(protocol: Protocol) -> None:
    tap = OpenAiTap(DIALECTS[protocol], thinking=False, limit=1000)
    first = events(protocol, REPLY)[0]
    with pytest.raises(TapOverflow) as caught:
        tap.feed(first + b"data: " + b"x" * 2000)
    assert caught.value.ready == first


def test_silence_of_a_thinking_model_is_told() -> None:
    assert tap_for(C, thinking=True).thinking
    assert not tap_for(R, thinking=False).thinking


def test_keep_alives_are_no_progress() -> None:
    tap = tap_for(R, thinking=False)
    before = tap.semantic_events
    tap.feed(b'event: keepalive\ndata: {"type":"keepalive","sequence_number":3}\n\n')
    assert (tap.semantic_events, tap.semantic) == (before, False)


class TestLastWords:
    @pytest.mark.parametrize("protocol", [R, C, M], ids=["responses", "chat", "messages"])
    def test_end_what_the_client_has(self, protocol: Protocol) -> None:
        part = events(protocol, REPLY)[:5]
        tap = tap_for(protocol, thinking=False)
        for event in part:
            tap.feed(event)
        tail = last_words(tap, BROKEN, FRONT)
        sent = b"".join(part) + tail
        assert faults_of(protocol, sent) == []
        told = read_stream(protocol, sent)
        assert (told.error, told.stop, told.calls) == ("it broke off", None, [])

    def test_are_about_the_response_the_client_knows(self) -> None:
        part = events(R, REPLY)[:5]
        tap = tap_for(R, thinking=False)
        tap.feed(b"".join(part))
        event = json.loads(last_words(tap, BROKEN, FRONT).split(b"data: ")[1])
        assert event["sequence_number"] == 5
        assert (event["response"]["id"], event["response"]["status"]) == ("resp_1", "failed")
        assert event["response"]["error"] == {"code": "server_error", "message": "it broke off"}

    def test_are_a_whole_stream_where_none_was_announced(self) -> None:
        tail = last_words(tap_for(R, thinking=False), BROKEN, FRONT)
        assert faults_of(R, tail) == []
        assert read_stream(R, tail).error == "it broke off"

    def test_name_the_kind_in_messages(self) -> None:
        late = Fault(FaultKind.TIMEOUT, "too late")
        tail = last_words(tap_for(M, thinking=False), late, FRONT)
        said = json.loads(tail.split(b"data: ")[1])
        assert (said["error"]["type"], said["request_id"]) == ("timeout_error", "gw_1")


class TestWholeAnswers:
    @both
    def test_facts(self, protocol: Protocol) -> None:
        facts = facts_of(protocol, 200, whole(protocol, REPLY))
        assert (facts.tool_calls, facts.answer_kind, facts.stop_reason) == (
            2,
            "mixed",
            "tool_calls",
        )
        assert (facts.usage.input_tokens, facts.usage.cache_read_tokens) == (FRESH, CACHED)
        assert facts.usage_source is UsageSource.FINAL

    @both
    @pytest.mark.parametrize(
        "body", [b"", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"choices": 7, "output": {"a": 1}}']
    )
    def test_garbage_gives_no_facts(self, protocol: Protocol, body: bytes) -> None:
        facts = facts_of(protocol, 200, body)
        assert (facts.usage_source, facts.tool_calls, facts.error) == (UsageSource.NONE, 0, None)

    @both
    @pytest.mark.parametrize(
        ("body", "kind", "message"),
        [
            ({"error": {"type": "t", "code": "c", "message": "words"}}, "c", "words"),
            ({"error": {"type": "t", "code": None, "message": "words"}}, "t", "words"),
            ({"error": "only words"}, "error", "only words"),
            ({"detail": "x"}, "error", ""),
        ],
    )
    def test_errors(self, protocol: Protocol, body: Any, kind: str, message: str) -> None:
        error = facts_of(protocol, 400, json.dumps(body).encode()).error
        assert error is not None
        assert (error.type, error.message) == (kind, message)


def test_what_was_not_handed_on_does_not_count_in_the_ending() -> None:
    sent = events(R, REPLY)
    given = b"".join(sent[:6])
    tap = tap_for(R, thinking=False)
    out = tap.feed(given + sent[6][:-1])
    tail = tap.end()
    assert (out, tail) == (given, sent[6][:-1])
    numbers = [
        json.loads(part.split(b"data: ", 1)[1])["sequence_number"]
        for part in (out + last_words(tap, BROKEN, FRONT)).split(b"\n\n")
        if part
    ]
    assert numbers == list(range(7))

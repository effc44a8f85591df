"""Generated transcripts through every pair of protocols: nothing lost, nothing invented.

One example is a whole round: a client's conversation is written for the provider, its answer
comes in any chunking, and the client reads it, streamed and whole.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
from anthropic_rules import check_history
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pair_world import CROSSED, pair_name
from transcripts import (
    TOOLS,
    Turn,
    conversations,
    cuts_of,
    lines_in,
    lines_of,
    replies,
    request,
    words,
)
from translating import EVERYTHING
from vendor_replies import CACHED, FRESH, OUTPUT, WRITTEN, Call, Reply, events, stream, whole
from wire_readers import Told, faults_of, read_stream, read_whole

from providers.call_ids import CallIds
from providers.neutral import Answer, Request
from providers.protocols.dialects import DIALECTS, Front
from providers.tool_book import ToolBook, encode
from providers.traits import Outgoing
from providers.types import Protocol

pytestmark = pytest.mark.faults

Pair = tuple[Protocol, Protocol]
M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
FRONT = Front(request_id="gw_1", answer_id="a1", model="m", created=1, includes_usage=True)

every = settings(
    deadline=None,
    database=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
thorough = settings(every, max_examples=int(os.environ.get("PAIR_EXAMPLES", "300")))
"""``PAIR_EXAMPLES=10000`` takes an hour and more on two cores."""


@dataclass(frozen=True, slots=True)
class Round:
    """A request as the client meant it and as the provider got it."""

    request: Request
    outgoing: Outgoing
    names: dict[str, str]
    """From the provider's names of tools to the client's."""

    @property
    def book(self) -> ToolBook:
        return self.outgoing.book


def send(pair: Pair, turns: list[Turn], question: str) -> Round:
    body = request(pair[0], turns, question, stream=True)
    read = DIALECTS[pair[0]].read_request(body)
    assert isinstance(read, Request), read
    outgoing = DIALECTS[pair[1]].write_request(read, "provider-model", EVERYTHING)
    assert isinstance(outgoing, Outgoing), outgoing
    # What goes on the wire, not what is in memory.
    sent = json.loads(encode(outgoing.body))
    names = {outgoing.book.wire_name(name): name for name in TOOLS}
    assert lines_in(pair[1], sent, names) == lines_of(turns, question)
    if pair[1] is M:
        assert check_history(sent) == []
    return Round(read, outgoing, names)


def ids(found: Round) -> CallIds:
    numbers = itertools.count(1)
    return CallIds(found.request.call_ids, lambda: f"made{next(numbers)}")


def on_the_wire(found: Round, reply: Reply) -> Reply:
    """``reply`` as the provider gives it, with its own names of the tools."""
    calls = (Call(found.book.wire_name(c.name), c.arguments, c.id) for c in reply.calls)
    return Reply(reply.text, tuple(calls), reply.stop)


def streamed(pair: Pair, found: Round, pieces: list[bytes]) -> bytes:
    decoder = DIALECTS[pair[1]].decoder(found.book, ids(found))
    encoder = DIALECTS[pair[0]].encoder(FRONT)
    out = b"".join(encoder.encode(event) for piece in pieces for event in decoder.feed(piece))
    return out + b"".join(encoder.encode(event) for event in decoder.end())


def check_round(pair: Pair, turns: list[Turn], question: str, reply: Reply, data: Any) -> None:
    found = send(pair, turns, question)
    answered = on_the_wire(found, reply)
    size = data.draw(st.integers(1, 9))
    sent = stream(pair[1], answered, size=size)
    got = streamed(pair, found, cuts_of(data.draw, sent))
    assert got == streamed(pair, found, [sent])
    assert faults_of(pair[0], got) == []
    told = read_stream(pair[0], got)
    assert told.text == reply.text
    assert told.arguments == [(call.name, call.arguments) for call in reply.calls]
    assert len(set(told.ids)) == len(reply.calls)
    assert told.stop == reply.reason
    assert (told.prompt, told.cached, told.output) == (FRESH + CACHED + WRITTEN, CACHED, OUTPUT)
    answer = DIALECTS[pair[1]].read_answer(
        json.loads(whole(pair[1], answered)), found.book, ids(found)
    )
    assert isinstance(answer, Answer)
    body = json.loads(encode(DIALECTS[pair[0]].write_answer(answer, FRONT)))
    assert _plain(read_whole(pair[0], body)) == _plain(told)
    _check_next(pair, turns, question, told, answered)


def _plain(told: Told) -> Told:
    told.calls = [(name, json.dumps(args, sort_keys=True)) for name, args in told.arguments]
    return told


def _check_next(pair: Pair, turns: list[Turn], question: str, told: Told, answered: Reply) -> None:
    """The next turn brings the calls back under the ids that the provider gave them."""
    body = json.dumps(request(pair[0], turns, question, stream=True))
    for call, call_id in zip(answered.calls, told.ids, strict=True):
        own = call.id.replace("call", "toolu") if pair[1] is M else call.id
        history = _with_call(pair[0], json.loads(body), call, call_id)
        read = DIALECTS[pair[0]].read_request(history)
        assert isinstance(read, Request), read
        outgoing = DIALECTS[pair[1]].write_request(read, "provider-model", EVERYTHING)
        assert isinstance(outgoing, Outgoing)
        assert json.dumps(outgoing.body).count(f'"{own}"') == 2


def _with_call(protocol: Protocol, body: Any, call: Call, call_id: str) -> Any:
    name = TOOLS[0]
    if protocol is M:
        use = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "x"}
        body["messages"] += [
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
    elif protocol is C:
        function = {"name": name, "arguments": "{}"}
        calls = [{"id": call_id, "type": "function", "function": function}]
        body["messages"] += [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": call_id, "content": "x"},
        ]
    else:
        item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": call_id, "output": "x"}
        body["input"] += [item, output]
    return body


def check_cut(pair: Pair, question: str, reply: Reply, data: Any) -> None:
    """A stream that ends anywhere is either complete or an error, never a shorter success."""
    found = send(pair, [], question)
    sent = stream(pair[1], on_the_wire(found, reply), size=data.draw(st.integers(1, 9)))
    end = data.draw(st.integers(0, len(sent)))
    got = streamed(pair, found, cuts_of(data.draw, sent[:end]))
    assert faults_of(pair[0], got) == []
    told = read_stream(pair[0], got)
    if told.error is None:
        assert (told.text, told.stop) == (reply.text, reply.reason)
        assert len(told.calls) == len(reply.calls)
        assert end > sum(map(len, events(pair[1], reply)[:-3])) / 2
    else:
        assert told.stop is None
        assert reply.text.startswith(told.text)


def check_garbage(pair: Pair, noise: bytes, reply: Reply, data: Any) -> None:
    """Whatever is put into a stream, the client gets a stream of its grammar."""
    found = send(pair, [], "hi")
    sent = stream(pair[1], on_the_wire(found, reply))
    at = data.draw(st.integers(0, len(sent)))
    skip = data.draw(st.integers(0, 30))
    got = streamed(pair, found, cuts_of(data.draw, sent[:at] + noise + sent[at + skip :]))
    assert faults_of(pair[0], got) == []


pairs = pytest.mark.parametrize("pair", CROSSED, ids=pair_name)
noises = st.binary(max_size=20) | st.sampled_from(
    [b"\n\n", b"data: ", b"data: {}\n\n", b"event: error\ndata: {}\n\n", b"data: [DONE]\n\n"]
)


@pairs
@every
@given(conversations(), words, replies(), st.data())
def test_a_round_loses_nothing(
    pair: Pair, turns: list[Turn], question: str, reply: Reply, data: Any
) -> None:
    check_round(pair, turns, question, reply, data)


@pairs
@every
@given(words, replies(), st.data())
def test_a_cut_is_never_a_short_success(pair: Pair, question: str, reply: Reply, data: Any) -> None:
    check_cut(pair, question, reply, data)


@pairs
@every
@given(noises, replies(), st.data())
def test_noise_never_breaks_the_grammar(pair: Pair, noise: bytes, reply: Reply, data: Any) -> None:
    check_garbage(pair, noise, reply, data)


@pytest.mark.faults
@pairs
@thorough
@given(conversations(), words, replies(), st.data())
def test_many_rounds_lose_nothing(
    pair: Pair, turns: list[Turn], question: str, reply: Reply, data: Any
) -> None:
    check_round(pair, turns, question, reply, data)


@pytest.mark.faults
@pairs
@thorough
@given(words, noises, replies(), st.data())
def test_many_broken_streams(
    pair: Pair, question: str, noise: bytes, reply: Reply, data: Any
) -> None:
    check_cut(pair, question, reply, data)
    check_garbage(pair, noise, reply, data)

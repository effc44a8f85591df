"""Whole rounds between a client and a provider, checked: what ``seeded`` or Hypothesis draws.

One round: a client's conversation is written for the provider, its answer comes in any chunking,
and the client reads it, streamed and whole. Between parties of one protocol nothing is written
anew; there the bytes are the same, and what is read beside them is right.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any, Protocol

from anthropic_rules import check_history
from transcripts import TOOLS, Turn, lines_in, lines_of, request
from translating import EVERYTHING
from vendor_replies import CACHED, FRESH, OUTPUT, WRITTEN, Call, Reply, events, stream, whole
from wire_readers import Told, faults_of, read_stream, read_whole

from providers.call_ids import CallIds
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, Request
from providers.protocols.dialects import DIALECTS, Front
from providers.tool_book import ToolBook, encode
from providers.traits import Outgoing
from providers.types import Protocol as Wire
from server.taps import Terminal, last_words, tap_for

Pair = tuple[Wire, Wire]
M, R, C = Wire.MESSAGES, Wire.RESPONSES, Wire.CHAT
FRONT = Front(request_id="gw_1", answer_id="a1", model="m", created=1, includes_usage=True)
_BROKEN = Fault(FaultKind.TRUNCATED, "it broke off")


class Picks(Protocol):
    """Where the checks' own choices come from."""

    def number(self, low: int, high: int) -> int: ...

    def cuts(self, data: bytes) -> list[bytes]: ...


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
    """Bring a conversation to the provider, which must read in it what the client said."""
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
    """The ids of one answer's calls."""
    numbers = itertools.count(1)
    return CallIds(found.request.call_ids, lambda: f"made{next(numbers)}")


def on_the_wire(found: Round, reply: Reply) -> Reply:
    """``reply`` as the provider gives it, with its own names of the tools."""
    calls = (Call(found.book.wire_name(c.name), c.arguments, c.id) for c in reply.calls)
    return Reply(reply.text, tuple(calls), reply.stop)


def streamed(pair: Pair, found: Round, pieces: list[bytes]) -> bytes:
    """What the client gets of a stream that arrives in ``pieces``."""
    decoder = DIALECTS[pair[1]].decoder(found.book, ids(found))
    encoder = DIALECTS[pair[0]].encoder(FRONT)
    out = b"".join(encoder.encode(event) for piece in pieces for event in decoder.feed(piece))
    return out + b"".join(encoder.encode(event) for event in decoder.end())


# -- across protocols ---------------------------------------------------------------------------


def check_round(pair: Pair, turns: list[Turn], question: str, reply: Reply, picks: Picks) -> None:
    """Nothing is lost and nothing invented, whatever the chunking; streamed is as whole."""
    found = send(pair, turns, question)
    answered = on_the_wire(found, reply)
    sent = stream(pair[1], answered, size=picks.number(1, 9))
    got = streamed(pair, found, picks.cuts(sent))
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
    if not answered.calls:
        return
    body = json.dumps(request(pair[0], turns, question, stream=True))
    for call, call_id in zip(answered.calls, told.ids, strict=True):
        own = call.id.replace("call", "toolu") if pair[1] is M else call.id
        history = _with_call(pair[0], json.loads(body), call_id)
        read = DIALECTS[pair[0]].read_request(history)
        assert isinstance(read, Request), read
        outgoing = DIALECTS[pair[1]].write_request(read, "provider-model", EVERYTHING)
        assert isinstance(outgoing, Outgoing)
        assert json.dumps(outgoing.body).count(f'"{own}"') == 2


def _with_call(protocol: Wire, body: Any, call_id: str) -> Any:
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


def check_cut(pair: Pair, question: str, reply: Reply, picks: Picks) -> None:
    """A stream that ends anywhere is either complete or an error, never a shorter success."""
    found = send(pair, [], question)
    sent = stream(pair[1], on_the_wire(found, reply), size=picks.number(1, 9))
    end = picks.number(0, len(sent))
    got = streamed(pair, found, picks.cuts(sent[:end]))
    assert faults_of(pair[0], got) == []
    told = read_stream(pair[0], got)
    if told.error is None:
        assert (told.text, told.stop) == (reply.text, reply.reason)
        assert len(told.calls) == len(reply.calls)
        assert end > sum(map(len, events(pair[1], reply)[:-3])) / 2
    else:
        assert told.stop is None
        assert reply.text.startswith(told.text)


def check_garbage(pair: Pair, noise: bytes, reply: Reply, picks: Picks) -> None:
    """Whatever is put into a stream, the client gets a stream of its grammar."""
    found = send(pair, [], "hi")
    sent = stream(pair[1], on_the_wire(found, reply))
    at = picks.number(0, len(sent))
    skip = picks.number(0, 30)
    got = streamed(pair, found, picks.cuts(sent[:at] + noise + sent[at + skip :]))
    assert faults_of(pair[0], got) == []


# -- within one protocol ------------------------------------------------------------------------


def check_native(protocol: Wire, reply: Reply, picks: Picks) -> None:
    """A relayed stream keeps its bytes in any chunking, and its facts are read right."""
    sent = stream(protocol, reply, size=picks.number(1, 9))
    tap = tap_for(protocol, thinking=False)
    out = b"".join([tap.feed(piece) for piece in picks.cuts(sent)] + [tap.end()])
    assert out == sent
    assert faults_of(protocol, out) == []
    assert (tap.terminal, tap.error) == (Terminal.STOP, None)
    assert (tap.tool_calls, tap.semantic) == (len(reply.calls), True)
    usage = tap.usage
    assert (usage.input_tokens, usage.output_tokens) == (FRESH, OUTPUT)
    assert (usage.cache_read_tokens, usage.cache_write_5m_tokens) == (CACHED, WRITTEN)


def check_native_cut(protocol: Wire, reply: Reply, picks: Picks) -> None:
    """A relayed stream that is cut gets an ending that its client takes for no success."""
    sent = stream(protocol, reply, size=picks.number(1, 9))
    end = picks.number(0, len(sent))
    tap = tap_for(protocol, thinking=False)
    out = b"".join(tap.feed(piece) for piece in picks.cuts(sent[:end]))
    tail = tap.end()
    assert sent.startswith(out + tail)
    if tap.terminal is not None:
        # Clients of Chat take an answer with its reason for complete, whether its last word came.
        last_word = b"\n\ndata: [DONE]\n\n" if protocol is C else b""
        try:
            told = read_stream(protocol, out + tail + last_word)
        except ValueError:
            # Part of an event is left over; it is passed on, and no client can read it.
            told = read_stream(protocol, out + last_word)
        assert (told.text, told.stop, len(told.calls)) == (
            reply.text,
            reply.reason,
            len(reply.calls),
        )
        return
    if not tap.semantic:
        # Nothing was given to the client yet, so it gets an error answer in place of a stream.
        return
    out += last_words(tap, _BROKEN, FRONT)
    # Beside native bytes nothing is collected that a failed response could repeat.
    assert set(faults_of(protocol, out)) <= {"response.failed: output or error"}
    told = read_stream(protocol, out)
    assert told.error is not None
    assert told.stop is None
    assert reply.text.startswith(told.text)

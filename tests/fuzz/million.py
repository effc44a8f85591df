"""A million mutated inputs over the parsers of what others wrote; every input is a seed of its own.

    python tests/fuzz/million.py 1000000            over all parsers, in the shares of PARTS
    python tests/fuzz/million.py 1000 framing 7_000   one parser, from input 7,000 on

Quicker than the property tests beside it, because it keeps nothing and shrinks nothing: an input
that fails is named by its number, from which it comes back at once. Ends with 1 on a failure, or
when one input takes longer than ``SLOWEST_S`` of processor time.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from agent_bodies import codex_turn, encode, item, main_turn, user
from hostile_text import HOSTILE, assert_safe
from vendor_replies import Call, Reply, events
from wire_readers import faults_of

from providers.call_ids import CallIds
from providers.events import Event, Failed, Finished
from providers.neutral import Request
from providers.protocols.dialects import DIALECTS, Front
from providers.protocols.peek import BadRequest, read_object
from providers.sse import EventTooLargeError, SseDecoder
from providers.tool_book import ToolBook
from providers.types import Protocol
from server.guard import END, FramingGuard, Head, Refused
from server.taps import TapOverflow, tap_for
from tui.format import neutralise

SLOWEST_S = 1.0
REPLIES = [
    Reply("Hello there, 你好 \U0001f44b."),
    Reply("Let me look.", (Call("get_weather", {"city": "Oslo"}), Call("b", {}, "call_2"))),
    Reply("Too long", stop="max_tokens"),
]
STREAMS = [(p, b"".join(events(p, reply))) for p in Protocol for reply in REPLIES]
BODIES = [
    encode(main_turn(user("hello"))),
    encode(codex_turn(item("user", "hello"))),
    encode({"model": "m", "messages": [{"role": "user", "content": "hello"}], "n": 1}),
]
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:1\r\nx-api-key: k\r\n"
REQUESTS = [
    HEAD + b"Content-Length: 5\r\n\r\nhello" + HEAD + b"\r\n",
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
]
NOISE = [
    b"\n", b"\r", b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"data: ", b"data: {}\n\n",
    b"event: error\n", b": x\n\n", b"data: [DONE]\n\n", b"[" * 300, b"{", b"}", b'"', b"\\", b",", b":",
    b"1e999", b"-0", b"9" * 400, b'"\\ud800"', b"null", b"NaN", b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b" ", b"\t", b";", b"HTTP/1.1",
]  # fmt: skip


def mutate(dice: random.Random, data: bytes, most: int = 6) -> bytes:
    """``data`` with up to ``most`` parts lost, doubled, moved, flipped or mixed with noise."""
    found = bytearray(data)
    for _ in range(dice.randrange(most)):
        at = dice.randrange(len(found) + 1)
        to = min(len(found), at + 1 + int(dice.expovariate(0.05)))
        match dice.randrange(7):
            case 0:
                del found[at:to]
            case 1:
                found[at:at] = found[at:to]
            case 2:
                found[at:at] = dice.choice(NOISE)
            case 3:
                found[at:to] = dice.choice(NOISE)
            case 4 if at < len(found):
                found[at] ^= 1 << dice.randrange(8)
            case 5:
                del found[at:]
            case _:
                part = bytes(found[at:to])
                del found[at:to]
                place = dice.randrange(len(found) + 1)
                found[place:place] = part
    return bytes(found)


def cut(dice: random.Random, data: bytes) -> list[bytes]:
    """``data`` in a few pieces."""
    marks = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(5)))
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def event_streams(dice: random.Random) -> None:
    """Events are the same however the bytes were cut."""
    data = mutate(dice, dice.choice(STREAMS)[1])
    whole, split = SseDecoder(limit=4096), SseDecoder(limit=4096)
    try:
        expected = [*whole.feed(data), *whole.end()]
        found = [event for piece in cut(dice, data) for event in split.feed(piece)]
    except EventTooLargeError:
        return
    assert [*found, *split.end()] == expected


def relayed(dice: random.Random) -> None:
    """A tap passes on every byte, whatever it reads."""
    protocol, good = dice.choice(STREAMS)
    data = mutate(dice, good)
    tap = tap_for(protocol, thinking=False)
    try:
        out = b"".join(tap.feed(piece) for piece in cut(dice, data)) + tap.end()
    except TapOverflow:
        return
    assert out == data


def translated(dice: random.Random) -> None:
    """A client gets a well-formed stream with one end, whatever the vendor sent."""
    provider, good = dice.choice(STREAMS)
    client = dice.choice([p for p in Protocol if p is not provider])
    ids = CallIds(frozenset(), iter(f"call_n{n}" for n in range(10**6)).__next__)
    decoder = DIALECTS[provider].decoder(ToolBook(Request(model="m", messages=())), ids)
    encoder = DIALECTS[client].encoder(Front(request_id="gw_1", answer_id="1", model="m"))
    found: list[Event] = []
    for piece in cut(dice, mutate(dice, good)):
        if not decoder.is_done:
            found += decoder.feed(piece)
    if not decoder.is_done:
        found += decoder.end()
    assert sum(isinstance(event, Finished | Failed) for event in found) == 1
    out = b"".join(encoder.encode(event) for event in found)
    assert not encoder.has_content or faults_of(client, out) == []


def requests(dice: random.Random) -> None:
    """A body is an object that its protocol's parser reads, or a bad request."""
    data = mutate(dice, dice.choice(BODIES))
    try:
        body = read_object(data)
    except BadRequest:
        return
    for protocol in Protocol:
        DIALECTS[protocol].read_request(body)


def framing(dice: random.Random) -> None:
    """Requests on a connection are the same however the bytes were cut, and so is a refusal."""
    data = mutate(dice, dice.choice(REQUESTS) + dice.choice(REQUESTS))
    whole, split = _framed([data]), _framed(cut(dice, data))
    assert whole[0] == split[0], (whole, split)


def _framed(pieces: list[bytes]) -> tuple[list[object], str]:
    """Heads, bodies and ends of what came before anything was refused."""
    guard = FramingGuard()
    found: list[object] = []
    body = b""
    for piece in pieces:
        guard.feed(piece)
        try:
            while (part := guard.next()) is not None:
                if isinstance(part, Head):
                    found.append((part.method, part.target, part.length))
                elif part == END:
                    found.append(body)
                    body = b""
                else:
                    body += part
        except Refused as refusal:
            return found, refusal.reason
    return found, ""


def terminal(dice: random.Random) -> None:
    """Nothing that a terminal acts on is shown."""
    text = "".join(dice.choice(HOSTILE)[:200] for _ in range(dice.randrange(4)))
    noise = mutate(dice, text.encode("utf-8", "replace")).decode("utf-8", "replace")
    assert_safe(neutralise(noise, dice.choice((None, 7, 40))))


PARTS: Mapping[str, tuple[Callable[[random.Random], None], int]] = {
    "event_streams": (event_streams, 20),
    "relayed": (relayed, 15),
    "translated": (translated, 10),
    "requests": (requests, 20),
    "framing": (framing, 25),
    "terminal": (terminal, 10),
}
"""Each target and its share of the inputs, in percent."""


def run(name: str, count: int, first: int = 0) -> int:
    """So many inputs of one target; how many failed."""
    target, failed, slowest = PARTS[name][0], 0, 0.0
    begun = time.process_time()
    for number in range(first, first + count):
        before = time.process_time()
        try:
            target(random.Random(f"{name} {number}"))
        except Exception:
            failed += 1
            if failed <= 3:
                print(f"  {name} {number}:", traceback.format_exc(limit=-2), flush=True)
        took = time.process_time() - before
        slowest = max(slowest, took)
        failed += took > SLOWEST_S
    took = time.process_time() - begun
    print(
        f"  {name}: {count:,} inputs, {failed} failed, {took:.0f} s, slowest {slowest * 1000:.1f} ms"
    )
    return failed


def main(arguments: list[str]) -> int:
    """All parts, or one; 0 when no input failed."""
    count = int(arguments[0]) if arguments else 1_000_000
    first = int(arguments[2]) if len(arguments) > 2 else 0
    chosen = arguments[1:2] or list(PARTS)
    share = 100 if arguments[1:] else 0
    failed = sum(run(name, count * (share or PARTS[name][1]) // 100, first) for name in chosen)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

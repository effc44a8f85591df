"""A vendor that costs next to nothing, run as a child: ``python _upstream.py`` prints its port.

The request field ``x-bench`` says what to answer: ``whole`` is a complete JSON message, ``burst``
a short stream in one write, and ``stream/COUNT/INTERVAL_MS/FIRST_MS`` a paced one. Every delta
carries the instant it was written as ``@nanoseconds@`` of CLOCK_MONOTONIC, which all processes of
one machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sys
import time
from pathlib import Path
from typing import cast

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from anthropic_streams import (
    MESSAGE_STOP,
    PING,
    START_USAGE,
    block_stop,
    message_delta,
    message_start,
    text_delta,
    text_start,
)

_LENGTH = re.compile(rb"\r\ncontent-length:[ ]*(\d+)", re.I)
_PLAN = re.compile(rb"\r\nx-bench:[ ]*([a-z0-9/]+)", re.I)

_FIELDS = (
    b"request-id: req_bench_0123456789\r\n"
    b"anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\n"
    b"anthropic-ratelimit-requests-limit: 4000\r\n"
    b"anthropic-ratelimit-requests-remaining: 3999\r\n"
    b"anthropic-ratelimit-requests-reset: 2026-11-01T00:00:00Z\r\n"
    b"anthropic-ratelimit-tokens-limit: 4000000\r\n"
    b"anthropic-ratelimit-tokens-remaining: 3990000\r\n"
    b"anthropic-ratelimit-tokens-reset: 2026-11-01T00:00:00Z\r\n"
    b"cache-control: no-cache\r\n"
)
_ANSWER = (
    b'{"id":"msg_bench","type":"message","role":"assistant","model":"claude-opus-5-5",'
    b'"content":[{"type":"text","text":"' + b"Done as you asked. " * 20 + b'"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,'
    b'"cache_creation_input_tokens":900,"cache_read_input_tokens":12000,"output_tokens":90}}'
)
_WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    + _FIELDS
    + b"Content-Length: %d\r\n\r\n" % len(_ANSWER)
    + _ANSWER
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    + _FIELDS
    + b"Transfer-Encoding: chunked\r\n\r\n"
)
_OPENING = message_start(START_USAGE) + text_start(0) + PING
_CLOSING = block_stop(0) + message_delta("end_turn", {"output_tokens": 25}) + MESSAGE_STOP
_END = b"0\r\n\r\n"

_BEFORE, _, _AFTER = text_delta(0, "about @@ five words more ").partition(b"@@")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _stamped() -> bytes:
    return b"%s@%d@%s" % (_BEFORE, time.monotonic_ns(), _AFTER)


class Vendor(asyncio.Protocol):
    """One connection; requests come one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._head = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head += data
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = head
            length = _LENGTH.search(head)
            self._missing = int(length[1]) if length else 0
            data = body
        self._missing -= len(data)
        if self._missing <= 0:
            head, self._head, self._missing = self._head, b"", 0
            plan = _PLAN.search(head)
            self._answer((plan[1] if plan else b"whole").split(b"/"))

    def _answer(self, plan: list[bytes]) -> None:
        if plan[0] == b"whole":
            self._transport.write(_WHOLE)
        elif plan[0] == b"burst":
            events = b"".join((_OPENING, *(_stamped() for _ in range(8)), _CLOSING))
            self._transport.write(_STREAM_HEAD + _chunk(events) + _END)
        else:
            count, interval_s, first_s = int(plan[1]), int(plan[2]) / 1e3, int(plan[3]) / 1e3
            loop = asyncio.get_running_loop()
            loop.call_later(first_s, self._open, count, interval_s)

    def _open(self, count: int, interval_s: float) -> None:
        if not self._transport.is_closing():
            self._transport.write(_STREAM_HEAD + _chunk(_OPENING))
            self._next(count, interval_s, asyncio.get_running_loop().time())

    def _next(self, left: int, interval_s: float, due: float) -> None:
        """Keep to the timetable even when this process was late."""
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(_chunk(_CLOSING) + _END)
            return
        self._transport.write(_chunk(_stamped()))
        due += interval_s
        asyncio.get_running_loop().call_at(due, self._next, left - 1, interval_s, due)


async def serve() -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Vendor, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    await server.serve_forever()


def main() -> None:
    factory = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory  # type: ignore[assignment]
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()

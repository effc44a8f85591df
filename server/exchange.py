"""One accepted request while it runs: its record, its client, its timers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from providers.faults import Fault
from providers.types import Headers
from server.classify import AnyRequest
from server.clock import Clock
from server.credentials import Access
from server.interrupt import BodyStalled, ClientStalled, Interrupt
from server.record import Turn
from server.timers import Verdict, Watch

TAIL = 16 * 1024
"""Bytes of a whole answer that wait for ``Sink.before_end``; what is before them need not."""

SLICE = 64 * 1024
"""Bytes of a whole answer sent at once, so that a client that reads slowly is seen to read."""

Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Inbound:
    """What the client sent, without its body; ``path`` is raw, without the path token."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    access: Access = field(default_factory=Access)


class Sink:
    """The client's side of an exchange, over ASGI ``send``."""

    def __init__(self, send: Send, clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self.started = False
        self.finished = False
        self.bytes_sent = 0
        self.writing_since: float | None = None
        self.before_start: Callable[[], Awaitable[None]] | None = None
        """Awaited before the first byte."""
        self.before_end: Callable[[], Awaitable[None]] | None = None
        """Awaited once, before the bytes by which the client sees that its answer is complete."""
        self.linger: Callable[[], Awaitable[None]] | None = None
        """Runs when all bytes of a whole answer are out but its exchange is not yet over."""
        self._head: dict[str, Any] | None = None
        self._tail = b""

    def overhear(self, listener: Callable[[Any], None]) -> None:
        """Tell ``listener`` every ASGI message from now on, once it was sent; it must not raise."""
        send = self._send

        async def both(message: Any) -> None:
            await send(message)
            listener(message)

        self._send = both

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer: from here on nothing can be taken back.

        The status line and the fields leave together with the first bytes of the body.
        """
        if self.before_start is not None:
            await self.before_start()
        self.started = True
        self._head = {"type": "http.response.start", "status": status, "headers": headers}

    async def write(self, data: bytes) -> None:
        """Send body bytes; returns once the socket's buffer has room again."""
        self.bytes_sent += len(data)
        await self._guarded({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """End the body cleanly."""
        await self._end_is_near()
        self.finished = True
        tail, self._tail = self._tail, b""
        await self._guarded({"type": "http.response.body", "body": tail, "more_body": False})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer at once; ``headers`` without a length."""
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, [*headers, length])
        for start in range(0, len(body) - TAIL, SLICE):
            await self.write(body[start : min(start + SLICE, len(body) - TAIL)])
        self._tail = body[-TAIL:]
        self.bytes_sent += len(self._tail)
        if self.linger is not None:
            await self._end_is_near()
            tail, self._tail = self._tail, b""
            await self._guarded({"type": "http.response.body", "body": tail, "more_body": True})
            await self.linger()
        await self.finish()

    async def _end_is_near(self) -> None:
        before_end, self.before_end = self.before_end, None
        if before_end is not None:
            await before_end()

    async def _guarded(self, message: dict[str, Any]) -> None:
        self.writing_since = self._clock.monotonic()
        try:
            if self._head is not None:
                head, self._head = self._head, None
                await self._send(head)
            await self._send(message)
        finally:
            self.writing_since = None


class Exchange:
    """Ties a turn to its client connection and lets the ticker judge it."""

    def __init__(self, turn: Turn, inbound: Inbound, sink: Sink, watch: Watch) -> None:
        self.turn = turn
        self.inbound = inbound
        self.sink = sink
        self.watch = watch
        self.interrupt = Interrupt()
        self.body = b""
        """Of the request, as received; empty until it is complete."""
        self.request: AnyRequest | None = None
        """What the body says; ``None`` until it was read, and when it cannot be."""
        self.opened: Future[None] | None = None
        """Done with the write-ahead row; ``None`` until the turn is announced."""
        self.is_recorded = False
        """The terminal row is on its way: the turn must not change any more."""
        self.takes_events = True
        """Whether events of ours can be put into the answer; not into a compressed one."""
        self.keepalive: Callable[[], None] | None = None
        """Sends the protocol's keep-alive; set while a stream is committed."""
        self.last_words: Callable[[Fault], bytes] | None = None
        """Ends a committed stream that will not be completed, in its protocol's own way."""
        self.conclude: Callable[[], bool] | None = None
        """Records the committed stream as the whole answer it is; ``False`` where it is none."""
        self.stop_reading: Callable[[], None] | None = None
        """Closes the upstream's side of a complete answer; set while a stream is read."""
        self.expire: Callable[[Verdict], None] | None = None
        """Ends the running attempt; set while one runs."""
        self.done = asyncio.Event()
        """Set when the turn is terminal and its last byte was handed over."""

    def let_go(self) -> None:
        """It is over: drop what refers back to it.

        Or else body and answer would stay in memory until the garbage collector comes, which has
        much to do then.
        """
        self.sink.before_start = self.sink.before_end = None
        self.keepalive = self.stop_reading = self.expire = None
        self.last_words = self.conclude = None

    def tick(self, now: float) -> None:
        """Let the timers act; called by the gateway's ticker about once a second."""
        self.watch.writing_since = self.sink.writing_since
        match self.watch.verdict(now):
            case None:
                return
            case Verdict.KEEPALIVE:
                if self.keepalive is not None:
                    self.keepalive()
            case Verdict.LINGERING:
                if self.stop_reading is not None:
                    self.stop_reading()
            case Verdict.CLIENT_STALLED:
                self.interrupt.fire(ClientStalled())
            case Verdict.BODY_STALLED:
                self.interrupt.fire(BodyStalled())
            case verdict:
                if self.expire is not None:
                    self.expire(verdict)

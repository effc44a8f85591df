"""One HTTP/1.1 connection to an upstream: writes a request, hands out the response as it arrives.

The socket outlives the message: the parser's ``Phase`` tells where the current message stands,
``lost`` whether the socket is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from providers._h1_parser import Phase, ResponseParser
from providers._head import Head
from providers.errors import ConnectionDropped, FramingError, ResponseFailed, WriteFailed
from providers.types import Headers

HIGH_WATER = 256 * 1024
"""Body bytes buffered before the socket is no longer read."""
READ_SIZE = 256 * 1024
"""Bytes read at once, at most."""
WRITE_QUEUE = 64 * 1024
"""Request bytes waiting for the socket before nothing more is written."""
WRITE_SLICE = 128 * 1024
"""Larger bodies are written piecewise, so that an early answer is seen and others get a turn."""


class Connection(asyncio.BufferedProtocol):
    """A connection for one request at a time, reused by its owner while ``is_reusable``.

    ``label`` is ``host:port``, for messages. ``buffer`` is what the socket is read into; it may be
    shared by all connections of one loop, because it is only used within one call from the loop.
    (Without it asyncio allocates 256 KiB for every read, which glibc may map and unmap each time.)
    ``on_lost`` is called once, as soon as the socket
    can no longer be used; ``on_closed`` when it is closed for good, possibly again.
    """

    __slots__ = (
        "_buffer",
        "_failure",
        "_label",
        "_loop",
        "_message",
        "_on_closed",
        "_on_lost",
        "_peer_ended",
        "_read_paused",
        "_responded",
        "_transport",
        "_waiter",
        "_write_paused",
        "generation",
        "idle_since",
        "lost",
    )

    def __init__(
        self,
        label: str,
        buffer: memoryview,
        on_lost: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._label = label
        self._buffer = buffer
        self._on_lost = on_lost
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._message = ResponseParser()
        self._failure: tuple[type[ResponseFailed], str] | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._write_paused = False
        self._read_paused = False
        self._responded = False
        self._peer_ended = False
        self.lost = False
        """The socket is closed, closing, or half-closed by the peer."""
        self.generation = 0
        self.idle_since = 0.0
        """Both belong to the pool."""

    # -- the owner's side ---------------------------------------------------------------------

    @property
    def status(self) -> int:
        """Status of the response, once ``wait_head`` has returned."""
        return self._message.status

    @property
    def headers(self) -> Headers:
        """Header fields of the response, once ``wait_head`` has returned."""
        return self._message.headers

    @property
    def is_reusable(self) -> bool:
        """Whether the response was read to its end and another request may follow."""
        message = self._message
        return (
            message.phase is Phase.COMPLETE
            and message.keep_alive
            and not message.chunks
            and not self.lost
            and not self._write_paused
        )

    @property
    def dropped_unanswered(self) -> bool:
        """Whether the peer ended the connection before it sent a byte of the response."""
        return self._peer_ended and not self._responded

    def attach(self, transport: asyncio.Transport) -> None:
        """Use ``transport`` from now on (after ``start_tls`` nobody calls ``connection_made``)."""
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_QUEUE)

    def make_idle(self) -> None:
        """Forget the response; only after ``is_reusable``."""
        self._message.phase = Phase.IDLE
        self._message.headers = []
        self._resume_reading()

    def abort(self, reason: str = "was closed by the gateway") -> None:
        """Close the socket at once; buffered output is lost. Idempotent."""
        if self._failure is None and self._message.phase in (Phase.HEAD, Phase.BODY):
            self._failure = (ConnectionDropped, f"The connection to {self._label} {reason}.")
        self._set_lost()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._on_closed(self)
        self._wake()

    def abort_from_any_thread(self) -> None:
        """``abort`` for finalizers, which run wherever garbage is collected."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.abort)

    async def send(self, head: Head, body: bytes, timeout_s: float) -> None:
        """Write one request; returns early when the response begins before all was written.

        Raises ``WriteFailed`` when the socket breaks or the peer takes nothing for
        ``timeout_s`` seconds. After any exception the caller aborts the connection.
        """
        message = self._message
        message.start(bodiless=head.bodiless, keep_alive=head.keep_alive)
        self._responded = False
        if len(body) <= WRITE_SLICE:
            self._write(head.data + body if body else head.data)
            return
        self._write(head.data)
        view = memoryview(body)
        for start in range(0, len(body), WRITE_SLICE):
            if message.phase is not Phase.HEAD or self._failure is not None:
                # The peer answered without reading the rest: this socket is out of step.
                message.keep_alive = False
                return
            self._write(view[start : start + WRITE_SLICE])
            await self._flushed(timeout_s)

    def _write(self, data: bytes | memoryview) -> None:
        if self.lost or self._transport is None:
            raise self._broken_write()
        self._transport.write(data)

    async def _flushed(self, timeout_s: float) -> None:
        """Give the other connections a turn, and wait while the socket takes no more."""
        if not self._write_paused:
            await asyncio.sleep(0)
        while self._write_paused and not self.lost and self._message.phase is Phase.HEAD:
            if not await self._wait_at_most(timeout_s):
                self.abort()
                raise WriteFailed(
                    f"{self._label} took none of the request for {timeout_s:g} seconds."
                )
        if self._peer_ended and self._message.phase is Phase.HEAD:
            raise self._broken_write()

    def _broken_write(self) -> WriteFailed:
        return WriteFailed(f"{self._label} closed the connection while the request was sent.")

    async def wait_head(self) -> None:
        """Wait for the final response head; then ``status`` and ``headers`` are set.

        Raises ``ConnectionDropped`` or ``FramingError``.
        """
        while self._message.phase is Phase.HEAD:
            if self._failure is not None:
                kind, text = self._failure
                raise kind(text)
            await self._wait()

    async def read(self) -> bytes:
        """The body bytes that arrived since the last call, ``b""`` at the end of the body.

        Raises ``ConnectionDropped`` or ``FramingError``, after all good bytes were handed out.
        """
        message = self._message
        while not message.chunks:
            if message.phase is Phase.COMPLETE:
                return b""
            if self._failure is not None:
                kind, text = self._failure
                raise kind(text)
            await self._wait()
        data = message.take()
        self._resume_reading()
        return data

    async def readable(self, seconds: float) -> bool:
        """Whether ``read`` would return at once, after waiting at most ``seconds`` for it."""
        if not self._has_news():
            await self._wait_at_most(seconds)
        return self._has_news()

    def _has_news(self) -> bool:
        message = self._message
        return bool(message.chunks) or message.phase is Phase.COMPLETE or self._failure is not None

    async def _wait(self) -> bool:
        """Sleep until something happened; ``False`` when a timer of ours ended the wait."""
        if self._waiter is not None:
            raise RuntimeError("two tasks wait on one connection")
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        except BaseException:
            # Whoever is cancelled here does not come back: the upstream must stop generating now.
            self.abort()
            raise
        finally:
            self._waiter = None

    async def _wait_at_most(self, seconds: float) -> bool:
        timer = self._loop.call_later(seconds, self._wake, False)
        try:
            return await self._wait()
        finally:
            timer.cancel()

    def _wake(self, news: bool = True) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(news)

    def _resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            if not self.lost and self._transport is not None:
                self._transport.resume_reading()

    def _set_lost(self) -> None:
        if not self.lost:
            self.lost = True
            self._on_lost(self)

    # -- asyncio.BufferedProtocol -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(cast(asyncio.Transport, transport))

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        message = self._message
        if self.lost or message.phase is Phase.IDLE or message.phase is Phase.COMPLETE:
            # Nobody asked: a late 408, or bytes after the body. The next answer could be theirs.
            self.abort()
            return
        self._responded = True
        if not message.feed(self._buffer[:nbytes]):
            return
        if message.fault:
            self._refuse(message)
        elif message.buffered > HIGH_WATER and not self._read_paused:
            self._read_paused = True
            if self._transport is not None:
                self._transport.pause_reading()
        self._wake()

    def _refuse(self, message: ResponseParser) -> None:
        if message.phase is not Phase.COMPLETE and self._failure is None:
            self._failure = (FramingError, f"{self._label} sent {message.fault}.")
        self.abort()

    def eof_received(self) -> None:
        self._ended(None)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._transport = None
        self._message.detach()
        self._on_closed(self)

    def _ended(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self._peer_ended = True
        message = self._message
        if exc is None:
            message.feed_eof()
        if self._failure is None and message.phase in (Phase.HEAD, Phase.BODY):
            how = "closed the connection" if exc is None else "broke the connection"
            when = "before answering" if message.phase is Phase.HEAD else "in mid-answer"
            self._failure = (ConnectionDropped, f"{self._label} {how} {when}.")
        self._set_lost()
        self._wake()

"""The HTTP/1.1 client for upstreams: one connection pool per origin, nothing added, nothing lost.

    transport = Transport(ssl_context=make_context("system", env))
    response = await transport.request(origin, b"POST", b"/v1/messages", headers, body)
    try:
        while data := await response.read():
            ...
    finally:
        await response.aclose()

It has no timers for silence: whoever waits for an answer cancels, and a cancelled ``request`` or
``read`` closes the socket at once. All errors are ``providers.errors``; ``ValueError`` is a fault
of the caller, raised before anything is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from providers._dial import Dialer
from providers._h1 import READ_SIZE, Connection
from providers._head import Head, encode_head
from providers._origin import Origin as Origin
from providers.errors import ConnectionDropped, FramingError, WriteFailed
from providers.proxy import Proxy, ProxyMap
from providers.types import Headers

if TYPE_CHECKING:
    from providers._httpx import HttpxTransport as HttpxTransport

STALE_WINDOW_S = 10.0
"""A kept connection that ends unanswered later than this after a request was not stale: the
upstream had taken the request, and sending it again would be a second, invisible generation."""

CLOSE_WAIT_S = 1.0

_REST_BYTES = 64 * 1024
"""What may follow the last word of an answer; beyond it the connection is not worth it."""


class Monotonic(Protocol):
    """The part of a clock that the pool needs."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""


class _LoopClock:
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class UpstreamResponse:
    """A response whose head has arrived. Close it, or read it to its end and close it."""

    __slots__ = ("_conn", "_fields", "_release", "headers", "reused", "status")

    def __init__(
        self, conn: Connection, *, reused: bool, release: Callable[[Connection], None]
    ) -> None:
        self.status = conn.status
        self.headers: Headers = conn.headers
        """As received, order and case kept; trailers are dropped."""
        self.reused = reused
        """The connection was kept alive from an earlier request."""
        self._conn: Connection | None = conn
        self._release = release
        self._fields: dict[bytes, bytes] | None = None

    def field(self, name: bytes) -> str | None:
        """The first value of the field ``name`` (lower case)."""
        fields = self._fields
        if fields is None:
            fields = self._fields = {}
            for key, value in self.headers:
                fields.setdefault(key.lower(), value)
        found = fields.get(name)
        return None if found is None else found.decode("latin-1")

    def _live(self) -> Connection:
        if self._conn is None:
            raise RuntimeError("the response is closed")
        return self._conn

    def read(self) -> Coroutine[Any, Any, bytes]:
        """The next body bytes as soon as any arrived, ``b""`` at the clean end.

        The transfer coding is removed, the content coding is not. Raises ``ConnectionDropped``
        or ``FramingError``. Cancelling it closes the connection; use ``readable`` to wait for a
        while only.
        """
        return self._live().read()

    async def readable(self, seconds: float) -> bool:
        """Wait until ``read`` has something to say, at most ``seconds``; ``False`` if not.

        Costs no task and no cancellation, so it suits keep-alive and stall timers.
        """
        return await self._live().readable(seconds)

    async def read_all(self, limit: int) -> bytes:
        """The rest of the body; ``FramingError`` when it is larger than ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                self.close_now()
                raise FramingError(f"The body of the answer is larger than {limit} bytes.")
            parts.append(data)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Keep the connection if the body was read to its end, else close the socket. Idempotent."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._release(conn)

    async def end(self, seconds: float) -> None:
        """``aclose`` for an answer whose last word was read, although its body may not be over.

        Some send the end of the body in a packet of its own. It is given ``seconds`` to come, so
        that the connection can be kept.
        """
        loop = asyncio.get_running_loop()
        latest, rest = loop.time() + seconds, 0
        try:
            while rest <= _REST_BYTES and await self.readable(latest - loop.time()):
                data = await self.read()
                if not data:
                    break
                rest += len(data)
        except (ConnectionDropped, FramingError):
            pass  # the answer was complete, and a connection like that is not kept
        finally:
            await self.aclose()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come: the body was read to its end, or closed."""
        return self._conn is None or self._conn.is_reusable

    def close_now(self) -> None:
        """Close the socket at once; synchronous. Idempotent."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.abort()

    async def __aenter__(self) -> UpstreamResponse:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # A forgotten response would let the upstream generate, and bill, to its end.
        if (conn := getattr(self, "_conn", None)) is not None:
            warnings.warn("an UpstreamResponse was not closed", ResourceWarning, stacklevel=2)
            conn.abort_from_any_thread()


class Transport:
    """Connection pools for any number of origins; belongs to the event loop it is used in.

    ``connect_timeout_s`` covers name lookup, TCP, proxy tunnel and TLS together;
    ``write_timeout_s`` is how long the upstream may take none of the request. A connection idle
    for ``idle_expiry_s`` is not used again, and at most ``max_idle`` are kept in all. Without an
    ``ssl_context`` the system's store is used; without ``proxies`` none is.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxies: ProxyMap | None = None,
        connect_timeout_s: float = 5.0,
        write_timeout_s: float = 30.0,
        idle_expiry_s: float = 60.0,
        max_idle: int = 256,
        clock: Monotonic | None = None,
    ) -> None:
        self._dialer = Dialer(ssl_context, connect_timeout_s)
        self._proxies = proxies or ProxyMap.none()
        self._write_timeout_s = write_timeout_s
        self._idle_expiry_s = idle_expiry_s
        self._max_idle = max_idle
        self._clock: Monotonic = clock or _LoopClock()
        self._idle: dict[Origin, dict[Connection, None]] = {}
        """Per origin an ordered set, the connection released last at its end."""
        self._idle_count = 0
        self._origin_of: dict[Connection, Origin] = {}
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._closing: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._generation = 0
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections in use plus idle ones."""
        return len(self._origin_of)

    @property
    def idle_connections(self) -> int:
        """Connections kept for the next request."""
        return self._idle_count

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> UpstreamResponse:
        """Send one request and wait for the head of its final (not 1xx) response.

        Writes ``headers`` exactly and in order after ``Host``; adds only a missing
        ``Content-Length`` (and what an HTTP proxy needs). A kept connection that the upstream had
        already closed is replaced by a fresh one, once. Raises ``providers.errors``, or
        ``ValueError`` for a head that must not be sent.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        proxy = self._proxies.proxy_for(origin)
        head = self._head(origin, proxy, method, target, headers, len(body))
        started = self._clock.monotonic()
        conn = self._take(origin, started)
        if conn is not None:
            try:
                return await self._exchange(conn, head, body, reused=True)
            except (WriteFailed, ConnectionDropped):
                late = self._clock.monotonic() - started > STALE_WINDOW_S
                if late or not conn.dropped_unanswered:
                    raise
        conn = await self._connect(origin, proxy)
        return await self._exchange(conn, head, body, reused=False)

    def drop_idle(self) -> int:
        """Close all idle connections, and those in use once they are done; how many were idle.

        For when the network changed or the machine woke up.
        """
        self._generation += 1
        idle = [conn for pool in self._idle.values() for conn in pool]
        for conn in idle:
            conn.abort()
        return len(idle)

    async def aclose(self) -> None:
        """Close every connection, in use or not, and wait a moment for the sockets to close."""
        self._closed = True
        for conn in list(self._origin_of):
            conn.abort("was closed because the gateway stops")
        if self._closing:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await self._all_closed.wait()

    # -- one exchange -------------------------------------------------------------------------

    @staticmethod
    def _head(
        origin: Origin,
        proxy: Proxy | None,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body_size: int,
    ) -> Head:
        if proxy is not None and origin.scheme == "http":
            target = b"http://" + origin.host_header + target
            if proxy.authorization is not None:
                headers = [*headers, (b"Proxy-Authorization", proxy.authorization)]
        return encode_head(method, target, origin.host_header, headers, body_size)

    async def _exchange(
        self, conn: Connection, head: Head, body: bytes, *, reused: bool
    ) -> UpstreamResponse:
        try:
            await conn.send(head, body, self._write_timeout_s)
            await conn.wait_head()
        except BaseException:
            conn.abort()
            raise
        return UpstreamResponse(conn, reused=reused, release=self._release)

    async def _connect(self, origin: Origin, proxy: Proxy | None) -> Connection:
        conn = Connection(origin.label, self._buffer, self._lost, self._socket_closed)
        conn.generation = self._generation
        try:
            await self._dialer.connect(origin, proxy, conn)
        except BaseException:
            # uvloop does not report the end of a connection that was never handed out.
            self._socket_closed(conn)
            raise
        if conn.lost:
            raise ConnectionDropped(f"{origin.label} closed the connection before answering.")
        self._origin_of[conn] = origin
        if self._closed:
            conn.abort()
            raise RuntimeError("the transport is closed")
        return conn

    # -- the pool -----------------------------------------------------------------------------

    def _take(self, origin: Origin, now: float) -> Connection | None:
        """The connection used last: the likeliest to be alive, and the rest may expire."""
        pool = self._idle.get(origin)
        if not pool:
            return None
        self._expire(origin, now)
        if not pool:
            return None
        self._idle_count -= 1
        return pool.popitem()[0]

    def _release(self, conn: Connection) -> None:
        origin = self._origin_of.get(conn)
        if origin is None or not conn.is_reusable or conn.generation != self._generation:
            conn.abort()
            return
        conn.make_idle()
        conn.idle_since = self._clock.monotonic()
        self._idle.setdefault(origin, {})[conn] = None
        self._idle_count += 1
        self._expire(origin, conn.idle_since)
        if self._idle_count > self._max_idle:
            next(iter(self._idle[origin])).abort()

    def _expire(self, origin: Origin, now: float) -> None:
        pool = self._idle.get(origin)
        oldest_good = now - self._idle_expiry_s
        while pool and (oldest := next(iter(pool))).idle_since <= oldest_good:
            oldest.abort()

    def _lost(self, conn: Connection) -> None:
        """A connection can no longer be used; called once for each, whoever ended it."""
        self._closing.add(conn)
        origin = self._origin_of.pop(conn, None)
        pool = self._idle.get(origin) if origin is not None else None
        if pool is not None and conn in pool:
            del pool[conn]
            self._idle_count -= 1

    def _socket_closed(self, conn: Connection) -> None:
        self._closing.discard(conn)
        if not self._closing:
            self._all_closed.set()


def __getattr__(name: str) -> Any:
    # httpx takes longer to import than the rest of the gateway, and only probes need it.
    if name == "HttpxTransport":
        from providers._httpx import HttpxTransport

        return HttpxTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

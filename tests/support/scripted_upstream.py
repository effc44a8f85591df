"""An upstream on raw sockets that does exactly what a script says, byte for byte.

A *script* is an async callable that is given the connection (``Peer``) and acts on it. The
functions below make scripts, and ``steps`` chains them::

    async with ScriptedUpstream(respond(200, body=b"hi")) as upstream:
        ...                                       # every request gets the same answer

    gate = asyncio.Event()
    broken = steps(send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhal"), pause(gate), reset())
    async with ScriptedUpstream(route=in_turn(broken, respond(200))) as upstream:
        ...                                       # first request: half an answer, then RST
        assert upstream.requests[0].header(b"x-api-key") == b"k"
        await upstream.peers[0].gone.wait()       # the client closed its side

``route`` takes the ``Request`` and returns the script for it; ``on_connect`` runs before any
request is read. A script that fails for another reason than a vanished peer fails the test at the
end of the ``async with``. For TLS, ``Authority`` makes the certificates::

    authority = Authority()
    async with ScriptedUpstream(tls=authority.server("expired")) as upstream:
        transport = Transport(ssl_context=authority.client())
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Literal, Self

import trustme
from raw_peer import Headers as Headers
from raw_peer import Peer as Peer
from raw_peer import PeerGoneError as PeerGoneError
from raw_peer import Request as Request

Script = Callable[[Peer], Awaitable[None]]
Route = Callable[[Request], Script]


# -- scripts ----------------------------------------------------------------------------------


def steps(*scripts: Script) -> Script:
    """Run ``scripts`` one after the other."""

    async def script(peer: Peer) -> None:
        for step in scripts:
            await step(peer)

    return script


def send(data: bytes, split: Iterable[int] = (), delay: float | None = None) -> Script:
    """Send ``data``, cut at the offsets ``split``; a client in this loop sees each piece alone.

    ``delay`` is slept between the pieces, in seconds of the upstream's ``sleep``.
    """
    cuts = [0, *sorted(split), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(cuts) if a < b]

    async def script(peer: Peer) -> None:
        for index, piece in enumerate(pieces):
            if index:
                await (_turns() if delay is None else peer.upstream.sleep(delay))
            await peer.send(piece)

    return script


def pause(until: asyncio.Event | float) -> Script:
    """Wait for an event, or for seconds of the upstream's ``sleep``."""

    async def script(peer: Peer) -> None:
        if isinstance(until, asyncio.Event):
            await until.wait()
        else:
            await peer.upstream.sleep(until)

    return script


def read_request() -> Script:
    """Read one whole request and drop it; for ``on_connect`` scripts."""

    async def script(peer: Peer) -> None:
        await peer.upstream.read_request(peer)

    return script


def hang() -> Script:
    """Do nothing until the client goes away."""

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    return script


def stop_reading() -> Script:
    """See ``Peer.stop_reading``."""
    return _at_once(Peer.stop_reading)


def close() -> Script:
    """See ``Peer.close``."""
    return _at_once(Peer.close)


def half_close() -> Script:
    """See ``Peer.half_close``."""
    return _at_once(Peer.half_close)


def reset() -> Script:
    """See ``Peer.reset``; what was sent before is given a chance to arrive."""

    async def script(peer: Peer) -> None:
        await _turns()
        peer.reset()

    return script


def _at_once(action: Callable[[Peer], None]) -> Script:
    async def script(peer: Peer) -> None:
        action(peer)

    return script


async def _turns() -> None:
    """Let a client in the same event loop read what was written."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def head(status: int, headers: Headers = (), reason: bytes = b"OK") -> bytes:
    """A response head with exactly these fields."""
    lines = [b"HTTP/1.1 %d %s" % (status, reason), *(n + b": " + v for n, v in headers)]
    return b"\r\n".join([*lines, b"", b""])


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding; ``chunk(b"")`` is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def respond(status: int = 200, headers: Headers = (), body: bytes = b"") -> Script:
    """A whole response with ``Content-Length``, in one write."""
    fields = [*headers, (b"Content-Length", b"%d" % len(body))]
    return send(head(status, fields) + body)


def sse(
    chunks: Iterable[bytes],
    headers: Headers = ((b"Content-Type", b"text/event-stream"),),
    delay: float | None = None,
    end: bool = True,
) -> Script:
    """A chunked response, each of ``chunks`` one HTTP chunk and one write.

    ``delay`` is slept before each chunk; without ``end`` the last chunk is left out.
    """
    parts = [head(200, [*headers, (b"Transfer-Encoding", b"chunked")]), *map(chunk, chunks)]
    if end:
        parts.append(chunk(b""))

    async def script(peer: Peer) -> None:
        for index, part in enumerate(parts):
            if index:
                await (_turns() if delay is None else peer.upstream.sleep(delay))
            await peer.send(part)

    return script


def in_turn(*scripts: Script) -> Route:
    """A route that gives each request the next script; the last one stays."""
    left = list(scripts)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


# -- the upstream -----------------------------------------------------------------------------


class ScriptedUpstream:
    """Listens on 127.0.0.1 while the ``async with`` lasts; leaves no task and no socket behind.

    ``script`` answers every request, unless ``route`` picks one by request. With
    ``read_bodies=False`` the script starts right after the head. ``receive_buffer`` limits
    SO_RCVBUF, so that a client's writes block early. ``sleep`` replaces ``asyncio.sleep``.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        route: Route | None = None,
        on_connect: Script | None = None,
        tls: ssl.SSLContext | None = None,
        read_bodies: bool = True,
        receive_buffer: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.script = script or respond()
        self.route = route
        self.on_connect = on_connect
        self.sleep = sleep
        self.peers: list[Peer] = []
        """Every connection accepted so far."""
        self.requests: list[Request] = []
        """Every request read so far, in order of arrival."""
        self.port = 0
        self._tls = tls
        self._read_bodies = read_bodies
        self._receive_buffer = receive_buffer
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._server: asyncio.Server | None = None
        self._busy = 0
        self._news = asyncio.Event()

    @property
    def base_url(self) -> str:
        """``http(s)://127.0.0.1:port``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def is_tls(self) -> bool:
        """Whether connections begin with a TLS handshake."""
        return self._tls is not None

    async def __aenter__(self) -> Self:
        # asyncio turns Nagle's delay off only where the protocol number is given.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(
            self._new_peer, sock=listener, backlog=1024, ssl=self._tls
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.drop()
            await peer.closed.wait()
        await self._server.wait_closed()
        if self._failures and error is None:
            raise self._failures[0]

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Nobody listens at its address while the block lasts; idle connections end."""
        assert self._server is not None
        self._server.close()
        await self.drop_all()
        await self._server.wait_closed()
        try:
            yield
        finally:
            self._server = await asyncio.get_running_loop().create_server(
                self._new_peer, "127.0.0.1", self.port, backlog=1024, ssl=self._tls
            )

    async def drop_all(self) -> None:
        """End every connection there is."""
        for peer in self.peers:
            peer.drop()
            await peer.closed.wait()

    @property
    def busy(self) -> int:
        """How many scripts run now."""
        return self._busy

    @property
    def connected(self) -> int:
        """How many connections are open now, idle ones included."""
        return sum(not peer.closed.is_set() for peer in self.peers)

    async def wait_for(self, requests: int = 0, peers: int = 0) -> None:
        """Wait until at least so many requests were read and connections accepted."""
        while len(self.requests) < requests or len(self.peers) < peers:
            self._news.clear()
            await self._news.wait()

    async def all_gone(self) -> None:
        """Wait until the client has ended every connection accepted so far."""
        for peer in list(self.peers):
            await peer.gone.wait()

    async def read_request(self, peer: Peer) -> Request:
        """Read and record the next request of ``peer``."""
        raw = await peer.read_head()
        lines = raw[:-4].split(b"\r\n")
        method, target, _ = lines[0].split(b" ", 2)
        fields = [(n, v.strip()) for n, _, v in (line.partition(b":") for line in lines[1:])]
        body = await peer.read_body(fields) if self._read_bodies else b""
        request = Request(method, target, fields, raw, body, peer.number, peer.requests)
        peer.requests += 1
        self.requests.append(request)
        self._news.set()
        return request

    def accepted(self, peer: Peer) -> None:
        """Called by ``peer`` when it is connected (with TLS, after the handshake)."""
        peer.number = len(self.peers)
        self.peers.append(peer)
        self._news.set()
        task = asyncio.get_running_loop().create_task(self._serve(peer))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _new_peer(self) -> Peer:
        return Peer(self, len(self.peers))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _serve(self, peer: Peer) -> None:
        try:
            if self.on_connect is not None:
                await self.on_connect(peer)
            while not peer.is_ending:
                request = await self.read_request(peer)
                script = self.script if self.route is None else self.route(request)
                self._busy += 1
                try:
                    await script(peer)
                finally:
                    self._busy -= 1
        except PeerGoneError:
            peer.drop()
        except BaseException:
            peer.drop()
            raise


class Authority:
    """A certificate authority that only lives in this process."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.pem: bytes = self._ca.cert_pem.bytes()
        """The root certificate, for CA bundle settings."""

    def server(self, kind: Literal["good", "wrong-host", "expired"] = "good") -> ssl.SSLContext:
        """For ``ScriptedUpstream(tls=...)``; good for 127.0.0.1 and localhost."""
        names = ("wrong.example",) if kind == "wrong-host" else ("127.0.0.1", "localhost")
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        issued = self._ca.issue_cert(
            *names,
            not_before=yesterday - datetime.timedelta(days=1),
            not_after=yesterday if kind == "expired" else None,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """A client context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context

"""The server end of one raw connection, as the scripts of ``scripted_upstream`` see it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from scripted_upstream import ScriptedUpstream

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, exactly as it was received."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    """Order, case and duplicates kept."""
    head: bytes
    """The raw head with its final empty line."""
    body: bytes
    """Decoded when it was chunked; empty when the upstream does not read bodies."""
    connection: int
    """Number of the connection it came on, from 0."""
    number: int
    """Number of the request on that connection, from 0."""

    def header(self, name: bytes) -> bytes | None:
        """The first field of that name, in any case."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class PeerGoneError(Exception):
    """The client closed the connection; ends a script quietly."""


class Peer(asyncio.Protocol):
    """The client's end of one accepted connection, as scripts see it."""

    def __init__(self, upstream: ScriptedUpstream, number: int) -> None:
        self.upstream = upstream
        self.number = number
        self.received = bytearray()
        """Every byte the client sent on this connection."""
        self.gone = asyncio.Event()
        """The client closed or reset the connection, or shut down its sending side."""
        self.error: Exception | None = None
        """Set with ``gone`` when the connection was reset rather than closed."""
        self.closed = asyncio.Event()
        """The socket is closed on our side too."""
        self.requests = 0
        self.is_ending = False
        """We closed, half-closed or reset it: no further request is served."""
        self._unread = bytearray()
        self._news = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport; ``PeerGoneError`` when there is none any more."""
        if self._transport is None:
            raise PeerGoneError
        return self._transport

    # actions

    async def send(self, data: bytes) -> None:
        """Write ``data`` in one piece and wait while the client is not taking it."""
        if self.gone.is_set() and self._transport is None:
            raise PeerGoneError
        self.transport.write(data)
        await self._can_write.wait()

    async def read_head(self) -> bytes:
        """Read up to and including the next empty line; ``PeerGoneError`` when it never comes."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            await self._more()
        return self._take(end + 4)

    async def read_some(self) -> bytes:
        """Read whatever is there, at least one byte."""
        while not self._unread:
            await self._more()
        return self._take(len(self._unread))

    async def read_exactly(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        while len(self._unread) < size:
            await self._more()
        return self._take(size)

    async def read_body(self, headers: Headers) -> bytes:
        """Read the body that ``headers`` announce, by length or chunked."""
        fields = {name.lower(): value for name, value in headers}
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            return await self._read_chunks()
        return await self.read_exactly(int(fields.get(b"content-length", b"0")))

    async def _read_chunks(self) -> bytes:
        body = b""
        while True:
            while (end := self._unread.find(b"\r\n")) < 0:
                await self._more()
            size = int(self._take(end + 2).split(b";")[0], 16)
            chunk = await self.read_exactly(size + 2)
            if not size:
                return body
            body += chunk[:-2]

    def stop_reading(self) -> None:
        """Let the client's bytes pile up in the kernel until its writes block."""
        self.transport.pause_reading()

    def start_reading(self) -> None:
        """Read again after ``stop_reading``."""
        self.transport.resume_reading()

    def close(self) -> None:
        """Close after what was sent has gone out: FIN (with TLS, close_notify first)."""
        self.is_ending = True
        self.transport.close()

    def half_close(self) -> None:
        """Send FIN (with TLS, without close_notify) but go on reading."""
        self.is_ending = True
        # A duplicate descriptor: the event loops' own socket objects do not all offer this.
        with socket.socket(fileno=os.dup(self._socket().fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST at once."""
        self.is_ending = True
        linger = struct.pack("ii", 1, 0)
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def drop(self) -> None:
        """Close at once, whatever the state."""
        self.is_ending = True
        if self._transport is not None:
            self._transport.abort()

    def _socket(self) -> socket.socket:
        return cast(socket.socket, self.transport.get_extra_info("socket"))

    async def _more(self) -> None:
        if self.gone.is_set():
            raise PeerGoneError
        self._news.clear()
        await self._news.wait()

    def _take(self, size: int) -> bytes:
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.upstream.accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._unread += data
        self._news.set()

    def eof_received(self) -> bool:
        self._ended(None)
        return not self.upstream.is_tls  # Stay open to send: TLS cannot be half-closed.

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ended(exc)
        self.closed.set()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _ended(self, exc: Exception | None) -> None:
        if not self.gone.is_set():
            self.error = exc
        self.gone.set()
        self._news.set()
        self._can_write.set()

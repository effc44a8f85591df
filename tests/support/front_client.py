"""One connection to an HTTP/1.1 server, under full control, that judges every answer's framing.

::

    async with front(port) as peer:
        await peer.send(request_bytes)
        answer = await peer.answer()          # AssertionError where an answer's framing is wrong
        assert await peer.ended() == "closed"

Nothing is repaired: a head that is not HTTP/1.1, a body with two lengths, a chunk that does not end
where it says, or a byte after a ``HEAD`` fails the test that reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

PATIENCE_S = 30.0
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [\t\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")


class NoAnswerError(Exception):
    """The connection ended before a head began; carries ``closed`` or ``reset``."""


@dataclass(frozen=True, slots=True)
class FrontAnswer:
    """One answer, read to the end that its framing announced."""

    status: int
    fields: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes
    framing: str
    """``length``, ``chunked``, ``close`` or ``none``."""
    interim: tuple[int, ...] = ()
    """Statuses of the interim answers before it."""
    pieces: tuple[int, ...] = field(default=(), compare=False)
    """Sizes of the chunks."""

    def header(self, name: str) -> str | None:
        """The only field of that name."""
        found = [value for key, value in self.fields if key == name]
        assert len(found) < 2, self.fields
        return found[0] if found else None

    @property
    def closes(self) -> bool:
        """Whether it says that the connection ends with it."""
        return "close" in (self.header("connection") or "").lower()


class FrontPeer:
    """The client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Write ``data``; waits while the server takes none of it."""
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.drain()

    async def send_pieces(self, pieces: Sequence[bytes]) -> None:
        """Write pieces that the server sees one by one, as far as a socket allows that."""
        for piece in pieces:
            await self.send(piece)
            await asyncio.sleep(0)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._writer.write_eof()

    def reset(self) -> None:
        """RST at once."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """FIN, unread answers and all."""
        self._writer.close()

    async def some(self, limit: int = 65536) -> bytes:
        """Whatever has come, at least a byte unless it is the end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read(limit)

    async def answer(self, method: str = "POST") -> FrontAnswer:
        """The next answer; ``NoAnswerError`` when the connection ends instead."""
        async with asyncio.timeout(PATIENCE_S):
            interim: list[int] = []
            while True:
                status, fields = await self._head()
                if status >= 200:
                    break
                interim.append(status)
            framing, body, pieces = await self._body(method, status, fields)
        return FrontAnswer(status, fields, body, framing, tuple(interim), tuple(pieces))

    async def ended(self) -> str:
        """Wait for the end: ``closed`` or ``reset``; a byte before it fails."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                found = await self._reader.read(200)
            except ConnectionError:
                return "reset"
        assert found == b"", found
        return "closed"

    async def _head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise AssertionError(error.partial) from None
            raise NoAnswerError("closed") from None
        except ConnectionError:
            raise NoAnswerError("reset") from None
        first, *lines = raw[:-4].split(b"\r\n")
        line = _STATUS_LINE.fullmatch(first)
        assert line is not None, raw
        fields = []
        for text in lines:
            found = _FIELD.fullmatch(text)
            assert found is not None, raw
            fields.append((found[1].decode().lower(), found[2].decode("latin-1").rstrip()))
        return int(line[1]), tuple(fields)

    async def _body(
        self, method: str, status: int, fields: tuple[tuple[str, str], ...]
    ) -> tuple[str, bytes, list[int]]:
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        assert len(lengths) + len(codings) < 2, fields
        if method == "HEAD" or status in (204, 304):
            return "none", b"", []
        if codings:
            assert codings == ["chunked"], fields
            return "chunked", *await self._chunks()
        if lengths:
            return "length", await self._reader.readexactly(int(lengths[0])), []
        return "close", await self._reader.read(), []

    async def _chunks(self) -> tuple[bytes, list[int]]:
        body = bytearray()
        pieces: list[int] = []
        while True:
            line = await self._reader.readuntil(b"\n")
            found = _CHUNK_SIZE.fullmatch(line)
            assert found is not None, line
            size = int(found[1], 16)
            data = await self._reader.readexactly(size + 2)
            assert data[size:] == b"\r\n", data[-20:]
            if not size:
                return bytes(body), pieces
            pieces.append(size)
            body += data[:size]


@contextlib.asynccontextmanager
async def front(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[FrontPeer]:
    """A connection for as long as the block lasts; ``receive_buffer`` limits what waits unread."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    limit = receive_buffer or 1 << 16
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
    try:
        yield FrontPeer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Wire:
    """Writes requests for one server by hand."""

    port: int
    key: str
    target: str = "/v1/messages"

    @property
    def host(self) -> str:
        """What ``Host`` must say."""
        return f"127.0.0.1:{self.port}"

    def request(
        self,
        body: bytes = b"",
        *fields: str,
        method: str = "POST",
        target: str | None = None,
        version: str = "1.1",
        host: str | None = "",
        key: bool = True,
    ) -> bytes:
        """One request; a length is added where ``fields`` say nothing of the body's framing."""
        lines = [f"{method} {self.target if target is None else target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host or self.host}")
        if key:
            lines.append(f"x-api-key: {self.key}")
        lines += fields
        framed = any(f.lower().startswith(("content-length", "transfer-enc")) for f in fields)
        if method == "POST" and not framed:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def get(self, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
        """One request without a body."""
        return self.request(b"", *fields, method=method, target=target, version=version)

    def chunked(
        self, *parts: bytes, fields: Sequence[str] = (), end: bytes = b"0\r\n\r\n"
    ) -> bytes:
        """One request whose body comes in these chunks."""
        data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        return self.request(data + end, "Transfer-Encoding: chunked", *fields)

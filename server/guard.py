"""A byte-level check of HTTP/1.1 framing, ahead of the HTTP server.

The server underneath accepts requests whose framing two parties can read differently (a length
and a transfer coding together, repeated lengths, bare line feeds, folded lines) and switches to
HTTP/2 on a preface or an upgrade. The guard follows the framing of every request on a connection
and passes on only what has one reading. A request that it refuses is replaced by a synthetic one
that names the status and the reason: so the server keeps answering in order, and the refusal is
rendered in the shape of the client's protocol like any other error.
"""

from __future__ import annotations

import asyncio
import base64
import re
from enum import Enum, auto

MAX_HEAD = 32 * 1024
MAX_FIELDS = 100
MAX_TARGET = 8 * 1024

REFUSED_HEADER = b"x-sbgw-refused"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_ONE_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELD = re.compile(_ONE_FIELD)
_FIELDS = re.compile(_ONE_FIELD + rb"(?:\r\n" + _ONE_FIELD + rb")*+")
_FRAMING_FIELD = re.compile(
    rb"^(host|upgrade|transfer-encoding|content-length):[ \t]*([^\r\n]*)", re.I | re.M
)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x1f\x7f]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_MAX_LINE = 8 * 1024


class Refused(Exception):
    """The request must not reach the server; carries the status and the reason to answer with."""

    def __init__(self, status: int, reason: str, target: bytes = b"/") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.target = target


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    REFUSED = auto()


class FramingGuard:
    """Follows one connection; ``feed`` returns the bytes the server may see."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._state = _State.HEAD
        self._buffer = bytearray()
        self._remaining = 0

    @property
    def refused(self) -> bool:
        """Whether a request was refused; everything after it is dropped."""
        return self._state is _State.REFUSED

    def feed(self, data: bytes) -> bytes:
        """Check ``data``; an incomplete head or chunk line is kept back until it is whole."""
        if self._state is _State.BODY and len(data) < self._remaining and not self._buffer:
            self._remaining -= len(data)
            return data
        out: list[bytes] = []
        self._buffer += data
        try:
            while self._state is not _State.REFUSED and self._step(out):
                pass
        except Refused as refusal:
            self._state = _State.REFUSED
            self._buffer.clear()
            out.append(self._synthetic(refusal))
        return b"".join(out)

    def _step(self, out: list[bytes]) -> bool:
        """Consume one unit of the buffer; ``False`` when more bytes are needed."""
        match self._state:
            case _State.HEAD:
                return self._head(out)
            case _State.BODY | _State.CHUNK_DATA:
                return self._payload(out)
            case _State.CHUNK_SIZE:
                return self._chunk_size(out)
            case _State.CHUNK_END:
                line = self._line(out)
                if line is None:
                    return False
                if line:
                    raise Refused(400, "a chunk of the request body is longer than it says")
                self._state = _State.CHUNK_SIZE
                return True
            case _State.TRAILERS:
                line = self._line(out)
                if line is None:
                    return False
                if not line:
                    self._state = _State.HEAD
                return True
        return False

    def _head(self, out: list[bytes]) -> bool:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            _check_partial(buffer)
            return False
        if end > MAX_HEAD:
            raise Refused(431, "the request headers are larger than 32 KiB")
        head = bytes(buffer[: end + 4])
        length = check_head(head[:-4])
        del buffer[: end + 4]
        out.append(head)
        if length is None:
            self._state = _State.CHUNK_SIZE
        elif length:
            self._state, self._remaining = _State.BODY, length
        return bool(buffer)

    def _payload(self, out: list[bytes]) -> bool:
        taken = bytes(self._buffer[: self._remaining])
        if not taken:
            return False
        del self._buffer[: self._remaining]
        out.append(taken)
        self._remaining -= len(taken)
        if self._remaining == 0:
            self._state = _State.HEAD if self._state is _State.BODY else _State.CHUNK_END
        return bool(self._buffer)

    def _chunk_size(self, out: list[bytes]) -> bool:
        line = self._line(out)
        if line is None:
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise Refused(400, "the request body has a chunk size that is not a hexadecimal number")
        self._remaining = int(match.group(1), 16)
        self._state = _State.CHUNK_DATA if self._remaining else _State.TRAILERS
        return True

    def _line(self, out: list[bytes]) -> bytes | None:
        """The next CRLF-ended line without its end, passed on as it is."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                raise Refused(400, "a chunk line of the request body is too long")
            return None
        line = bytes(self._buffer[: end + 1])
        if not line.endswith(b"\r\n") or len(line) > _MAX_LINE:
            raise Refused(400, "a chunk line of the request body does not end in CRLF")
        del self._buffer[: end + 1]
        out.append(line)
        return line[:-2]

    def _synthetic(self, refusal: Refused) -> bytes:
        reason = base64.b64encode(refusal.reason.encode())
        target = base64.b64encode(refusal.target[:MAX_TARGET])
        value = b" ".join((self._nonce, b"%d" % refusal.status, reason, target))
        return (
            b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n"
            + REFUSED_HEADER
            + b": "
            + value
            + b"\r\n\r\n"
        )


def read_refusal(nonce: bytes, value: bytes) -> Refused | None:
    """The refusal a synthetic request carries, ``None`` when ``value`` is not the guard's."""
    parts = value.split(b" ")
    if len(parts) != 4 or parts[0] != nonce:
        return None
    return Refused(int(parts[1]), base64.b64decode(parts[2]).decode(), base64.b64decode(parts[3]))


def _check_partial(buffer: bytearray) -> None:
    if buffer.startswith(b"PRI * HTTP/2"):
        raise Refused(505, "HTTP/2 is not spoken here, use HTTP/1.1")
    if len(buffer) > MAX_HEAD:
        line_end = buffer.find(b"\r\n")
        if not 0 <= line_end <= MAX_TARGET + 64:
            raise Refused(414, "the request target is longer than 8 KiB")
        raise Refused(431, "the request headers are larger than 32 KiB")
    bare = buffer.find(b"\n")
    while bare >= 0:
        if bare == 0 or buffer[bare - 1] != 0x0D:
            raise Refused(400, "a header line does not end in CRLF")
        bare = buffer.find(b"\n", bare + 1)


def check_head(head: bytes) -> int | None:
    """Check a request head without its final blank line.

    Returns the length of the body in bytes, ``None`` for a chunked one; raises ``Refused``.
    """
    first, _, rest = head.partition(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise Refused(400, "the request line is not valid HTTP/1.1")
    method, target, major, minor = request.groups()
    if method == b"PRI" or major != b"1" or minor not in (b"0", b"1"):
        raise Refused(505, "only HTTP/1.1 is spoken here", target)
    if len(target) > MAX_TARGET:
        raise Refused(414, "the request target is longer than 8 KiB")
    if rest.count(b"\r\n") >= MAX_FIELDS:
        raise Refused(431, "the request has more than 100 header fields", target)
    if len(head) > len(first) and _FIELDS.fullmatch(rest) is None:
        lines = rest.split(b"\r\n")
        fault = next(line for line in lines if _FIELD.fullmatch(line) is None)
        raise Refused(400, _field_fault(fault), target)
    fields: dict[bytes, list[bytes]] = {}
    for name, value in _FRAMING_FIELD.findall(rest):
        fields.setdefault(name.lower(), []).append(value.rstrip(b" \t"))
    return _framing(fields, target, is_http10=minor == b"0")


def _framing(fields: dict[bytes, list[bytes]], target: bytes, *, is_http10: bool) -> int | None:
    hosts = fields.get(b"host", [])
    if len(hosts) > 1 or (not hosts and not is_http10):
        raise Refused(400, "the request needs exactly one Host header", target)
    if upgrades := fields.get(b"upgrade"):
        if upgrades[0].lower() == b"websocket":
            raise Refused(426, "WebSocket is not offered here, use plain HTTP", target)
        raise Refused(400, "protocol upgrades are not offered here", target)
    codings = fields.get(b"transfer-encoding")
    lengths = fields.get(b"content-length")
    if codings is not None:
        if lengths is not None:
            raise Refused(400, "Content-Length and Transfer-Encoding must not be combined", target)
        if len(codings) != 1 or codings[0].lower() != b"chunked" or is_http10:
            raise Refused(400, "the only transfer coding accepted is chunked", target)
        return None
    if lengths is None:
        return 0
    if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        raise Refused(400, "Content-Length must be one decimal number", target)
    return int(lengths[0])


def _field_fault(line: bytes) -> str:
    if b"\n" in line or b"\r" in line:
        return "a header line does not end in CRLF"
    if line[:1] in (b" ", b"\t"):
        return "folded header lines are not accepted"
    return "a header line is not a valid field"


class GuardedReader:
    """Stands where the server expects an ``asyncio.StreamReader``."""

    def __init__(self, reader: asyncio.StreamReader, nonce: bytes) -> None:
        self._reader = reader
        self._guard = FramingGuard(nonce)

    def at_eof(self) -> bool:
        """Whether the peer has stopped sending."""
        return self._reader.at_eof()

    async def read(self, limit: int) -> bytes:
        """The next checked bytes, ``b""`` at the end of the connection."""
        while True:
            refused_before = self._guard.refused
            data = await self._reader.read(limit)
            if not data:
                return b""
            if refused_before:
                continue
            if out := self._guard.feed(data):
                return out

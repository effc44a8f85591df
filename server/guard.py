"""Reads HTTP/1.1 requests off a connection, and takes only what has one reading.

A request whose framing two parties can read differently (a length and a transfer coding together,
repeated lengths, bare line feeds, folded lines) and every attempt to leave HTTP/1.1 are refused.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from providers.types import Headers

MAX_HEAD = 32 * 1024
MAX_FIELDS = 100
MAX_TARGET = 8 * 1024

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_ONE_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELD = re.compile(_ONE_FIELD)
_FIELDS = re.compile(_ONE_FIELD + rb"(?:\r\n" + _ONE_FIELD + rb")*+")
_FRAMING = frozenset(
    {b"host", b"upgrade", b"transfer-encoding", b"content-length", b"connection", b"expect"}
)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x1f\x7f]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_MAX_LINE = 8 * 1024


END = b""
"""What ``FramingGuard.next`` gives at the end of a request."""


class Refused(Exception):
    """The request must not be served; carries the status and the reason to answer with."""

    def __init__(self, status: int, reason: str, target: bytes = b"/") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.target = target


class Head(NamedTuple):
    """The head of a request; names of fields as the client wrote them."""

    method: str
    target: bytes
    version: str
    headers: Headers
    length: int | None
    """Bytes of the body; ``None`` for a chunked one."""
    keeps_open: bool
    """Whether the client wants to send another request on this connection."""
    awaits_continue: bool
    """Whether the body comes only after an interim answer 100."""


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    END = auto()
    REFUSED = auto()


class FramingGuard:
    """Follows the requests of one connection: ``feed`` it what comes, take what that holds."""

    def __init__(self) -> None:
        self._state = _State.HEAD
        self._bytes = b""
        self._at = 0
        self._remaining = 0
        self._trailing = 0

    @property
    def refused(self) -> bool:
        """Whether a request was refused; everything after it is dropped."""
        return self._state is _State.REFUSED

    @property
    def is_between(self) -> bool:
        """Whether the last request is complete and no byte of another one has come."""
        return self._state is _State.HEAD and self._at == len(self._bytes)

    @property
    def waiting(self) -> int:
        """Bytes that were fed and not yet taken."""
        return len(self._bytes) - self._at

    def feed(self, data: bytes) -> None:
        """Add what the client has sent."""
        if self._state is _State.REFUSED:
            return
        self._bytes = self._bytes[self._at :] + data if self._at < len(self._bytes) else data
        self._at = 0

    def next(self) -> Head | bytes | None:
        """The next head, some bytes of its body, ``END``; ``None`` until more was fed.

        Raises ``Refused`` once; there is nothing more to come after that.
        """
        try:
            while True:
                match self._state:
                    case _State.HEAD:
                        return self._head()
                    case _State.END:
                        self._state = _State.HEAD
                        return END
                    case _State.BODY:
                        return self._payload(_State.END)
                    case _State.CHUNK_DATA:
                        return self._payload(_State.CHUNK_END)
                    case _State.REFUSED:
                        return None
                    case _:
                        if not self._chunk_line():
                            return None
        except Refused:
            self._state = _State.REFUSED
            self._bytes, self._at = b"", 0
            raise

    def _head(self) -> Head | None:
        data, at = self._bytes, self._at
        while data.startswith(b"\r\n", at):
            at += 2
        self._at = at
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if at < len(data):
                _check_partial(data[at:])
            return None
        if end - at > MAX_HEAD:
            raise Refused(431, "the request headers are larger than 32 KiB")
        head = read_head(data[at:end])
        self._at = end + 4
        if head.length is None:
            self._state = _State.CHUNK_SIZE
        elif head.length:
            self._state, self._remaining = _State.BODY, head.length
        else:
            self._state = _State.END
        return head

    def _payload(self, then: _State) -> bytes | None:
        data, at = self._bytes, self._at
        has = len(data) - at
        if not has:
            return None
        taken = data if not at and has <= self._remaining else data[at : at + self._remaining]
        self._at = at + len(taken)
        self._remaining -= len(taken)
        if not self._remaining:
            self._state = then
        return taken

    def _chunk_line(self) -> bool:
        """Read a line between the chunks; ``False`` when it is not yet complete."""
        line = self._line()
        if line is None:
            return False
        match self._state:
            case _State.CHUNK_SIZE:
                match = _CHUNK_SIZE.fullmatch(line)
                if match is None:
                    why = "the request body has a chunk size that is not a hexadecimal number"
                    raise Refused(400, why)
                self._remaining = int(match.group(1), 16)
                self._state = _State.CHUNK_DATA if self._remaining else _State.TRAILERS
            case _State.CHUNK_END:
                if line:
                    raise Refused(400, "a chunk of the request body is longer than it says")
                self._state = _State.CHUNK_SIZE
            case _:
                self._trailer(line)
        return True

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._state, self._trailing = _State.END, 0
            return
        self._trailing += len(line)
        if self._trailing > MAX_HEAD:
            raise Refused(431, "the trailers of the request body are larger than 32 KiB")
        if _FIELD.fullmatch(line) is None:
            raise Refused(400, _field_fault(line))

    def _line(self) -> bytes | None:
        """The next CRLF-ended line without its end."""
        end = self._bytes.find(b"\n", self._at)
        if end < 0:
            if self.waiting > _MAX_LINE:
                raise Refused(400, "a chunk line of the request body is too long")
            return None
        line = self._bytes[self._at : end + 1]
        if not line.endswith(b"\r\n") or len(line) > _MAX_LINE:
            raise Refused(400, "a chunk line of the request body does not end in CRLF")
        self._at = end + 1
        return line[:-2]


def _check_partial(buffer: bytes) -> None:
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


def read_head(head: bytes) -> Head:
    """Read a request head, given without its final blank line; raises ``Refused``."""
    first, _, rest = head.partition(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise Refused(400, "the request line is not valid HTTP/1.1")
    method, target, major, minor = request.groups()
    if method == b"PRI" or major != b"1" or minor not in (b"0", b"1"):
        raise Refused(505, "only HTTP/1.1 is spoken here", target)
    if len(target) > MAX_TARGET:
        raise Refused(414, "the request target is longer than 8 KiB")
    lines = rest.split(b"\r\n") if len(head) > len(first) else []
    if len(lines) > MAX_FIELDS:
        raise Refused(431, "the request has more than 100 header fields", target)
    if lines and _FIELDS.fullmatch(rest) is None:
        fault = next(line for line in lines if _FIELD.fullmatch(line) is None)
        raise Refused(400, _field_fault(fault), target)
    headers: Headers = []
    framing: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        headers.append((name, value))
        key = name.lower()
        if key in _FRAMING:
            framing.setdefault(key, []).append(value)
    is_http10 = minor == b"0"
    length = _framing(framing, target, is_http10=is_http10)
    options = b",".join(framing.get(b"connection", ())).lower()
    return Head(
        method=method.decode(),
        target=target,
        version="1.0" if is_http10 else "1.1",
        headers=headers,
        length=length,
        keeps_open=not is_http10
        and b"close" not in (option.strip() for option in options.split(b",")),
        awaits_continue=not is_http10
        and any(value.lower() == b"100-continue" for value in framing.get(b"expect", ())),
    )


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

"""How an answer is put on an HTTP/1.1 connection: its head, and where the client sees its end."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from providers.types import Headers

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_CLOSE: Final = b"connection: close\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})


class BadAnswer(Exception):
    """The application's answer cannot be put on the wire as it is; a mistake of ours."""


class _Framing(Enum):
    BODILESS = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class Answer:
    """The bytes of one answer: ``start`` once, ``body`` as often as there is some, ``end`` once."""

    __slots__ = ("_framing", "_is_head", "_is_http10", "_left", "is_last", "is_started", "is_whole")

    def __init__(self, method: str, version: str, *, is_last: bool) -> None:
        self._is_head = method == "HEAD"
        self._is_http10 = version == "1.0"
        self._framing = _Framing.BODILESS
        self._left = 0
        self.is_last = is_last
        """Whether the connection ends with this answer."""
        self.is_started = False
        self.is_whole = False
        """Whether everything it promised is out."""

    def start(self, status: int, headers: Headers) -> bytes:
        """The head; raises ``BadAnswer`` for a field that would be read as more than one."""
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length: bytes | None = None
        says_close = False
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            key = name.lower()
            if key == b"content-length":
                length = value
            elif key == b"connection":
                says_close = says_close or value.lower() == b"close"
        block = b"".join(lines)
        if not block.count(b"\n") == block.count(b"\r") == len(lines) or b"\0" in block:
            raise BadAnswer("a header field holds a line break")
        if self._is_head or status in _BODILESS:
            self._framing = _Framing.BODILESS
        elif length is not None:
            self._framing, self._left = _Framing.LENGTH, int(length)
        elif self._is_http10:
            self._framing, self.is_last = _Framing.UNTIL_CLOSE, True
        else:
            self._framing = _Framing.CHUNKED
            block += _CHUNKED
        self.is_last = self.is_last or says_close
        if self.is_last and not says_close:
            block += _CLOSE
        self.is_started = True
        return block + b"\r\n"

    def body(self, data: bytes) -> bytes:
        """``data`` as it is sent; raises ``BadAnswer`` for more of it than was promised."""
        match self._framing:
            case _Framing.CHUNKED:
                return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            case _Framing.LENGTH:
                self._left -= len(data)
                if self._left < 0:
                    raise BadAnswer("the answer is longer than its length")
                return data
            case _Framing.UNTIL_CLOSE:
                return data
        return b""

    def end(self) -> bytes:
        """What tells the client that nothing follows."""
        self.is_whole = not self._left
        return _LAST_CHUNK if self._framing is _Framing.CHUNKED else b""

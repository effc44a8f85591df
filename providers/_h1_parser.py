"""Parses one HTTP/1.1 response after another from bytes; knows nothing of sockets or waiting.

llhttp (through httptools) does the parsing, in its strict mode. What it cannot know is added
here: which responses have no body, where a body without a length ends, and what is too much.
"""

from __future__ import annotations

import enum

import httptools

from providers.types import Headers

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_INTERIM = 1000

_VERSIONS = ("1.1", "1.0")


class Phase(enum.Enum):
    """Where the current response stands."""

    IDLE = enum.auto()
    """No request is out; any byte from the peer is one too many."""
    HEAD = enum.auto()
    """The final response head is not complete."""
    BODY = enum.auto()
    COMPLETE = enum.auto()
    """Received to its end; parts of it may still be unread."""


class ResponseParser:
    """The response being received: read its fields, call ``feed`` with what arrives.

    ``chunks`` holds the body bytes not taken yet, transfer coding removed. ``fault`` is why the
    bytes are unacceptable, to follow "sent"; what was parsed before it stays valid.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_head_size",
        "_interim",
        "_llhttp",
        "_overhead",
        "_sized",
        "buffered",
        "chunks",
        "fault",
        "headers",
        "keep_alive",
        "phase",
        "status",
        "until_eof",
    )

    def __init__(self) -> None:
        self._llhttp: httptools.HttpResponseParser | None = None
        self.chunks: list[bytes] = []
        self.buffered = 0
        """Bytes in ``chunks``."""
        self.start(bodiless=False, keep_alive=True)
        self.phase = Phase.IDLE

    def start(self, *, bodiless: bool, keep_alive: bool) -> None:
        """Expect the response to the next request; ``bodiless`` when that is a HEAD."""
        if self._llhttp is None:
            self._llhttp = httptools.HttpResponseParser(self)
            self._llhttp.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._bodiless = bodiless
        self._overhead = 0
        self._interim = 0
        self.phase = Phase.HEAD
        self.keep_alive = keep_alive
        """Neither side wants the connection closed after this response."""
        self.until_eof = False
        self.status = 0
        self.fault = ""
        self._new_head()

    def _new_head(self) -> None:
        self.headers: Headers = []
        self._head_size = 0
        self._sized = False
        self._chunked = False

    def take(self) -> bytes:
        """All body bytes at hand."""
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered = 0
        return data

    def feed(self, data: bytes | memoryview) -> bool:
        """Parse ``data``; whether it brought the final head, body bytes, the end, or a fault."""
        if self._llhttp is None:
            self.fault = "bytes after the body"
            return True
        was_head = self.phase is Phase.HEAD
        buffered = self.buffered
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fault = "101 Switching Protocols, which was not asked for"
        except httptools.HttpParserError as error:
            self.fault = self.fault or f"something that is not HTTP/1.1 ({error})"
        if self.fault:
            return True
        if self._advanced(was_head, buffered):
            self._overhead = 0
            return True
        # Bound what never reaches a body: heads, trailers, chunk extensions.
        self._overhead += len(data)
        if self._overhead > MAX_HEAD_BYTES:
            self.fault = f"more than {MAX_HEAD_BYTES} bytes of header fields"
            return True
        return False

    def _advanced(self, was_head: bool, buffered: int) -> bool:
        if self.phase is Phase.HEAD:
            return False
        return was_head or self.buffered != buffered or self.phase is Phase.COMPLETE

    def feed_eof(self) -> None:
        """The peer closed cleanly: the end of a body that has no length of its own."""
        if self.phase is Phase.BODY and self.until_eof:
            self.phase = Phase.COMPLETE

    def detach(self) -> None:
        """Drop llhttp, which refers back to this object."""
        self._llhttp = None

    # -- httptools callbacks ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.phase is Phase.COMPLETE:
            self.fault = "bytes after the body"

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is not Phase.HEAD:
            return  # A trailer: there is nowhere to relay it to.
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self.fault = f"more than {MAX_HEADERS} header fields or {MAX_HEAD_BYTES} bytes of them"
            return
        value = value.rstrip(b" \t")
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            self._sized = True
        elif size == 17 and name.lower() == b"transfer-encoding":
            if self._chunked or value.lower() != b"chunked":
                self.fault = "a transfer coding other than chunked"
            self._chunked = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        if self.phase is not Phase.HEAD or llhttp is None or self.fault:
            return
        status = llhttp.get_status_code()
        if status < 100 or llhttp.get_http_version() not in _VERSIONS:
            self.fault = "a malformed status line"
        elif status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.fault = f"more than {MAX_INTERIM} interim responses"
        else:
            self.status = status
            self.keep_alive = self.keep_alive and llhttp.should_keep_alive()
            self.until_eof = not (self._sized or self._chunked)
            self.phase = Phase.BODY
            if self._bodiless:
                # llhttp does not know that this was a HEAD request and would wait for a body.
                self.phase = Phase.COMPLETE
                self._llhttp = None

    def on_body(self, body: bytes) -> None:
        if self.phase is Phase.BODY:
            self.chunks.append(body)
            self.buffered += len(body)
        elif self.phase is Phase.COMPLETE:
            self.fault = "bytes after the body"

    def on_message_complete(self) -> None:
        if self.phase is Phase.HEAD:
            self._new_head()
        elif self.phase is Phase.BODY:
            self.phase = Phase.COMPLETE

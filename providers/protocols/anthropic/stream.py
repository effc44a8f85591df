"""The tap beside one streamed Messages answer: what it means, without touching a byte.

Source: Anthropic Messages SSE (``message_start``, ``content_block_start`` / ``_delta`` /
``_stop``, ``message_delta``, ``message_stop``, ``ping``, ``error``). The tap reads identity
coding only: an answer with a ``content-encoding`` has to be relayed without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from providers.protocols.anthropic.response import (
    UpstreamErrorBody,
    answer_kind,
    as_count,
    as_text,
    error_body,
    loads,
    merge_usage,
    read_error,
    usage_of,
)
from providers.sse import (
    EVENT_LIMIT,
    EventSplitter,
    EventTooLargeError,
    ServerSentEvent,
    encode,
    parse_event,
    pieces,
)
from providers.types import Usage, UsageSource

PING: bytes = encode(b"ping", b'{"type": "ping"}')
"""A whole ``ping`` event; safe to send between any two events of a stream."""

TapOverflow = EventTooLargeError
"""Raised by ``StreamTap.feed``; ``.ready`` holds the whole events that were not returned."""

_DELTA = b"event: content_block_delta\ndata: {"
_DELTA_DATA = len(_DELTA) - 1
_BRACE = ord("}")
_DELTA_TEXT = re.compile(
    rb'"(?:text|partial_json|thinking)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL
)
_THINKING = frozenset({"thinking", "redacted_thinking"})


class Terminal(StrEnum):
    """How the stream ended, in the protocol's own words."""

    STOP = "stop"
    """``message_stop``."""
    ERROR = "error"
    """An ``error`` event."""


def error_event(error_type: str, message: str, request_id: str | None) -> bytes:
    """A whole ``error`` event in the shape of the Messages API."""
    return encode(b"error", error_body(error_type, message, request_id))


class StreamTap:
    """A pure state machine over the bytes of one answer; any chunking gives the same state.

    ``semantic`` turns true with the first event that carries content. ``message_start``, pings,
    comments, the start of an empty text, thinking or tool block, and errors do not: an answer
    that has only those can still be replaced, so look at ``terminal`` as well while holding.
    """

    __slots__ = (
        "_first",
        "_open_thinking",
        "_output_revised",
        "_raw_usage",
        "_request_thinks",
        "_splitter",
        "after_terminal",
        "blocks",
        "error",
        "events",
        "malformed",
        "message_id",
        "model",
        "output_chars",
        "pings",
        "semantic_events",
        "stop_reason",
        "terminal",
        "unknown_events",
    )

    def __init__(self, *, thinking: bool = False, limit: int = EVENT_LIMIT) -> None:
        """``thinking``: the request asked for thinking; ``limit``: bytes of one event."""
        self._splitter = EventSplitter(limit)
        self._first = True
        self._request_thinks = thinking
        self._open_thinking = False
        self._raw_usage: dict[str, Any] = {}
        self._output_revised = False
        self.events = 0
        """Events seen, of any type, after the terminal ones included."""
        self.semantic_events = 0
        self.pings = 0
        self.unknown_events = 0
        self.malformed = 0
        """Events whose data is not the JSON object it should be; they are relayed all the same."""
        self.after_terminal = 0
        self.terminal: Terminal | None = None
        self.message_id: str | None = None
        self.model: str | None = None
        self.stop_reason: str | None = None
        self.error: UpstreamErrorBody | None = None
        self.blocks: dict[str, int] = {}
        """Content blocks started, by type."""
        self.output_chars = 0
        """About how many characters of text, thinking and tool arguments were streamed."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what may be forwarded: whole events, bytes unchanged.

        ``b""`` while an event is incomplete; ``data`` itself, not a copy, when it ends with an
        event and nothing was held. Raises ``TapOverflow``, and nothing else on any input.
        """
        try:
            ready = self._splitter.feed(data)
        except EventTooLargeError as error:
            self._read(error.ready)
            raise
        if ready:
            self._read(ready)
        return ready

    def end(self) -> bytes:
        """The upstream closed the stream cleanly: return the held tail.

        A tail is an event without its blank line; it counts if its data is complete JSON.
        """
        tail = self._splitter.end()
        event = parse_event(tail, strip_bom=self._first) if tail else None
        if event is not None and isinstance(loads(event.data), dict):
            self._event(event)
        return tail

    @property
    def semantic(self) -> bool:
        """Whether content was seen: the point after which the answer cannot be replaced."""
        return self.semantic_events > 0

    @property
    def usage(self) -> Usage:
        """The usage as revised by every frame so far."""
        return usage_of(self._raw_usage)

    @property
    def usage_source(self) -> UsageSource:
        """FINAL once the stream stopped and a ``message_delta`` gave the output tokens."""
        stopped = self.stop_reason is not None or self.terminal is Terminal.STOP
        if stopped and self._output_revised:
            return UsageSource.FINAL
        return UsageSource.PARTIAL if self.usage.is_known else UsageSource.NONE

    @property
    def tool_calls(self) -> int:
        """``tool_use`` blocks started: the calls the client has to run."""
        return self.blocks.get("tool_use", 0)

    @property
    def thinking(self) -> bool:
        """Whether long silences are plausible: a thinking block is open, or thinking was asked."""
        return self._open_thinking or self._request_thinks

    @property
    def answer_kind(self) -> str | None:
        """``text``, ``tool_use``, ``thinking`` or ``mixed``; ``None`` before the first block."""
        return answer_kind(self.blocks)

    def _read(self, ready: bytes) -> None:
        if b"\r" in ready or (self._first and not ready.startswith(b"event: ")):
            for piece in pieces(ready):
                self._piece(piece)
            return
        self._first = False
        start, size = 0, len(ready)
        while start < size:
            end = ready.find(b"\n\n", start)
            if end < 0:
                end = size
            if not (ready.startswith(_DELTA, start) and self._delta(ready, start, end)):
                self._piece(ready[start:end])
            start = end + 2

    def _piece(self, piece: bytes) -> None:
        event = parse_event(piece, strip_bom=self._first)
        self._first = False
        if event is not None:
            self._event(event)

    def _delta(self, ready: bytes, start: int, end: int) -> bool:
        """Count a delta of the usual two lines by its bytes; false when it looks otherwise."""
        data = start + _DELTA_DATA
        if ready[end - 1] != _BRACE or ready.find(b"\n", data, end) >= 0:
            return False
        self.events += 1
        if self.terminal is not None:
            self.after_terminal += 1
            return True
        self.semantic_events += 1
        self._count_text(ready, data, end)
        return True

    def _count_text(self, data: bytes, start: int, end: int) -> None:
        match = _DELTA_TEXT.search(data, start, end)
        if match is not None:
            escaped = match.group(1)
            # An escape is nearly always two bytes for one character.
            characters = len(escaped.decode("utf-8", "replace"))
            self.output_chars += characters - escaped.count(b"\\")

    def _event(self, event: ServerSentEvent) -> None:
        self.events += 1
        if self.terminal is not None:
            self.after_terminal += 1
            return
        name, data = event.event, event.data
        parsed: Any = None
        if not name:
            parsed = loads(data)
            name = _type_of(parsed)
        if name == b"ping":
            self.pings += 1
        elif name == b"error":
            self._error(data)
        elif name == b"content_block_delta":
            self._slow_delta(data)
        elif (handler := _HANDLERS.get(name)) is not None:
            self._handle(handler, loads(data) if parsed is None else parsed)
        elif event.event or isinstance(parsed, dict):
            self.unknown_events += 1
            self.semantic_events += 1
        else:
            self.malformed += 1

    def _handle(self, handler: _Handler, parsed: Any) -> None:
        if isinstance(parsed, dict):
            self.semantic_events += handler(self, parsed)
        else:
            # No client can read it; it is held back until something comes that one can.
            self.malformed += 1

    def _slow_delta(self, data: bytes) -> None:
        self.semantic_events += 1
        data = data.strip()
        # The same cheap test as in ``_delta``, so that both ways give the same counts.
        if data.startswith(b"{") and data.endswith(b"}"):
            self._count_text(data, 0, len(data))
        else:
            self.malformed += 1

    def _error(self, data: bytes) -> None:
        self.terminal = Terminal.ERROR
        self.error = read_error(data)
        self.malformed += self.error is None

    def _message_start(self, frame: dict[str, Any]) -> bool:
        message = _mapping(frame.get("message"))
        self.message_id = as_text(message.get("id"))
        self.model = as_text(message.get("model"))
        merge_usage(self._raw_usage, _mapping(message.get("usage")))
        return False

    def _block_start(self, frame: dict[str, Any]) -> bool:
        block = _mapping(frame.get("content_block"))
        kind = as_text(block.get("type")) or "unknown"
        self.blocks[kind] = self.blocks.get(kind, 0) + 1
        self._open_thinking = kind in _THINKING
        if kind == "text" or kind == "thinking":
            return bool(block.get(kind))
        return kind != "tool_use" or bool(block.get("input"))

    def _block_stop(self, _frame: dict[str, Any]) -> bool:
        self._open_thinking = False
        return True

    def _message_delta(self, frame: dict[str, Any]) -> bool:
        usage = _mapping(frame.get("usage"))
        merge_usage(self._raw_usage, usage)
        if as_count(usage.get("output_tokens")) is not None:
            self._output_revised = True
        reason = as_text(_mapping(frame.get("delta")).get("stop_reason"))
        if reason is not None:
            self.stop_reason = reason
        return True

    def _message_stop(self, _frame: dict[str, Any]) -> bool:
        self.terminal = Terminal.STOP
        return True


_Handler = Callable[[StreamTap, dict[str, Any]], bool]

_HANDLERS: Mapping[bytes, _Handler] = {
    b"message_start": StreamTap._message_start,
    b"content_block_start": StreamTap._block_start,
    b"content_block_stop": StreamTap._block_stop,
    b"message_delta": StreamTap._message_delta,
    b"message_stop": StreamTap._message_stop,
}
"""Each reads one frame and says whether it is semantic."""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _type_of(parsed: Any) -> bytes:
    kind = as_text(parsed.get("type")) if isinstance(parsed, dict) else None
    return kind.encode("utf-8", "replace") if kind else b""

"""Server-Sent Events on bytes, after the WHATWG HTML standard ("Parsing an event stream").

A line ends with ``\\n``, ``\\r\\n`` or ``\\r`` and with nothing else, so JSON that holds U+2028 or
U+0085 stays in one piece. An event ends with a blank line.

``EventSplitter`` cuts a byte stream after whole events and never changes a byte; ``SseDecoder``
decodes it into ``ServerSentEvent``; ``encode`` writes one event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from providers.errors import FramingError

EVENT_LIMIT = 16 * 1024 * 1024
"""Largest event accepted, in bytes, its line ends included."""

BOM = b"\xef\xbb\xbf"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BLANK_LINE = re.compile(rb"\n\n|[\r\n]\r\n?")


class EventTooLargeError(FramingError):
    """One event is larger than the limit; the reader that raised this is of no further use.

    ``ready`` holds the whole events that came before it and were not returned yet.
    """

    code = "event_too_large"

    def __init__(self, limit: int, ready: bytes = b"") -> None:
        super().__init__(f"the upstream sent a stream event of more than {limit} bytes")
        self.ready = ready


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event; a field the event did not carry is ``b""`` or ``None``."""

    event: bytes
    """The event type; ``b""`` where the standard says ``message``."""
    data: bytes
    """All ``data`` lines, joined by ``\\n``."""
    id: bytes | None = None
    retry: int | None = None
    """Reconnection time in milliseconds."""


class EventSplitter:
    """Holds back bytes until the event they belong to is complete."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Every byte up to the end of the last complete event; ``b""`` while one is incomplete.

        ``data`` itself is returned when nothing was held and it ends with an event. Raises
        ``EventTooLargeError``.
        """
        if self._held:
            return self._feed_held(data)
        cut = len(data) if data.endswith(b"\n\n") else _last_cut(data, 0)
        ready = data if cut == len(data) else data[:cut]
        if len(data) > self._limit:
            self._refuse_large(ready, len(data) - cut)
        if cut < len(data):
            self._held += data[cut:]
        return ready

    def end(self) -> bytes:
        """What is still held: an event without its blank line, or ``b""``."""
        tail = bytes(self._held)
        self._held.clear()
        return tail

    def _feed_held(self, data: bytes) -> bytes:
        held = self._held
        # A blank line may straddle the old and the new bytes, by one byte.
        search_from = len(held) - 1
        held += data
        cut = _last_cut(held, search_from)
        if cut == len(held):
            ready = bytes(held)
            held.clear()
        else:
            with memoryview(held) as view:
                ready = view[:cut].tobytes()
            del held[:cut]
        if len(ready) + len(held) > self._limit:
            self._refuse_large(ready, len(held))
        return ready

    def _refuse_large(self, ready: bytes, rest: int) -> None:
        end = 0
        for piece_end in _cuts(ready):
            if piece_end - end > self._limit:
                self._held.clear()
                raise EventTooLargeError(self._limit, ready[:end])
            end = piece_end
        if rest > self._limit:
            self._held.clear()
            raise EventTooLargeError(self._limit, ready)


class SseDecoder:
    """Incremental decoder; any chunking of the same bytes gives the same events."""

    __slots__ = ("_first", "_splitter")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._splitter = EventSplitter(limit)
        self._first = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that ``data`` completed, in order. Raises ``EventTooLargeError``."""
        return self._parse(self._splitter.feed(data))

    def end(self) -> list[ServerSentEvent]:
        """The event cut off before its blank line, if any.

        The standard drops it; servers that forget the last blank line are common enough to
        leave that to the caller.
        """
        return self._parse(self._splitter.end())

    def _parse(self, ready: bytes) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for piece in pieces(ready):
            event = parse_event(piece, strip_bom=self._first)
            self._first = False
            if event is not None:
                events.append(event)
        return events


def pieces(ready: bytes) -> Iterator[bytes]:
    """Cut ``ready`` after each event; blank lines and comments make pieces without an event."""
    start = 0
    for end in _cuts(ready):
        yield ready[start:end]
        start = end
    if start < len(ready):
        yield ready[start:]


def parse_event(piece: bytes, *, strip_bom: bool = False) -> ServerSentEvent | None:
    """Parse the lines of one event; ``None`` when it has no ``data`` line, as the standard says.

    ``strip_bom`` is for the very first piece of a stream.
    """
    if strip_bom:
        piece = piece.removeprefix(BOM)
    name = b""
    data: list[bytes] = []
    event_id: bytes | None = None
    retry: int | None = None
    lines = _LINE_END.split(piece) if b"\r" in piece else piece.split(b"\n")
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"id" and b"\0" not in value:
            event_id = value
        elif field == b"retry" and value.isdigit() and len(value) < 16:
            retry = int(value)
    if not data:
        return None
    return ServerSentEvent(name, b"\n".join(data), event_id, retry)


def encode(event: bytes, data: bytes) -> bytes:
    """One event as bytes; ``event=b""`` writes no ``event`` line.

    Line ends inside ``data`` become several ``data`` lines. Raises ``ValueError`` when ``event``
    holds a line end.
    """
    if b"\n" in event or b"\r" in event:
        raise ValueError("an event name cannot hold a line end")
    head = b"event: " + event + b"\n" if event else b""
    lines = b"\ndata: ".join(_LINE_END.split(data))
    return head + b"data: " + lines + b"\n\n"


def _last_cut(data: bytes | bytearray, start: int) -> int:
    """Index just after the last blank line that begins at ``start`` or later, else 0."""
    cut = data.rfind(b"\n\n", start) + 2
    if data.find(b"\r", start) >= 0:
        for pattern in (b"\n\r", b"\r\r"):
            end = data.rfind(pattern, start) + 2
            if end > 1 and data[end : end + 1] == b"\n":
                end += 1
            cut = max(cut, end)
    return cut if cut > 1 else 0


def _cuts(data: bytes) -> Iterator[int]:
    """The index after each blank line, from the left."""
    if b"\r" in data:
        for match in _BLANK_LINE.finditer(data):
            yield match.end()
        return
    end = data.find(b"\n\n") + 2
    while end > 1:
        yield end
        end = data.find(b"\n\n", end) + 2

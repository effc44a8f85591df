"""What the readers of answers share, streamed or whole, so that both give the same answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from providers.call_ids import CallIds
from providers.errors import FramingError
from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageSeen,
    empty_answer,
    truncated,
)
from providers.faults import Fault, FaultKind
from providers.neutral import Notes, StopReason
from providers.sse import EVENT_LIMIT, ServerSentEvent, SseDecoder
from providers.tool_book import ToolBook, arguments_text, has_half, is_object, is_raw, scrub
from providers.types import Usage

_OPEN, _CLOSE = "<think>", "</think>"
_CUT = frozenset([StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL])

Pieces = list[tuple[bool, str]]
"""Stretches of content: whether it is reasoning, and its text."""


class ThinkSplitter:
    """Parts content into reasoning and text where a model writes ``<think>`` into its content.

    Only a mark at the very beginning counts: later ones are what the model talks about.
    """

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state: Callable[[], Pieces] = self._at_start

    def feed(self, text: str) -> Pieces:
        """The stretches that are certain by now."""
        self._held += text
        return self._state()

    def end(self) -> Pieces:
        """What was held back."""
        held, self._held = self._held, ""
        # Thinking that never ends is not an answer.
        return [(self._state == self._in_thinking, held)] if held else []

    def _at_start(self) -> Pieces:
        text = self._held.lstrip()
        if text.startswith(_OPEN):
            self._held = text[len(_OPEN) :]
            self._state = self._in_thinking
            return self._in_thinking()
        if _OPEN.startswith(text):
            return []
        self._state = self._in_text
        return self._in_text()

    def _in_thinking(self) -> Pieces:
        thought, mark, rest = self._held.partition(_CLOSE)
        if mark:
            self._held = rest
            self._state = self._after_thinking
            return [(True, thought), *self._after_thinking()]
        keep = next(n for n in range(len(_CLOSE) - 1, -1, -1) if thought.endswith(_CLOSE[:n]))
        self._held = thought[len(thought) - keep :]
        return [(True, thought[: len(thought) - keep])]

    def _after_thinking(self) -> Pieces:
        self._held = self._held.lstrip()
        if not self._held:
            return []
        self._state = self._in_text
        return self._in_text()

    def _in_text(self) -> Pieces:
        text, self._held = self._held, ""
        return [(False, text)]


class Collector:
    """Turns what a provider says, in order, into neutral events that keep their grammar."""

    def __init__(self, book: ToolBook, ids: CallIds, *, splits_thinking: bool = False) -> None:
        self._book = book
        self._ids = ids
        self._splitter = ThinkSplitter() if splits_thinking else None
        self._half = ""
        self._space = ""
        self._in_text = False
        self._cut_calls: list[tuple[str | None, str, Any]] = []
        self._degraded: list[str] = []
        self._events: list[Event] = []
        self._has_started = False
        self._has_content = False
        self._has_calls = False
        self.output_chars = 0
        self.usage = Usage()
        self.model: str | None = None
        self.is_done = False

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def start(self, answer_id: str | None, model: str | None) -> None:
        """The provider began; only the first time counts."""
        self.model = self.model or model
        if not self._has_started:
            self._has_started = True
            self._events.append(Started(answer_id, model))

    def see_usage(self, usage: Usage) -> None:
        """The usage so far, the newest wins."""
        self.usage = usage
        self._events.append(UsageSeen(usage))

    def content(self, text: str) -> None:
        """Text that may open with thinking, in the models that write it so."""
        text = self._joined(text)
        if self._splitter is None:
            self.text(text)
        else:
            self._pieces(self._splitter.feed(text))

    def _joined(self, text: str) -> str:
        """``text`` without half characters: a half at the end waits for the other one."""
        text, self._half = self._half + text, ""
        if not has_half(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return str(scrub(text))

    def _pieces(self, pieces: Pieces) -> None:
        for is_reasoning, piece in pieces:
            (self.reasoning if is_reasoning else self.text)(piece)

    def new_block(self) -> None:
        """A block of text begins; white space at its head waits again."""
        self._in_text, self._space = False, ""

    def text(self, text: str) -> None:
        """White space waits for text to follow: alone it is no content, and vendors refuse it."""
        self.output_chars += len(text)
        if not self._in_text:
            self._space += text
            if not self._space.strip():
                return
            text, self._space = self._space, ""
            self._in_text = True
        if text:
            self._has_content = True
            self._events.append(TextDelta(text))

    def reasoning(self, text: str) -> None:
        """Thinking that the provider shows."""
        if text:
            self.output_chars += len(text)
            self._events.append(ReasoningDelta(scrub(text)))

    def refusal(self, text: str) -> None:
        """The words a model declines with."""
        if text:
            self.output_chars += len(text)
            self._has_content = True
            self._events.append(RefusalDelta(scrub(text)))

    def call(self, call_id: str | None, name: str, arguments: Any) -> None:
        """One call that the provider has closed; a broken one waits for the stop reason."""
        self.new_block()
        arguments = scrub(arguments) if isinstance(arguments, str) else arguments
        if self._cut_calls or not is_object(_as_text(arguments)):
            self._cut_calls.append((call_id, name, arguments))
        else:
            self._emit_call(call_id, name, arguments)

    def _emit_call(self, call_id: str | None, name: str, arguments: Any) -> None:
        call = self._book.call(self._ids.take(call_id), name, arguments)
        if not call.is_custom and is_raw(call.arguments):
            self._degraded.append("raw_arguments")
        self._has_content = self._has_calls = True
        self._events.append(call)

    def complete(self, stop: StopReason, stop_sequence: str | None = None) -> None:
        """The provider's own terminator was seen."""
        if self.is_done:
            return
        if self._half:
            half, self._half = self._half, ""
            self.content(str(scrub(half)))
        if self._splitter is not None:
            self._pieces(self._splitter.end())
        for call in self._cut_calls:
            if stop in _CUT and not is_object(_as_text(call[2])):
                # The model ran out of tokens inside it: to run it would be a guess.
                self._degraded.append("cut_call")
            else:
                self._emit_call(*call)
        if not self._has_content and stop is not StopReason.REFUSAL:
            self.fail(empty_answer(stop))
            return
        if self._has_calls and stop in (StopReason.END, StopReason.STOP_SEQUENCE):
            stop = StopReason.TOOL_CALLS
        elif stop is StopReason.TOOL_CALLS and not self._has_calls:
            stop = StopReason.END
        self.is_done = True
        notes = Notes(degraded=tuple(dict.fromkeys(self._degraded)))
        self._events.append(Finished(stop, self.usage, stop_sequence, notes))

    def fail(self, fault: Fault) -> None:
        """The answer will not be completed."""
        if not self.is_done:
            self.is_done = True
            self._events.append(Failed(fault, self.usage))


def _as_text(arguments: Any) -> str:
    """The arguments unless they had to be wrapped, in which case no valid JSON."""
    if isinstance(arguments, str) and arguments.strip():
        return arguments
    return (
        arguments_text(arguments) if arguments is None or isinstance(arguments, dict | str) else ""
    )


class BaseDecoder:
    """The outer half of every stream decoder: bytes in, events of the collector out."""

    _is_ending = False

    def __init__(
        self,
        book: ToolBook,
        ids: CallIds,
        *,
        splits_thinking: bool = False,
        limit: int = EVENT_LIMIT,
    ) -> None:
        """``limit``: bytes of one event, and characters of all calls that are not complete."""
        self._collector = Collector(book, ids, splits_thinking=splits_thinking)
        self._sse = SseDecoder(limit)
        self._limit = limit
        self._is_closing = False
        self.semantic_events = 0
        """Upstream events so far that carried content; grows while a held call arrives."""
        self.ignored_events = 0

    @property
    def output_chars(self) -> int:
        """Characters of text, reasoning and arguments so far."""
        return self._collector.output_chars

    @property
    def usage(self) -> Usage:
        """The usage reported so far."""
        return self._collector.usage

    @property
    def model(self) -> str | None:
        """The model that the provider says it runs."""
        return self._collector.model

    @property
    def is_done(self) -> bool:
        """Whether the terminal event was given; bytes after it are ignored."""
        return self._collector.is_done

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completed."""
        if self.is_done:
            return []
        try:
            self._read(self._sse.feed(data))
        except FramingError as error:
            self._collector.fail(Fault(FaultKind.MALFORMED, str(error)))
        return self._collector.take()

    def end(self) -> list[Event]:
        """The provider closed the stream: the rest, and the terminal event if it is still due."""
        if not self.is_done:
            self._is_closing = True
            self._read(self._sse.end())
        if not self.is_done:
            self._closed()
        return self._collector.take()

    def _read(self, events: list[ServerSentEvent]) -> None:
        for event in events:
            if self.is_done:
                self.ignored_events += 1
            else:
                self._event(event)

    def _event(self, event: ServerSentEvent) -> None:
        raise NotImplementedError

    def _closed(self) -> None:
        self._collector.fail(truncated())

    def _malformed(self) -> None:
        if self._is_closing:
            # Half an event at the end of the stream: it was cut, not wrong.
            self._collector.fail(truncated())
            return
        fault = Fault(FaultKind.MALFORMED, "the provider sent a stream event that is not JSON")
        self._collector.fail(fault)

    def _too_large(self) -> None:
        fault = Fault(FaultKind.MALFORMED, "the provider sent a tool call that is too large")
        self._collector.fail(fault)

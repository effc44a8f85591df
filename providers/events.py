"""A streamed answer as neutral events, and the two ends that read and write them.

    stream := Started? ( TextDelta | RefusalDelta | ReasoningDelta | ToolCall | UsageSeen )*
              ( Finished | Failed )

- Exactly one terminal event, and nothing after it.
- A ``ToolCall`` comes whole: its arguments were checked, so it can be run. Calls of a stream that
  broke off in the middle are never handed on, and until a call is complete the attempt stays
  replaceable.
- ``Finished`` carries the final usage. An answer without any content ends in ``Failed`` with
  ``FaultKind.EMPTY``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from providers.faults import Fault, FaultKind
from providers.neutral import (
    NO_NOTES,
    Answer,
    Notes,
    Part,
    Reasoning,
    Refusal,
    StopReason,
    Text,
    ToolCall,
)
from providers.types import Usage


@dataclass(frozen=True, slots=True)
class Started:
    """The provider began to answer; not yet content."""

    id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of the words the model declines with; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More thinking; a sign of life, never given to a client."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageSeen:
    """The usage so far; each one replaces the last."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete, by its protocol's own terminator."""

    stop: StopReason
    usage: Usage = field(default_factory=Usage)
    stop_sequence: str | None = None
    notes: Notes = NO_NOTES


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer will not be completed."""

    fault: Fault
    usage: Usage = field(default_factory=Usage)


Event = (
    Started | TextDelta | RefusalDelta | ReasoningDelta | ToolCall | UsageSeen | Finished | Failed
)


class StreamDecoder(Protocol):
    """Reads the bytes of one provider stream; any chunking gives the same events.

    It never raises on any input: what cannot be read ends in ``Failed``.
    """

    @property
    def semantic_events(self) -> int:
        """Upstream events so far that carried content; grows while a held call arrives."""

    @property
    def output_chars(self) -> int:
        """Characters of text, reasoning and arguments so far."""

    @property
    def usage(self) -> Usage:
        """The usage reported so far."""

    @property
    def model(self) -> str | None:
        """The model that the provider says it runs."""

    @property
    def is_done(self) -> bool:
        """Whether the terminal event was given; bytes after it are ignored."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completed."""

    def end(self) -> list[Event]:
        """The provider closed the stream: the rest, and the terminal event if it is still due."""


class StreamEncoder(Protocol):
    """Writes one client stream; refuses nothing, and puts out only what its grammar allows."""

    @property
    def is_done(self) -> bool:
        """Whether the terminal event was written; later events give ``b""``."""

    @property
    def has_content(self) -> bool:
        """Whether any byte given so far holds content: the point of no return."""

    def encode(self, event: Event) -> bytes:
        """The client's bytes for one event; often ``b""``.

        Lifecycle frames are held back until the first content, so that a failure before it leaves
        nothing written: ``Failed`` then still gives the bytes of a whole, valid error stream, which
        a caller that has not sent its status line replaces by an error response.
        """

    @property
    def keepalive(self) -> bytes:
        """What to send in a long silence, now; safe between any two results of ``encode``."""


def is_content(event: Event) -> bool:
    """Whether the client sees something of it: after this no other provider may take over."""
    return isinstance(event, TextDelta | RefusalDelta | ToolCall)


def unfold(answer: Answer) -> list[Event]:
    """The events of an answer that came whole; an empty one ends in ``Failed``."""
    events: list[Event] = [Started(answer.id, answer.model)]
    for part in answer.parts:
        match part:
            case Text(text) if text:
                events.append(TextDelta(text))
            case Refusal(text) if text:
                events.append(RefusalDelta(text))
            case Reasoning(text) if text:
                events.append(ReasoningDelta(text))
            case ToolCall():
                events.append(part)
            case _:
                pass
    if answer.is_empty:
        events.append(Failed(empty_answer(answer.stop), answer.usage))
    else:
        events.append(Finished(answer.stop, answer.usage, answer.stop_sequence, answer.notes))
    return events


def fold(events: Iterable[Event]) -> Answer | Fault:
    """What a stream added up to; the ``Fault`` when it failed or never ended."""
    started = Started()
    parts: list[Part] = []
    for event in events:
        match event:
            case Started():
                started = event
            case TextDelta(text):
                _append(parts, Text(text))
            case RefusalDelta(text):
                _append(parts, Refusal(text))
            case ReasoningDelta(text):
                _append(parts, Reasoning(text))
            case ToolCall():
                parts.append(event)
            case UsageSeen():
                pass
            case Finished(stop, usage, stop_sequence, notes):
                return Answer(
                    tuple(parts), stop, stop_sequence, usage, started.id, started.model, notes
                )
            case Failed(fault):
                return fault
    return truncated()


def _append(parts: list[Part], more: Text | Refusal | Reasoning) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, Text | Refusal | Reasoning) and type(last) is type(more):
        parts[-1] = type(more)(last.text + more.text)
    else:
        parts.append(more)


def empty_answer(stop: StopReason) -> Fault:
    """The fault of a success without content."""
    if stop in (StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL):
        message = "the model used up its output limit before it gave an answer"
    else:
        message = "the model gave an empty answer"
    return Fault(FaultKind.EMPTY, message)


def truncated() -> Fault:
    """The fault of a stream without its terminator."""
    return Fault(FaultKind.TRUNCATED, "the stream ended before the answer was complete")

"""What a native answer says about itself, read beside its bytes, for each protocol.

A tap never changes a byte: ``feed`` gives back whole events as they came. The Anthropic tap is
``providers.protocols.anthropic.stream.StreamTap``; the OpenAI ones use the translators' readers
for usage and content, and look for the terminator themselves, so that an answer which the readers
do not understand is still relayed to its end.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from providers import events
from providers.call_ids import CallIds
from providers.faults import Fault
from providers.neutral import Answer, Request, ToolCall
from providers.protocols.anthropic.faults import shape
from providers.protocols.anthropic.response import (
    ResponseFacts,
    UpstreamErrorBody,
    read_response,
)
from providers.protocols.anthropic.stream import StreamTap, Terminal, error_event
from providers.protocols.dialects import CHAT, DIALECTS, Dialect, Front
from providers.protocols.openai_responses.faults import failure
from providers.sse import (
    EVENT_LIMIT,
    EventSplitter,
    EventTooLargeError,
    encode,
    parse_event,
    pieces,
)
from providers.tool_book import ToolBook
from providers.types import Protocol as WireProtocol
from providers.types import Usage, UsageSource

__all__ = ["Tap", "TapOverflow", "Terminal", "facts_of", "last_words", "tap_for"]

TapOverflow = EventTooLargeError

_NOT_SEMANTIC = frozenset(
    {"response.created", "response.in_progress", "response.queued", "keepalive", "ping"}
)
_STOPS = frozenset({"response.completed", "response.incomplete"})
_ERRORS = frozenset({"response.failed", "error"})


class Tap(Protocol):
    """The state of one streamed answer so far."""

    terminal: Terminal | None
    error: UpstreamErrorBody | None
    semantic_events: int
    stop_reason: str | None

    @property
    def output_chars(self) -> int: ...

    @property
    def model(self) -> str | None: ...

    @property
    def semantic(self) -> bool: ...

    @property
    def thinking(self) -> bool: ...

    @property
    def usage(self) -> Usage: ...

    @property
    def usage_source(self) -> UsageSource: ...

    @property
    def tool_calls(self) -> int: ...

    @property
    def answer_kind(self) -> str | None: ...

    def feed(self, data: bytes) -> bytes:
        """The whole events that ``data`` completed; raises ``TapOverflow``."""

    def end(self) -> bytes:
        """What was left when the stream closed."""


def tap_for(protocol: WireProtocol, *, thinking: bool) -> Tap:
    """A tap for one streamed answer; ``thinking``: the request allows long silent thought."""
    if protocol is WireProtocol.MESSAGES:
        return StreamTap(thinking=thinking)
    return OpenAiTap(DIALECTS[protocol], thinking=thinking)


def last_words(tap: Tap, fault: Fault, front: Front) -> bytes:
    """The events that end a stream of which the client has what ``tap`` has read."""
    if isinstance(tap, OpenAiTap):
        return tap.break_off(fault, front)
    _, error_type, message = shape(fault)
    return error_event(error_type, message, front.request_id)


class _EventHead(msgspec.Struct):
    type: Any = None
    sequence_number: Any = None
    error: Any = None
    choices: Any = None
    response: Any = None
    item: msgspec.Raw = msgspec.Raw(b"")


_head = msgspec.json.Decoder(_EventHead)


class OpenAiTap:
    """A tap on a Responses or Chat Completions stream."""

    def __init__(self, dialect: Dialect, *, thinking: bool, limit: int = EVENT_LIMIT) -> None:
        self._dialect = dialect
        self._thinking = thinking
        self._splitter = EventSplitter(limit)
        self._decoder = dialect.decoder(*_nothing_known())
        self._parts = {"text": 0, "tool_use": 0, "thinking": 0}
        self._is_final = False
        self._has_begun = False
        self.terminal: Terminal | None = None
        self.error: UpstreamErrorBody | None = None
        self.stop_reason: str | None = None
        self.semantic_events = 0
        self._announced: dict[str, Any] | None = None
        """The response object of the Responses API, as the client knows it."""
        self._items: list[msgspec.Raw] = []
        """Of its output, those that are complete."""
        self._sequence = -1

    def feed(self, data: bytes) -> bytes:
        """See ``Tap``."""
        try:
            ready = self._splitter.feed(data)
        except EventTooLargeError as error:
            self._read(error.ready)
            raise
        if ready:
            self._read(ready)
        return ready

    def end(self) -> bytes:
        """See ``Tap``."""
        tail = self._splitter.end()
        told, items = (self._announced, self._sequence), len(self._items)
        if tail:
            self._read(tail)
        if self.terminal is None:
            # An answer that broke off ends with what the client was given, which this is not.
            self._announced, self._sequence = told
            del self._items[items:]
        if self.may_end and self.terminal is None:
            self.terminal = Terminal.STOP
        if not self._decoder.is_done:
            self._note(self._decoder.end())
        return tail

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete, though its last word (``[DONE]``) has not come."""
        return bool(getattr(self._decoder, "may_end", False))

    @property
    def semantic(self) -> bool:
        """Whether anything came that another provider could not take back."""
        return self._has_begun

    @property
    def thinking(self) -> bool:
        """Whether long pauses are to be expected."""
        return self._thinking

    @property
    def output_chars(self) -> int:
        """Characters of output so far."""
        return self._decoder.output_chars

    @property
    def model(self) -> str | None:
        """The model that the provider names."""
        return self._decoder.model

    @property
    def usage(self) -> Usage:
        """As reported so far."""
        return self._decoder.usage

    @property
    def usage_source(self) -> UsageSource:
        """How far ``usage`` can be trusted."""
        if not self.usage.is_known:
            return UsageSource.NONE
        is_whole = self._is_final or self.terminal is Terminal.STOP
        return UsageSource.FINAL if is_whole else UsageSource.PARTIAL

    @property
    def tool_calls(self) -> int:
        """Calls the client has to run."""
        return self._parts["tool_use"]

    @property
    def answer_kind(self) -> str | None:
        """``text``, ``tool_use``, ``mixed`` ..."""
        return _kind(self._parts)

    def _read(self, ready: bytes) -> None:
        for piece in pieces(ready):
            event = parse_event(piece)
            if event is not None and self.terminal is None:
                self._look(event.data)
        self._note(self._decoder.feed(ready))

    def _look(self, data: bytes) -> None:
        self.semantic_events += 1
        if data.strip() == b"[DONE]":
            self.terminal = Terminal.STOP
            return
        try:
            head = _head.decode(data)
        except (msgspec.DecodeError, ValueError):
            # No client can read it; it is held back until something comes that one can.
            return
        if self._dialect is CHAT:
            self._look_at_chunk(head)
        elif head.type in _STOPS:
            self.terminal = Terminal.STOP
        elif head.type in _ERRORS:
            inner = head.response if isinstance(head.response, dict) else {}
            self._fail(head.error or inner.get("error"))
        elif head.type in _NOT_SEMANTIC:
            self.semantic_events -= head.type in ("keepalive", "ping")
            if isinstance(head.response, dict):
                self._announced = head.response
        else:
            self._has_begun = True
            if head.type == "response.output_item.done" and bytes(head.item):
                self._items.append(head.item.copy())
        if isinstance(head.sequence_number, int):
            self._sequence = head.sequence_number

    def break_off(self, fault: Fault, front: Front) -> bytes:
        """The protocol's error event; in Responses it is about the response announced."""
        if self._announced is None:
            return self._dialect.encoder(front).encode(events.Failed(fault))
        more = {"status": "failed", "error": failure(fault), "output": self._items}
        response = self._announced | more
        data = {
            "type": "response.failed",
            "sequence_number": self._sequence + 1,
            "response": response,
        }
        return encode(b"response.failed", msgspec.json.encode(data))

    def _look_at_chunk(self, head: _EventHead) -> None:
        if head.error is not None and not head.choices:
            self._fail(head.error)
        elif isinstance(head.choices, list) and any(_has_content(c) for c in head.choices):
            self._has_begun = True

    def _fail(self, error: Any) -> None:
        self.terminal = Terminal.ERROR
        self.error = _error(error)

    def _note(self, found: list[events.Event]) -> None:
        for event in found:
            match event:
                case events.TextDelta() | events.RefusalDelta():
                    self._parts["text"] += 1
                case events.ReasoningDelta():
                    self._parts["thinking"] += 1
                case ToolCall():
                    self._parts["tool_use"] += 1
                case events.Finished(stop):
                    self._is_final, self.stop_reason = True, stop.value
                case _:
                    pass


def facts_of(protocol: WireProtocol, status: int, body: bytes) -> ResponseFacts:
    """What an answer that was not streamed says about itself; garbage gives empty facts."""
    if protocol is WireProtocol.MESSAGES:
        return read_response(body)
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError):
        return ResponseFacts()
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if status >= 400 or error:
        return ResponseFacts(error=_error(error))
    answer = DIALECTS[protocol].read_answer(parsed, *_nothing_known())
    return _answer_facts(answer) if isinstance(answer, Answer) else ResponseFacts()


def _answer_facts(answer: Answer) -> ResponseFacts:
    kinds = {"text": 0, "tool_use": 0, "thinking": 0}
    for part in answer.parts:
        name = "tool_use" if isinstance(part, ToolCall) else "text"
        kinds[name] += 1
    return ResponseFacts(
        model=answer.model,
        id=answer.id,
        stop_reason=answer.stop.value,
        usage=answer.usage,
        usage_source=UsageSource.FINAL if answer.usage.is_known else UsageSource.NONE,
        tool_calls=kinds["tool_use"],
        answer_kind=_kind(kinds),
    )


def _nothing_known() -> tuple[ToolBook, CallIds]:
    """A book and ids for a reader whose findings are only counted."""
    return ToolBook(Request(model="", messages=())), CallIds(frozenset(), lambda: "tap")


def _kind(parts: dict[str, int]) -> str | None:
    found = [name for name, count in parts.items() if count and name != "thinking"]
    if len(found) > 1:
        return "mixed"
    return found[0] if found else ("thinking" if parts["thinking"] else None)


def _has_content(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return True
    delta = choice.get("delta") or choice.get("message") or {}
    if choice.get("finish_reason"):
        return True
    return isinstance(delta, dict) and any(v for k, v in delta.items() if k != "role")


def _error(error: Any) -> UpstreamErrorBody:
    if not isinstance(error, dict):
        return UpstreamErrorBody("error", str(error)[:300] if error else "")
    kind = error.get("code") or error.get("type") or "error"
    return UpstreamErrorBody(str(kind)[:100], str(error.get("message") or "")[:2000])

"""Neutral events to a Responses stream.

    stream  := created in_progress ( message | call )* ( completed | incomplete | failed )
    message := output_item.added part+ output_item.done
    part    := content_part.added delta+ text.done|refusal.done content_part.done
    call    := output_item.added arguments.delta arguments.done output_item.done

Codex takes what the model said and did from ``output_item.done`` alone, so that event comes for
whole items only: a message that broke off stays open, and a call is known whole before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

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
)
from providers.faults import Fault
from providers.neutral import StopReason, ToolCall
from providers.protocols.openai_responses.faults import failure
from providers.protocols.openai_responses.response_out import (
    call_item,
    ending,
    item_id,
    message_item,
    refusal_part,
    response_object,
    text_part,
)
from providers.sse import encode as encode_event
from providers.tool_book import encode
from providers.types import Usage

KEEPALIVE = encode_event(b"keepalive", b'{"type":"keepalive"}')
"""A real event: comments do not reset the idle timer of Codex."""


class _State(Enum):
    HELD = auto()
    """Nothing was written."""
    BETWEEN = auto()
    """The response was announced, and no item is open."""
    MESSAGE = auto()
    """A message is open, with an open part."""
    DONE = auto()
    """The terminal event was written."""


class Encoder:
    """One stream to a Responses client; serves all attempts of its request, one after another."""

    def __init__(
        self,
        *,
        answer_id: str,
        model: str,
        created_at: int = 0,
        echo: Mapping[str, Any] = MappingProxyType({}),
        stop_retries: bool = False,
    ) -> None:
        """Arguments as for ``write_answer``."""
        self._answer_id = answer_id
        self._model = model
        self._created_at = created_at
        self._echo = echo
        self.stop_retries = stop_retries
        """Whether a failure from now on shall make the client give up; may be set at any time."""
        self._state = _State.HELD
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        """Items that are complete."""
        self._parts: list[dict[str, Any]] = []
        """Parts of the open message that are complete."""
        self._pieces: list[str] = []
        """Text of the open part."""
        self._is_refusal = False
        self._has_refused = False
        self.has_content = False
        """Whether any byte given so far holds content: the point of no return."""

    @property
    def is_done(self) -> bool:
        """Whether the terminal event was written; later events give ``b""``."""
        return self._state is _State.DONE

    @property
    def keepalive(self) -> bytes:
        """An event of no meaning; the first one announces the response, as readers expect."""
        return b"" if self.is_done else self._start() + KEEPALIVE

    def encode(self, event: Event) -> bytes:
        """The client's bytes for one event; often ``b""``."""
        if self.is_done:
            return b""
        match event:
            case TextDelta(text):
                return self._text(text, is_refusal=False)
            case RefusalDelta(text):
                return self._text(text, is_refusal=True)
            case ToolCall():
                return self._call(event)
            case Finished():
                return self._finish(event)
            case Failed(fault, usage):
                return self._fail(fault, usage)
            case Started() | ReasoningDelta() | UsageSeen():
                return b""

    # ------------------------------------------------------------------ the response

    def _start(self) -> bytes:
        if self._state is not _State.HELD:
            return b""
        self._state = _State.BETWEEN
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _finish(self, event: Finished) -> bytes:
        if not (self.has_content or event.stop is StopReason.REFUSAL):
            return self._fail(empty_answer(event.stop), event.usage)
        status, details = ending(event.stop, self._has_refused)
        head = self._start() + self._close_message(status)
        self._state = _State.DONE
        response = self._response(status, usage=event.usage, incomplete_details=details)
        return head + self._event(f"response.{status}", response=response)

    def _fail(self, fault: Fault, usage: Usage) -> bytes:
        head = self._start()
        if self._state is _State.MESSAGE:
            self._output.append(self._message("incomplete", [*self._parts, self._part()]))
        self._state = _State.DONE
        error = failure(fault, stop=self.stop_retries)
        response = self._response("failed", usage=usage, error=error)
        return head + self._event("response.failed", response=response)

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        return response_object(
            answer_id=self._answer_id,
            model=self._model,
            created_at=self._created_at,
            echo=self._echo,
            status=status,
            output=self._output,
            **fields,
        )

    # ------------------------------------------------------------------ messages

    def _text(self, text: str, *, is_refusal: bool) -> bytes:
        self.has_content = True
        self._has_refused = self._has_refused or is_refusal
        head = self._start()
        if self._state is _State.BETWEEN:
            self._state = _State.MESSAGE
            head += self._event(
                "response.output_item.added", item=self._message("in_progress", []), **self._at
            )
            head += self._open_part(is_refusal)
        elif self._is_refusal is not is_refusal:
            head += self._close_part() + self._open_part(is_refusal)
        self._pieces.append(text)
        place = self._part_place
        if is_refusal:
            return head + self._event("response.refusal.delta", delta=text, **place)
        return head + self._event("response.output_text.delta", delta=text, logprobs=[], **place)

    def _open_part(self, is_refusal: bool) -> bytes:
        self._is_refusal = is_refusal
        self._pieces = []
        return self._event("response.content_part.added", part=self._part(), **self._part_place)

    def _close_part(self) -> bytes:
        part, place = self._part(), self._part_place
        if self._is_refusal:
            done = self._event("response.refusal.done", refusal=part["refusal"], **place)
        else:
            done = self._event("response.output_text.done", text=part["text"], logprobs=[], **place)
        done += self._event("response.content_part.done", part=part, **place)
        self._parts.append(part)
        return done

    def _close_message(self, status: str = "completed") -> bytes:
        if self._state is not _State.MESSAGE:
            return b""
        self._state = _State.BETWEEN
        head = self._close_part()
        item = self._message(status, self._parts)
        self._parts = []
        return head + self._item_done(item)

    def _message(self, status: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
        return message_item(self._message_id, parts, status)

    def _part(self) -> dict[str, Any]:
        words = "".join(self._pieces)
        return refusal_part(words) if self._is_refusal else text_part(words)

    # ------------------------------------------------------------------ calls

    def _call(self, call: ToolCall) -> bytes:
        self.has_content = True
        head = self._start() + self._close_message()
        identity = item_id(self._answer_id, len(self._output), call)
        item = call_item(identity, call)
        place = {"item_id": identity, **self._at}
        kind, field = ("function_call_arguments", "arguments")
        if call.is_custom:
            kind, field = ("custom_tool_call_input", "input")
        announced = call_item(identity, call, is_open=True)
        body = self._event("response.output_item.added", item=announced, **self._at)
        if call.arguments:
            body += self._event(f"response.{kind}.delta", delta=call.arguments, **place)
        body += self._event(f"response.{kind}.done", **{field: call.arguments}, **place)
        return head + body + self._item_done(item)

    # ------------------------------------------------------------------ events

    @property
    def _at(self) -> dict[str, Any]:
        return {"output_index": len(self._output)}

    @property
    def _message_id(self) -> str:
        return item_id(self._answer_id, len(self._output))

    @property
    def _part_place(self) -> dict[str, Any]:
        return {"item_id": self._message_id, "content_index": len(self._parts), **self._at}

    def _item_done(self, item: dict[str, Any]) -> bytes:
        done = self._event("response.output_item.done", item=item, **self._at)
        self._output.append(item)
        return done

    def _event(self, name: str, **fields: Any) -> bytes:
        data = encode({"type": name, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        return encode_event(name.encode(), data)

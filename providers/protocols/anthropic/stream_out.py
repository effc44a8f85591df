"""Neutral events to an Anthropic Messages stream.

    stream := message_start ( text block | tool_use block )* message_delta message_stop
    text block := content_block_start content_block_delta+ content_block_stop
    failure := error, at any point, and nothing after it: no open block is closed

Source: Anthropic Messages SSE. Blocks are numbered from 0 without gaps and never interleave; a
``content_block_stop`` tells the client that a call may run, so only complete calls get one.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from msgspec import structs

from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from providers.neutral import StopReason, ToolCall
from providers.protocols.anthropic.faults import shape
from providers.protocols.anthropic.response_out import STOP_WORDS, estimated, tool_use, write_usage
from providers.protocols.anthropic.stream import PING, error_event
from providers.sse import encode as encode_event
from providers.tool_book import encode
from providers.types import Usage


class _State(Enum):
    HELD = auto()
    """Nothing was written."""
    BETWEEN = auto()
    """``message_start`` was written, and no block is open."""
    TEXT = auto()
    """A text block is open."""
    DONE = auto()
    """``message_stop`` or ``error`` was written."""


class Encoder:
    """One stream to a Messages client."""

    def __init__(
        self,
        *,
        message_id: str,
        model: str,
        input_estimate: int = 0,
        request_id: str | None = None,
    ) -> None:
        """``input_estimate``: tokens of the input, for ``message_start``, which comes before the
        provider reports any; the last ``message_delta`` puts the reported count in its place."""
        self._message_id = message_id
        self._model = model
        self._input_estimate = input_estimate
        self._usage = Usage()
        self._request_id = request_id
        self._state = _State.HELD
        self._index = 0
        self._chars = 0
        self.has_content = False
        """Whether any byte given so far holds content: the point of no return."""

    @property
    def is_done(self) -> bool:
        """Whether the terminal event was written; later events give ``b""``."""
        return self._state is _State.DONE

    @property
    def keepalive(self) -> bytes:
        """A ``ping``; Claude Code gives up a stream without events, comments do not count."""
        return b"" if self.is_done else PING

    def encode(self, event: Event) -> bytes:
        """The client's bytes for one event; often ``b""``."""
        if self.is_done:
            return b""
        match event:
            case TextDelta(text) | RefusalDelta(text):
                return self._text(text)
            case ToolCall():
                return self._call(event)
            case UsageSeen(usage):
                self._usage = usage
                return b""
            case Finished():
                return self._finish(event)
            case Failed(fault):
                self._state = _State.DONE
                _, error_type, message = shape(fault)
                return error_event(error_type, message, self._request_id)
            case Started() | ReasoningDelta():
                return b""

    def _start(self) -> bytes:
        if self._state is not _State.HELD:
            return b""
        self._state = _State.BETWEEN
        message: dict[str, Any] = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._first_usage()),
        }
        return _event("message_start", message=message)

    def _first_usage(self) -> Usage:
        """What is known of the input; of the output there is nothing yet."""
        usage = structs.replace(self._usage, output_tokens=0, reasoning_tokens=None)
        return estimated(usage, self._input_estimate, 0)

    def _text(self, text: str) -> bytes:
        self.has_content = True
        self._chars += len(text)
        head = self._start()
        if self._state is not _State.TEXT:
            self._state = _State.TEXT
            head += self._block_start({"type": "text", "text": ""})
        return head + self._block_delta({"type": "text_delta", "text": text})

    def _call(self, call: ToolCall) -> bytes:
        self.has_content = True
        self._chars += len(call.arguments)
        head = self._start() + self._close_text()
        block = self._block_start(tool_use(call))
        if call.arguments.strip() != "{}":
            block += self._block_delta({"type": "input_json_delta", "partial_json": call.arguments})
        return head + block + self._block_stop()

    def _finish(self, event: Finished) -> bytes:
        head = self._start() + self._close_text()
        self._state = _State.DONE
        usage = estimated(event.usage, self._input_estimate, self._chars)
        sequence = event.stop_sequence if event.stop is StopReason.STOP_SEQUENCE else None
        delta = {"stop_reason": STOP_WORDS[event.stop], "stop_sequence": sequence}
        return (
            head
            + _event("message_delta", delta=delta, usage=write_usage(usage))
            + _event("message_stop")
        )

    # ------------------------------------------------------------------ blocks

    def _close_text(self) -> bytes:
        if self._state is not _State.TEXT:
            return b""
        self._state = _State.BETWEEN
        return self._block_stop()

    def _block_start(self, block: dict[str, Any]) -> bytes:
        return _event("content_block_start", index=self._index, content_block=block)

    def _block_delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _block_stop(self) -> bytes:
        self._index += 1
        return _event("content_block_stop", index=self._index - 1)


def _event(name: str, **fields: Any) -> bytes:
    return encode_event(name.encode(), encode({"type": name, **fields}))

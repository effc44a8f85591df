"""Neutral events to a Chat Completions stream.

    stream := chunk(role) chunk(content | refusal | tool_calls)+ chunk(finish_reason)
              chunk(usage)? [DONE]
    failure := {"error": ...}, at any point, and nothing after it: no finish_reason, no [DONE]

Source: OpenAI ``chat.completion.chunk``, data-only SSE.
"""

from __future__ import annotations

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
)
from providers.faults import Fault
from providers.neutral import ToolCall
from providers.protocols.openai_chat.faults import error_object
from providers.protocols.openai_chat.response_out import FINISH_REASONS, tool_call, write_usage
from providers.sse import encode as encode_event
from providers.tool_book import encode

KEEPALIVE = b": keep-alive\n\n"
"""A comment: any event would have to be a chunk."""


class Encoder:
    """One stream to a Chat client."""

    def __init__(
        self, *, answer_id: str, model: str, created: int, includes_usage: bool = False
    ) -> None:
        """``created``: seconds since the epoch; ``includes_usage``: the client asked for the
        chunk with the usage (``Request.wants_stream_usage``)."""
        self._head = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._includes_usage = includes_usage
        self._calls = 0
        self._has_started = False
        self.is_done = False
        """Whether the terminal event was written; later events give ``b""``."""
        self.has_content = False
        """Whether any byte given so far holds content: the point of no return."""

    @property
    def keepalive(self) -> bytes:
        """A comment, until the stream is done."""
        return b"" if self.is_done else KEEPALIVE

    def encode(self, event: Event) -> bytes:
        """The client's bytes for one event; often ``b""``."""
        if self.is_done:
            return b""
        match event:
            case TextDelta(text):
                return self._content({"content": text})
            case RefusalDelta(text):
                return self._content({"refusal": text})
            case ToolCall():
                self._calls += 1
                call = {"index": self._calls - 1, **tool_call(event)}
                return self._content({"tool_calls": [call]})
            case Finished():
                return self._finish(event)
            case Failed(fault):
                self.is_done = True
                return encode_event(b"", encode({"error": _in_stream(fault)}))
            case Started() | ReasoningDelta() | UsageSeen():
                return b""

    def _content(self, delta: dict[str, Any]) -> bytes:
        self.has_content = True
        return self._start() + self._chunk(delta)

    def _start(self) -> bytes:
        if self._has_started:
            return b""
        self._has_started = True
        return self._chunk({"role": "assistant", "content": ""})

    def _finish(self, event: Finished) -> bytes:
        head = self._start()
        self.is_done = True
        last = self._chunk({}, FINISH_REASONS[event.stop])
        usage = b""
        if self._includes_usage:
            written = write_usage(event.usage) if event.usage.is_known else None
            usage = self._event({**self._head, "choices": [], "usage": written})
        return head + last + usage + encode_event(b"", b"[DONE]")

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._includes_usage else {}
        return self._event({**self._head, "choices": [choice], **usage})

    @staticmethod
    def _event(chunk: dict[str, Any]) -> bytes:
        return encode_event(b"", encode(chunk))


def _in_stream(fault: Fault) -> dict[str, Any]:
    """The error of a stream; clients take ``invalid_request_error`` in it for their own fault."""
    _, error = error_object(fault)
    if error["type"] == "invalid_request_error" or error["code"] == "upstream_error":
        error |= {"type": "server_error", "code": "upstream_stream_error"}
    return error

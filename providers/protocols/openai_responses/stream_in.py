"""A Responses stream to neutral events.

Source: OpenAI Responses SSE (``response.created`` ... ``response.completed``, ``.incomplete`` or
``.failed``, and the flat ``error``). The last one's response object holds the whole answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.call_ids import CallIds
from providers.protocols.collect import BaseDecoder
from providers.protocols.openai_responses.faults import fault_of
from providers.protocols.openai_responses.output_in import OutputReader
from providers.protocols.openai_responses.usage import usage_of
from providers.protocols.translate import loads, mapping, text
from providers.sse import EVENT_LIMIT, ServerSentEvent
from providers.tool_book import ToolBook

_OPENINGS = frozenset(["response.created", "response.in_progress", "response.queued"])
_ENDS: Mapping[str, str] = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
_DELTAS: Mapping[str, str] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "reasoning",
}
"""Event to the kind of part it adds to."""
_WHOLES: Mapping[str, tuple[str, str]] = {
    "response.output_text.done": ("text", "text"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.reasoning_summary_text.done": ("summary", "text"),
    "response.reasoning_text.done": ("reasoning", "text"),
}
"""Event to the kind of part it closes, and the field that holds it in full."""
_ARGUMENT_DELTAS = frozenset(
    ["response.function_call_arguments.delta", "response.custom_tool_call_input.delta"]
)
_ARGUMENT_WHOLES: Mapping[str, str] = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}


class Decoder(BaseDecoder):
    """One stream of a Responses upstream."""

    def __init__(self, book: ToolBook, ids: CallIds, *, limit: int = EVENT_LIMIT) -> None:
        super().__init__(book, ids, limit=limit)
        self._output = OutputReader(self._collector)

    def _event(self, event: ServerSentEvent) -> None:
        if event.data.strip() == b"[DONE]":
            return
        frame = loads(event.data)
        if not isinstance(frame, dict):
            self._malformed()
            return
        kind = text(frame.get("type")) or event.event.decode("utf-8", "replace")
        if kind in _OPENINGS:
            self._opening(mapping(frame.get("response")))
        elif kind in _ENDS:
            self._end(mapping(frame.get("response")), _ENDS[kind])
        elif kind == "error" or (not kind and "error" in frame):
            self._collector.fail(fault_of(frame.get("error") or frame))
        else:
            self._content(kind, frame)

    def _opening(self, response: Mapping[str, Any]) -> None:
        self._collector.start(text(response.get("id")), text(response.get("model")))
        usage = usage_of(response)
        if usage.raw:
            self._collector.see_usage(usage)

    def _end(self, response: Mapping[str, Any], status: str) -> None:
        self._collector.start(text(response.get("id")), text(response.get("model")))
        self._collector.model = text(response.get("model")) or self._collector.model
        self._output.finish(response, status)

    def _content(self, kind: str, frame: Mapping[str, Any]) -> None:
        output = self._output
        if kind in _DELTAS:
            output.delta(frame, _DELTAS[kind])
        elif kind in _ARGUMENT_DELTAS:
            output.arguments_delta(frame)
            if output.held_chars > self._limit:
                self._too_large()
        elif kind in _WHOLES:
            part, name = _WHOLES[kind]
            output.part_done(frame, part, frame.get(name))
        elif kind in _ARGUMENT_WHOLES:
            output.arguments_done(frame, frame.get(_ARGUMENT_WHOLES[kind]))
        elif kind == "response.output_item.added":
            output.added(frame)
        elif kind == "response.output_item.done":
            output.done(frame)
        else:
            self.ignored_events += 1
            return
        self.semantic_events += 1

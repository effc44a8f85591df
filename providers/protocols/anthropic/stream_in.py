"""An Anthropic Messages stream to neutral events.

Source: Anthropic Messages SSE (``message_start``, ``content_block_start`` / ``_delta`` /
``_stop``, ``message_delta``, ``message_stop``, ``ping``, ``error``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.neutral import StopReason
from providers.protocols.anthropic.faults import fault_of
from providers.protocols.anthropic.response import merge_usage, usage_of
from providers.protocols.anthropic.response_in import STOP_REASONS
from providers.protocols.collect import BaseDecoder
from providers.protocols.translate import loads, mapping, text
from providers.sse import ServerSentEvent


@dataclass(slots=True)
class _OpenCall:
    id: str | None
    name: str
    initial: Any
    """``input`` of the block's start: an object where a server sends it whole."""
    pieces: list[str] = field(default_factory=list)
    size: int = 0


class Decoder(BaseDecoder):
    """One stream of a Messages upstream; ends with ``message_stop`` and nothing else."""

    _call: _OpenCall | None = None
    _stop: StopReason = StopReason.END
    _stop_sequence: str | None = None

    def _event(self, event: ServerSentEvent) -> None:
        frame = loads(event.data)
        if not isinstance(frame, dict):
            self._malformed()
            return
        match text(frame.get("type")) or event.event.decode("utf-8", "replace"):
            case "message_start":
                self._message_start(mapping(frame.get("message")))
            case "content_block_start":
                self._block_start(mapping(frame.get("content_block")))
            case "content_block_delta":
                self._delta(mapping(frame.get("delta")))
            case "content_block_stop":
                self._block_stop()
            case "message_delta":
                self._message_delta(frame)
            case "message_stop":
                self._collector.complete(self._stop, self._stop_sequence)
            case "error":
                self._collector.fail(fault_of(frame.get("error"), None))
            case _:
                self.ignored_events += 1

    def _message_start(self, message: Mapping[str, Any]) -> None:
        self._collector.start(text(message.get("id")), text(message.get("model")))
        self._usage(mapping(message.get("usage")))

    def _usage(self, update: Mapping[str, Any]) -> None:
        if update:
            merged = dict(self._collector.usage.raw)
            merge_usage(merged, update)
            self._collector.see_usage(usage_of(merged))

    def _block_start(self, block: Mapping[str, Any]) -> None:
        match block.get("type"):
            case "tool_use":
                name = text(block.get("name")) or ""
                self._call = _OpenCall(text(block.get("id")), name, block.get("input"))
                self.semantic_events += 1
            case "text":
                self._collector.new_block()
                self._collector.text(text(block.get("text")) or "")
            case "thinking":
                self._collector.reasoning(text(block.get("thinking")) or "")
            case _:
                self.ignored_events += 1

    def _delta(self, delta: Mapping[str, Any]) -> None:
        self.semantic_events += 1
        match delta.get("type"):
            case "text_delta":
                self._collector.text(text(delta.get("text")) or "")
            case "thinking_delta":
                self._collector.reasoning(text(delta.get("thinking")) or "")
            case "input_json_delta" if self._call is not None:
                piece = text(delta.get("partial_json")) or ""
                self._call.pieces.append(piece)
                self._call.size += len(piece)
                self._collector.output_chars += len(piece)
                if self._call.size > self._limit:
                    self._too_large()
            case _:
                self.ignored_events += 1

    def _block_stop(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            arguments = "".join(call.pieces)
            self._collector.call(call.id, call.name, arguments if arguments else call.initial)

    def _message_delta(self, frame: Mapping[str, Any]) -> None:
        self.semantic_events += 1
        self._usage(mapping(frame.get("usage")))
        delta = mapping(frame.get("delta"))
        reason = text(delta.get("stop_reason"))
        if reason is not None:
            self._stop = STOP_REASONS.get(reason, StopReason.END)
            self._stop_sequence = text(delta.get("stop_sequence"))

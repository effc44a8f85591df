"""A whole Anthropic Messages answer, parsed, to a neutral one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.call_ids import CallIds
from providers.events import fold
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, StopReason
from providers.protocols.anthropic.faults import fault_of
from providers.protocols.anthropic.response import usage_of
from providers.protocols.collect import Collector
from providers.protocols.translate import items, mapping, text
from providers.tool_book import ToolBook

STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": StopReason.END,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "tool_use": StopReason.TOOL_CALLS,
    "refusal": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
}
"""``stop_reason`` of the Messages API; ``pause_turn`` needs a server tool and cannot come."""


def read_answer(body: Any, book: ToolBook, ids: CallIds) -> Answer | Fault:
    """The answer, or what the vendor reports instead of one."""
    if not isinstance(body, dict):
        return Fault(FaultKind.MALFORMED, "the provider's answer is not a JSON object")
    if body.get("type") == "error" or "error" in body:
        return fault_of(body.get("error"), None)
    if not isinstance(body.get("content"), list):
        return Fault(FaultKind.MALFORMED, "the provider's answer has no content")
    collector = Collector(book, ids)
    collector.start(text(body.get("id")), text(body.get("model")))
    for block in items(body["content"]):
        _read_block(mapping(block), collector)
    collector.usage = usage_of(mapping(body.get("usage")))
    stop = STOP_REASONS.get(text(body.get("stop_reason")) or "", StopReason.END)
    collector.complete(stop, text(body.get("stop_sequence")))
    return fold(collector.take())


def _read_block(block: Mapping[str, Any], collector: Collector) -> None:
    match block.get("type"):
        case "text":
            collector.new_block()
            collector.text(text(block.get("text")) or "")
        case "thinking":
            collector.reasoning(text(block.get("thinking")) or "")
        case "tool_use":
            collector.call(text(block.get("id")), text(block.get("name")) or "", block.get("input"))
        case _:
            pass

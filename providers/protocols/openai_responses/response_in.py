"""A whole Responses answer, parsed, to a neutral one."""

from __future__ import annotations

from typing import Any

from providers.call_ids import CallIds
from providers.events import fold
from providers.faults import Fault, FaultKind
from providers.neutral import Answer
from providers.protocols.collect import Collector
from providers.protocols.openai_responses.faults import fault_of
from providers.protocols.openai_responses.output_in import OutputReader
from providers.protocols.translate import text
from providers.tool_book import ToolBook


def read_answer(body: Any, book: ToolBook, ids: CallIds) -> Answer | Fault:
    """The answer, or what the provider reports instead of one."""
    if not isinstance(body, dict):
        return Fault(FaultKind.MALFORMED, "the provider's answer is not a JSON object")
    if not isinstance(body.get("output"), list):
        if body.get("error"):
            return fault_of(body["error"])
        return Fault(FaultKind.MALFORMED, "the provider's answer has no output")
    collector = Collector(book, ids)
    collector.start(text(body.get("id")), text(body.get("model")))
    OutputReader(collector).finish(body)
    return fold(collector.take())

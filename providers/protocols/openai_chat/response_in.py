"""A whole Chat Completions answer, parsed, to a neutral one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.call_ids import CallIds
from providers.events import fold
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, StopReason
from providers.protocols.anthropic.response import as_count
from providers.protocols.collect import Collector
from providers.protocols.openai_chat.faults import fault_in
from providers.protocols.translate import items, mapping, text
from providers.tool_book import ToolBook
from providers.types import Usage

STOP_REASONS: Mapping[str, StopReason] = {
    "stop": StopReason.END,
    "length": StopReason.MAX_TOKENS,
    "tool_calls": StopReason.TOOL_CALLS,
    "function_call": StopReason.TOOL_CALLS,
    "content_filter": StopReason.REFUSAL,
}
"""``finish_reason``; a stop sequence cannot be told from the end."""


def read_answer(body: Any, book: ToolBook, ids: CallIds) -> Answer | Fault:
    """The answer, or what the provider reports instead of one, also with status 200."""
    if not isinstance(body, dict):
        return Fault(FaultKind.MALFORMED, "the provider's answer is not a JSON object")
    if (fault := fault_in(body)) is not None:
        return fault
    if isinstance(body.get("result"), dict) and "choices" not in body:
        # Cloudflare wraps the answers of its older paths.
        body = body["result"]
    choice = mapping(next(iter(items(body.get("choices"))), None))
    message = mapping(choice.get("message"))
    if not message and isinstance(body.get("response"), str):
        message = {"content": body["response"]}
    if not message:
        return Fault(FaultKind.MALFORMED, "the provider's answer has no message")
    collector = Collector(book, ids, splits_thinking=True)
    collector.start(text(body.get("id")), text(body.get("model")))
    collector.usage = usage_in(body) or Usage()
    collector.reasoning(reasoning_of(message))
    collector.content(content_of(message))
    collector.refusal(text(message.get("refusal")) or "")
    for call in items(message.get("tool_calls")):
        function = mapping(mapping(call).get("function"))
        call_id = text(mapping(call).get("id"))
        collector.call(call_id, text(function.get("name")) or "", function.get("arguments"))
    legacy = mapping(message.get("function_call"))
    if legacy:
        collector.call(None, text(legacy.get("name")) or "", legacy.get("arguments"))
    reason = text(choice.get("finish_reason")) or ""
    stop = STOP_REASONS.get(reason, StopReason.END)
    collector.complete(StopReason.REFUSAL if _declines(message, stop) else stop)
    return fold(collector.take())


def _declines(message: Mapping[str, Any], stop: StopReason) -> bool:
    return stop is StopReason.END and bool(message.get("refusal"))


def content_of(message: Mapping[str, Any]) -> str:
    """The text of a message or delta; some servers send it as a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(text(mapping(part).get("text")) or "" for part in items(content))


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The thinking of a message or delta: ``reasoning`` (Groq, Cerebras) or
    ``reasoning_content``."""
    return text(message.get("reasoning")) or text(message.get("reasoning_content")) or ""


def usage_in(body: Mapping[str, Any]) -> Usage | None:
    """The usage of a body or chunk: ``usage``, else Groq's ``x_groq.usage``."""
    found = body.get("usage")
    if not isinstance(found, dict):
        found = mapping(body.get("x_groq")).get("usage")
    return usage_of(found) if isinstance(found, dict) else None


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """Read a Chat ``usage`` object; the neutral input excludes what was cached.

    An absent count is ``None``, an explicit 0 is 0.
    """
    prompt = as_count(raw.get("prompt_tokens"))
    details = mapping(raw.get("prompt_tokens_details"))
    cached = as_count(details.get("cached_tokens"))
    if cached is None:
        cached = as_count(raw.get("prompt_cache_hit_tokens"))
    written = as_count(details.get("cache_write_tokens"))
    fresh = None if prompt is None else max(0, prompt - (cached or 0) - (written or 0))
    output_details = mapping(raw.get("completion_tokens_details"))
    return Usage(
        input_tokens=fresh,
        output_tokens=as_count(raw.get("completion_tokens")),
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        reasoning_tokens=as_count(output_details.get("reasoning_tokens")),
        service_tier=text(raw.get("service_tier")),
        raw=raw,
    )

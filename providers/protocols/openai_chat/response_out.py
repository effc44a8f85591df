"""A neutral answer to a whole Chat Completions body."""

from __future__ import annotations

from typing import Any

from providers.call_ids import to_openai
from providers.neutral import Answer, Refusal, StopReason, Text, ToolCall
from providers.types import Usage

FINISH_REASONS = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.TOOL_CALLS: "tool_calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTEXT_FULL: "length",
    StopReason.REFUSAL: "content_filter",
}
"""``finish_reason`` of Chat Completions."""


def write_answer(answer: Answer, *, answer_id: str, model: str, created: int) -> dict[str, Any]:
    """The body; ``created`` in seconds since the epoch. Thinking is left out: OpenAI has no field
    for it."""
    texts = [part.text for part in answer.parts if isinstance(part, Text)]
    refusals = [part.text for part in answer.parts if isinstance(part, Refusal)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) or None,
        "refusal": "".join(refusals) or None,
    }
    if answer.tool_calls:
        message["tool_calls"] = [tool_call(call) for call in answer.tool_calls]
    body: dict[str, Any] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": FINISH_REASONS[answer.stop],
            }
        ],
    }
    if answer.usage.is_known:
        body["usage"] = write_usage(answer.usage)
    return body


def tool_call(call: ToolCall) -> dict[str, Any]:
    """One entry of ``tool_calls``."""
    head: dict[str, Any] = {"id": to_openai(call.id)}
    if call.is_custom:
        return head | {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return head | {"type": "function", "function": function}


def write_usage(usage: Usage) -> dict[str, Any]:
    """``usage`` of Chat Completions, whose prompt includes what was read from a cache."""
    prompt, output = usage.prompt_tokens or 0, usage.output_tokens or 0
    written: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
    writes = [usage.cache_write_5m_tokens, usage.cache_write_1h_tokens]
    details: dict[str, int] = {}
    if usage.cache_read_tokens is not None:
        details["cached_tokens"] = usage.cache_read_tokens
    if any(count is not None for count in writes):
        details["cache_write_tokens"] = sum(count or 0 for count in writes)
    if details:
        written["prompt_tokens_details"] = details
    if usage.reasoning_tokens is not None:
        written["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return written

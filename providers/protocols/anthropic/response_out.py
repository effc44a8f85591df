"""A neutral answer to a whole Anthropic Messages body."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from providers.call_ids import to_messages
from providers.neutral import Answer, Refusal, StopReason, Text, ToolCall
from providers.tool_book import arguments_object
from providers.types import Usage

STOP_WORDS = {
    StopReason.END: "end_turn",
    StopReason.TOOL_CALLS: "tool_use",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.CONTEXT_FULL: "model_context_window_exceeded",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.REFUSAL: "refusal",
}
"""``stop_reason`` of the Messages API."""


def write_answer(
    answer: Answer, *, answer_id: str, model: str, input_estimate: int = 0
) -> dict[str, Any]:
    """The body; thinking is left out, because no other vendor's can be sent back to Anthropic.

    ``answer_id`` is the message's id, ``model`` the one the client shall see, ``input_estimate``
    the tokens of the input in case the provider reported none.
    """
    texts = [part.text for part in answer.parts if isinstance(part, Text | Refusal)]
    chars = sum(map(len, texts)) + sum(len(call.arguments) for call in answer.tool_calls)
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _content(answer),
        "stop_reason": STOP_WORDS[answer.stop],
        "stop_sequence": answer.stop_sequence,
        "usage": write_usage(estimated(answer.usage, input_estimate, chars)),
    }


def _content(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for part in answer.parts:
        match part:
            case Text(text) | Refusal(text) if text:
                if blocks and blocks[-1]["type"] == "text":
                    blocks[-1]["text"] += text
                else:
                    blocks.append({"type": "text", "text": text})
            case ToolCall():
                blocks.append(tool_use(part) | {"input": arguments_object(part.arguments)})
            case _:
                pass
    return blocks


def tool_use(call: ToolCall) -> dict[str, Any]:
    """A ``tool_use`` block as it starts in a stream, with an empty input."""
    return {"type": "tool_use", "id": to_messages(call.id), "name": call.name, "input": {}}


def estimated(usage: Usage, input_estimate: int, output_chars: int) -> Usage:
    """``usage`` with both counts that the protocol demands, estimated where they are unknown.

    For the client alone, which compacts by them: money is counted from what is reported.
    """
    fresh, output = usage.input_tokens, usage.output_tokens
    return structs.replace(
        usage,
        input_tokens=input_estimate if fresh is None else fresh,
        output_tokens=-(-output_chars // 4) if output is None else output,
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """``usage`` of a Messages answer; cache and thinking counts appear only when known."""
    written: dict[str, Any] = {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.cache_read_tokens is not None:
        written["cache_read_input_tokens"] = usage.cache_read_tokens
    writes = [usage.cache_write_5m_tokens, usage.cache_write_1h_tokens]
    if any(count is not None for count in writes):
        written["cache_creation_input_tokens"] = sum(count or 0 for count in writes)
    if usage.reasoning_tokens is not None:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return written

"""A neutral answer as a whole Responses body, and the pieces that a stream shares with it.

Reasoning is left out: a client would send it back to its own vendor, who could not decrypt it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from providers.call_ids import to_openai
from providers.neutral import Answer, Refusal, StopReason, Text, ToolCall
from providers.protocols.openai_responses.usage import usage_object
from providers.types import Usage

ECHOED_FIELDS = frozenset(
    [
        "instructions",
        "max_output_tokens",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
        "truncation",
        "user",
    ]
)
"""Fields of a request that its response repeats."""

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
    }
)

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9]")
_ID_LIMIT = 48
"""Characters of an answer's id that go into the ids of its items, which may have 64."""

_PREFIXES: Mapping[str, str] = {
    "message": "msg_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
}
"""How the vendor's ids of each item open; it refuses items that open otherwise."""

Block = dict[str, Any]


def echo_of(body: Any) -> dict[str, Any]:
    """The fields of a client's parsed request that its response repeats."""
    found = body if isinstance(body, dict) else {}
    return {
        name: value for name, value in found.items() if name in ECHOED_FIELDS and value is not None
    }


def write_answer(
    answer: Answer,
    *,
    answer_id: str,
    model: str,
    created_at: int = 0,
    echo: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The body.

    ``answer_id`` opens with ``resp_``; ``model`` is the one the client shall see; ``created_at``
    in seconds since the epoch; ``echo`` from ``echo_of``.
    """
    status, details = ending(answer.stop, any(isinstance(p, Refusal) for p in answer.parts))
    return response_object(
        answer_id=answer_id,
        model=model,
        created_at=created_at,
        echo=echo,
        status=status,
        output=_output(answer, answer_id, status),
        usage=answer.usage,
        incomplete_details=details,
    )


def response_object(
    *,
    answer_id: str,
    model: str,
    created_at: int,
    echo: Mapping[str, Any],
    status: str,
    output: Sequence[Block] = (),
    usage: Usage | None = None,
    error: Mapping[str, str] | None = None,
    incomplete_details: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The response object of a body and of the lifecycle events of a stream."""
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created_at,
        "status": status,
        "error": error,
        "incomplete_details": incomplete_details,
        "model": model,
        "output": list(output),
        **_DEFAULTS,
        **echo,
        "usage": usage_object(usage) if usage is not None else None,
    }


def ending(stop: StopReason, has_refusal: bool) -> tuple[str, dict[str, str] | None]:
    """``status`` and ``incomplete_details`` of an answer that reached its end."""
    if stop in (StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL):
        return "incomplete", {"reason": "max_output_tokens"}
    if stop is StopReason.REFUSAL and not has_refusal:
        return "incomplete", {"reason": "content_filter"}
    return "completed", None


def _output(answer: Answer, answer_id: str, status: str) -> list[Block]:
    output: list[Block] = []
    for part in answer.parts:
        if isinstance(part, ToolCall):
            output.append(call_item(item_id(answer_id, len(output), part), part))
        elif isinstance(part, Text | Refusal) and part.text:
            if not output or output[-1]["type"] != "message":
                output.append(message_item(item_id(answer_id, len(output)), []))
            add_part(output[-1]["content"], part)
    if status == "incomplete" and output and output[-1]["type"] == "message":
        output[-1]["status"] = "incomplete"
    return output


def add_part(content: list[Block], part: Text | Refusal) -> None:
    """Append to the parts of a message; the neighbours of one kind make one part."""
    field = "text" if isinstance(part, Text) else "refusal"
    if content and field in content[-1]:
        content[-1][field] += part.text
    else:
        content.append(text_part(part.text) if field == "text" else refusal_part(part.text))


def item_id(answer_id: str, index: int, call: ToolCall | None = None) -> str:
    """The id of an output item: its type's prefix, the answer's own id, and its index."""
    prefix = _PREFIXES[call_type(call) if call is not None else "message"]
    core = _NOT_IN_ID.sub("", answer_id.removeprefix("resp_"))[-_ID_LIMIT:]
    return f"{prefix}{core}{index:04d}"


def call_type(call: ToolCall) -> str:
    """The item type of a call."""
    return "custom_tool_call" if call.is_custom else "function_call"


def call_item(identity: str, call: ToolCall, *, is_open: bool = False) -> Block:
    """A call, complete, or as it is announced: without arguments."""
    kind = call_type(call)
    item = {
        "type": kind,
        "id": identity,
        "call_id": to_openai(call.id),
        "name": call.name,
        "input" if call.is_custom else "arguments": "" if is_open else call.arguments,
        "status": "in_progress" if is_open else "completed",
    }
    return item if call.namespace is None else item | {"namespace": call.namespace}


def message_item(identity: str, content: list[Block], status: str = "completed") -> Block:
    """A message of the model."""
    return {
        "type": "message",
        "id": identity,
        "role": "assistant",
        "status": status,
        "content": content,
    }


def text_part(text: str) -> Block:
    """A part of plain text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Block:
    """A part of the words a model declines with."""
    return {"type": "refusal", "refusal": text}

"""Reading a Chat Completions request (``POST /v1/chat/completions``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from providers.protocols import peek
from providers.protocols.peek import BadRequest, ToolChoice, ToolRef, replace_model

__all__ = [
    "BadRequest",
    "ChatMessage",
    "ChatRequest",
    "ToolChoice",
    "ToolRef",
    "read_message",
    "read_request",
    "replace_model",
]


class ChatMessage(msgspec.Struct):
    """One message as it is on the wire."""

    role: Any = None
    content: Any = None
    tool_calls: Any = None
    function_call: Any = None
    name: Any = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a Chat body says at its top level; sizes in bytes, ``raw`` values undecoded."""

    model: str
    stream: bool
    max_tokens: int | None
    """``max_completion_tokens``, else ``max_tokens``."""
    tool_choice: ToolChoice | None
    reasoning: str | None
    """``reasoning_effort``."""
    tools: tuple[ToolRef, ...]
    """``tools`` and the older ``functions``."""
    messages: tuple[Raw, ...]
    """Undecoded; ``read_message`` opens one."""
    output_format: str | None
    """``response_format.type``."""
    output_keys: tuple[str, ...]
    fields: peek.Fields
    body_size: int

    @property
    def tool_choice_label(self) -> str | None:
        """The tool choice in a word, for display."""
        return self.tool_choice.label if self.tool_choice else None


def read_request(body: bytes) -> ChatRequest:
    """Read a (decompressed) body.

    Raises ``BadRequest`` only for a body that is no JSON object, or has no string ``model`` or no
    list ``messages``.
    """
    fields = peek.read_object(body)
    response_format = peek.read_fields(fields.get("response_format"))
    schema = peek.read_fields(response_format.get("json_schema")).get("schema")
    limit = peek.int_of(fields.get("max_completion_tokens"))
    return ChatRequest(
        model=peek.required_model(fields),
        stream=peek.is_true(fields.get("stream")),
        max_tokens=peek.int_of(fields.get("max_tokens")) if limit is None else limit,
        tool_choice=_tool_choice(fields.get("tool_choice") or fields.get("function_call")),
        reasoning=peek.text_of(fields.get("reasoning_effort")),
        tools=(
            *(_tool(raw, "function") for raw in peek.read_list(fields.get("tools")) or ()),
            *(_tool(raw, None) for raw in peek.read_list(fields.get("functions")) or ()),
        ),
        messages=tuple(peek.required_list(fields, "messages")),
        output_format=peek.text_of(response_format.get("type")),
        output_keys=peek.schema_keys(schema),
        fields=fields,
        body_size=len(body),
    )


def _tool(raw: Raw, wrapper: str | None) -> ToolRef:
    fields = peek.read_fields(raw)
    inner = peek.read_fields(fields.get(wrapper)) if wrapper and wrapper in fields else fields
    return ToolRef(
        name=peek.text_of(inner.get("name")) or "",
        type=peek.text_of(fields.get("type")),
        size=peek.size_of(raw),
        deferred=False,
        raw=raw,
    )


def _tool_choice(raw: Raw | None) -> ToolChoice | None:
    if raw is None:
        return None
    if peek.is_string(raw):
        return ToolChoice(peek.text_of(raw) or "")
    fields = peek.read_fields(raw)
    name = peek.text_of(fields.get("name") or peek.read_fields(fields.get("function")).get("name"))
    kind = peek.text_of(fields.get("type")) or ("function" if name else None)
    return None if kind is None else ToolChoice(kind, name)


_decoder = msgspec.json.Decoder(ChatMessage)


def read_message(raw: Raw) -> ChatMessage:
    """Open one message; never raises, what is none gets the role ``unknown``."""
    try:
        return _decoder.decode(raw)
    except (ValueError, RecursionError):
        return ChatMessage(role="unknown")

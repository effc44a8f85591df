"""Reading a Responses request (``POST /v1/responses``), the three dialects of Codex included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from providers.protocols import peek
from providers.protocols.peek import BadRequest, ToolChoice, ToolRef, replace_model

__all__ = [
    "BadRequest",
    "Item",
    "ResponsesRequest",
    "ToolChoice",
    "ToolRef",
    "read_item",
    "read_request",
    "replace_model",
]

TURN_METADATA = "x-codex-turn-metadata"
"""Name of the header, and of the ``client_metadata`` entry, in which Codex describes a turn."""

_NAMESPACE_DEPTH = 4


class Item(msgspec.Struct):
    """One input item; opaque fields stay undecoded."""

    type: Any = None
    role: Any = None
    content: Any = None
    output: Any = None
    arguments: Any = None
    input: Any = None
    name: Any = None
    summary: Any = None
    recipient: Any = None
    encrypted_content: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET

    @property
    def kind(self) -> str:
        """The item type; an item with a role and no type is a ``message``."""
        if isinstance(self.type, str) and self.type:
            return self.type
        return "message" if isinstance(self.role, str) else "unknown"


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """What a Responses body says at its top level; sizes in bytes, ``raw`` values undecoded."""

    model: str
    """Empty only where a stored prompt (``prompt``) brings its own model."""
    stream: bool
    max_tokens: int | None
    """``max_output_tokens``."""
    tool_choice: ToolChoice | None
    reasoning: str | None
    """``reasoning.effort``, or ``set`` when only other reasoning settings are given."""
    instructions: str
    tools: tuple[ToolRef, ...]
    """Top-level tools and those of ``additional_tools`` items, namespaces opened."""
    items: tuple[Raw, ...]
    """Undecoded; ``read_item`` opens one. A string ``input`` is one item."""
    output_format: str | None
    """``text.format.type``."""
    output_keys: tuple[str, ...]
    prompt_cache_key: str | None
    turn_metadata: Mapping[str, Any]
    """The JSON of ``client_metadata.x-codex-turn-metadata``; empty for other clients."""
    fields: peek.Fields
    body_size: int

    @property
    def tool_choice_label(self) -> str | None:
        """The tool choice in a word, for display."""
        return self.tool_choice.label if self.tool_choice else None


def read_request(body: bytes) -> ResponsesRequest:
    """Read a (decompressed) body.

    Raises ``BadRequest`` for a body that is no JSON object, has no string ``model`` (unless it
    names a stored ``prompt``), or whose ``input`` is neither a string nor a list.
    """
    fields = peek.read_object(body)
    text_format = peek.read_fields(peek.read_fields(fields.get("text")).get("format"))
    items = _items(fields.get("input"))
    reasoning = peek.read_fields(fields.get("reasoning"))
    has_prompt = peek.is_set(fields.get("prompt")) and "model" not in fields
    return ResponsesRequest(
        model="" if has_prompt else peek.required_model(fields),
        stream=peek.is_true(fields.get("stream")),
        max_tokens=peek.int_of(fields.get("max_output_tokens")),
        tool_choice=_tool_choice(fields.get("tool_choice")),
        reasoning=peek.text_of(reasoning.get("effort")) or ("set" if reasoning else None),
        instructions=peek.text_of(fields.get("instructions")) or "",
        tools=tuple(_all_tools(fields.get("tools"), items)),
        items=items,
        output_format=peek.text_of(text_format.get("type")),
        output_keys=peek.schema_keys(text_format.get("schema")),
        prompt_cache_key=peek.text_of(fields.get("prompt_cache_key")),
        turn_metadata=_turn_metadata(fields.get("client_metadata")),
        fields=fields,
        body_size=len(body),
    )


def _items(raw: Raw | None) -> tuple[Raw, ...]:
    if raw is None or not peek.is_set(raw):
        return ()
    if peek.is_string(raw):
        text = bytes(raw)
        return (Raw(b'{"type":"message","role":"user","content":' + text + b"}"),)
    found = peek.read_list(raw)
    if found is None:
        raise BadRequest("The field 'input' must be a string or a list.", "input")
    return tuple(found)


def _all_tools(top: Raw | None, items: tuple[Raw, ...]) -> list[ToolRef]:
    tools = _tools(peek.read_list(top) or (), _NAMESPACE_DEPTH)
    # Newer models get their tools as an input item; it comes before any message.
    for raw in items[:4]:
        item = read_item(raw)
        if item.kind == "additional_tools" and item.tools is not UNSET:
            tools += _tools(peek.read_list(item.tools) or (), _NAMESPACE_DEPTH)
    return tools


def _tools(raws: list[Raw] | tuple[()], depth: int, group: str | None = None) -> list[ToolRef]:
    tools: list[ToolRef] = []
    for raw in raws:
        fields = peek.read_fields(raw)
        kind = peek.text_of(fields.get("type"))
        inner = peek.read_list(fields.get("tools")) if kind == "namespace" and depth else None
        if inner is not None:
            tools += _tools(inner, depth - 1, peek.text_of(fields.get("name")) or group)
            continue
        tools.append(
            ToolRef(
                name=peek.text_of(fields.get("name")) or "",
                type=kind,
                size=peek.size_of(raw),
                deferred=peek.is_true(fields.get("defer_loading")),
                raw=raw,
                group=peek.text_of(fields.get("server_label")) or group,
            )
        )
    return tools


def _tool_choice(raw: Raw | None) -> ToolChoice | None:
    if raw is None:
        return None
    if peek.is_string(raw):
        return ToolChoice(peek.text_of(raw) or "")
    fields = peek.read_fields(raw)
    kind = peek.text_of(fields.get("type"))
    return None if kind is None else ToolChoice(kind, peek.text_of(fields.get("name")))


def _turn_metadata(client_metadata: Raw | None) -> Mapping[str, Any]:
    text = peek.text_of(peek.read_fields(client_metadata).get(TURN_METADATA))
    found = peek.value(Raw(text.encode("utf-8", "replace"))) if text else None
    return found if isinstance(found, dict) else {}


_item_decoder = msgspec.json.Decoder(Item)


def read_item(raw: Raw) -> Item:
    """Open one input item; never raises, what cannot be read is of kind ``unknown``."""
    try:
        return _item_decoder.decode(raw)
    except (ValueError, RecursionError):
        return Item(type=peek.text_of(peek.read_fields(raw).get("type")) or "unknown")

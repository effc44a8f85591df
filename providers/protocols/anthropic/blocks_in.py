"""Content blocks of Anthropic Messages, to neutral parts.

A block or a field of a block that is not named here keeps the request with Anthropic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.call_ids import from_messages
from providers.neutral import File, Image, Part, Pin, Role, Text, ToolCall, ToolResult
from providers.protocols.translate import Stop, items, mapping, text
from providers.tool_book import arguments_text

_FIELDS: Mapping[str, frozenset[str]] = {
    "text": frozenset(["text", "citations"]),
    "image": frozenset(["source", "transformations"]),
    "document": frozenset(["source", "title", "context", "citations"]),
    "search_result": frozenset(["source", "title", "content", "citations"]),
    "tool_use": frozenset(["id", "name", "input", "caller", "toolset_name"]),
    "tool_result": frozenset(["tool_use_id", "content", "is_error"]),
}
"""Block types that can be carried, and the fields that their readers understand."""

_THINKING = frozenset(["thinking", "redacted_thinking"])
"""Dropped: only who made it can read it."""

_IN_RESULT = frozenset(["text", "image", "document", "search_result"])


@dataclass(slots=True)
class Blocks:
    """The parts of one message, and what it cost to read them."""

    parts: list[Part] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)


def read_blocks(content: list[Any], role: Role) -> Blocks:
    """Read the blocks of one message; raises ``Stop`` for what cannot be carried."""
    blocks = Blocks()
    for found in content:
        block = mapping(found)
        kind = text(block.get("type")) or "unknown"
        if kind in _THINKING:
            blocks.dropped.append("thinking")
            continue
        _check(block, kind, blocks)
        if role is not Role.USER and kind != "text" and (role, kind) != _CALL:
            raise Stop(Pin.NATIVE_PART, f"{role}.{kind}")
        if role is Role.USER and kind == "tool_use":
            raise Stop(Pin.MALFORMED, "user.tool_use")
        blocks.parts += _READERS[kind](block, blocks)
    return blocks


_CALL = (Role.ASSISTANT, "tool_use")


def _check(block: Mapping[str, Any], kind: str, blocks: Blocks) -> None:
    known = _FIELDS.get(kind)
    if known is None:
        raise Stop(Pin.UNKNOWN_PART, kind)
    for name, value in block.items():
        if name == "type" or name in known:
            continue
        if name == "cache_control":
            blocks.dropped.append(name)
        elif value is not None:
            raise Stop(Pin.UNKNOWN_FIELD, f"{kind}.{name}")


def _text(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    if block.get("citations"):
        blocks.degraded.append("citations")
    return [Text(text(block.get("text")) or "")]


def _image(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    if block.get("transformations"):
        blocks.dropped.append("image.transformations")
    source = mapping(block.get("source"))
    match source.get("type"):
        case "base64":
            data, media_type = text(source.get("data")), text(source.get("media_type"))
            return [Image(data=data or "", media_type=media_type or "image/png")]
        case "url":
            return [Image(url=text(source.get("url")) or "")]
        case kind:
            raise Stop(Pin.NATIVE_PART, f"image.{kind}")


def _document(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    if mapping(block.get("citations")).get("enabled"):
        raise Stop(Pin.NATIVE_PART, "document.citations")
    source, title = mapping(block.get("source")), text(block.get("title"))
    before: list[Part] = []
    if context := text(block.get("context")):
        blocks.degraded.append("document.context")
        before.append(Text(context))
    match source.get("type"):
        case "base64":
            data, media_type = text(source.get("data")), text(source.get("media_type"))
            return [*before, File(data=data or "", media_type=media_type, name=title)]
        case "text":
            return [*before, File(text=text(source.get("data")) or "", name=title)]
        case "content":
            return [*before, File(text=_inner_text(source.get("content")), name=title)]
        case kind:
            raise Stop(Pin.NATIVE_PART, f"document.{kind}")


def _search_result(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    blocks.degraded.append("search_result")
    source, title = text(block.get("source")) or "", text(block.get("title")) or ""
    return [File(text=_inner_text(block.get("content")), name=f"{title} ({source})")]


def _inner_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    for inner in items(content):
        if mapping(inner).get("type") != "text":
            raise Stop(Pin.NATIVE_PART, f"document.{mapping(inner).get('type')}")
    return "\n".join(text(mapping(inner).get("text")) or "" for inner in items(content))


def _tool_use(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    if mapping(block.get("caller")).get("type", "direct") != "direct":
        raise Stop(Pin.NATIVE_PART, "tool_use.caller")
    if block.get("toolset_name") is not None:
        raise Stop(Pin.NATIVE_PART, "tool_use.toolset_name")
    call_id, name = text(block.get("id")), text(block.get("name"))
    if not call_id or not name:
        raise Stop(Pin.MALFORMED, "tool_use")
    return [ToolCall(from_messages(call_id), name, arguments_text(block.get("input")))]


def _tool_result(block: Mapping[str, Any], blocks: Blocks) -> list[Part]:
    call_id = text(block.get("tool_use_id"))
    if not call_id:
        raise Stop(Pin.MALFORMED, "tool_result")
    found = block.get("content")
    inner = Blocks()
    if isinstance(found, str):
        inner.parts.append(Text(found))
    for piece in items(found):
        kind = text(mapping(piece).get("type")) or "unknown"
        if kind not in _IN_RESULT:
            raise Stop(Pin.NATIVE_PART, f"tool_result.{kind}")
        _check(mapping(piece), kind, inner)
        inner.parts += _READERS[kind](mapping(piece), inner)
    blocks.dropped += inner.dropped
    blocks.degraded += inner.degraded
    content = tuple(part for part in inner.parts if isinstance(part, Text | Image | File))
    is_error = block.get("is_error") is True
    return [ToolResult(from_messages(call_id), content, is_error)]


_READERS: Mapping[str, Callable[[Mapping[str, Any], Blocks], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}

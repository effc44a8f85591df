"""Reading a Messages request (``POST /v1/messages`` and ``/v1/messages/count_tokens``).

The body is looked at, never rebuilt: what goes upstream are the bytes that came in.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from providers.protocols import peek
from providers.protocols.peek import BadRequest, ToolChoice, ToolRef, replace_model

__all__ = [
    "BadRequest",
    "Block",
    "Message",
    "MessagesRequest",
    "SystemBlock",
    "ToolChoice",
    "ToolRef",
    "read_message",
    "read_request",
    "replace_model",
]

ATTRIBUTION = "x-anthropic-billing-header"
"""How Claude Code's accounting block opens; it differs between sessions and is no prompt text."""

KNOWN_FIELDS = frozenset(
    [
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "thinking",
        "output_config",
        "stop_sequences",
        "metadata",
        "service_tier",
        "speed",
        "inference_geo",
        "container",
        "diagnostics",
        "cache_control",
        "mcp_servers",
        "context_management",
        "safeguards",
        "temperature",
        "top_p",
        "top_k",
    ]
)
"""Top-level fields this gateway has met; others pass too and are only counted."""

_SESSION_IN_USER_ID = re.compile(r"_session_([0-9A-Za-z-]{8,64})$")


class SystemBlock(msgspec.Struct, frozen=True):
    """One block of the system prompt; a plain string counts as one text block."""

    raw: Raw

    @property
    def text(self) -> str:
        """Its text, decoded on every call; empty for a block that has none."""
        if peek.is_string(self.raw):
            return peek.text_of(self.raw) or ""
        return peek.text_of(peek.read_fields(self.raw).get("text")) or ""


class Block(msgspec.Struct):
    """One content block; fields that are large or opaque stay undecoded."""

    type: Any = "unknown"
    text: Any = None
    thinking: Any = None
    signature: Any = None
    name: Any = None
    content: Any = None
    input: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET


class Message(msgspec.Struct, frozen=True):
    """One message; string content reads as one text block."""

    role: str
    blocks: list[Block]


class MessagesRequest(msgspec.Struct, frozen=True):
    """What a Messages body says at its top level; sizes in bytes, ``raw`` values undecoded."""

    model: str
    stream: bool
    max_tokens: int | None
    tool_choice: ToolChoice | None
    thinking: str | None
    """``thinking.type``: ``enabled``, ``adaptive``, ``disabled``."""
    system: tuple[SystemBlock, ...]
    tools: tuple[ToolRef, ...]
    messages: tuple[Raw, ...]
    """Undecoded; ``read_message`` opens one."""
    user_id: str | None
    """``metadata.user_id``."""
    output_format: str | None
    """``output_config.format.type``."""
    output_keys: tuple[str, ...]
    """Property names of the schema in ``output_config.format``."""
    effort: str | None
    cache_ttl: str | None
    """Longest ``cache_control`` lifetime asked for: ``5m``, ``1h`` or ``None``."""
    unknown_fields: tuple[str, ...]
    fields: peek.Fields
    body_size: int

    @property
    def tool_choice_label(self) -> str | None:
        """The tool choice in a word, for display."""
        return self.tool_choice.label if self.tool_choice else None

    @property
    def session_id(self) -> str | None:
        """The session Claude Code names inside ``metadata.user_id``, in either of its shapes."""
        if self.user_id is None:
            return None
        if self.user_id.startswith("{"):
            found = peek.value(Raw(self.user_id.encode("utf-8", "replace")))
            session = found.get("session_id") if isinstance(found, dict) else None
            return session[:100] if isinstance(session, str) and session else None
        match = _SESSION_IN_USER_ID.search(self.user_id)
        return match[1] if match else None


def read_request(body: bytes) -> MessagesRequest:
    """Read a (decompressed) body.

    Raises ``BadRequest`` only for a body that is no JSON object, or has no string ``model`` or no
    list ``messages``; everything else is the vendor's to judge.
    """
    fields = peek.read_object(body)
    output = peek.read_fields(fields.get("output_config"))
    output_format = peek.read_fields(output.get("format"))
    return MessagesRequest(
        model=peek.required_model(fields),
        stream=peek.is_true(fields.get("stream")),
        max_tokens=peek.int_of(fields.get("max_tokens")),
        tool_choice=_tool_choice(fields.get("tool_choice")),
        thinking=peek.text_of(peek.read_fields(fields.get("thinking")).get("type")),
        system=_system(fields.get("system")),
        tools=_tools(fields.get("tools")),
        messages=tuple(peek.required_list(fields, "messages")),
        user_id=peek.text_of(peek.read_fields(fields.get("metadata")).get("user_id")),
        output_format=peek.text_of(output_format.get("type")),
        output_keys=peek.schema_keys(output_format.get("schema")),
        effort=peek.text_of(output.get("effort")),
        cache_ttl=peek.cache_ttl(body),
        unknown_fields=tuple(name for name in fields if name not in KNOWN_FIELDS),
        fields=fields,
        body_size=len(body),
    )


def _system(raw: Raw | None) -> tuple[SystemBlock, ...]:
    if raw is None:
        return ()
    if peek.is_string(raw):
        return (SystemBlock(raw),)
    return tuple(SystemBlock(block) for block in peek.read_list(raw) or ())


class _ToolHead(msgspec.Struct):
    name: Any = None
    type: Any = None
    defer_loading: Any = None
    mcp_server_name: Any = None


_tool_heads = msgspec.json.Decoder(list[_ToolHead])


def _tools(raw: Raw | None) -> tuple[ToolRef, ...]:
    raws = peek.read_list(raw)
    if not raw or not raws:
        return ()
    try:
        heads = _tool_heads.decode(raw)
    except (ValueError, RecursionError):
        # One by one, so that an odd one does not hide the others.
        return tuple(_tool(raw) for raw in raws)
    return tuple(
        [
            ToolRef(
                head.name if isinstance(head.name, str) else "",
                head.type if isinstance(head.type, str) else None,
                peek.size_of(raw),
                head.defer_loading is True,
                raw,
                head.mcp_server_name if isinstance(head.mcp_server_name, str) else None,
            )
            for head, raw in zip(heads, raws, strict=True)
        ]
    )


def _tool(raw: Raw) -> ToolRef:
    fields = peek.read_fields(raw)
    return ToolRef(
        name=peek.text_of(fields.get("name")) or "",
        type=peek.text_of(fields.get("type")),
        size=peek.size_of(raw),
        deferred=peek.is_true(fields.get("defer_loading")),
        raw=raw,
        group=peek.text_of(fields.get("mcp_server_name")),
    )


def _tool_choice(raw: Raw | None) -> ToolChoice | None:
    fields = peek.read_fields(raw)
    kind = peek.text_of(fields.get("type"))
    return None if kind is None else ToolChoice(kind, peek.text_of(fields.get("name")))


class _TypedMessage(msgspec.Struct):
    role: Any = None
    content: str | list[Block] | None = None


class _LooseMessage(msgspec.Struct):
    role: Any = None
    content: Raw | UnsetType = UNSET


_typed_decoder = msgspec.json.Decoder(_TypedMessage)
_loose_decoder = msgspec.json.Decoder(_LooseMessage)
_block_decoder = msgspec.json.Decoder(Block)


def read_message(raw: Raw) -> Message:
    """Open one message; never raises, what cannot be read becomes a block of type ``unknown``."""
    try:
        found = _typed_decoder.decode(raw)
    except (ValueError, RecursionError):
        return _read_odd_message(raw)
    if isinstance(found.content, str):
        return Message(_name(found.role), [Block(type="text", text=found.content)])
    return Message(_name(found.role), found.content or [])


def _read_odd_message(raw: Raw) -> Message:
    """The slow way, block by block, for shapes the typed reader does not take."""
    try:
        found = _loose_decoder.decode(raw)
    except (ValueError, RecursionError):
        return Message("", [Block()])
    content = None if found.content is UNSET else found.content
    if content is None:
        return Message(_name(found.role), [])
    blocks = peek.read_list(content)
    if blocks is None:
        return Message(_name(found.role), [Block()])
    return Message(_name(found.role), [_read_block(block) for block in blocks])


def _read_block(raw: Raw) -> Block:
    try:
        return _block_decoder.decode(raw)
    except (ValueError, RecursionError):
        return Block(type=peek.text_of(peek.read_fields(raw).get("type")) or "unknown")


def _name(role: Any) -> str:
    return role if isinstance(role, str) else ""

"""Messages and input items of the three protocols, reduced to what classification looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from providers.protocols import peek
from providers.protocols.anthropic import request as anthropic
from providers.protocols.openai_chat import request as chat
from providers.protocols.openai_responses import request as responses

SYSTEM_ROLES = frozenset({"system", "developer"})

_MEDIA_BLOCKS = frozenset({"image", "document", "search_result"})
_SERVER_BLOCKS = frozenset(
    [
        "server_tool_use",
        "container_upload",
        "mcp_tool_use",
        "mcp_tool_listing",
        "compaction",
        "fallback",
        "tool_addition",
        "tool_removal",
    ]
)
_CLIENT_CALLS = frozenset({"function_call", "custom_tool_call"})
_CLIENT_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_KNOWN_PARTS = frozenset(
    ["text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"]
)
_IMAGE_PARTS = ("image", "image_url", "input_image")
_FILE_PARTS = ("file", "input_file", "input_audio", "document", "search_result")

AnyRequest = anthropic.MessagesRequest | responses.ResponsesRequest | chat.ChatRequest


@dataclass(slots=True)
class Entry:
    """One message or input item; sizes in characters of text-like content."""

    role: str
    """``user``, ``assistant``, ``system`` (developer too) or ``tool`` (a tool's result)."""
    texts: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    """Text of each tool result, empty where it has none."""
    chars: int = 0
    calls: int = 0
    images: int = 0
    documents: int = 0
    server: int = 0
    """Blocks that only the vendor's own side can make or read."""
    unknown: int = 0
    signed: int = 0
    """Reasoning that only its own vendor can verify."""
    starts_task: bool = False
    """A sub-agent gets its task here; what it inherited before is history."""


def entries(request: AnyRequest) -> Iterator[Entry]:
    """The conversation of any request, oldest first; opens one message at a time."""
    return map(entry_reader(request), conversation(request))


def conversation(request: AnyRequest) -> tuple[Raw, ...]:
    """The undecoded messages or input items, oldest first."""
    return request.items if isinstance(request, responses.ResponsesRequest) else request.messages


def entry_reader(request: AnyRequest) -> Callable[[Raw], Entry]:
    """What opens one element of ``conversation(request)``."""
    if isinstance(request, anthropic.MessagesRequest):
        return _from_messages
    return _from_responses if isinstance(request, responses.ResponsesRequest) else _from_chat


def _from_messages(raw: Raw) -> Entry:
    message = anthropic.read_message(raw)
    entry = Entry("system" if message.role in SYSTEM_ROLES else message.role)
    for block in message.blocks:
        # A long conversation is mostly text, and its length is most of the cost.
        if block.type == "text":
            _add_text(entry, block.text)
        else:
            _add_block(entry, block)
    return entry


def _add_block(entry: Entry, block: anthropic.Block) -> None:
    kind = block.type if isinstance(block.type, str) else "unknown"
    if kind == "tool_result":
        _add_result(entry, block.content)
    elif kind == "tool_use":
        entry.calls += 1
        entry.chars += _length(block.name) + (
            0 if isinstance(block.input, UnsetType) else peek.text_size(block.input)
        )
    elif kind in ("thinking", "redacted_thinking"):
        entry.chars += _length(block.thinking)
        entry.signed += kind == "redacted_thinking" or bool(block.signature)
    elif kind in _MEDIA_BLOCKS:
        _add_media(entry, kind, block)
    elif kind in _SERVER_BLOCKS or kind.endswith("_tool_result"):
        entry.server += 1
        _add_parts(entry, block.content)
    else:
        entry.unknown += 1
        entry.chars += _length(block.text)


def _add_media(entry: Entry, kind: str, block: anthropic.Block) -> None:
    if kind == "image":
        entry.images += 1
        return
    entry.documents += 1
    if kind == "search_result":
        _add_parts(entry, block.content)
    elif block.source is not UNSET:
        source = peek.read_fields(block.source)
        if peek.text_of(source.get("type")) == "text":
            entry.chars += _length(peek.text_of(source.get("data")))
        else:
            _add_parts(entry, peek.value(source.get("content")))


def _add_text(entry: Entry, text: Any) -> None:
    if isinstance(text, str):
        entry.texts.append(text)
        entry.chars += len(text)


def _add_result(entry: Entry, content: Any) -> None:
    """A tool's answer: a string, or a list of parts."""
    if isinstance(content, str):
        entry.chars += len(content)
        entry.results.append(content)
        return
    entry.results.append(_first_text(content))
    _add_parts(entry, content)


def _add_parts(entry: Entry, content: Any) -> None:
    """Count what is inside a result; its texts are not texts of the conversation."""
    if isinstance(content, str):
        entry.chars += len(content)
    if not isinstance(content, list):
        return
    for part in content:
        if not isinstance(part, dict):
            entry.unknown += 1
            continue
        entry.chars += _length(part.get("text"))
        kind = part.get("type")
        entry.images += kind in _IMAGE_PARTS
        entry.documents += kind in _FILE_PARTS
        entry.server += kind in ("tool_reference", "browser_state")


def _first_text(content: Any) -> str:
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            return str(part["text"])
    return ""


def _length(text: Any) -> int:
    return len(text) if isinstance(text, str) else 0


def _from_responses(raw: Raw) -> Entry:
    item = responses.read_item(raw)
    kind = item.kind
    if kind == "message":
        role = item.role if isinstance(item.role, str) else ""
        entry = Entry("system" if role in SYSTEM_ROLES else role)
        _add_content(entry, item.content)
    elif kind in _CLIENT_OUTPUTS:
        entry = Entry("tool")
        _add_result(entry, item.output)
    elif kind in _CLIENT_CALLS:
        entry = Entry("assistant", calls=1, chars=_length(item.name))
        entry.chars += _length(item.arguments) + _length(item.input)
    elif kind == "reasoning":
        entry = Entry("assistant", signed=int(peek.is_set(_raw(item.encrypted_content))))
        _add_parts(entry, item.summary)
        _add_parts(entry, item.content)
    elif kind == "additional_tools":
        entry = Entry("system")
    elif kind == "agent_message":
        # Codex addresses the main agent as /root; a report to it belongs to the running turn.
        entry = Entry("user", starts_task=item.recipient not in (None, "/root"))
        _add_content(entry, item.content)
    else:
        entry = _hosted(item, kind, raw)
    return entry


def _hosted(item: responses.Item, kind: str, raw: Raw) -> Entry:
    """Items of OpenAI's own tools, and those nobody here has met."""
    if kind.endswith("_output"):
        entry = Entry("tool", server=1)
        _add_result(entry, item.output)
        if not isinstance(item.tools, UnsetType):
            entry.chars += peek.text_size(item.tools)
        return entry
    if kind.endswith("_call"):
        return Entry("assistant", server=1, calls=1, chars=peek.text_size(raw))
    if kind in ("compaction", "compaction_trigger", "context_compaction"):
        return Entry("user", server=1)
    return Entry("user", unknown=1)


def _raw(field_value: Raw | UnsetType) -> Raw | None:
    return None if isinstance(field_value, UnsetType) else field_value


def _add_content(entry: Entry, content: Any) -> None:
    """Message content of the OpenAI protocols: a string, or a list of typed parts."""
    if isinstance(content, str):
        _add_text(entry, content)
        return
    if not isinstance(content, list):
        return
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            entry.unknown += 1
        elif kind in _IMAGE_PARTS:
            entry.images += 1
        elif kind in _FILE_PARTS:
            entry.documents += 1
        elif kind in _KNOWN_PARTS:
            _add_text(entry, part.get("text") or part.get("refusal"))
        elif kind == "encrypted_content":
            entry.server += 1
        else:
            entry.unknown += 1


def _from_chat(raw: Raw) -> Entry:
    message = chat.read_message(raw)
    role = message.role if isinstance(message.role, str) else ""
    if role in ("tool", "function"):
        entry = Entry("tool")
        _add_result(entry, message.content)
        return entry
    entry = Entry("system" if role in SYSTEM_ROLES else role)
    _add_content(entry, message.content)
    calls = message.tool_calls if isinstance(message.tool_calls, list) else []
    for call in [*calls, message.function_call]:
        if isinstance(call, dict):
            function = call.get("function", call)
            entry.calls += 1
            if isinstance(function, dict):
                entry.chars += _length(function.get("name")) + _length(function.get("arguments"))
    return entry

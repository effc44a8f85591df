"""The input items of a Responses request as turns of a conversation."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from providers.neutral import (
    File,
    Image,
    Part,
    Pin,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from providers.protocols.openai_responses.tools_in import ToolReader, plain_namespace
from providers.protocols.translate import Stop, items, mapping, text
from providers.tool_book import arguments_text, is_object

NATIVE_ITEMS = frozenset(
    [
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "compaction",
        "compaction_summary",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "file_search_call",
        "image_generation_call",
        "item_reference",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    ]
)
"""Items that only OpenAI can read: they name its own tools or hold what it alone can decrypt."""

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,;]*)*?;base64,", re.I)
_DETAILS = frozenset(["low", "high", "auto"])
_SEALED = re.compile(r"gAAAA[A-Za-z0-9_-]+={0,2}|[A-Za-z0-9+/_-]{100,}={0,2}")
"""What the vendor encrypts: one long word of base64."""


class ItemReader:
    """Reads items one by one into ``turns``; raises ``Stop`` for what cannot be carried."""

    def __init__(self, tools: ToolReader) -> None:
        self.turns: list[tuple[Role, tuple[Part, ...]]] = []
        self.dropped: list[str] = []
        self.degraded: list[str] = []
        self._tools = tools

    def add(self, item: Any) -> None:
        """Read one item of ``input``."""
        fields = mapping(item)
        kind = text(fields.get("type")) or ("message" if "role" in fields else None)
        match kind:
            case "message":
                self._message(fields)
            case "function_call" | "custom_tool_call":
                self._call(fields, is_custom=kind == "custom_tool_call")
            case "function_call_output" | "custom_tool_call_output":
                self._output(fields, is_custom=kind == "custom_tool_call_output")
            case "reasoning":
                # Only its own vendor can decrypt it, and no other model may see it as its own.
                self.dropped.append("reasoning")
            case "additional_tools":
                self._tools.add(fields.get("tools"))
            case "agent_message":
                self._agent_message(fields)
            case None:
                raise Stop(Pin.MALFORMED, "input")
            case _:
                pin = Pin.NATIVE_PART if kind in NATIVE_ITEMS else Pin.UNKNOWN_PART
                raise Stop(pin, kind)

    def _message(self, fields: Mapping[str, Any]) -> None:
        try:
            role = Role(text(fields.get("role")) or "")
        except ValueError:
            raise Stop(Pin.MALFORMED, "message.role") from None
        content = fields.get("content")
        if isinstance(content, str):
            parts: list[Part] = [Text(content)] if content else []
        elif isinstance(content, list):
            parts = [part for block in content if (part := self._block(block)) is not None]
        else:
            raise Stop(Pin.MALFORMED, "message.content")
        allowed: tuple[type, ...] = (Text, Refusal) if role is Role.ASSISTANT else (Text,)
        if role is Role.USER:
            allowed = (Text, Image, File)
        for part in parts:
            if not isinstance(part, allowed):
                raise Stop(Pin.NATIVE_PART, f"{role.value}.{type(part).__name__.lower()}")
        self.turns.append((role, tuple(parts)))

    def _agent_message(self, fields: Mapping[str, Any]) -> None:
        """What one agent of Codex tells another.

        Codex puts the words into an encrypted block as the model wrote them; only OpenAI's own
        models write them encrypted.
        """
        words = []
        for block in items(fields.get("content")):
            part = mapping(block)
            is_sealed = part.get("type") == "encrypted_content"
            said = text(part.get("encrypted_content" if is_sealed else "text"))
            if said is None or (is_sealed and _SEALED.fullmatch(said)):
                raise Stop(Pin.NATIVE_PART, "agent_message")
            words.append(said)
        if not words:
            raise Stop(Pin.MALFORMED, "agent_message")
        self.turns.append((Role.USER, (Text("".join(words)),)))

    def _block(self, block: Any) -> Part | None:
        """One content block; ``None`` for empty text."""
        fields = mapping(block)
        kind = text(fields.get("type"))
        match kind:
            case "input_text" | "output_text" | "text":
                if fields.get("annotations"):
                    self.dropped.append("annotations")
                words = text(fields.get("text"))
                if words is None:
                    raise Stop(Pin.MALFORMED, kind)
                return Text(words) if words else None
            case "refusal":
                return Refusal(text(fields.get("refusal")) or "")
            case "input_image":
                return self._image(fields)
            case "input_file":
                return self._file(fields)
            case "encrypted_content" | "input_audio" | "computer_screenshot":
                raise Stop(Pin.NATIVE_PART, kind)
            case None:
                raise Stop(Pin.MALFORMED, "content")
            case _:
                raise Stop(Pin.UNKNOWN_PART, kind)

    def _image(self, fields: Mapping[str, Any]) -> Image:
        address = text(fields.get("image_url"))
        if not address:
            raise Stop(Pin.NATIVE_PART, "input_image.file_id")
        detail = text(fields.get("detail"))
        if detail is not None and detail not in _DETAILS:
            # Newer grades, such as ``original``, are all finer than ``high``.
            self.dropped.append("image.detail")
            detail = "high"
        if address[:5].lower() != "data:":
            return Image(url=address, detail=detail)
        media_type, data = _inline(address)
        if media_type is None:
            raise Stop(Pin.MALFORMED, "input_image.image_url")
        return Image(data=data, media_type=media_type, detail=detail)

    def _file(self, fields: Mapping[str, Any]) -> File:
        data = text(fields.get("file_data"))
        if not data:
            raise Stop(Pin.NATIVE_PART, "input_file")
        name = text(fields.get("filename"))
        media_type: str | None = None
        if data[:5].lower() == "data:":
            media_type, data = _inline(data)
        if media_type is None:
            media_type = "application/pdf" if (name or "").lower().endswith(".pdf") else None
        if media_type is None:
            raise Stop(Pin.NATIVE_PART, "input_file.media_type")
        if media_type.startswith("text/"):
            words = _decoded(data)
            if words is not None:
                return File(text=words, media_type=media_type, name=name)
        return File(data=data, media_type=media_type, name=name)

    def _call(self, fields: Mapping[str, Any], *, is_custom: bool) -> None:
        call_id, name = text(fields.get("call_id")), text(fields.get("name"))
        written = text(fields.get("input" if is_custom else "arguments"))
        if not call_id or not name or written is None:
            raise Stop(Pin.MALFORMED, "call")
        caller = mapping(fields.get("caller")).get("type", "direct")
        if caller != "direct":
            raise Stop(Pin.NATIVE_PART, f"caller.{caller}")
        if not is_custom and written.strip() and not is_object(written):
            self.degraded.append("arguments")
        call = ToolCall(
            id=call_id,
            name=name,
            arguments=written if is_custom else arguments_text(written),
            is_custom=is_custom,
            namespace=plain_namespace(text(fields.get("namespace"))),
        )
        self.turns.append((Role.ASSISTANT, (call,)))

    def _output(self, fields: Mapping[str, Any], *, is_custom: bool) -> None:
        output = fields.get("output")
        if isinstance(output, str):
            content: list[Text | Image | File] = [Text(output)] if output else []
        elif isinstance(output, list):
            content = [self._result_block(block) for block in output]
        else:
            raise Stop(Pin.MALFORMED, "output")
        call_id = text(fields.get("call_id"))
        if call_id:
            result = ToolResult(call_id, _without_empty(content), is_custom=is_custom)
            self.turns.append((Role.USER, (result,)))
        else:
            # Codex puts in results of calls that no model made; an empty id fits no call.
            self.degraded.append("output.call_id")
            self.turns.append((Role.USER, _without_empty(content)))

    def _result_block(self, block: Any) -> Text | Image | File:
        part = self._block(block)
        if part is None:
            return Text("")
        if not isinstance(part, Text | Image | File):
            raise Stop(Pin.MALFORMED, "output")
        return part


def _without_empty(content: list[Text | Image | File]) -> tuple[Text | Image | File, ...]:
    return tuple(part for part in content if part != Text(""))


def _inline(address: str) -> tuple[str | None, str]:
    """Media type and base64 of a data URL; no type where it is not base64."""
    found = _DATA_URL.match(address)
    if found is None:
        return None, address
    return found[1].lower() or "text/plain", address[found.end() :]


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None

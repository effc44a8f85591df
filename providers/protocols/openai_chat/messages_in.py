"""Messages of Chat Completions, to neutral ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.neutral import (
    File,
    Image,
    Message,
    Part,
    Pin,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from providers.protocols.openai_chat.marks import ERROR_MARK
from providers.protocols.translate import Stop, items, mapping, text
from providers.tool_book import arguments_text

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.DEVELOPER,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.USER,
    "function": Role.USER,
}
_FIELDS = frozenset(
    ["role", "content", "tool_calls", "function_call", "tool_call_id", "refusal", "name"]
)
_REASONING = frozenset(["reasoning", "reasoning_content", "reasoning_details"])
"""What other providers showed of their thinking; not for a second one."""
_SAYS_NOTHING = frozenset(["annotations"])
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*?;base64,", re.ASCII)


class MessageReader:
    """Reads the messages of one request in order; raises ``Stop``."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.degraded: list[str] = []
        self._functions = 0

    def read(self, fields: Mapping[str, Any]) -> Message:
        """One message; the results of tools become parts of a ``USER`` message."""
        wire_role = text(fields.get("role")) or ""
        role = _ROLES.get(wire_role)
        if role is None:
            raise Stop(Pin.MALFORMED, "messages.role")
        self._check(fields)
        if wire_role in ("tool", "function"):
            return Message(role, (self._result(fields, wire_role),))
        parts = self._content(fields.get("content"), role)
        if role is Role.ASSISTANT:
            parts += self._assistant(fields)
        return Message(role, tuple(parts))

    def _check(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if name in _FIELDS or value is None or value in ([], ""):
                continue
            if name in _REASONING:
                self.dropped.append("thinking")
            elif name == "audio":
                raise Stop(Pin.NATIVE_PART, "messages.audio")
            elif name not in _SAYS_NOTHING:
                raise Stop(Pin.UNKNOWN_FIELD, f"messages.{name}")
        if fields.get("name") is not None and fields.get("role") != "function":
            self.degraded.append("messages.name")

    def _assistant(self, fields: Mapping[str, Any]) -> list[Part]:
        parts: list[Part] = []
        if refusal := text(fields.get("refusal")):
            parts.append(Refusal(refusal))
        parts += [self._call(mapping(call)) for call in items(fields.get("tool_calls"))]
        legacy = mapping(fields.get("function_call"))
        if legacy:
            self._functions += 1
            name = text(legacy.get("name")) or ""
            parts.append(ToolCall(self._legacy_id(), name, arguments_text(legacy.get("arguments"))))
        return parts

    def _legacy_id(self) -> str:
        """Old function calls have no id; each is answered before the next one."""
        return f"call_function_{self._functions}"

    def _call(self, call: Mapping[str, Any]) -> ToolCall:
        call_id = text(call.get("id"))
        custom, function = mapping(call.get("custom")), mapping(call.get("function"))
        name = text((custom or function).get("name"))
        if not call_id or not name:
            raise Stop(Pin.MALFORMED, "tool_calls")
        if custom:
            return ToolCall(call_id, name, text(custom.get("input")) or "", is_custom=True)
        return ToolCall(call_id, name, arguments_text(function.get("arguments")))

    def _result(self, fields: Mapping[str, Any], wire_role: str) -> ToolResult:
        call_id = self._legacy_id() if wire_role == "function" else text(fields.get("tool_call_id"))
        if not call_id:
            raise Stop(Pin.MALFORMED, "messages.tool_call_id")
        parts = self._content(fields.get("content"), Role.USER)
        is_error = False
        if parts and isinstance(parts[0], Text) and parts[0].text.startswith(ERROR_MARK):
            is_error = True
            parts[0] = Text(parts[0].text[len(ERROR_MARK) :])
        content = tuple(part for part in parts if isinstance(part, Text | Image | File))
        return ToolResult(call_id, content, is_error)

    def _content(self, content: Any, role: Role) -> list[Part]:
        if content is None:
            return []
        if isinstance(content, str):
            return [Text(content)] if content else []
        if not isinstance(content, list):
            raise Stop(Pin.MALFORMED, "messages.content")
        return [self._part(mapping(part), role) for part in content]

    def _part(self, part: Mapping[str, Any], role: Role) -> Part:
        kind = text(part.get("type")) or ""
        if kind == "text":
            return Text(text(part.get("text")) or "")
        if kind == "refusal" and role is Role.ASSISTANT:
            return Refusal(text(part.get("refusal")) or "")
        if role is not Role.USER:
            raise Stop(Pin.NATIVE_PART, f"{role}.{kind}")
        if kind == "image_url":
            return _image(mapping(part.get("image_url")))
        if kind == "file":
            return _file(mapping(part.get("file")))
        if kind == "input_audio":
            raise Stop(Pin.NATIVE_PART, kind)
        raise Stop(Pin.UNKNOWN_PART, kind)


def _image(fields: Mapping[str, Any]) -> Image:
    url = text(fields.get("url"))
    if not url:
        raise Stop(Pin.MALFORMED, "image_url")
    detail = text(fields.get("detail"))
    found = read_data_url(url)
    if found is None:
        return Image(url=url, detail=detail)
    media_type, data = found
    return Image(data=data, media_type=media_type or "image/png", detail=detail)


def _file(fields: Mapping[str, Any]) -> File:
    data_url = text(fields.get("file_data"))
    if data_url is None:
        raise Stop(Pin.NATIVE_PART, "file.file_id")
    media_type, data = read_data_url(data_url) or (None, data_url)
    return File(
        data=data, media_type=media_type or "application/pdf", name=text(fields.get("filename"))
    )


def read_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of a data URL; ``None`` when ``url`` is none."""
    match = _DATA_URL.match(url)
    return (match[1], url[match.end() :]) if match else None

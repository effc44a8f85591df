"""Tidy neutral messages to messages of Chat Completions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.call_ids import to_openai
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
from providers.protocols.openai_chat.marks import ERROR_MARK, attachment, document
from providers.protocols.translate import Stop
from providers.tool_book import ToolBook
from providers.traits import Traits

Json = dict[str, Any]


class MessageWriter:
    """Writes the messages of one request; raises ``Stop`` for what the model does not take."""

    def __init__(self, book: ToolBook, traits: Traits) -> None:
        self._book = book
        self._traits = traits
        self.degraded: list[str] = []

    def write(self, message: Message) -> list[Json]:
        """The messages for one neutral message: a result each, then the rest."""
        match message.role:
            case Role.USER:
                return self._user(message.parts)
            case Role.ASSISTANT:
                return [self._assistant(message.parts)]
            case Role.SYSTEM | Role.DEVELOPER:
                content = _joined(message.parts)
                return [{"role": self._traits.system_role, "content": content}] if content else []

    def _user(self, parts: tuple[Part, ...]) -> list[Json]:
        written: list[Json] = []
        attached: list[Part] = []
        rest: list[Part] = []
        for part in parts:
            if isinstance(part, ToolResult):
                written.append(self._result(part))
                attached += self._attached(part)
            else:
                rest.append(part)
        content = [inner for part in (*attached, *rest) for inner in self._content(part)]
        if content:
            written.append({"role": "user", "content": self._fitted(content)})
        return written

    def _result(self, result: ToolResult) -> Json:
        texts = [part.text for part in result.content if isinstance(part, Text)]
        texts += [
            document(part.name, part.text)
            for part in result.content
            if isinstance(part, File) and part.text is not None
        ]
        text = "\n".join(texts)
        if result.is_error:
            self.degraded.append("tool_result.is_error")
            text = ERROR_MARK + text
        return {"role": "tool", "tool_call_id": to_openai(result.call_id), "content": text}

    def _attached(self, result: ToolResult) -> list[Part]:
        """Pictures and files have to follow the tool messages, which hold text only."""
        found: list[Part] = [
            part
            for part in result.content
            if isinstance(part, Image) or (isinstance(part, File) and part.text is None)
        ]
        if not found:
            return []
        self.degraded.append("tool_result.attachment")
        return [Text(attachment(to_openai(result.call_id))), *found]

    def _content(self, part: Part) -> list[Json]:
        match part:
            case Text(text) if text:
                return [{"type": "text", "text": text}]
            case Image():
                return [self._image(part)]
            case File():
                return [self._file(part)]
            case _:
                return []

    def _fitted(self, content: list[Json]) -> Any:
        if len(content) == 1 and content[0]["type"] == "text":
            return content[0]["text"]
        if self._traits.flat_content and all(part["type"] == "text" for part in content):
            return "\n\n".join(part["text"] for part in content)
        return content

    def _image(self, image: Image) -> Json:
        if not self._traits.vision:
            raise Stop(Pin.VISION, "image")
        url = image.url
        if image.data is not None:
            url = f"data:{image.media_type or 'image/png'};base64,{image.data}"
        detail = {"detail": image.detail} if image.detail else {}
        return {"type": "image_url", "image_url": {"url": url or "", **detail}}

    def _file(self, file: File) -> Json:
        if file.text is not None:
            self.degraded.append("document")
            return {"type": "text", "text": document(file.name, file.text)}
        if not self._traits.files or file.data is None:
            raise Stop(Pin.FILES, file.media_type or "file")
        data = f"data:{file.media_type or 'application/pdf'};base64,{file.data}"
        name = file.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": data}}

    def _assistant(self, parts: tuple[Part, ...]) -> Json:
        text = _joined(parts)
        calls = [part for part in parts if isinstance(part, ToolCall)]
        message: Json = {"role": "assistant"}
        message["content"] = text or (None if calls and self._traits.null_content else "")
        if calls:
            message["tool_calls"] = [self._call(call) for call in calls]
        return message

    def _call(self, call: ToolCall) -> Json:
        function = {
            "name": self._book.wire_name(call.name, call.namespace),
            "arguments": self._book.wire_arguments(call),
        }
        return {"id": to_openai(call.id), "type": "function", "function": function}


def _joined(parts: Iterable[Part]) -> str:
    return "\n\n".join(part.text for part in parts if isinstance(part, Text | Refusal))

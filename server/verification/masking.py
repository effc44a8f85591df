"""A request without what looks like a credential, before it goes to somebody new; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from providers.neutral import File, Image, Message, Part, Request, Text, ToolCall, ToolResult
from providers.tool_book import is_object

Mask = Callable[[str], str]
"""Such as ``server.redact.Redactor``."""


def masked(request: Request, mask: Mask) -> Request:
    """The same request with every text of system, history and question masked."""
    return replace(
        request,
        system=tuple(mask(block) for block in request.system),
        messages=tuple(
            Message(message.role, tuple(_part(part, mask) for part in message.parts))
            for message in request.messages
        ),
    )


def has_media(request: Request) -> bool:
    """Whether a picture or a document is in it, which no mask can look into."""
    return any(_is_media(part) for message in request.messages for part in message.parts)


def _is_media(part: Part) -> bool:
    if isinstance(part, ToolResult):
        return any(isinstance(inner, Image | File) for inner in part.content)
    return isinstance(part, Image | File)


def _part(part: Part, mask: Mask) -> Part:
    if isinstance(part, ToolResult):
        content = tuple(
            Text(mask(inner.text)) if isinstance(inner, Text) else inner for inner in part.content
        )
        return replace(part, content=content)
    if isinstance(part, ToolCall):
        return _call(part, mask)
    if isinstance(part, Image | File):
        return part
    return replace(part, text=mask(part.text))


def _call(call: ToolCall, mask: Mask) -> ToolCall:
    """A mask holds no quote or backslash, so the arguments stay JSON unless they were cut into."""
    found = mask(call.arguments)
    if call.is_custom or is_object(found):
        return replace(call, arguments=found)
    return replace(call, arguments="{}")

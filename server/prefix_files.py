"""How much of a message is the content of files that a tool read: from tool names and sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

FILE_TOOLS: Final = frozenset(
    ["read", "notebookread", "view", "view_file", "read_file", "readfile", "cat", "open_file"]
)
"""Names, in lower case, of tools whose result is a file: Claude Code's and those of its like."""

MOST_CALLS: Final = 20_000
"""Calls remembered; their results come with the next request, so few are ever asked for."""


class FileReads:
    """Remembers which calls read files, so that their results can be told from others.

    Messages are to be shown in the order of the conversation, decoded; a call's message comes
    before its result's. Only ids are remembered.
    """

    def __init__(self) -> None:
        self._calls: OrderedDict[str, None] = OrderedDict()

    def chars(self, message: Any) -> int:
        """Characters of file content in a message or input item, of any protocol."""
        if not isinstance(message, dict):
            return 0
        for name, call_id in _calls(message):
            if name.rpartition("__")[2].lower() in FILE_TOOLS:
                self._calls[call_id] = None
        while len(self._calls) > MOST_CALLS:
            self._calls.popitem(last=False)
        return sum(
            _size(content) for call_id, content in _results(message) if call_id in self._calls
        )


def _calls(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and id of every call: Messages blocks, Chat calls, a Responses item."""
    for block in _dicts(message.get("content")):
        if block.get("type") == "tool_use":
            yield from _named(block.get("name"), block.get("id"))
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            yield from _named(function.get("name"), call.get("id"))
    if message.get("type") in ("function_call", "custom_tool_call"):
        yield from _named(message.get("name"), message.get("call_id"))


def _results(message: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for block in _dicts(message.get("content")):
        if block.get("type") == "tool_result":
            yield _text(block.get("tool_use_id")), block.get("content")
    if message.get("role") == "tool":
        yield _text(message.get("tool_call_id")), message.get("content")
    if message.get("type") in ("function_call_output", "custom_tool_call_output"):
        yield _text(message.get("call_id")), message.get("output")


def _named(name: Any, call_id: Any) -> Iterator[tuple[str, str]]:
    if isinstance(name, str) and isinstance(call_id, str):
        yield name, call_id


def _size(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(_text(part.get("text"))) for part in _dicts(content))


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

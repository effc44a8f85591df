"""A kept request as a reader takes it in: tools, system, messages, in the order vendors cache; pure.

Reads decoded JSON of all three protocols without trusting it; what is not understood is shown as
JSON. Marks that change nothing for a cache (``cache_control``) are left out, so that two requests
differ here where they differ for the vendor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Final

TOOLS: Final = "tools"
SYSTEM: Final = "system"
MESSAGES: Final = "messages"
LONGEST: Final = 64 * 1024
"""Characters of one block that are handed out."""
_AROUND: Final = 2
_MOST_DIFF: Final = 400
_LONGEST_LINE: Final = 400


@dataclass(frozen=True, slots=True)
class Block:
    """One tool, one system text, or one part of a message."""

    part: str
    title: str
    """A tool's name, ``system 1``, ``user``, ``assistant calls Bash`` ..."""
    text: str
    role: str | None = None

    def as_json(self, *, with_text: bool = True) -> dict[str, Any]:
        """All fields, the text cut or left out, and ``chars``: how long it is."""
        found = {"part": self.part, "title": self.title, "role": self.role, "chars": len(self.text)}
        return found | ({"text": self.text[:LONGEST]} if with_text else {})


def fold(body: object) -> list[Block]:
    """The blocks of a request, whatever its protocol."""
    if not isinstance(body, Mapping):
        return []
    blocks = list(_tools(body.get("tools")))
    blocks.extend(_system(body))
    messages = body.get("messages")
    if not isinstance(messages, list):
        messages = body.get("input")
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    for message in messages if isinstance(messages, list) else []:
        blocks.extend(_message(message))
    return blocks


def _tools(tools: object) -> Iterator[Block]:
    for tool in tools if isinstance(tools, list) else []:
        name = None
        if isinstance(tool, Mapping):
            inner = tool.get("function")
            named = inner if isinstance(inner, Mapping) else tool
            name = named.get("name") or tool.get("type")
        yield Block(TOOLS, str(name or "unnamed"), _pretty(tool))


def _system(body: Mapping[str, Any]) -> Iterator[Block]:
    found = body.get("system") or body.get("instructions")
    parts = found if isinstance(found, list) else [found] if found else []
    for number, part in enumerate(parts, 1):
        text = part.get("text") if isinstance(part, Mapping) else part
        shown = text if isinstance(text, str) else _pretty(part)
        yield Block(SYSTEM, f"system {number}", shown)


def _message(message: object) -> Iterator[Block]:
    if not isinstance(message, Mapping):
        yield Block(MESSAGES, "message", _pretty(message))
        return
    role = message.get("role")
    role = role if isinstance(role, str) else None
    kind = message.get("type")
    if "content" not in message and kind not in (None, "message"):
        yield _part(message, role)
        return
    content = message.get("content")
    if role == "tool":
        yield Block(MESSAGES, "tool answers", _words(content), role)
        return
    if isinstance(content, str):
        yield Block(MESSAGES, role or "message", content, role)
    else:
        for part in content if isinstance(content, list) else []:
            yield _part(part, role)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        inner = call.get("function") if isinstance(call, Mapping) else None
        named = inner if isinstance(inner, Mapping) else {}
        title = f"{role or 'assistant'} calls {named.get('name') or 'a tool'}"
        yield Block(MESSAGES, title, _words(named.get("arguments")), role)


def _part(part: object, role: str | None) -> Block:
    """A content part of any protocol, or an input item that is no message."""
    if not isinstance(part, Mapping):
        return Block(MESSAGES, role or "message", _words(part), role)
    kind = str(part.get("type") or "")
    if kind in ("text", "input_text", "output_text"):
        return Block(MESSAGES, role or "message", _words(part.get("text")), role)
    if kind in ("tool_use", "server_tool_use", "function_call", "custom_tool_call"):
        given = part.get("input", part.get("arguments"))
        return Block(
            MESSAGES, f"assistant calls {part.get('name') or 'a tool'}", _words(given), role
        )
    if kind.endswith(("tool_result", "_call_output")):
        is_bad = ", an error" if part.get("is_error") is True else ""
        given = part.get("content", part.get("output"))
        return Block(MESSAGES, f"tool answers{is_bad}", _words(given), role)
    if kind in ("thinking", "reasoning"):
        return Block(MESSAGES, "assistant thinks", _words(part.get("thinking") or part), role)
    if kind in ("image", "image_url", "input_image"):
        return Block(MESSAGES, f"{role or 'message'}: an image", _pretty(part)[:2_000], role)
    return Block(MESSAGES, f"{role or 'message'}: {kind or 'part'}", _pretty(part), role)


def _words(value: object) -> str:
    """The text of a content, however it is wrapped."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(_words(item) for item in value)
    if isinstance(value, Mapping) and isinstance(text := value.get("text"), str):
        return text
    return _pretty(value)


def _pretty(value: object) -> str:
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if k != "cache_control"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


# -- what changed ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a request parts from the one before, and how."""

    index: int
    """The first block that differs; ``len(new)`` when blocks are missing at the end."""
    name: str
    """That block in words: ``tool Bash``, ``system 2``, ``message 14 (user)``."""
    offset: int
    """The first byte of its text (UTF-8) that differs; 0 for one that is new or gone."""
    how: str
    """``changed``, ``added`` or ``removed``."""
    lines: tuple[str, ...]
    """A unified diff of that block, without its head."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        found = {name: getattr(self, name) for name in Difference.__slots__}
        return found | {"lines": list(self.lines)}


def difference(old: Sequence[Block], new: Sequence[Block]) -> Difference | None:
    """The first change that a prompt cache cannot skip; ``None`` when ``new`` only goes on."""
    at = same_blocks(old, new)
    if at >= len(old):
        return None
    was, now = old[at], new[at] if at < len(new) else None
    if now is None or _order(now) > _order(was) or _is_gone(was, old, now, new):
        return Difference(at, _name(old, at), 0, "removed", _diff(was.text, ""))
    if _order(now) < _order(was) or _is_gone(now, new, was, old):
        return Difference(at, _name(new, at), 0, "added", _diff("", now.text))
    offset = _first_byte(was.text, now.text)
    return Difference(at, _name(new, at), offset, "changed", _diff(was.text, now.text))


def same_blocks(old: Sequence[Block], new: Sequence[Block]) -> int:
    """How many leading blocks are the same."""
    count = 0
    for was, now in zip(old, new, strict=False):
        if was != now:
            break
        count += 1
    return count


def _is_gone(
    block: Block, among: Sequence[Block], other: Block, others: Sequence[Block]
) -> bool:  # fmt: skip
    """Whether a tool has no counterpart of its name on the other side, where another stands."""
    if block.part != TOOLS or block.title == other.title:
        return False
    here, there = (sum(b.part == TOOLS for b in blocks) for blocks in (among, others))
    return here >= there and all(tool.title != block.title for tool in others[:there])


def _order(block: Block) -> int:
    return (TOOLS, SYSTEM, MESSAGES).index(block.part)


def _name(blocks: Sequence[Block], at: int) -> str:
    block = blocks[at]
    if block.part == TOOLS:
        return f"tool {block.title}"
    if block.part == SYSTEM:
        return block.title
    number = sum(other.part == MESSAGES for other in blocks[: at + 1])
    return f"message part {number} ({block.title})"


def _first_byte(was: str, now: str) -> int:
    at = next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), None)
    at = min(len(was), len(now)) if at is None else at
    return len(now[:at].encode("utf-8", "surrogatepass"))


def _diff(was: str, now: str) -> tuple[str, ...]:
    old, new = was[:LONGEST].splitlines(), now[:LONGEST].splitlines()
    found = unified_diff(old, new, lineterm="", n=_AROUND)
    lines = [text[:_LONGEST_LINE] for text in found if not text.startswith(("---", "+++"))]
    return tuple(lines[:_MOST_DIFF])

"""Changes single values in JSON as people write it, with comments and trailing commas; pure.

Everything that is not asked for stays byte for byte: comments, order, indentation, line ends. A
value that is put in and taken out again leaves the text as it was, unless it was alone in its table
or list.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_BLANKS = re.compile(r"[ \t]*")
_REST_OF_LINE = re.compile(r"[^\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"[^\s,:\[\]{}\"/]+")
_INDENT = re.compile(r"\n([ \t]+)[^\s/]")
_DEEPEST = 200
_MOST_EDITS = 1000

Edit = tuple[int, int, str]


class JsoncError(ValueError):
    """The text is no JSON, not even with comments; ``str()`` says where."""


@dataclass(slots=True)
class _Node:
    """A value and where it stands."""

    start: int
    end: int = 0
    value: Any = None
    parts: list[_Part] = field(default_factory=list)
    """Of a table or list."""


@dataclass(slots=True)
class _Part:
    """A member of a table or an item of a list."""

    start: int
    """Of the key, or of the item."""
    node: _Node
    key: str | None = None
    comma: int | None = None
    """Where the comma after it stands."""


def parse(text: str) -> Any:
    """The value in ``text``, an empty table when there is none; ``JsoncError``."""
    node = _Scanner(text).document()
    return {} if node is None else node.value


def changed(text: str, wanted: Any) -> str:
    """``text`` with as little changed as makes ``parse`` give ``wanted``; ``JsoncError``."""
    if _Scanner(text).document() is None:
        text = text.rstrip() + ("\n{}\n" if text.strip() else "{}\n")
    for _ in range(_MOST_EDITS):
        edits = _Editor(text).step(wanted)
        if not edits:
            return text
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
    raise JsoncError("it would have to be changed in too many places")


# ------------------------------------------------------------------------------ reading


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.line_ends: set[int] = set()
        """Where comments end that go to the end of their line."""

    def document(self) -> _Node | None:
        """The only value, ``None`` where there is nothing but space and comments."""
        at = self._skip(1 if self.text.startswith("\ufeff") else 0)
        if at == len(self.text):
            return None
        node = self._value(at, 0)
        if (rest := self._skip(node.end)) != len(self.text):
            raise self._error(rest, "nothing may follow the value")
        return node

    def _error(self, at: int, what: str) -> JsoncError:
        line = self.text.count("\n", 0, at) + 1
        return JsoncError(f"line {line}, column {at - self.text.rfind(chr(10), 0, at)}: {what}")

    def _at(self, at: int) -> str:
        return self.text[at : at + 1]

    def _skip(self, at: int) -> int:
        """The next place that is neither space nor comment."""
        while True:
            at = self._end_of(_SPACE, at)
            if self.text.startswith("//", at):
                at = self._end_of(_REST_OF_LINE, at)
                self.line_ends.add(at)
            elif self.text.startswith("/*", at):
                end = self.text.find("*/", at + 2)
                if end < 0:
                    raise self._error(at, "this comment has no end")
                at = end + 2
            else:
                return at

    def _end_of(self, pattern: re.Pattern[str], at: int) -> int:
        match = pattern.match(self.text, at)
        return match.end() if match else at

    def _value(self, at: int, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise self._error(at, "too deep")
        sign = self._at(at)
        if sign == "{":
            return self._table(at, depth)
        if sign == "[":
            return self._list(at, depth)
        if sign == '"':
            value, end = self._string(at)
            return _Node(at, end, value)
        end = self._end_of(_SCALAR, at)
        try:
            return _Node(at, end, json.loads(self.text[at:end]))
        except ValueError as error:
            raise self._error(at, "a value is missing or misspelt") from error

    def _string(self, at: int) -> tuple[str, int]:
        end = self._end_of(_STRING, at)
        try:
            return str(json.loads(self.text[at:end])), end
        except ValueError as error:
            raise self._error(at, "this text has no end, or a sign it must not hold") from error

    def _table(self, start: int, depth: int) -> _Node:
        node = _Node(start)
        at = self._skip(start + 1)
        while self._at(at) != "}":
            if self._at(at) != '"':
                raise self._error(at, 'a name in "" or a } is missing')
            key, end = self._string(at)
            colon = self._skip(end)
            if self._at(colon) != ":":
                raise self._error(colon, "a : is missing")
            part = _Part(at, self._value(self._skip(colon + 1), depth + 1), key)
            at = self._after(node, part, "}")
        node.end = at + 1
        node.value = {part.key: part.node.value for part in node.parts}
        return node

    def _list(self, start: int, depth: int) -> _Node:
        node = _Node(start)
        at = self._skip(start + 1)
        while self._at(at) != "]":
            part = _Part(at, self._value(at, depth + 1))
            at = self._after(node, part, "]")
        node.end = at + 1
        node.value = [part.node.value for part in node.parts]
        return node

    def _after(self, node: _Node, part: _Part, close: str) -> int:
        node.parts.append(part)
        at = self._skip(part.node.end)
        if self._at(at) == ",":
            part.comma = at
            return self._skip(at + 1)
        if self._at(at) != close:
            raise self._error(at, f"a , or a {close} is missing")
        return at


# ------------------------------------------------------------------------------ changing


class _Editor:
    """Finds the next change that brings a text closer to what is wanted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scanner = _Scanner(text)
        root = self._scanner.document()
        if root is None:
            raise JsoncError("it holds no value")
        self._root = root
        self._newline = "\r\n" if "\r\n" in text else "\n"
        found = _INDENT.search(text)
        self._unit = found[1] if found else "  "

    def step(self, wanted: Any) -> list[Edit]:
        """The next change; none when there is nothing to do."""
        return self._towards(self._root, wanted)

    def _towards(self, node: _Node, wanted: Any) -> list[Edit]:
        if _is_same(node.value, wanted):
            return []
        if isinstance(node.value, dict) and isinstance(wanted, dict):
            return self._table(node, wanted)
        if isinstance(node.value, list) and isinstance(wanted, list):
            return self._list(node, wanted)
        return [(node.start, node.end, self._written(wanted, self._indent_at(node.start)))]

    def _table(self, node: _Node, wanted: dict[str, Any]) -> list[Edit]:
        # Of a name that stands twice the last one counts.
        last = {part.key: index for index, part in enumerate(node.parts)}
        for key, index in last.items():
            if key not in wanted:
                return self._without(node, index)
            if edits := self._towards(node.parts[index].node, wanted[key]):
                return edits
        key = next(key for key in wanted if key not in last)
        return self._appended(node, wanted[key], f"{_dumped(key)}: ")

    def _list(self, node: _Node, wanted: list[Any]) -> list[Edit]:
        there = node.value
        first = _alike(there, wanted)
        end = _alike(there[first:][::-1], wanted[first:][::-1])
        extra, missing = len(there) - first - end, len(wanted) - first - end
        if extra and missing:
            return self._towards(node.parts[first].node, wanted[first])
        if extra:
            return self._without(node, first)
        if first == len(there):
            return self._appended(node, wanted[first], "")
        at = node.parts[first].start
        indent = self._indent_at(at)
        glue = self._newline + indent if self._is_first_on_line(at) else " "
        return [(at, at, f"{self._written(wanted[first], indent)},{glue}")]

    # ------------------------------------------------------------------ one part

    def _appended(self, node: _Node, value: Any, name: str) -> list[Edit]:
        if not node.parts:
            return self._alone(node, value, name)
        last = node.parts[-1]
        has_comma = last.comma is not None
        end = last.node.end if last.comma is None else last.comma + 1
        at = self._after_comment(end)
        is_by_line = at in self._scanner.line_ends or "\n" in self._text[node.start : last.start]
        indent = self._indent_at(node.start) + self._unit
        if self._is_first_on_line(last.start):
            indent = self._indent_at(last.start)
        new = f"{name}{self._written(value, indent, is_by_line=is_by_line)}"
        glue = self._newline + indent if is_by_line else " "
        if has_comma:
            return [(at, at, f"{glue}{new},")]
        if at == end:
            return [(at, at, f",{glue}{new}")]
        return [(end, end, ","), (at, at, f"{glue}{new}")]

    def _alone(self, node: _Node, value: Any, name: str) -> list[Edit]:
        at = self._after_comment(node.start + 1)
        indent = self._indent_at(node.start)
        inner = self._newline + indent + self._unit
        new = f"{inner}{name}{self._written(value, indent + self._unit)}"
        has_line = "\n" in self._text[at : node.end]
        return [(at, at, new if has_line else f"{new}{self._newline}{indent}")]

    def _without(self, node: _Node, index: int) -> list[Edit]:
        part = node.parts[index]
        end = part.node.end if part.comma is None else part.comma + 1
        if index == 0 and len(node.parts) > 1:
            following = node.parts[1].start
            if not self._text[end:following].strip():
                return [(part.start, following, "")]
        start = len(self._text[: part.start].rstrip())
        # What follows must not become part of a comment.
        rest = _BLANKS.sub("", self._text[end : end + 2], count=1)
        needs_line = start in self._scanner.line_ends and rest[:1] not in ("\r", "\n")
        edits = [(start, end, self._newline if needs_line else "")]
        before = node.parts[index - 1] if index else None
        if part.comma is None and before is not None and before.comma is not None:
            edits.append((before.comma, before.comma + 1, ""))
        return edits

    # ------------------------------------------------------------------ style

    def _written(self, value: Any, indent: str, *, is_by_line: bool = True) -> str:
        if not is_by_line:
            return _dumped(value)
        lines = json.dumps(value, indent=self._unit, ensure_ascii=False).split("\n")
        return (self._newline + indent).join(lines)

    def _indent_at(self, at: int) -> str:
        line = self._text.rfind("\n", 0, at) + 1
        found = _BLANKS.match(self._text, line)
        return found[0] if found else ""

    def _is_first_on_line(self, at: int) -> bool:
        return not self._text[self._text.rfind("\n", 0, at) + 1 : at].strip()

    def _after_comment(self, at: int) -> int:
        """Behind a comment that says something about what ends at ``at``: it ends the line too."""
        blank = _BLANKS.match(self._text, at)
        start = blank.end() if blank else at
        if self._text.startswith("//", start):
            found = _REST_OF_LINE.match(self._text, start)
            return found.end() if found else at
        if self._text.startswith("/*", start):
            end = self._text.find("*/", start) + 2
            is_last = self._text[end:].lstrip(" \t").startswith(("\n", "\r"))
            return end if is_last and "\n" not in self._text[start:end] else at
        return at


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_same(one: Any, other: Any) -> bool:
    """Equal as JSON: ``1`` is neither ``1.0`` nor ``true``."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _alike(one: list[Any], other: list[Any]) -> int:
    """How many values at the beginning are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if not _is_same(a, b)), min(len(one), len(other)))

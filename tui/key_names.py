"""Which names of keys the toolkit knows, without loading it."""

from __future__ import annotations

import difflib
import re
import string
import unicodedata

_MODIFIERS = re.compile(r"(?:(?:ctrl|shift|alt|super|hyper|meta)\+)*")
_NAMED = frozenset(
    {
        *("enter", "escape", "tab", "space", "backspace", "delete", "insert", "home", "end"),
        *("pageup", "pagedown", "up", "down", "left", "right"),
        *(f"f{number}" for number in range(1, 25)),
    }
)
_RENAMED = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_SAME_BYTE = {
    "ctrl+h": "backspace",
    "ctrl+i": "tab",
    "ctrl+j": "enter",
    "ctrl+m": "enter",
    "ctrl+left_square_bracket": "escape",
    "ctrl+[": "escape",
}
"""What most terminals send the same byte for."""


def problem(name: str) -> str | None:
    """Why a key of this name could never be pressed, or ``None``."""
    if name in _SAME_BYTE:
        return f"most terminals cannot tell it from {_SAME_BYTE[name]}"
    base = name[_MODIFIERS.match(name).end() :]  # type: ignore[union-attr]
    if len(base) == 1 and base.isprintable() and base != " ":
        return None
    known = _NAMED | _punctuation()
    if base in known:
        return None
    near = difflib.get_close_matches(base, known, n=1)
    return "there is no such key" + (f"; the nearest is {near[0]!r}" if near else "")


def _punctuation() -> frozenset[str]:
    """``/`` is called ``slash`` and so on: after Unicode, with a few shorter names."""
    names = (
        unicodedata.name(char).lower().replace("-", "_").replace(" ", "_")
        for char in string.punctuation
    )
    return frozenset(_RENAMED.get(name, name) for name in names)

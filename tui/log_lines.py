"""Entries of the engine's log as lines."""

from __future__ import annotations

from collections.abc import Iterable

from tui import format as fmt
from tui.lines import Line, line, wrap
from tui.log_book import LEVELS, Entry

_ROLES = {"debug": "muted", "info": "text", "warning": "warn", "error": "bad"}
_GLYPHS = {"debug": "·", "info": "●", "warning": "▲", "error": "✕"}
_WIDE = 76
_MOST_WRAPPED = 6
"""Lines that one message may take."""


class LogLines:
    """Entries as lines, each made once for a width."""

    def __init__(self) -> None:
        self._width = 0
        self._made: dict[int, tuple[Line, ...]] = {}

    def lines(self, entries: Iterable[Entry], width: int) -> list[Line]:
        """All lines, those of entries that are gone forgotten."""
        if width != self._width:
            self._width, self._made = width, {}
        known, self._made = self._made, {}
        lines: list[Line] = []
        for entry in entries:
            made = known.get(entry.number) or entry_lines(entry, width)
            self._made[entry.number] = made
            lines.extend(made)
        return lines


def entry_lines(entry: Entry, width: int) -> tuple[Line, ...]:
    """Time, level, source and message; what does not fit is wrapped under the message."""
    role = _ROLES[entry.level]
    time = fmt.wall_seconds(entry.at).rpartition(" ")[2]
    level = f"{_GLYPHS[entry.level]} {entry.level}"
    head = [(f" {time} ", "muted"), (fmt.fit(level, 10), role)]
    used = 20
    if width >= _WIDE:
        source = entry.logger.removeprefix("sbgw.")
        head.append((fmt.fit(source, 12) + " ", "muted"))
        used += 13
    text = wrap(entry.message[:2_000], max(10, width - used - 1), role)[:_MOST_WRAPPED]
    if not text:
        return (tuple(head),)
    indent = ((" " * used, "text"),)
    return ((*head, *text[0]), *((*indent, *rest) for rest in text[1:]))


def short(entry: Entry) -> Line:
    """Sign, level and message in one line."""
    return line(
        (f"{_GLYPHS[entry.level]} {entry.level}  ", _ROLES[entry.level]),
        fmt.neutralise(entry.message, 200),
    )


def empty(level: str, is_known: bool) -> list[Line]:
    """What stands in place of the lines when there are none."""
    if not is_known:
        return [line((" Waiting for the gateway ...", "muted"))]
    what = "The log is empty." if level == LEVELS[0] else f"Nothing of level {level} or worse."
    return [line((f" {what}", "muted"))]

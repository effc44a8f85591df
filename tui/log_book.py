"""The engine's log as it is kept for the screen: bounded, by level, newest last."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui.rows import number_of, text_of

MOST_LINES = 500
LEVELS = ("debug", "info", "warning", "error")
"""From all to least; each shows itself and what is worse."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One log record."""

    number: int
    """Counts up; no two entries have the same."""
    at: float | None
    level: str
    """One of ``LEVELS``."""
    logger: str
    message: str


def level_of(value: object) -> str:
    """A level of the standard library as one of ours; what is unknown is ``info``."""
    name = (text_of(value) or "").lower()
    if name in ("critical", "fatal"):
        return "error"
    return {"warn": "warning"}.get(name, name if name in LEVELS else "info")


class Log:
    """The newest ``MOST_LINES`` entries."""

    def __init__(self) -> None:
        self._count = 0
        self._entries: deque[Entry] = deque(maxlen=MOST_LINES)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest(self) -> int:
        """The number of the newest entry; two states of the log with the same one are equal."""
        return self._count

    def load(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take over what a snapshot holds."""
        self._entries.clear()
        for record in records[-MOST_LINES:]:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """One more record; from a ``log`` event or a snapshot."""
        self._count += 1
        self._entries.append(
            Entry(
                self._count,
                number_of(record.get("at")),
                level_of(record.get("level")),
                text_of(record.get("logger")) or "",
                text_of(record.get("message")) or "",
            )
        )

    def at_least(self, level: str) -> list[Entry]:
        """Entries of a level and worse, oldest first."""
        shown = LEVELS[LEVELS.index(level) :]
        return [entry for entry in self._entries if entry.level in shown]

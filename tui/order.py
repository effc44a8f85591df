"""The orders of the list, and rows kept in one of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tui.rows import Book, TurnRow

_LONG_AGO = 1e12


class Sort(StrEnum):
    """What comes first; the column it is about, if there is one, has the same name."""

    AGE = "age"
    """The newest."""
    COST = "cost"
    SAVED = "saved"
    TIME = "time"
    """The longest; what still runs comes before what has ended."""
    BURN = "burn"
    """The most dollars a minute while it ran."""


WORDS = {
    Sort.AGE: "newest first",
    Sort.COST: "by cost",
    Sort.SAVED: "by saving",
    Sort.TIME: "by duration",
    Sort.BURN: "by cost a minute",
}

WINDOWS_S: tuple[float | None, ...] = (300.0, 900.0, 3_600.0, 6 * 3_600.0, None)
"""How far the list looks back, ``None`` as far as it reaches."""


def _cost(row: TurnRow) -> float:
    return -math.inf if row.cost_usd is None else row.cost_usd


def _saved(row: TurnRow) -> float:
    found = row.projected
    known = found is not None and found.is_counted and found.usd is not None
    return found.usd if known and found is not None and found.usd is not None else -math.inf


def _time(row: TurnRow) -> float:
    if row.is_open:
        return _LONG_AGO - row.at
    return -math.inf if row.duration_s is None else row.duration_s


def _burn(row: TurnRow) -> float:
    if row.cost_usd is None or not row.duration_s:
        return -math.inf
    return row.cost_usd / row.duration_s


KEYS: dict[Sort, Callable[[TurnRow], float]] = {
    Sort.AGE: lambda row: row.at,
    Sort.COST: _cost,
    Sort.SAVED: _saved,
    Sort.TIME: _time,
    Sort.BURN: _burn,
}
"""The greatest value comes first; what is not known comes last."""


@dataclass(slots=True)
class SortedBook(Book):
    """Rows in the order of ``key``, the least first; a row that changes finds its new place."""

    key: Callable[[TurnRow], float] = _cost
    known: dict[str, float] = field(default_factory=dict)

    def put(self, row: TurnRow) -> bool:
        value, before = self.key(row), self.known.get(row.id)
        if before is not None and before != value:
            self.remove(row.id)
        if before is None or before != value:
            bisect.insort(self.order, (value, row.id))
            self.known[row.id] = value
        self.rows[row.id] = row
        return before is None

    def remove(self, turn_id: str) -> None:
        value = self.known.pop(turn_id, None)
        if value is not None:
            del self.rows[turn_id]
            del self.order[bisect.bisect_left(self.order, (value, turn_id))]

    def index(self, turn_id: str) -> int | None:
        value = self.known.get(turn_id)
        if value is None:
            return None
        return len(self.order) - 1 - bisect.bisect_left(self.order, (value, turn_id))

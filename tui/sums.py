"""Sums of savings as the screens show them, read from ``snapshot["savings"]`` without trusting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tui.rows import count_of, mapping_of, number_of, text_of

MOST_GROUPS = 200
"""Routes, kinds or targets that are read of one table."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One sum; dollars, losses counting negative. The fields are those of ``SAVED``."""

    turns: int = 0
    usd: float = 0.0
    naive_usd: float = 0.0
    low_usd: float = 0.0
    high_usd: float = 0.0
    quota_usd: float = 0.0
    losses: int = 0
    losses_usd: float = 0.0
    open: int = 0
    unpriced: int = 0
    needs_key: int = 0
    needs_key_usd: float = 0.0
    observed_turns: int = 0
    cost_usd: float = 0.0

    @property
    def priced(self) -> int:
        """Turns that the figures speak about."""
        return max(0, self.turns - self.unpriced)

    @property
    def is_empty(self) -> bool:
        """Whether no turn had a proposal at all."""
        return not (self.turns or self.needs_key or self.unpriced)


@dataclass(frozen=True, slots=True)
class Savings:
    """All sums; the tables are over everything on record."""

    is_known: bool = False
    """Whether the engine said anything about savings."""
    today: Saved = field(default_factory=Saved)
    all: Saved = field(default_factory=Saved)
    by_route: Mapping[str, Saved] = field(default_factory=dict)
    by_kind: Mapping[str, Saved] = field(default_factory=dict)
    by_target: Mapping[str, Saved] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    """Sentences of the engine, when it sends any."""


def saved_from(value: Mapping[str, Any]) -> Saved:
    """One ``SAVED``; what is missing or makes no sense is zero."""

    def count(name: str) -> int:
        return count_of(value.get(name)) or 0

    def usd(name: str) -> float:
        return number_of(value.get(name)) or 0.0

    return Saved(
        turns=count("turns"),
        usd=usd("usd"),
        naive_usd=usd("naive_usd"),
        low_usd=usd("low_usd"),
        high_usd=usd("high_usd"),
        quota_usd=usd("quota_usd"),
        losses=count("losses"),
        losses_usd=usd("losses_usd"),
        open=count("open"),
        unpriced=count("unpriced"),
        needs_key=count("needs_key"),
        needs_key_usd=usd("needs_key_usd"),
        observed_turns=count("observed_turns"),
        cost_usd=usd("cost_usd"),
    )


def savings_from(value: Mapping[str, Any]) -> Savings:
    """The whole of ``snapshot["savings"]``."""
    if not value:
        return Savings()
    said = value.get("assumptions")
    return Savings(
        is_known=True,
        today=saved_from(mapping_of(value.get("today"))),
        all=saved_from(mapping_of(value.get("all"))),
        by_route=_table(value.get("by_route")),
        by_kind=_table(value.get("by_kind")),
        by_target=_table(value.get("by_target")),
        assumptions=tuple(
            text for item in (said if isinstance(said, list) else []) if (text := text_of(item))
        ),
    )


def _table(value: object) -> Mapping[str, Saved]:
    return _sorted({str(n): saved_from(mapping_of(sums)) for n, sums in mapping_of(value).items()})


def _sorted(table: Mapping[str, Saved]) -> Mapping[str, Saved]:
    """Sums by name, the greatest gain first, losses last."""
    rows = sorted(table.items(), key=lambda row: (-row[1].usd, -row[1].turns, row[0]))
    return dict(rows[:MOST_GROUPS])

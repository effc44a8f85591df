"""Turns put together by session: what each costs, how full its context is, how warm its cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from providers.traits import traits_of
from server.settings_types import MAIN_KINDS
from tui.rows import HOUR_S, TurnRow

LEAST_SPAN_S = 300.0
"""Dollars an hour are reckoned over at least this long, so that one turn is no firework."""


class Order(StrEnum):
    """How sessions are put in order, greatest first."""

    BURN = "dollars an hour"
    COST = "cost"
    AGE = "last used"


@dataclass(frozen=True, slots=True)
class Session:
    """One session; times in seconds since the epoch, money in USD as the turns show it."""

    id: str
    """Empty for turns whose client names none."""
    project: str | None
    client: str | None
    payer: str | None
    rows: tuple[TurnRow, ...]
    """Oldest first."""
    running: int
    cost_usd: float
    unpriced: int
    list_price: bool
    """Whether any of it is a list price that nobody is billed for."""
    per_hour_usd: float
    """What the last hour cost, as a rate."""
    context: int | None
    """Tokens that the last turn of the conversation itself read."""
    context_limit: int | None
    cache_left_s: float | None
    """How long its cache stays warm; negative: cold for so long; ``None`` nothing is cached."""

    @property
    def last_at(self) -> float:
        """When its newest turn began."""
        return self.rows[-1].at

    @property
    def agents(self) -> int:
        """How many sub-agents it had."""
        return len({row.agent for row in self.rows if row.agent is not None})


def fold(rows: Iterable[TurnRow], now: float) -> list[Session]:
    """The sessions of some turns at wall time ``now``, in no particular order."""
    groups: dict[str, list[TurnRow]] = {}
    for row in rows:
        groups.setdefault(row.session or "", []).append(row)
    return [_session(name, group, now) for name, group in groups.items()]


def ordered(sessions: Iterable[Session], order: Order) -> list[Session]:
    """The greatest first; the newest where they are equal."""
    if order is Order.BURN:
        return sorted(sessions, key=lambda s: (-s.per_hour_usd, -s.last_at))
    if order is Order.COST:
        return sorted(sessions, key=lambda s: (-s.cost_usd, -s.last_at))
    return sorted(sessions, key=lambda s: -s.last_at)


def _session(name: str, rows: list[TurnRow], now: float) -> Session:
    rows.sort(key=lambda row: (row.at, row.id))
    newest = rows[-1]
    main = _last_of_conversation(rows)
    recent = [row for row in rows if row.at >= now - HOUR_S]
    spent = sum(row.cost_usd or 0.0 for row in recent)
    span = max(LEAST_SPAN_S, now - recent[0].at) if recent else HOUR_S
    return Session(
        id=name,
        project=next((row.project for row in reversed(rows) if row.project), newest.label),
        client=newest.client,
        payer=newest.payer,
        rows=tuple(rows),
        running=sum(1 for row in rows if row.is_open),
        cost_usd=sum(row.cost_usd or 0.0 for row in rows),
        unpriced=sum(1 for row in rows if row.cost_usd is None and row.is_unpriced and not row.is_open),
        list_price=any(row.list_price for row in rows),
        per_hour_usd=spent / span * HOUR_S,
        context=main.context_tokens if main is not None else None,
        context_limit=_limit(main),
        cache_left_s=_cache_left(rows, now),
    )  # fmt: skip


def _last_of_conversation(rows: list[TurnRow]) -> TurnRow | None:
    """The newest turn that carried the conversation: no sub-agent, no background call."""
    found = (r for r in reversed(rows) if r.agent is None and r.kind in MAIN_KINDS)
    return next((row for row in found if row.context_tokens), None)


def _limit(row: TurnRow | None) -> int | None:
    """The context of the model that served, unless more than that fitted in."""
    if row is None or row.provider is None or row.context_tokens is None:
        return None
    limit = traits_of(row.provider, row.model_served or row.model_asked or "").context
    return limit if limit is not None and row.context_tokens <= limit else None


def _cache_left(rows: list[TurnRow], now: float) -> float | None:
    left: float | None = None
    for row in rows:
        if row.cache_ttl_s is not None and row.agent is None:
            this = row.at + (row.duration_s or 0.0) + row.cache_ttl_s - now
            left = this if left is None else max(left, this)
    return left

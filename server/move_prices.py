"""What finished turns would have saved somewhere else than where they were proposed to go.

The same projection as of a turn that ends (``server.savings_quote``), from its summary. Which
calls came before and after on the same cache line is read off the other summaries, so most
figures are settled; a turn whose line's next call may still come stays open, with both futures in
its range.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from providers.types import Protocol, Usage, UsageSource
from server.clock import Clock
from server.record import Proposal, Saving, Status, Turn
from server.savings import Gaps
from server.savings_quote import NO_SESSION, Quote, Quoter, Unpriced, given_up

Row = Mapping[str, Any]
"""``Turn.summary``."""
_Line = tuple[str, str, str, str]
_CACHED = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")


class MovePrices:
    """Prices moves of the turns in ``rows``; call it with one of them, a provider and a model."""

    def __init__(self, rows: Iterable[Row], quoter: Quoter, clock: Clock) -> None:
        self._quoter = quoter
        self._now = clock.time()
        self._calls: dict[_Line, list[float]] = defaultdict(list)
        for row in rows:
            if (line := _line_of(row)) is not None:
                bisect.insort(self._calls[line], float(row["at"]))

    def __call__(self, row: Row, provider: str, model: str | None) -> Saving | None:
        """``None`` where there is no figure: no usage, no price, or a turn that did move."""
        if (recorded := saving_of(row, provider, model)) is not None:
            return recorded
        proposal = row.get("proposal")
        if row["cost_usd"] is None or (proposal and proposal["state"] == "moved"):
            # What a moved turn would have cost at its vendor is not in its usage.
            return None
        before, after = self._around(row)
        target = Proposal(provider, model, "would_move")
        try:
            quote = self._quoter.quote(_turn_of(row), target, self._now, is_first=before is None)
        except (Unpriced, ValueError):
            return None
        return self._saving(row, quote, before, after)

    def _saving(self, row: Row, quote: Quote, before: float | None, after: float | None) -> Saving:
        at = float(row["at"])
        prev_s = None if before is None else at - before
        if not quote.needs_future:
            return quote.settled(Gaps(), is_admitted=True)
        if _line_of(row) is None:
            return given_up(quote.open(None, is_admitted=True), NO_SESSION)
        if after is None and self._now <= at + quote.tokens.lifetime_s:
            return quote.open(prev_s, is_admitted=True)
        next_s = None if after is None else after - at
        return quote.settled(Gaps(prev_s, next_s), is_admitted=True)

    def _around(self, row: Row) -> tuple[float | None, float | None]:
        line, at = _line_of(row), float(row["at"])
        times = self._calls[line] if line is not None else []
        first, last = bisect.bisect_left(times, at), bisect.bisect_right(times, at)
        return (times[first - 1] if first else None), (times[last] if last < len(times) else None)


def saving_of(row: Row, provider: str, model: str | None) -> Saving | None:
    """What was recorded for a turn, where that is the place it was projected for."""
    proposal, saving = row.get("proposal"), row.get("saving")
    if not proposal or not saving or (proposal["provider"], proposal["model"]) != (provider, model):
        return None
    return Saving(**saving)


def _line_of(row: Row) -> _Line | None:
    """What shares a prompt cache: one vendor, session, agent and model."""
    if not row.get("session") or not any(row.get(part) for part in _CACHED):
        return None
    model = str(row.get("model_asked") or row.get("model_served") or "")
    return str(row["provider"] or ""), str(row["session"]), str(row.get("agent") or ""), model


def _turn_of(row: Row) -> Turn:
    """As much of the turn as its price needs."""
    writes_1h = row.get("cache_write_1h_tokens")
    return Turn(
        id=str(row["id"]),
        at=float(row["at"]),
        protocol=Protocol(row["protocol"]),
        path=str(row["path"]),
        kind=str(row["kind"]),
        route=str(row["route"]),
        session=row.get("session"),
        agent=row.get("agent"),
        provider=row["provider"],
        model_asked=row["model_asked"],
        model_served=row["model_served"],
        status=Status(row["status"]),
        cache_ttl="1h" if writes_1h else None,
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cache_write_5m_tokens=row["cache_write_5m_tokens"],
            cache_write_1h_tokens=writes_1h,
        ),
        usage_source=UsageSource(row["usage_source"]),
        output_estimate=int(row.get("output_estimate") or 0),
        cost_usd=row["cost_usd"],
        cost_is_estimate=bool(row["cost_is_estimate"]),
    )

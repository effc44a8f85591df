"""Counts folded from turns as they pass, so that no request and no screen asks the database.

Two spans: ``counters`` and ``provider_stats`` are about this run; ``metrics_json``, the Prometheus
text and ``money`` go on where the ledger left off (``seed``). Dollars are summed as whole
nano-dollars, as in the ledger, so both always agree.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from providers.types import Payer
from server.clock import Clock
from server.ledger_read import LedgerReader, Total
from server.ledger_rows import is_fallback, is_unpriced
from server.ledger_schema import LedgerError
from server.ledger_values import known_seconds, known_tokens, nano_usd
from server.record import Saving, Status, Turn
from server.stats_export import Histogram, exposition, seed_event
from server.stats_providers import MOST_LABELS, OTHER, ProviderBook
from server.tasks import alive

__all__ = ["Stats", "Sums", "local_day", "seed_event"]

_log = logging.getLogger("sbgw.stats")

RECENT_TURNS: Final = 1000
"""Finished turns kept for ``recent_events``."""

REMEMBERED_ENDINGS: Final = 4096
"""Ids of finished turns kept, so that a second ending counts nothing."""

TTFT_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
DURATION_BUCKETS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_ERRORS: Final = frozenset(
    {Status.ERROR.value, Status.FAILED.value, Status.PARTIAL.value, Status.INTERRUPTED.value}
)


@dataclass(slots=True)
class Sums:
    """A ``Total`` that grows; see there for units."""

    turns: int = 0
    fallback: int = 0
    timed: int = 0
    duration_us: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cost_nusd: int = 0
    estimated_nusd: int = 0
    unpriced: int = 0

    def add(self, other: Total | Sums) -> None:
        """Add another sum, field by field."""
        # Written out: every turn is added twice, and a loop over names costs several times as much.
        self.turns += other.turns
        self.fallback += other.fallback
        self.timed += other.timed
        self.duration_us += other.duration_us
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_5m_tokens += other.cache_write_5m_tokens
        self.cache_write_1h_tokens += other.cache_write_1h_tokens
        self.cost_nusd += other.cost_nusd
        self.estimated_nusd += other.estimated_nusd
        self.unpriced += other.unpriced


class Group(NamedTuple):
    """What the lifetime sums are kept by; ``""`` is unknown."""

    provider: str
    route: str
    payer: str
    status: str


@dataclass(slots=True)
class _Money:
    """One day's dollars, in nano-dollars."""

    billed: int = 0
    listed: int = 0
    billed_estimated: int = 0
    listed_estimated: int = 0
    unpriced: int = 0

    def add(self, payer: str, sums: Total | Sums) -> None:
        if payer == Payer.LOGIN.value:
            self.listed += sums.cost_nusd
            self.listed_estimated += sums.estimated_nusd
        else:
            self.billed += sums.cost_nusd
            self.billed_estimated += sums.estimated_nusd
        self.unpriced += sums.unpriced


class Stats:
    """Fold turns in, read figures out; every method is quick and belongs to the loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._open: dict[str, int] = {}
        """Open turns: how many of their attempts are already folded in."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._run: dict[str, int] = {}
        """Turns of this run by status."""
        self._opened = 0
        self._seconds: deque[tuple[int, int]] = deque()
        self._lifetime: dict[Group, Sums] = {}
        self._rejected: dict[str, int] = {}
        self._rejected_here = 0
        self._shed: dict[str, int] = {}
        self._midnight, self._next_midnight = local_day(clock.time())
        self._today = _Money()
        self._providers = ProviderBook(clock)
        self._ttft: dict[str, Histogram] = {}
        self._duration: dict[str, Histogram] = {}
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_TURNS)

    # ------------------------------------------------------------------ folding in

    def seed(self, reader: LedgerReader) -> None:
        """Go on from the ledger's figures; once, before the first turn ends. Reads the disk.

        A ledger that cannot be read is logged, and the figures start at nothing.
        """
        self._turn_the_day()
        try:
            lifetime, today = reader.totals(), reader.totals(self._midnight)
            recent, rejected = reader.recent(RECENT_TURNS), reader.rejects()
        except (sqlite3.Error, LedgerError) as error:
            _log.error("earlier figures are missing, the ledger cannot be read: %s", error)
            return
        for total in lifetime:
            self._sums(total.provider, total.route, total.payer, total.status).add(total)
        for total in today:
            self._today.add(total.payer, total)
        self._recent.extend(row for row in reversed(recent) if row["status"] != Status.OPEN)
        for reason, count in rejected.items():
            self._count_rejected(reason, count)

    def turn_opened(self, turn: Turn) -> None:
        """A request was accepted."""
        if turn.id in self._open or turn.id in self._ended:
            return
        self._open[turn.id] = 0
        self._opened += 1
        second = int(self._clock.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))
            self._forget_old_seconds(second)

    def turn_updated(self, turn: Turn) -> None:
        """Something about an open turn changed: an attempt may have ended."""
        if turn.id in self._open:
            self._fold_attempts(turn, is_final=False)

    def turn_finished(self, turn: Turn, summary: dict[str, Any] | None = None) -> None:
        """The turn is in its terminal state, priced; a second call for it changes nothing.

        ``summary`` is the turn's own if the caller has made it; it is kept, and changed later.
        """
        if turn.id in self._ended:
            return
        self.turn_opened(turn)
        self._fold_attempts(turn, is_final=True)
        del self._open[turn.id]
        self._ended[turn.id] = None
        if len(self._ended) > REMEMBERED_ENDINGS:
            self._ended.popitem(last=False)
        self._recent.append(turn.summary() if summary is None else summary)
        self._run[turn.status.value] = self._run.get(turn.status.value, 0) + 1
        for limit in turn.rate_limits:
            self._providers.window_seen(limit.provider, limit.name, limit.fields)
        self._observe(turn)
        self._account(turn)

    def saving_settled(self, turn_id: str, saving: Saving) -> None:
        """A finished turn's saving is final; its recent summary says so from now on."""
        for summary in reversed(self._recent):
            if summary["id"] == turn_id:
                summary["saving"] = saving.as_json()
                return

    def cold_found(self, turn_id: str, cold: dict[str, Any]) -> None:
        """Why a finished turn's cache was cold (``Cold.as_json``) is known; so its summary says."""
        for summary in reversed(self._recent):
            if summary["id"] == turn_id:
                summary["cold"] = cold
                return

    def rejected(self, reason: str, count: int = 1) -> None:
        """Requests were refused without becoming turns."""
        self._count_rejected(reason, count)
        self._rejected_here += count

    def shed(self, sort: str) -> None:
        """A turn was refused because there was too much to do."""
        self._shed[sort] = self._shed.get(sort, 0) + 1

    # ------------------------------------------------------------------ reading out

    def counters(self) -> dict[str, Any]:
        """``snapshot["counters"]``: this run, ``rejected`` both before and as turns."""
        second = int(self._clock.monotonic())
        self._forget_old_seconds(second)
        return {
            "requests": self._opened,
            "success": self._run.get(Status.COMPLETED.value, 0),
            "errors": sum(self._run.get(status, 0) for status in _ERRORS),
            "cancelled": self._run.get(Status.CANCELLED.value, 0),
            "rejected": self._rejected_here + self._run.get(Status.REJECTED.value, 0),
            "in_flight": len(self._open),
            "requests_per_min": sum(count for _, count in self._seconds),
        }

    def money(self) -> dict[str, Any]:
        """``snapshot["money"]``: turns accepted since local midnight.

        ``today_estimated_usd`` is the part of ``today_usd`` plus ``today_list_usd`` that rests on
        estimated usage, ``today_list_estimated_usd`` that of the list-price equivalents alone.
        """
        self._turn_the_day()
        today = self._today
        return {
            "today_usd": today.billed / 1e9,
            "today_list_usd": today.listed / 1e9,
            "today_unpriced": today.unpriced,
            "today_estimated_usd": (today.billed_estimated + today.listed_estimated) / 1e9,
            "today_list_estimated_usd": today.listed_estimated / 1e9,
        }

    def provider_stats(self, name: str) -> dict[str, Any]:
        """One provider in this run; see ``ProviderBook.stats``."""
        return self._providers.stats(name)

    def recent_turns(self) -> list[dict[str, Any]]:
        """Summaries of finished turns, the one that ended last first, at most 1000."""
        return list(reversed(self._recent))

    def hits(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many of the recent turns had each route, and each kind."""
        turns = [row for row in self._recent if row["status"] != Status.REJECTED]
        routes, kinds = (Counter(str(row[name]) for row in turns) for name in ("route", "kind"))
        return dict(routes), dict(kinds)

    def recent_events(self, limit: int = 100) -> list[dict[str, Any]]:
        """Finished turns in the seed's shape (``seed_event``), newest first, at most 1000."""
        newest = sorted(self.recent_turns(), key=lambda row: float(row["at"]), reverse=True)
        return [seed_event(summary) for summary in newest[: max(0, limit)]]

    def metrics_json(self) -> dict[str, Any]:
        """``GET /metrics``: the seed's fields over the ledger's lifetime, and ours beside them.

        ``totalRequests`` = ``successCount`` + ``fallbackSuccessCount`` + ``errorCount`` +
        ``cancelled``: turns that ended and were not rejected. ``estimatedCostUsd`` is what keys
        were billed; subscription logins are in ``listPriceEquivalentUsd``.
        """
        by_provider: dict[str, int] = {}
        by_route: dict[str, int] = {}
        by_status: dict[str, int] = {}
        everything, money = Sums(), _Money()
        for group, sums in self._lifetime.items():
            by_status[group.status] = by_status.get(group.status, 0) + sums.turns
            if group.status == Status.REJECTED:
                continue
            everything.add(sums)
            money.add(group.payer, sums)
            by_route[group.route] = by_route.get(group.route, 0) + sums.turns
            if group.provider:
                by_provider[group.provider] = by_provider.get(group.provider, 0) + sums.turns
        mean_us = everything.duration_us / everything.timed if everything.timed else 0.0
        return {
            "totalRequests": everything.turns,
            "successCount": by_status.get(Status.COMPLETED.value, 0) - everything.fallback,
            "errorCount": sum(by_status.get(status, 0) for status in _ERRORS),
            "fallbackSuccessCount": everything.fallback,
            "avgLatencyMs": round(mean_us / 1000, 2),
            "byProvider": by_provider,
            "byRouteClass": by_route,
            "estimatedCostUsd": money.billed / 1e9,
            "listPriceEquivalentUsd": money.listed / 1e9,
            "costFromEstimatesUsd": (money.billed_estimated + money.listed_estimated) / 1e9,
            "unpriced": everything.unpriced,
            "cancelled": by_status.get(Status.CANCELLED.value, 0),
            "rejected": sum(self._rejected.values()) + by_status.get(Status.REJECTED.value, 0),
            "shed": dict(self._shed),
            "inFlight": len(self._open),
            "tokens": {
                "input": everything.input_tokens,
                "output": everything.output_tokens,
                "cacheRead": everything.cache_read_tokens,
                "cacheWrite5m": everything.cache_write_5m_tokens,
                "cacheWrite1h": everything.cache_write_1h_tokens,
            },
            "uptimeSeconds": round(self._clock.monotonic() - self._started, 3),
        }

    def metrics_prometheus(self) -> bytes:
        """``GET /metrics`` as Prometheus text (format 0.0.4)."""
        return exposition(
            lifetime={
                (group.provider, group.route, group.payer, group.status): sums
                for group, sums in self._lifetime.items()
            },
            rejected=self._rejected,
            attempts=self._providers.outcomes,
            ttft=self._ttft,
            duration=self._duration,
            shed=self._shed,
            in_flight=len(self._open),
            tasks=alive(),
            uptime_s=self._clock.monotonic() - self._started,
        )

    # ------------------------------------------------------------------ inside

    def _count_rejected(self, reason: str, count: int) -> None:
        if reason not in self._rejected and len(self._rejected) >= MOST_LABELS:
            reason = OTHER
        self._rejected[reason] = self._rejected.get(reason, 0) + count

    def _account(self, turn: Turn) -> None:
        """Add a finished turn to the sums the ledger keeps too."""
        usage, cost = turn.usage, nano_usd(turn.cost_usd) or 0
        duration_s = known_seconds(turn.duration_s)
        sums = Sums(
            turns=1,
            fallback=int(is_fallback(turn)),
            timed=int(duration_s is not None),
            duration_us=round((duration_s or 0.0) * 1e6),
            input_tokens=known_tokens(usage.input_tokens) or 0,
            output_tokens=known_tokens(usage.output_tokens) or 0,
            cache_read_tokens=known_tokens(usage.cache_read_tokens) or 0,
            cache_write_5m_tokens=known_tokens(usage.cache_write_5m_tokens) or 0,
            cache_write_1h_tokens=known_tokens(usage.cache_write_1h_tokens) or 0,
            cost_nusd=cost,
            estimated_nusd=cost if turn.cost_is_estimate else 0,
            unpriced=int(is_unpriced(turn)),
        )
        payer = turn.payer.value if turn.payer else ""
        self._sums(turn.provider or "", turn.route, payer, turn.status.value).add(sums)
        self._turn_the_day()
        if turn.at >= self._midnight:
            self._today.add(payer, sums)

    def _observe(self, turn: Turn) -> None:
        name = turn.provider or ""
        if turn.ttft_s is not None:
            _histogram(self._ttft, name, TTFT_BUCKETS_S).observe(turn.ttft_s)
        if turn.duration_s is not None:
            _histogram(self._duration, name, DURATION_BUCKETS_S).observe(turn.duration_s)

    def _fold_attempts(self, turn: Turn, *, is_final: bool) -> None:
        folded = self._open[turn.id]
        for attempt in turn.attempts[folded:]:
            if attempt.outcome == "open" and not is_final:
                break
            self._providers.attempt_ended(attempt)
            folded += 1
        self._open[turn.id] = folded

    def _sums(self, provider: str, route: str, payer: str, status: str) -> Sums:
        group = Group(provider, route, payer, status)
        found = self._lifetime.get(group)
        if found is None:
            found = self._lifetime[group] = Sums()
        return found

    def _forget_old_seconds(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - 60:
            self._seconds.popleft()

    def _turn_the_day(self) -> None:
        now = self._clock.time()
        if now >= self._next_midnight:
            self._midnight, self._next_midnight = local_day(now)
            self._today = _Money()


def _histogram(known: dict[str, Histogram], name: str, buckets: Sequence[float]) -> Histogram:
    found = known.get(name)
    if found is None:
        found = known[name] = Histogram(buckets)
    return found


def local_day(now: float) -> tuple[float, float]:
    """Start and end of the local day that holds ``now``, both in seconds since the epoch."""
    day = time.localtime(now)
    start, end = (
        time.mktime((day.tm_year, day.tm_mon, day.tm_mday + shift, 0, 0, 0, 0, 0, -1))
        for shift in (0, 1)
    )
    return start, end

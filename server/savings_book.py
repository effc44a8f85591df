"""Sums of what proposals would have saved, folded from turns as they end and settle.

The sums go on where the ledger left off, in whole nano-dollars as there, so both always agree. A
turn that was counted while its session went on is counted anew when it settles.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from server.clock import Clock
from server.ledger_read import LedgerReader
from server.ledger_savings import SavingTotal, total_of
from server.ledger_schema import LedgerError
from server.ledger_values import nano_usd
from server.record import Saving, Status, Turn
from server.stats import local_day

_log = logging.getLogger("sbgw.savings")

RECENT: Final = 20
"""Latest proposals kept for ``recent``."""

MOST_OPEN: Final = 8192
"""Open turns whose figures can still be replaced; the tracker follows fewer."""


@dataclass(slots=True)
class Tally:
    """One ``SAVED`` of ``server.engine`` in the making; money in nano-dollars."""

    turns: int = 0
    naive: int = 0
    usd: int = 0
    low: int = 0
    high: int = 0
    quota: int = 0
    losses: int = 0
    losses_usd: int = 0
    open: int = 0
    unpriced: int = 0
    needs_key: int = 0
    needs_key_usd: int = 0
    observed: int = 0
    cost: int = 0
    shadowed: int = 0
    moved: int = 0
    moved_usd: int = 0

    def add(self, total: SavingTotal, sign: int = 1) -> None:
        """Count proposals in, or out again."""
        self.shadowed += sign * total.shadowed
        if total.needs_key:
            self.needs_key += sign * (total.turns + total.unpriced)
            self.needs_key_usd += sign * total.usd_nusd
            return
        self.turns += sign * (total.turns + total.unpriced)
        self.naive += sign * total.naive_nusd
        self.usd += sign * total.usd_nusd
        self.low += sign * total.low_nusd
        self.high += sign * total.high_nusd
        self.quota += sign * total.quota_nusd
        self.losses += sign * total.losses
        self.losses_usd += sign * total.losses_nusd
        self.open += sign * total.open
        self.unpriced += sign * total.unpriced
        self.moved += sign * total.moved
        self.moved_usd += sign * total.moved_nusd

    def observe(self, turns: int, cost_nusd: int) -> None:
        """Count turns that ended, with what they really cost."""
        self.observed += turns
        self.cost += cost_nusd

    def as_json(self) -> dict[str, Any]:
        """``SAVED``, see ``server.engine``."""
        return {
            "turns": self.turns,
            "naive_usd": self.naive / 1e9,
            "usd": self.usd / 1e9,
            "low_usd": self.low / 1e9,
            "high_usd": self.high / 1e9,
            "quota_usd": self.quota / 1e9,
            "losses": self.losses,
            "losses_usd": self.losses_usd / 1e9,
            "open": self.open,
            "unpriced": self.unpriced,
            "needs_key": self.needs_key,
            "needs_key_usd": self.needs_key_usd / 1e9,
            "observed_turns": self.observed,
            "cost_usd": self.cost / 1e9,
            "moved_turns": self.moved,
            "moved_usd": self.moved_usd / 1e9,
        }


@dataclass(frozen=True, slots=True)
class _Counted:
    """What an open turn has put into the sums."""

    turn: Turn
    total: SavingTotal


class SavingsBook:
    """Fold turns in, read sums out; quick, and belongs to the loop's thread.

    ``observed_turns`` are turns that ended and were not rejected; under a target they are those
    that might have gone there.
    """

    def __init__(self, clock: Clock, assumptions: Iterable[str] = ()) -> None:
        self._clock = clock
        self._assumptions = list(assumptions)
        self._midnight, self._next_midnight = local_day(clock.time())
        self.all = Tally()
        self._today = Tally()
        self.by_route: dict[str, Tally] = {}
        self._by_kind: dict[str, Tally] = {}
        self._by_target: dict[str, Tally] = {}
        self.levels: dict[str, Counter[str]] = {}
        """By route: how many shadowed turns were classified how surely."""
        self._open: OrderedDict[str, _Counted] = OrderedDict()
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)

    # ------------------------------------------------------------------ folding in

    def seed(self, reader: LedgerReader) -> None:
        """Go on from the ledger's figures; once, before the first turn ends. Reads the disk.

        A ledger that cannot be read is logged, and the sums start at nothing.
        """
        self._turn_the_day()
        try:
            lifetime, today = reader.totals(), reader.totals(self._midnight)
            savings, savings_today = reader.saving_totals(), reader.saving_totals(self._midnight)
            recent = reader.recent_proposals(RECENT)
        except (sqlite3.Error, LedgerError) as error:
            _log.error("earlier savings are missing, the ledger cannot be read: %s", error)
            return
        for row in lifetime:
            if row.status != Status.REJECTED:
                for tally in (self.all, self._route(row.route), self._kind(row.kind)):
                    tally.observe(row.turns, row.cost_nusd)
        for row in today:
            if row.status != Status.REJECTED:
                self._today.observe(row.turns, row.cost_nusd)
        for total in savings:
            self._count(total)
            self._target(total).observe(total.proposals, total.cost_nusd)
        for total in savings_today:
            self._today.add(total)
        self._recent.extend(reversed(recent))

    def finished(self, turn: Turn) -> None:
        """Count a turn in its terminal state; call it once for each."""
        if turn.status is Status.REJECTED:
            return
        self._turn_the_day()
        cost = nano_usd(turn.cost_usd) or 0
        for tally in (self.all, self._route(turn.route), self._kind(turn.kind)):
            tally.observe(1, cost)
        if turn.at >= self._midnight:
            self._today.observe(1, cost)
        total = total_of(turn, turn.saving)
        if total is None:
            return
        self._target(total).observe(1, total.cost_nusd)
        self._count(total)
        if turn.at >= self._midnight:
            self._today.add(total)
        self._recent.append(turn.summary())
        if turn.saving is not None and turn.saving.state == "open":
            self._open[turn.id] = _Counted(turn, total)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)

    def settled(self, turn_id: str, saving: Saving) -> None:
        """Replace the figures of a turn that was counted while it was open."""
        counted = self._open.pop(turn_id, None)
        if counted is None:
            return
        self._turn_the_day()
        total = total_of(counted.turn, saving)
        if total is None:
            return
        self._count(counted.total, -1)
        self._count(total)
        if counted.turn.at >= self._midnight:
            self._today.add(counted.total, -1)
            self._today.add(total)
        for summary in self._recent:
            if summary["id"] == turn_id:
                summary["saving"] = saving.as_json()

    # ------------------------------------------------------------------ reading out

    def snapshot(self) -> dict[str, Any]:
        """``snapshot["savings"]``, and ``assumptions``: what every projection takes for granted."""
        self._turn_the_day()
        return {
            "today": self._today.as_json(),
            "all": self.all.as_json(),
            "by_route": _shown(self.by_route),
            "by_kind": _shown(self._by_kind),
            "by_target": _shown(self._by_target),
            "assumptions": self._assumptions,
        }

    def saves(self, kind: str) -> bool:
        """Whether even the low end of what moving the kind saves is above zero."""
        return kind in self._by_kind and self._by_kind[kind].low > 0

    def recent(self) -> list[dict[str, Any]]:
        """Summaries of the latest turns with a proposal, newest first."""
        return list(reversed(self._recent))

    # ------------------------------------------------------------------ inside

    def _count(self, total: SavingTotal, sign: int = 1) -> None:
        route, kind = self._route(total.route), self._kind(total.kind)
        for tally in (self.all, route, kind, self._target(total)):
            tally.add(total, sign)
        levels = self.levels.setdefault(total.route, Counter())
        levels[total.confidence_level] += sign * total.shadowed

    def _route(self, name: str) -> Tally:
        return self.by_route.setdefault(name, Tally())

    def _kind(self, name: str) -> Tally:
        return self._by_kind.setdefault(name, Tally())

    def _target(self, total: SavingTotal) -> Tally:
        name = f"{total.provider}/{total.model}" if total.model else total.provider
        return self._by_target.setdefault(name, Tally())

    def _turn_the_day(self) -> None:
        now = self._clock.time()
        if now >= self._next_midnight:
            self._midnight, self._next_midnight = local_day(now)
            self._today = Tally()


def _shown(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {name: tally.as_json() for name, tally in tallies.items()}

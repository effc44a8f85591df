"""What the record says about money: cost and savings by group, losses, prefix and advice; pure.

``Folding`` folds ended turns into one JSON-able object::

    {"turns", "since", "until",                       # seconds since the epoch
     "total": COST | SAVINGS,
     "by": {"route" | "kind" | "model" | "project" | "session" | "day":
            [{"name"} | COST | SAVINGS, ...]},        # dearest first, days in order
     "losses": [sentence], "cold": COLD | None, "prefix": PREFIX | None, "advice": [ADVICE], "assumptions": [sentence]}

``COST``: ``turns``, ``cost_usd`` (known costs, list-price equivalents included), ``list_usd`` (the
part of subscription logins, which nobody billed), ``unpriced`` (turns that cost an unknown
amount). ``SAVINGS``: ``projected`` (turns with a figure that stayed), ``naive_usd``,
``saved_usd saved_low_usd saved_high_usd`` (cache-aware net), ``quota_usd``; of turns that live mode
did move ``moved``, ``realised_usd realised_low_usd realised_high_usd``; ``losses``, ``losses_usd``,
and ``no_figure`` (proposals without one). Proposals whose provider has no key are ``needs_key``,
and are in no sum. ``COLD``: see ``server.cold.summary``; ``PREFIX`` and ``ADVICE``: see ``server.report_advice``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from server.ledger_history import Past

MOST_ROWS: Final = 50
"""Rows of one group; the rest are summed up as one."""

GROUPS: Final = ("route", "kind", "model", "project", "session", "day")
UNKNOWN: Final = "(not known)"
OTHERS: Final = "(all others)"
_QUARTER_S: Final = 900


@dataclass(slots=True)
class Sums:
    """``COST`` and ``SAVINGS`` of one group in the making."""

    turns: int = 0
    cost_usd: float = 0.0
    list_usd: float = 0.0
    unpriced: int = 0
    projected: int = 0
    naive_usd: float = 0.0
    saved_usd: float = 0.0
    saved_low_usd: float = 0.0
    saved_high_usd: float = 0.0
    quota_usd: float = 0.0
    moved: int = 0
    realised_usd: float = 0.0
    realised_low_usd: float = 0.0
    realised_high_usd: float = 0.0
    losses: int = 0
    losses_usd: float = 0.0
    no_figure: int = 0
    needs_key: int = 0

    def add(self, turn: Past) -> None:
        """Count one ended turn."""
        self.turns += 1
        self.unpriced += turn.unpriced
        cost = turn.cost_usd or 0.0
        self.cost_usd += cost
        if turn.payer == "login":
            self.list_usd += cost
        if turn.saving_state is not None:
            self._add_saving(turn)

    def merge(self, other: Sums) -> None:
        """Add another group's sums."""
        for name in Sums.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in Sums.__slots__}

    def _add_saving(self, turn: Past) -> None:
        if turn.proposal_state == "needs_key":
            self.needs_key += 1
            return
        usd = turn.saved_usd
        if usd is None:
            self.no_figure += 1
            return
        low = usd if turn.saved_low_usd is None else turn.saved_low_usd
        high = usd if turn.saved_high_usd is None else turn.saved_high_usd
        if usd < 0:
            self.losses += 1
            self.losses_usd += usd
        if turn.is_moved:
            self.moved += 1
            self.realised_usd += usd
            self.realised_low_usd += low
            self.realised_high_usd += high
            return
        self.projected += 1
        self.naive_usd += turn.naive_usd or 0.0
        self.saved_usd += usd
        self.saved_low_usd += low
        self.saved_high_usd += high
        self.quota_usd += turn.saved_quota_usd or 0.0


class Folding:
    """The sums over ended turns, one turn at a time in ascending order."""

    def __init__(self) -> None:
        self._total = Sums()
        self._groups: dict[str, defaultdict[str, Sums]] = {
            name: defaultdict(Sums) for name in GROUPS
        }
        self._days: dict[int, str] = {}
        self._since: float | None = None
        self._until: float | None = None

    def add(self, turn: Past) -> None:
        """Count one more."""
        self._since = turn.at if self._since is None else self._since
        self._until = turn.at
        self._total.add(turn)
        names = (
            turn.route,
            turn.kind,
            turn.model_served or turn.model_asked or UNKNOWN,
            turn.project or UNKNOWN,
            turn.session or UNKNOWN,
            self._day(turn.at),
        )
        for sums, name in zip(self._groups.values(), names, strict=True):
            sums[name].add(turn)

    def as_json(
        self,
        *,
        prefix: Mapping[str, Any] | None = None,
        cold: Mapping[str, Any] | None = None,
        advice: Iterable[Mapping[str, Any]] = (),
        assumptions: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The report; its shape is in the module's docstring."""
        return {
            "turns": self._total.turns,
            "since": self._since,
            "until": self._until,
            "total": self._total.as_json(),
            "by": {group: _rows(group, found) for group, found in self._groups.items()},
            "losses": list(_losses(self._groups["kind"])),
            "cold": cold,
            "prefix": prefix,
            "advice": list(advice),
            "assumptions": list(assumptions),
        }

    def _day(self, at: float) -> str:
        # Days are those of the person who reads it; no zone changes date within a quarter of an hour.
        quarter = int(at // _QUARTER_S)
        day = self._days.get(quarter)
        if day is None:
            moment = datetime.fromtimestamp(quarter * _QUARTER_S).astimezone()
            day = self._days[quarter] = moment.date().isoformat()
        return day


def _rows(group: str, found: Mapping[str, Sums]) -> list[dict[str, Any]]:
    if group == "day":
        return [{"name": name} | found[name].as_json() for name in sorted(found)]
    ordered = sorted(found.items(), key=lambda item: (-item[1].cost_usd, item[0]))
    rows = [{"name": name} | sums.as_json() for name, sums in ordered[:MOST_ROWS]]
    if len(ordered) > MOST_ROWS:
        rest = Sums()
        for _, sums in ordered[MOST_ROWS:]:
            rest.merge(sums)
        rows.append({"name": OTHERS} | rest.as_json())
    return rows


def _losses(by_kind: Mapping[str, Sums]) -> Iterable[str]:
    """Which kinds of requests would cost more elsewhere, or did; the worst first."""
    losing = [(kind, sums) for kind, sums in by_kind.items() if sums.losses]
    for kind, sums in sorted(losing, key=lambda item: item[1].losses_usd):
        verb = "cost" if sums.moved and not sums.projected else "would cost"
        usd = -sums.losses_usd
        worth = f"${usd:.4f}" if usd >= 0.0001 else "less than $0.0001"
        yield (
            f"{sums.losses} of {sums.projected + sums.moved} turns of kind {kind} {verb} "
            f"{worth} more elsewhere than at home."
        )

"""What another routing table would have done with recorded turns: moves, limits and money; pure.

Only recorded features and usage are replayed, never text. A turn that was answered at home costs
there what it did cost; what it would have cost elsewhere, and what its absence does to the
session's cache, is projected as in ``server.savings``, with the cache charged across whole runs of
moves (``server.savings_line``). All keys are taken to be there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from server.backtest_plan import Replan
from server.backtest_prices import NOTHING, MoveCost, PriceBook
from server.ledger_history import Past
from server.limits import Admission, PlanLimits
from server.policy import Target
from server.savings_line import NO_CHARGE, Charge, LineCall, charges

LIMITS: Final = ("context", "tools", "images", "rate_limit")
"""Why a turn could not have gone where the table sends it."""

TURNS_AT_ONCE: Final = 256
"""Between two pauses."""

_T = TypeVar("_T")
_LineKey = tuple[str, str, str, str]
_Way = tuple[str, str, str, str]


@dataclass(slots=True)
class Tally:
    """Sums of one group of turns, in USD; ``after`` is what the other table would have cost."""

    turns: int = 0
    moved: int = 0
    unpriced: int = 0
    """Turns without a figure, on either side; in no sum."""
    before: float = 0.0
    after: float = 0.0
    after_low: float = 0.0
    after_high: float = 0.0
    broken: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Figures under their own names; ``saved`` is ``before`` minus ``after``."""
        return {
            "turns": self.turns,
            "moved": self.moved,
            "unpriced": self.unpriced,
            "before_usd": self.before,
            "after_usd": self.after,
            "after_low_usd": self.after_low,
            "after_high_usd": self.after_high,
            "saved_usd": self.before - self.after,
            "saved_low_usd": self.before - self.after_high,
            "saved_high_usd": self.before - self.after_low,
            "broken": {name: self.broken[name] for name in LIMITS},
        }


@dataclass(slots=True)
class Backtest:
    """The result: all turns, by class, and by where they would have moved."""

    total: Tally
    routes: dict[str, Tally]
    moves: dict[_Way, Tally]
    """By kind, class, provider and model; turns that stay are in none."""

    def as_json(self) -> dict[str, Any]:
        """``{"total", "routes": {class: TALLY}, "moves": [{kind, route, provider, model} | TALLY]}``."""
        ordered = sorted(self.moves.items(), key=lambda item: (-item[1].turns, item[0]))
        names = ("kind", "route", "provider", "model")
        return {
            "total": self.total.as_json(),
            "routes": {name: tally.as_json() for name, tally in sorted(self.routes.items())},
            "moves": [dict(zip(names, key, strict=True)) | t.as_json() for key, t in ordered],
        }


class _Fate(msgspec.Struct, gc=False):
    """What the other table would have done with one turn."""

    turn: Past
    target: Target | None
    """``None``: it stays."""
    broken: str | None
    charge: Charge = NO_CHARGE


def backtest(
    turns: Iterable[Past],
    replan: Replan,
    prices: PriceBook,
    limits: dict[str, PlanLimits],
    pause: Callable[[], None] | None = None,
) -> Backtest:
    """Replay ``turns``, which are in ascending order of time, against another table.

    ``limits`` are the providers' plans (``server.limits.plans``); their windows slide over the
    recorded times. ``pause`` is called every ``TURNS_AT_ONCE`` turns.
    """
    gates = {name: Admission(limit) for name, limit in limits.items()}
    fates: list[_Fate] = []
    for turn in _at_ease(turns, pause):
        fate = _fate(turn, replan, prices, gates)
        replan.went(turn, fate.target)
        fates.append(fate)
    _charge(fates, prices)
    return _sum_up(_at_ease(fates, pause), prices)


def _at_ease(items: Iterable[_T], pause: Callable[[], None] | None) -> Iterator[_T]:
    for number, item in enumerate(items):
        if pause is not None and number % TURNS_AT_ONCE == 0:
            pause()
        yield item


def _fate(turn: Past, replan: Replan, prices: PriceBook, gates: dict[str, Admission]) -> _Fate:
    first: str | None = None
    for target in replan.targets(turn):
        broken = prices.hard_limit(turn, target) or _quota(turn, target, prices, gates)
        if broken is None:
            return _Fate(turn, target, None)
        first = first or broken
    return _Fate(turn, None, first)


def _quota(
    turn: Past, target: Target, prices: PriceBook, gates: dict[str, Admission]
) -> str | None:
    gate = gates.get(target.provider)
    if gate is None:
        return None
    sent, answered = prices.size(turn, target)
    fits = gate.admit(
        turn.at,
        tokens_in=sent,
        tokens_out=answered,
        max_tokens=turn.max_tokens,
        until=turn.at + (turn.duration_s or 0.0),
    )
    return None if fits else "rate_limit"


def _charge(fates: Sequence[_Fate], prices: PriceBook) -> None:
    """Charge moved turns with what their session's next call at home would have to write."""
    lines: dict[_LineKey, list[_Fate]] = defaultdict(list)
    for fate in fates:
        turn = fate.turn
        writes = turn.cache_write_5m_tokens or turn.cache_write_1h_tokens
        if turn.session and (turn.cache_read_tokens or writes):
            key = (turn.provider or "", turn.session, turn.agent or "", turn.model_asked or "")
            lines[key].append(fate)
    for (provider, *_), line in lines.items():
        # A cheaper model of the vendor takes its cache line along.
        left = [fate.target is not None and fate.target.provider != provider for fate in line]
        if True not in left:
            continue
        calls = []
        for fate, is_moved in zip(line, left, strict=True):
            rates = prices.rates_here(fate.turn)
            tokens = fate.turn.tokens()
            if rates is None or tokens is None:
                break
            calls.append(LineCall(fate.turn.at, tokens, rates, is_moved))
        for fate, charge in zip(line, charges(calls), strict=False):
            fate.charge = charge


@dataclass(slots=True)
class _Sheet:
    """The costs of one group of turns in order, to be added up all at once."""

    costs: list[MoveCost | None] = field(default_factory=list)
    moved: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def tally(self) -> Tally:
        known = [cost for cost in self.costs if cost is not None]
        return Tally(
            turns=len(self.costs),
            moved=self.moved,
            unpriced=len(self.costs) - len(known),
            before=sum(map(_BEFORE, known)),
            after=sum(map(_AFTER, known)),
            after_low=sum(map(_LOW, known)),
            after_high=sum(map(_HIGH, known)),
            broken=self.broken,
        )


_BEFORE, _AFTER, _LOW, _HIGH = map(attrgetter, ("before", "after", "low", "high"))


def _sum_up(fates: Iterable[_Fate], prices: PriceBook) -> Backtest:
    total = _Sheet()
    routes: defaultdict[str, _Sheet] = defaultdict(_Sheet)
    moves: defaultdict[_Way, _Sheet] = defaultdict(_Sheet)
    for fate in fates:
        turn, target = fate.turn, fate.target
        cost: MoveCost | None = NOTHING
        if turn.cost_usd or turn.unpriced:
            cost = prices.moved(turn, target, fate.charge)
        route = routes[turn.route]
        total.costs.append(cost)
        route.costs.append(cost)
        if target is not None:
            way = moves[turn.kind, turn.route, target.provider, target.model or ""]
            way.costs.append(cost)
            for sheet in (total, route, way):
                sheet.moved += 1
        if fate.broken is not None:
            for sheet in (total, route):
                sheet.broken[fate.broken] += 1
    return Backtest(
        total.tally(),
        {name: sheet.tally() for name, sheet in routes.items()},
        {way: sheet.tally() for way, sheet in moves.items()},
    )

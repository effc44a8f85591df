"""A whole session played twice, once at its vendor alone and once with turns moved away; pure.

A single turn's penalties assume that only this turn is missing. Here the two worlds are played
to the end, each with its own prompt cache, and their bills are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from providers.pricing import Rates
from server.limits import Admission, PlanLimits
from server.savings import LIFETIME_5M_S, Elsewhere, Tokens, bill, ceil


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a scripted session."""

    at: float
    """Seconds since the session began."""
    new: int
    """Tokens the user and the tools add."""
    out: int
    """Tokens the vendor answers."""
    is_moved: bool = False
    is_redone: bool = False
    """Whether the other answer is thrown away and the vendor asked as well."""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Away:
    """Where moved turns go."""

    there: Elsewhere
    k_in: Decimal
    k_out: Decimal
    limits: PlanLimits | None = None
    over_quota: Literal["stay", "pay"] = "stay"
    """What a turn does that the plan refuses: stay at its vendor, or go and be paid for."""


@dataclass(frozen=True, slots=True)
class TwoWorlds:
    """Both bills in USD."""

    stayed: Decimal
    routed: Decimal
    admitted: tuple[bool, ...]
    """For each moved step whether the plan let it through."""

    @property
    def saving(self) -> Decimal:
        """Negative when the moves cost money."""
        return self.stayed - self.routed


class _Vendor:
    """A conversation and its prompt cache at the vendor."""

    def __init__(self, rates: Rates, base: int, ttl_s: float) -> None:
        self._rates = rates
        self._ttl_s = ttl_s
        self._cached = 0
        self._last: float | None = None
        self.prefix = base
        self.usd = Decimal(0)

    def ask(self, step: Step) -> None:
        full = self.prefix + step.new
        is_warm = self._last is not None and step.at - self._last <= self._ttl_s
        read = min(self._cached, full) if is_warm else 0
        written = full - read
        is_long = self._ttl_s > LIFETIME_5M_S
        tokens = Tokens(
            write_5m=0 if is_long else written,
            write_1h=written if is_long else 0,
            read=read,
            output=step.out,
        )
        self.usd += bill(tokens, self._rates)
        self._cached, self._last, self.prefix = full, step.at, full + step.out


def play(
    steps: Sequence[Step],
    rates: Rates,
    away: Away,
    *,
    base: int,
    ttl_s: float = LIFETIME_5M_S,
) -> TwoWorlds:
    """Both bills of a session whose prefix begins with ``base`` tokens."""
    routed, admitted = _routed(steps, _Vendor(rates, base, ttl_s), away)
    return TwoWorlds(_stayed(steps, _Vendor(rates, base, ttl_s)), routed, tuple(admitted))


def _stayed(steps: Iterable[Step], vendor: _Vendor) -> Decimal:
    for step in steps:
        vendor.ask(step)
    return vendor.usd


def _routed(steps: Iterable[Step], vendor: _Vendor, away: Away) -> tuple[Decimal, list[bool]]:
    gate = Admission(away.limits or PlanLimits())
    admitted: list[bool] = []
    paid = Decimal(0)
    for step in steps:
        if not step.is_moved:
            vendor.ask(step)
            continue
        full = vendor.prefix + step.new
        sent, answered = ceil((full - away.there.stripped) * away.k_in), ceil(step.out * away.k_out)
        fits = gate.admit(step.at, tokens_in=sent, tokens_out=answered, max_tokens=step.max_tokens)
        admitted.append(fits)
        if not fits and away.over_quota == "stay":
            vendor.ask(step)
            continue
        if not (fits and away.there.is_free):
            paid += bill(Tokens(sent, output=answered), away.there.rates)
        if step.is_redone:
            vendor.ask(step)
        else:
            vendor.prefix = full + answered
    return vendor.usd + paid, admitted

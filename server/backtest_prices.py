"""What recorded turns would have cost somewhere else, quickly enough for a hundred thousand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from providers.pricing import Prices, Rates
from providers.traits import Traits, traits_of
from server.backtest_floats import (
    FastFactors,
    FastRates,
    RatesAt,
    Spread,
    fast_factors,
    fast_rates,
    move,
    move_sibling,
)
from server.ledger_history import Past
from server.ledger_scores import PastScore
from server.policy import Target
from server.savings_assumptions import Assumptions
from server.savings_learned import PastRates
from server.savings_line import Charge

_HOUR_S: Final = 3600.0


class MoveCost(msgspec.Struct, frozen=True, gc=False):
    """One turn's cost as recorded and under the other table, in USD."""

    before: float
    after: float
    low: float
    high: float

    @classmethod
    def same(cls, usd: float) -> MoveCost:
        """A turn that changes nothing."""
        return cls(usd, usd, usd, usd)


NOTHING: Final = MoveCost.same(0.0)
"""Of a turn that costs nothing anywhere."""


class PriceBook:
    """Prices and sizes of moves; rates are looked up once an hour of recorded time."""

    def __init__(self, prices: Prices, assumptions: Assumptions) -> None:
        self._prices = prices
        self._assumptions = assumptions
        self._rates: dict[tuple[str, str | None, int], Rates | None] = {}
        self._traits: dict[tuple[str, str | None], Traits] = {}
        self._fast: dict[tuple[str, str | None, int], RatesAt | None] = {}
        self._factors: dict[tuple[str | None, str | None, str, str], FastFactors] = {}
        self.learned = PastRates(())
        """Measured shares of failures that projections reckon with."""

    def learn(self, scores: Iterable[PastScore]) -> None:
        """Reckon with recorded comparisons; ``scores`` as ``LedgerReader.scores`` gives them."""
        self.learned = PastRates(scores)
        self._assumptions = replace(self._assumptions, redone=self.learned)
        self._factors.clear()

    def rates(self, provider: str, model: str | None, at: float) -> Rates | None:
        """``None`` where input or output has no price."""
        key = (provider, model, int(at // _HOUR_S))
        try:
            return self._rates[key]
        except KeyError:
            moment = datetime.fromtimestamp(key[2] * _HOUR_S, UTC)
            found = self._prices.rates(provider=provider, model=model, at=moment)
            is_whole = found is not None and found.input is not None and found.output is not None
            return self._rates.setdefault(key, found if is_whole else None)

    def rates_here(self, turn: Past) -> Rates | None:
        """Of the model that answered."""
        return self.rates(turn.provider or "", turn.model_served or turn.model_asked, turn.at)

    def size(self, turn: Past, target: Target) -> tuple[int, int]:
        """Expected prompt and answer there, in tokens."""
        factors = self._between(turn, target)
        prompt = turn.prompt_tokens * factors.k_in[0]
        return math.ceil(prompt), math.ceil((turn.output_tokens or 0) * factors.k_out[0])

    def hard_limit(self, turn: Past, target: Target) -> str | None:
        """The limit of the target's model that the turn breaks: ``context``, ``tools`` ..."""
        traits, seen = self._traits_of(target), turn.features
        is_vendor = target.provider == turn.provider
        tools = int(seen.n_tools or 0)
        too_many = traits.max_tools is not None and tools > traits.max_tools
        if (tools and not is_vendor and not traits.tools) or too_many:
            return "tools"
        if seen.server_tools and not is_vendor:
            return "tools"
        blind = seen.images and not traits.vision
        if not is_vendor and (blind or (seen.documents and not traits.files)):
            return "images"
        if traits.context is not None and sum(self.size(turn, target)) > traits.context:
            return "context"
        return None

    def _traits_of(self, target: Target) -> Traits:
        key = target.provider, target.model
        found = self._traits.get(key)
        if found is None:
            found = self._traits[key] = traits_of(target.provider, target.model or "")
        return found

    def moved(self, turn: Past, target: Target | None, charge: Charge) -> MoveCost | None:
        """Both costs of a turn that may have cost something; ``None`` where one is not known."""
        if turn.cost_usd is None:
            return None
        if turn.is_moved:
            return _again(turn, target)
        before = turn.cost_usd
        if target is None:
            return MoveCost(before, before, before, before)
        made = self._projected(turn, target, before, float(charge.usd))
        if made is None:
            return None
        saved, low, high = made
        return MoveCost(before, before - saved, before - high, before - low)

    def _projected(
        self, turn: Past, target: Target, baseline: float, charge: float
    ) -> Spread | None:
        tokens = turn.tokens()
        there = self._rates_at(target.provider, target.model, turn.at)
        if tokens is None or there is None:
            return None
        factors = self._between(turn, target)
        if target.provider == turn.provider:
            is_first = not turn.features.answered_before
            return move_sibling(tokens, there, factors, baseline, is_first=is_first)
        if tokens.uses_cache and self.rates_here(turn) is None:
            return None
        return move(tokens, there, factors, baseline, charge)

    def _rates_at(self, provider: str, model: str | None, at: float) -> RatesAt | None:
        key = (provider, model, int(at // _HOUR_S))
        if key not in self._fast:
            rates = self.rates(provider, model, at)
            self._fast[key] = None if rates is None else _by_length(rates)
        return self._fast[key]

    def _between(self, turn: Past, target: Target) -> FastFactors:
        key = (turn.model_served or turn.model_asked, target.model, turn.kind, target.provider)
        found = self._factors.get(key)
        if found is None:
            found = self._factors[key] = fast_factors(
                self._assumptions.factors(*key[:2], kind=turn.kind, provider=target.provider)
            )
        return found


def _by_length(rates: Rates) -> RatesAt:
    if rates.is_tiered:
        return partial(fast_rates, rates)
    known = fast_rates(rates, 0)

    def always(prompt: int) -> FastRates:
        return known

    return always


def _again(turn: Past, target: Target | None) -> MoveCost | None:
    """A turn that was moved when it was recorded: known there, estimated at home, else unknown."""
    cost = turn.cost_usd or 0.0
    is_same = target is not None and target.provider == turn.provider
    if is_same and target is not None and target.model in (None, turn.proposal_model):
        return MoveCost.same(cost)
    if target is not None or turn.saved_usd is None:
        return None
    low, high = turn.saved_low_usd, turn.saved_high_usd
    return MoveCost(
        cost,
        cost + turn.saved_usd,
        cost + (turn.saved_usd if low is None else low),
        cost + (turn.saved_usd if high is None else high),
    )

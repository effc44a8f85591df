"""The price of one proposal: what is known when a turn ends, and what its future adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from providers.pricing import Prices, Rates
from server.accounting import billed_usage
from server.record import Proposal, Saving, Turn
from server.savings import (
    Elsewhere,
    Factors,
    Gaps,
    Projection,
    Tokens,
    bill,
    naive,
    project,
    project_sibling,
    tokens_of,
)
from server.savings_assumptions import Assumptions

CHARS_PER_TOKEN = 4
"""``Turn.estimates`` are characters divided by this."""

CROWDED_OUT = "too many sessions ran to follow this one; the range covers both cases"
NO_SESSION = "the client names no session, so its next call is not known; the range covers both"


class Unpriced(Exception):
    """The proposal has no figure; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Everything about a proposal that does not depend on the session's next call."""

    tokens: Tokens
    baseline: Decimal
    rates: Rates
    """Of the model that answered."""
    there: Rates
    factors: Factors
    naive: Decimal
    is_sibling: bool
    """Whether the other model belongs to the same vendor."""
    is_first: bool
    """Whether no earlier call of this cache line is known."""
    note: str | None

    @property
    def needs_future(self) -> bool:
        """Whether the session's next call can change the figure."""
        return self.tokens.uses_cache and not self.is_sibling

    def project(self, gaps: Gaps) -> Projection:
        """The projection for one future."""
        if self.is_sibling:
            return project_sibling(
                self.tokens,
                self.there,
                self.factors,
                baseline=self.baseline,
                is_first=self.is_first,
            )
        return project(
            self.tokens,
            self.rates,
            Elsewhere(self.there),
            self.factors,
            gaps,
            baseline=self.baseline,
        )

    def settled(self, gaps: Gaps, *, is_admitted: bool) -> Saving:
        """The saving now that the session has gone on, or has not."""
        return self._saving("settled", self.project(gaps), is_admitted)

    def open(self, prev_s: float | None, *, is_admitted: bool) -> Saving:
        """The saving while the next call is unknown.

        The figure takes it to come in time, so that what was written has to be written again; the
        range reaches from the worst future (it comes just too late for the prefix) to the best
        (it never comes).
        """
        likely = self.project(Gaps(prev_s, 0.0))
        worst = self.project(Gaps(prev_s, self.tokens.lifetime_s))
        best = self.project(Gaps(prev_s, None))
        futures = (likely, worst, best)
        saving = self._saving("open", likely, is_admitted)
        return replace(
            saving,
            low_usd=float(min(future.low for future in futures)),
            high_usd=float(max(future.high for future in futures)),
        )

    def _saving(self, state: str, projection: Projection, is_admitted: bool) -> Saving:
        usd = float(projection.expected)
        return Saving(
            state=state,
            naive_usd=float(self.naive),
            usd=usd,
            low_usd=float(projection.low),
            high_usd=float(projection.high),
            quota_usd=usd if is_admitted else 0.0,
            baseline_usd=float(projection.baseline),
            target_usd=float(projection.target),
            penalty_write_usd=float(projection.penalty_write),
            penalty_ttl_usd=float(projection.penalty_ttl),
            redo_usd=float(projection.redo),
            note=self.note,
        )


def given_up(saving: Saving, note: str) -> Saving:
    """An open saving whose future will never be known, with the range it had."""
    both = f"{saving.note}; {note}" if saving.note else note
    return replace(saving, state="settled", note=both)


class Quoter:
    """Prices proposals and candidates of finished turns."""

    def __init__(
        self, prices: Prices, assumptions: Assumptions, default_models: Mapping[str, str | None]
    ) -> None:
        self._prices = prices
        self._assumptions = assumptions
        self.default_models = default_models
        """The model a provider runs when a route entry names none."""

    def tokens(self, turn: Turn) -> Tokens | None:
        """What the turn was billed for, ``None`` when that is unknown."""
        return tokens_of(billed_usage(turn), ttl=turn.cache_ttl)

    def quote(self, turn: Turn, proposal: Proposal, at: float, *, is_first: bool) -> Quote:
        """Raises ``Unpriced``."""
        tokens = self.tokens(turn)
        if tokens is None:
            raise Unpriced("no usage was reported, so there is nothing to compare")
        if turn.cost_usd is None:
            raise Unpriced(turn.price_note or "what the turn cost is not known")
        rates = self._rates(turn, turn.provider or "", self._model_of(turn), at)
        model = self._model_at(turn, proposal.provider, proposal.model)
        there = self._rates(turn, proposal.provider, model, at)
        learned = self._assumptions.learned(turn.kind, proposal.provider, model)
        told = [learned.words] if learned is not None else []
        estimates = " and ".join([*self._doubts(turn, there), *told])
        return Quote(
            tokens=tokens,
            baseline=Decimal(repr(turn.cost_usd)),
            rates=rates,
            there=there,
            factors=self._assumptions.factors(
                self._model_of(turn), model, kind=turn.kind, provider=proposal.provider
            ),
            naive=naive_of(turn),
            is_sibling=proposal.provider == turn.provider,
            is_first=is_first,
            note=estimates or None,
        )

    def target_usd(self, turn: Turn, provider: str, model: str | None, at: float) -> float | None:
        """What the turn's usage would have cost somewhere else, ``None`` when unknown."""
        tokens = self.tokens(turn)
        if tokens is None:
            return None
        named = self._model_at(turn, provider, model)
        try:
            there = self._rates(turn, provider, named, at)
            factors = self._assumptions.factors(self._model_of(turn), named)
            moved = tokens.scaled(factors.k_in.mid, factors.k_out.mid)
            if provider != turn.provider:
                moved = Tokens(_cold(tokens, factors), output=moved.output)
            return float(bill(moved, there))
        except (Unpriced, ValueError):
            return None

    def _rates(self, turn: Turn, provider: str, model: str | None, at: float) -> Rates:
        moment = datetime.fromtimestamp(at, UTC)
        find: Callable[..., Rates | None] = self._prices.rates
        if provider == turn.provider:
            find = self._of_usage(turn)
        rates = find(provider=provider, model=model, at=moment)
        if rates is None or rates.input is None or rates.output is None:
            raise Unpriced(f"no price for {model or 'an unnamed model'} at {provider or 'nobody'}")
        return rates

    def _of_usage(self, turn: Turn) -> Callable[..., Rates | None]:
        def find(**named: object) -> Rates | None:
            return self._prices.rates_of(usage=turn.usage, **named)  # type: ignore[arg-type]

        return find

    def _model_at(self, turn: Turn, provider: str, model: str | None) -> str | None:
        if model is not None or provider == turn.provider:
            return model or self._model_of(turn)
        return self.default_models.get(provider)

    @staticmethod
    def _model_of(turn: Turn) -> str | None:
        return turn.model_served or turn.model_asked

    @staticmethod
    def _doubts(turn: Turn, there: Rates) -> list[str]:
        doubts = list(there.notes)
        if turn.cost_is_estimate:
            doubts.append(turn.price_note or "what the turn cost is an estimate")
        return doubts


def unpriced(turn: Turn, note: str) -> Saving:
    """The saving of a proposal that has no figure."""
    return Saving("unpriced", float(naive_of(turn)), baseline_usd=turn.cost_usd, note=note)


def naive_of(turn: Turn) -> Decimal:
    """The seed's projection of the turn, from the length of its conversation."""
    tokens = turn.estimates.get("history", 0) + turn.estimates.get("turn", 0)
    return naive(turn.route, tokens * CHARS_PER_TOKEN, turn.max_tokens)


def _cold(tokens: Tokens, factors: Factors) -> int:
    return Tokens(tokens.prompt).scaled(factors.k_in.mid, factors.k_out.mid).input

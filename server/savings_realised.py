"""The saving of a turn that live mode did move: what was paid, against what home would have cost.

The bill of the other provider is known; the baseline's is estimated from the session's last call
at home, or, where nothing of it would have been in a cache, from the other provider's own counts.
A try that was given up after it had begun to answer is taken to have been paid for as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from providers.pricing import Prices, Rates
from providers.types import Protocol
from server.record import Attempt, Candidate, Saving, Turn
from server.savings import Gaps, Moved, Realised, Span, Tokens, bill, ceil, realised
from server.savings_assumptions import Assumptions
from server.savings_quote import Quoter, Unpriced, naive_of

FIRST_CALL: Final = "nothing is known of the session's cache at home; the range covers a warm one"
REFUSED: Final = "it was answered at home after all; the refused try cost nothing"
PAID_TWICE: Final = "a try that broke off is taken to have been paid for as well"

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is known of a cache line at home before a moved turn."""

    prefix: int
    """Tokens the line would have in its cache."""
    last_at: float
    """When its latest call was accepted, moved ones included."""
    home_at: float | None
    """The same, of calls that were made at home; ``None``: their cache had expired."""
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class RealisedQuote:
    """A moved turn's saving but for what the session's next call at home has to write anew."""

    tokens: Tokens
    """Nothing but the lifetime of the cache at home."""
    moved: Moved
    rates: Rates
    """Of the baseline, its 5-minute write being what this request would have paid."""
    eps: Span
    ratio: Span
    twice: Decimal
    """What tries that broke off are taken to have cost."""
    naive: Decimal
    has_line: bool
    may_be_warm: bool
    note: str | None

    @property
    def needs_future(self) -> bool:
        """Whether the session's next call at home can change the figure."""
        return self.has_line

    @property
    def whole(self) -> int:
        """Estimated prompt tokens at home."""
        return self.moved.prefix + ceil(self.moved.increment * self.eps.mid)

    def settled(self, gaps: Gaps, *, is_admitted: bool = True) -> Saving:
        """The saving now that the session has gone on, or has not."""
        return self._saving("settled", gaps)

    def open(self, prev_s: float | None, *, is_admitted: bool = True) -> Saving:
        """The saving while the next call at home is unknown; taken to come at once."""
        likely = self._saving("open", Gaps(prev_s, 0.0))
        worst = self._saving("open", Gaps(prev_s, self.tokens.lifetime_s))
        best = self._saving("open", Gaps(prev_s, None))
        found = (likely, worst, best)
        return replace(
            likely,
            low_usd=min(saving.low_usd or 0.0 for saving in found),
            high_usd=max(saving.high_usd or 0.0 for saving in found),
        )

    def _saving(self, state: str, gaps: Gaps) -> Saving:
        written, prefix = self._left_behind(gaps)
        made = self._realised(self.moved, written + prefix)
        low = made.low
        if self.may_be_warm:
            inside = replace(self.moved, prefix=self.whole, increment=0, is_warm=True)
            low = min(low, self._realised(inside, 0).low)
        ttl = made.extra_write * prefix / (written + prefix) if prefix else _ZERO
        usd = float(made.usd - self.twice)
        return Saving(
            state=state,
            naive_usd=float(self.naive),
            usd=usd,
            low_usd=float(low - 2 * self.twice),
            high_usd=float(made.high),
            quota_usd=usd,
            baseline_usd=float(made.baseline),
            target_usd=float(self.moved.paid),
            penalty_write_usd=float(made.extra_write - ttl),
            penalty_ttl_usd=float(ttl),
            redo_usd=float(self.twice),
            note=self.note,
        )

    def _realised(self, moved: Moved, extra: int) -> Realised:
        return realised(replace(moved, extra_write=extra), self.rates, self.eps, self.ratio)

    def _left_behind(self, gaps: Gaps) -> tuple[int, int]:
        """Tokens the next call at home writes for this one: its own, and a prefix that expired."""
        lifetime = self.tokens.lifetime_s
        if not self.has_line or gaps.next_s is None or gaps.next_s > lifetime:
            return 0, 0
        has_expired = gaps.prev_s is not None and gaps.prev_s + gaps.next_s > lifetime
        written = ceil(self.moved.increment * self.eps.mid)
        return written, self.moved.prefix if self.moved.is_warm and has_expired else 0


class Realiser:
    """Quotes moved turns."""

    def __init__(self, prices: Prices, assumptions: Assumptions, quoter: Quoter) -> None:
        self._prices = prices
        self._assumptions = assumptions
        self._quoter = quoter

    def settled_here(self, turn: Turn, at: float) -> Saving | None:
        """The saving of a turn that stayed at its vendor after all; ``None`` if it did not.

        That is one answered at home, or by a cheaper model of the same vendor. Raises
        ``Unpriced``.
        """
        base = base_of(turn)
        if turn.provider != base.provider:
            return None
        if not is_away(turn, base):
            return self._redone(turn, at)
        return self._downgraded(turn, base, at)

    def quote(self, turn: Turn, anchor: Anchor | None, at: float) -> RealisedQuote:
        """The quote of a turn that another vendor answered; raises ``Unpriced``."""
        base, paid = base_of(turn), _paid(turn)
        rates = self._rates(base.provider, home_model(turn, base), at)
        there = self._quoter.tokens(turn)
        if there is None:
            raise Unpriced("no usage was reported, so there is nothing to compare")
        k_in = self._assumptions.factors(home_model(turn, base), _served(turn)).k_in
        at_home = _inverse(k_in)
        has_line = turn.session is not None and asks_cache(turn)
        is_warm = has_line and anchor is not None and turn.at - anchor.last_at <= anchor.lifetime_s
        if is_warm and anchor is not None:
            whole = max(ceil(there.prompt * at_home.mid), sum(turn.estimates.values()))
            prefix = min(anchor.prefix, whole)
            increment = turn.estimates.get("turn") or max(whole - prefix, 0)
            eps = self._assumptions.increment
        else:
            prefix, increment, eps = 0, there.prompt, at_home
        moved = Moved(prefix, increment, is_warm, there.output, paid)
        twice = self._twice(turn, at)
        may_be_warm = asks_cache(turn) and anchor is None
        notes = (
            turn.price_note,
            FIRST_CALL if may_be_warm else None,
            PAID_TWICE if twice else None,
        )
        return RealisedQuote(
            tokens=Tokens(reads_1h=turn.cache_ttl == "1h"),
            moved=moved,
            rates=_as_asked(rates, turn),
            eps=eps,
            ratio=self._assumptions.ratio,
            twice=twice,
            naive=naive_of(turn),
            has_line=has_line,
            may_be_warm=may_be_warm,
            note="; ".join(note for note in notes if note) or None,
        )

    def _downgraded(self, turn: Turn, base: Candidate, at: float) -> Saving:
        """The same usage at both models' rates: such a move keeps the shape of its cache."""
        tokens, paid = self._quoter.tokens(turn), _paid(turn)
        if tokens is None:
            raise Unpriced("no usage was reported, so there is nothing to compare")
        asked = home_model(turn, base)
        rates = self._rates(base.provider, asked, at)
        k_in, ratio = self._assumptions.factors(_served(turn), asked).k_in, self._assumptions.ratio
        twice = self._twice(turn, at)

        def baseline(k: Decimal, longer: Decimal) -> Decimal:
            return bill(tokens.scaled(k, longer), rates)

        home = baseline(k_in.mid, _ONE)
        usd = float(home - paid - twice)
        return Saving(
            state="settled",
            naive_usd=float(naive_of(turn)),
            usd=usd,
            low_usd=float(baseline(k_in.lo, ratio.lo) - paid - 2 * twice),
            high_usd=float(baseline(k_in.hi, ratio.hi) - paid),
            quota_usd=usd,
            baseline_usd=float(home),
            target_usd=float(paid),
            redo_usd=float(twice),
            note=PAID_TWICE if twice else turn.price_note,
        )

    def _redone(self, turn: Turn, at: float) -> Saving:
        """Answered at home after all: nothing saved, and the tries elsewhere perhaps paid."""
        paid, twice = float(_paid(turn)), float(self._twice(turn, at))
        return Saving(
            state="settled",
            naive_usd=float(naive_of(turn)),
            usd=-twice,
            low_usd=-2 * twice,
            high_usd=0.0,
            quota_usd=-twice,
            baseline_usd=paid,
            target_usd=paid,
            redo_usd=twice,
            note=PAID_TWICE if twice else REFUSED,
        )

    def _twice(self, turn: Turn, at: float) -> Decimal:
        """What tries that had begun to answer are taken to have cost; refused ones are free."""
        total = _ZERO
        for attempt in _given_up(turn):
            usd = self._quoter.target_usd(turn, attempt.provider, attempt.model, at)
            if usd is None:
                raise Unpriced(f"what the try at {attempt.provider} cost is not known")
            total += Decimal(repr(usd))
        return total

    def _rates(self, provider: str, model: str | None, at: float) -> Rates:
        moment = datetime.fromtimestamp(at, UTC)
        rates = self._prices.rates(provider=provider, model=model, at=moment)
        if rates is None or rates.input is None or rates.output is None:
            raise Unpriced(f"no price for {model or 'an unnamed model'} at {provider}")
        return rates


def base_of(turn: Turn) -> Candidate:
    """Where the turn would have stayed; raises ``Unpriced``."""
    for candidate in turn.candidates:
        if candidate.state == "baseline":
            return candidate
    raise Unpriced("what it would have cost at home is not known: its vendor failed as well")


def home_model(turn: Turn, base: Candidate) -> str | None:
    """The model that would have answered at home."""
    return base.model or turn.model_asked


def is_away(turn: Turn, base: Candidate) -> bool:
    """Whether one of the places before the baseline answered."""
    if not turn.attempts:
        return False
    last = turn.attempts[-1]
    if last.provider != base.provider:
        return True
    return last.model is not None and last.model != home_model(turn, base)


def asks_cache(turn: Turn) -> bool:
    """Whether the request would have been cached at home; OpenAI's caches need not be asked."""
    return turn.cache_ttl is not None or turn.protocol is not Protocol.MESSAGES


def _given_up(turn: Turn) -> list[Attempt]:
    last = turn.attempts[-1] if turn.attempts else None
    return [
        attempt
        for attempt in turn.attempts[:-1]
        if last is not None
        and (attempt.provider, attempt.model) != (last.provider, last.model)
        and attempt.status is not None
        and attempt.status < 400
    ]


def _paid(turn: Turn) -> Decimal:
    if turn.cost_usd is None:
        raise Unpriced(turn.price_note or "what the turn cost is not known")
    return Decimal(repr(turn.cost_usd))


def _served(turn: Turn) -> str | None:
    return turn.model_served or (turn.attempts[-1].model if turn.attempts else None)


def _inverse(factor: Span) -> Span:
    return Span(_ONE / factor.mid, _ONE / factor.hi, _ONE / factor.lo)


def _as_asked(rates: Rates, turn: Turn) -> Rates:
    """The rates with what this request would have paid for a write in place of the 5-minute one."""
    if not asks_cache(turn):
        return replace(rates, cache_write_5m=rates.input)
    if turn.cache_ttl == "1h" and rates.cache_write_1h is not None:
        return replace(rates, cache_write_5m=rates.cache_write_1h)
    return rates

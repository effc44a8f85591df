"""What moving a turn would have saved: pure arithmetic on usage, rates and assumptions.

Everything is Decimal, in USD; counts are whole tokens and every ``ceil`` is of the exact product.
With the usage of a turn (I fresh, W written to the cache, R read from it, O output) and the rates
p of the model that answered and c of the model it might have gone to::

    A    = I p_in + W p_write + R p_read + O p_out            what it cost where it was made
    C    = ceil(prompt k_in) c_in + ceil(O k_out) c_out       what it would have cost elsewhere
    write penalty = W (p_write - p_read)     if the next call comes while this write would live
    ttl penalty   = R (p_write - p_read)     if only this call kept the prefix alive for the next
    net      = A - C - penalties
    expected = (1 - f) net - f C             f: how often the other answer has to be made again

``low`` and ``high`` repeat ``expected`` with every factor at its bad or its good end at once,
because such errors are common to all turns. A failed try leaves the turn at home after all, so
where leaving would be a loss the bad end of f is its low one. Nothing is clamped: a loss is a
negative figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from providers.pricing import Rate, Rates
from providers.types import Usage

LIFETIME_5M_S: Final = 300.0
LIFETIME_1H_S: Final = 3600.0

NAIVE_ROUTES: Final = frozenset({"planning", "code_draft", "summary"})
"""The classes for which the seed claims savings."""

_MILLION: Final = Decimal(1_000_000)
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_CENT_OF_A_MILL: Final = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class Span:
    """A factor that is not known exactly: its middle and its two ends, ``lo <= mid <= hi``."""

    mid: Decimal
    lo: Decimal
    hi: Decimal


def exactly(value: float | str | Decimal) -> Span:
    """A factor that is known."""
    known = Decimal(str(value))
    return Span(known, known, known)


SAME: Final = exactly(1)


def span(mid: str, lo: str, hi: str) -> Span:
    """A factor between ``lo`` and ``hi``."""
    return Span(Decimal(mid), Decimal(lo), Decimal(hi))


@dataclass(frozen=True, slots=True)
class Factors:
    """How one model's tokens and answers compare with another's."""

    k_in: Span
    """Prompt tokens there per prompt token here."""
    k_out: Span
    """Output tokens there per output token here."""
    fail: Span
    """Share of answers that would have to be made again here."""
    eps: Span = SAME
    """True tokens per counted token; 1 where the count is the provider's own."""


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """What one answer was billed for; ``input`` is neither read from nor written to the cache.

    A backtest makes hundreds of thousands of them, ten times as quickly as dataclasses.
    """

    input: int = 0
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0
    output: int = 0
    reads_1h: bool = False
    """Whether a prefix that was only read lives for an hour."""

    @property
    def prompt(self) -> int:
        """Everything the model read."""
        return self.input + self.written + self.read

    @property
    def written(self) -> int:
        """Written to the cache, for however long."""
        return self.write_5m + self.write_1h

    @property
    def uses_cache(self) -> bool:
        """Whether any of it was read from or written to the cache."""
        return self.read > 0 or self.written > 0

    @property
    def is_1h(self) -> bool:
        """Whether the prefix lives for an hour; a mixed write counts as one, the dearer kind."""
        return self.write_1h > 0 or (self.reads_1h and not self.write_5m)

    @property
    def lifetime_s(self) -> float:
        """Seconds a prefix lives after it was last used."""
        return LIFETIME_1H_S if self.is_1h else LIFETIME_5M_S

    def scaled(self, k_in: Decimal, k_out: Decimal) -> Tokens:
        """The same answer in another model's tokens, its cache parts in proportion."""
        return replace(
            self,
            input=ceil(self.input * k_in),
            write_5m=ceil(self.write_5m * k_in),
            write_1h=ceil(self.write_1h * k_in),
            read=ceil(self.read * k_in),
            output=ceil(self.output * k_out),
        )


def tokens_of(usage: Usage, *, ttl: str | None = None) -> Tokens | None:
    """The billed counts; ``None`` when the provider did not report the input.

    ``ttl`` is the lifetime the request asked for (``5m``, ``1h``).
    """
    if usage.input_tokens is None:
        return None
    return Tokens(
        input=usage.input_tokens,
        write_5m=usage.cache_write_5m_tokens or 0,
        write_1h=usage.cache_write_1h_tokens or 0,
        read=usage.cache_read_tokens or 0,
        output=usage.output_tokens or 0,
        reads_1h=ttl == "1h",
    )


def ceil(value: Decimal) -> int:
    """The exact product, rounded up to a whole token."""
    return math.ceil(value)


# ------------------------------------------------------------------ prices


def bill(tokens: Tokens, rates: Rates) -> Decimal:
    """The list price of an answer; a long-prompt tier moves every part of it.

    A missing cache rate counts as the next dearer one. Raises ``ValueError`` without an input or
    output rate.
    """
    prompt = tokens.prompt
    short, long = _write_rates(rates)
    usd = (
        tokens.input * _needed(rates.input, rates).at(prompt)
        + tokens.write_5m * short.at(prompt)
        + tokens.write_1h * long.at(prompt)
        + tokens.read * _read_rate(rates).at(prompt)
        + tokens.output * _needed(rates.output, rates).at(prompt)
    )
    return usd / _MILLION


def rewrite_premium(tokens: Tokens, rates: Rates) -> Decimal:
    """USD per million tokens by which writing a prefix is dearer than reading it."""
    short, long = _write_rates(rates)
    write = long if tokens.is_1h else short
    return write.at(tokens.prompt) - _read_rate(rates).at(tokens.prompt)


def _needed(rate: Rate | None, rates: Rates) -> Rate:
    if rate is None:
        raise ValueError(f"{rates.model} has no price for input or output")
    return rate


def _read_rate(rates: Rates) -> Rate:
    return rates.cache_read or _needed(rates.input, rates)


def _write_rates(rates: Rates) -> tuple[Rate, Rate]:
    short = rates.cache_write_5m or _needed(rates.input, rates)
    return short, rates.cache_write_1h or short


# ------------------------------------------------------------------ the seed's figure


def naive(route: str, chars: int, max_tokens: int | None) -> Decimal:
    """The seed's projection, for comparison: estimated tokens, one price, no cache."""
    tokens_in, tokens_out = naive_tokens(chars, max_tokens)
    if route not in NAIVE_ROUTES:
        return _ZERO
    full = tokens_in * Decimal("3e-6") + tokens_out * Decimal("15e-6")
    saved = full - (tokens_in + tokens_out) * Decimal("1e-7")
    return max(_ZERO, saved.quantize(_CENT_OF_A_MILL, ROUND_HALF_UP))


def naive_tokens(chars: int, max_tokens: int | None) -> tuple[int, int]:
    """Input and output as the seed guesses them: characters / 4, and 800 at most."""
    return -(-chars // 4), min(max_tokens or 500, 800)


# ------------------------------------------------------------------ one turn


@dataclass(frozen=True, slots=True)
class Gaps:
    """Seconds to the calls before and after on the same cache line; ``None``: there is none."""

    prev_s: float | None = None
    next_s: float | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The model a turn might have gone to, whose cache is cold."""

    rates: Rates
    stripped: int = 0
    """Prompt tokens that would not have been sent along."""
    is_free: bool = False
    """Whether the call is inside a free quota."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What a move would have meant, in USD."""

    baseline: Decimal
    target: Decimal
    target_input: int
    target_output: int
    expected: Decimal
    low: Decimal
    high: Decimal
    penalty_write: Decimal = _ZERO
    penalty_ttl: Decimal = _ZERO

    @property
    def direct(self) -> Decimal:
        """The difference of the two prices alone."""
        return self.baseline - self.target

    @property
    def net(self) -> Decimal:
        """The difference with what it does to the cache."""
        return self.direct - self.penalty_write - self.penalty_ttl

    @property
    def redo(self) -> Decimal:
        """What answers that have to be made again are expected to cost."""
        return self.net - self.expected


def penalties(tokens: Tokens, rates: Rates, gaps: Gaps) -> tuple[Decimal, Decimal]:
    """The write and the expiry penalty of leaving this call out of its session."""
    lifetime = tokens.lifetime_s
    if gaps.next_s is None or gaps.next_s > lifetime:
        return _ZERO, _ZERO
    premium = rewrite_premium(tokens, rates) / _MILLION
    write = tokens.written * premium
    kept_alive = (
        gaps.prev_s is not None and gaps.prev_s <= lifetime and gaps.prev_s + gaps.next_s > lifetime
    )
    return write, tokens.read * premium if kept_alive else _ZERO


def project(
    tokens: Tokens,
    rates: Rates,
    there: Elsewhere,
    factors: Factors,
    gaps: Gaps,
    *,
    baseline: Decimal | None = None,
) -> Projection:
    """A move to another vendor; ``baseline`` is the real cost when it is known better."""
    here = bill(tokens, rates) if baseline is None else baseline
    write, ttl = penalties(tokens, rates, gaps)
    kept = tokens.prompt - there.stripped

    def cost(k_in: Decimal, eps: Decimal, k_out: Decimal) -> tuple[int, int, Decimal]:
        sent, answered = ceil(ceil(kept * k_in) * eps), ceil(tokens.output * k_out)
        price = _ZERO if there.is_free else bill(Tokens(sent, output=answered), there.rates)
        return sent, answered, price

    def expect(price: Decimal, fail: Decimal) -> Decimal:
        return (_ONE - fail) * (here - price - write - ttl) - fail * price

    k_in, k_out, eps, fail = factors.k_in, factors.k_out, factors.eps, factors.fail
    sent, answered, price = cost(k_in.mid, _ONE, k_out.mid)
    dear, cheap = cost(k_in.hi, eps.hi, k_out.hi)[2], cost(k_in.lo, eps.lo, k_out.lo)[2]
    return Projection(
        baseline=here,
        target=price,
        target_input=sent,
        target_output=answered,
        penalty_write=write,
        penalty_ttl=ttl,
        expected=expect(price, fail.mid),
        low=min(expect(dear, share) for share in (fail.lo, fail.hi)),
        high=max(expect(cheap, share) for share in (fail.lo, fail.hi)),
    )


def project_sibling(
    tokens: Tokens, rates: Rates, factors: Factors, *, baseline: Decimal, is_first: bool
) -> Projection:
    """A move of the whole conversation to another model of the same vendor, at ``rates``.

    Such a conversation keeps its shape: what it writes and reads here it would write and read
    there, on a cache line of its own, so nothing is lost on this one. Only its first call may
    read a prefix that another conversation left in this model's cache (``is_first``): in the bad
    case that prefix has to be written there.
    """

    def cost(k_in: Decimal, k_out: Decimal, *, is_cold: bool = False) -> tuple[Tokens, Decimal]:
        there = tokens.scaled(k_in, k_out)
        if is_cold and there.is_1h:
            there = replace(there, read=0, write_1h=there.write_1h + there.read)
        elif is_cold:
            there = replace(there, read=0, write_5m=there.write_5m + there.read)
        return there, bill(there, rates)

    def expect(price: Decimal, fail: Decimal) -> Decimal:
        return (_ONE - fail) * (baseline - price) - fail * price

    k_in, k_out, fail = factors.k_in, factors.k_out, factors.fail
    there, price = cost(k_in.mid, k_out.mid)
    dear = cost(k_in.hi, k_out.hi, is_cold=is_first)[1]
    cheap = cost(k_in.lo, k_out.lo)[1]
    return Projection(
        baseline=baseline,
        target=price,
        target_input=there.prompt,
        target_output=there.output,
        expected=expect(price, fail.mid),
        low=min(expect(dear, share) for share in (fail.lo, fail.hi)),
        high=max(expect(cheap, share) for share in (fail.lo, fail.hi)),
    )


# ------------------------------------------------------------------ a turn that was moved


@dataclass(frozen=True, slots=True)
class Moved:
    """A turn that another model really answered, and what is known of the road not taken."""

    prefix: int
    """Tokens the baseline had in its cache, or would have had to write when ``is_warm`` is false."""
    increment: int
    """Estimated tokens of what was new."""
    is_warm: bool
    output: int
    """Tokens of the answer, as the other model counted them."""
    paid: Decimal
    """What the other model cost."""
    extra_write: int = 0
    """Tokens the next baseline call had to write because of the move."""
    is_redone: bool = False
    redo: Decimal = _ZERO
    """What making it again cost beyond an ordinary answer."""


@dataclass(frozen=True, slots=True)
class Realised:
    """What a move did save, in USD; the baseline's side is an estimate."""

    baseline: Decimal
    extra_write: Decimal
    usd: Decimal
    low: Decimal
    high: Decimal


def realised(moved: Moved, rates: Rates, eps: Span, ratio: Span) -> Realised:
    """The saving of a moved turn.

    ``rates`` are the baseline's, ``ratio`` its output tokens per output token of the other model.
    """
    write, read = _write_rates(rates)[0], _read_rate(rates)

    def estimate(error: Decimal, longer: Decimal) -> Decimal:
        new, answer = ceil(moved.increment * error), ceil(moved.output * longer)
        total = moved.prefix + new
        prefix = (read if moved.is_warm else write).at(total)
        usd = moved.prefix * prefix + new * write.at(total)
        return (usd + answer * _needed(rates.output, rates).at(total)) / _MILLION

    prompt = moved.prefix + moved.increment
    extra = moved.extra_write * (write.at(prompt) - read.at(prompt)) / _MILLION

    def saved(error: Decimal, longer: Decimal) -> Decimal:
        if moved.is_redone:
            return -moved.paid - extra - moved.redo
        return estimate(error, longer) - moved.paid - extra

    return Realised(
        baseline=estimate(eps.mid, ratio.mid),
        extra_write=extra,
        usd=saved(eps.mid, ratio.mid),
        low=saved(eps.lo, ratio.lo),
        high=saved(eps.hi, ratio.hi),
    )


if __name__ == "__main__":
    import sys

    from server.savings_vectors import main

    sys.exit(main(sys.argv[1:], sys.stdout, sys.stderr))

"""The projections of ``server.savings`` in floating point, ten times as quick; pure.

A sum over a hundred thousand turns does not show the last digit, and a count may be one token off
where an exact product is whole. Everything is USD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from providers.pricing import Rate, Rates
from server.savings import Factors, Span, Tokens

Spread = tuple[float, float, float]
"""Expected, low and high."""


@dataclass(frozen=True, slots=True)
class FastRates:
    """USD per token at one length of prompt."""

    input: float
    write_5m: float
    write_1h: float
    read: float
    output: float

    def bill(self, tokens: Tokens, k_in: float, k_out: float) -> float:
        """The price of the answer in another model's tokens."""
        prompt = (
            tokens.input * self.input
            + tokens.write_5m * self.write_5m
            + tokens.write_1h * self.write_1h
            + tokens.read * self.read
        )
        return prompt * k_in + tokens.output * self.output * k_out


@dataclass(frozen=True, slots=True)
class FastFactors:
    """``savings.Factors``, each as middle, low and high."""

    k_in: Spread
    k_out: Spread
    fail: Spread


def fast_factors(factors: Factors) -> FastFactors:
    """The same factors as floats."""

    def three(span: Span) -> Spread:
        return float(span.mid), float(span.lo), float(span.hi)

    return FastFactors(three(factors.k_in), three(factors.k_out), three(factors.fail))


def fast_rates(rates: Rates, prompt: int) -> FastRates:
    """The rates for a prompt of so many tokens; a missing cache rate is the next dearer one.

    Raises ``ValueError`` without an input or output rate.
    """
    if rates.input is None or rates.output is None:
        raise ValueError(f"{rates.model} has no price for input or output")
    short = rates.cache_write_5m or rates.input

    def usd(rate: Rate) -> float:
        return float(rate.at(prompt)) / 1e6

    return FastRates(
        usd(rates.input),
        usd(short),
        usd(rates.cache_write_1h or short),
        usd(rates.cache_read or rates.input),
        usd(rates.output),
    )


RatesAt = Callable[[int], FastRates]
"""The rates of one model by length of prompt."""


def move(
    tokens: Tokens, there: RatesAt, factors: FastFactors, baseline: float, charge: float
) -> Spread:
    """What a move to another vendor saves; ``charge`` is what it does to the cache at home."""
    prompt, output = tokens.prompt, tokens.output
    k_in, k_out = factors.k_in, factors.k_out
    return _spread(
        _cold_price(there, prompt * k_in[0], output * k_out[0]),
        _cold_price(there, prompt * k_in[2], output * k_out[2]),
        _cold_price(there, prompt * k_in[1], output * k_out[1]),
        factors.fail,
        baseline - charge,
    )


def _cold_price(there: RatesAt, sent: float, answered: float) -> float:
    rates = there(int(sent))
    return sent * rates.input + answered * rates.output


def move_sibling(
    tokens: Tokens, there: RatesAt, factors: FastFactors, baseline: float, *, is_first: bool
) -> Spread:
    """What a move of the whole conversation to another model of the vendor saves."""
    k_in, k_out = factors.k_in, factors.k_out

    def price(end: int) -> float:
        return there(int(tokens.prompt * k_in[end])).bill(tokens, k_in[end], k_out[end])

    dear = price(2)
    if is_first:
        rates = there(int(tokens.prompt * k_in[2]))
        write = rates.write_1h if tokens.is_1h else rates.write_5m
        dear += tokens.read * k_in[2] * (write - rates.read)
    return _spread(price(0), dear, price(1), factors.fail, baseline)


def _spread(mid: float, dear: float, cheap: float, fails: Spread, kept: float) -> Spread:
    """``kept`` is what staying costs, less what leaving does to the cache."""
    fail, least, most = fails
    low = min((1 - least) * (kept - dear) - least * dear, (1 - most) * (kept - dear) - most * dear)
    high = max(
        (1 - least) * (kept - cheap) - least * cheap, (1 - most) * (kept - cheap) - most * cheap
    )
    return (1 - fail) * (kept - mid) - fail * mid, low, high

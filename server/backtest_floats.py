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
    prompt = tokens.prompt

    def price(k_in: float, k_out: float) -> float:
        sent = prompt * k_in
        rates = there(int(sent))
        return sent * rates.input + tokens.output * k_out * rates.output

    return _spread(price, price, factors, baseline - charge)


def move_sibling(
    tokens: Tokens, there: RatesAt, factors: FastFactors, baseline: float, *, is_first: bool
) -> Spread:
    """What a move of the whole conversation to another model of the vendor saves."""

    def price(k_in: float, k_out: float) -> float:
        return there(int(tokens.prompt * k_in)).bill(tokens, k_in, k_out)

    def cold(k_in: float, k_out: float) -> float:
        rates = there(int(tokens.prompt * k_in))
        write = rates.write_1h if tokens.is_1h else rates.write_5m
        extra = tokens.read * k_in * (write - rates.read)
        return rates.bill(tokens, k_in, k_out) + extra

    return _spread(price, cold if is_first else price, factors, baseline)


def _spread(
    price: Callable[[float, float], float],
    dear_price: Callable[[float, float], float],
    factors: FastFactors,
    kept: float,
) -> Spread:
    """``kept`` is what staying costs, less what leaving does to the cache."""
    k_in, k_out = factors.k_in, factors.k_out
    fail, least, most = factors.fail
    mid = price(k_in[0], k_out[0])
    dear, cheap = dear_price(k_in[2], k_out[2]), price(k_in[1], k_out[1])

    def expect(usd: float, share: float) -> float:
        return (1 - share) * (kept - usd) - share * usd

    low = min(expect(dear, least), expect(dear, most))
    return expect(mid, fail), low, max(expect(cheap, least), expect(cheap, most))

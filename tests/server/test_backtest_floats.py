"""The quick projections against the exact ones."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pricing import Rate, Rates
from server.backtest_floats import fast_factors, fast_rates, move, move_sibling
from server.savings import Elsewhere, Gaps, Projection, Tokens, project, project_sibling
from server.savings_assumptions import Assumptions


def rate(usd: str, above: str | None = None) -> Rate:
    return Rate(Decimal(usd), ((100_000, Decimal(above)),) if above else ())


HERE = Rates("here", "test", rate("3"), rate("15"), rate("0.3"), rate("3.75"), rate("6"))
TIERED = Rates(
    "there", "test", rate("1", "5"), rate("5", "25"), rate("0.1", "0.5"), rate("1.25", "6.25")
)
BARE = Rates("bare", "test", rate("0.5"), rate("1"))
COUNTS = st.integers(1000, 90_000)
TOKENS = st.builds(Tokens, COUNTS, COUNTS, st.sampled_from([0, 5000]), COUNTS, COUNTS)
MODELS = st.sampled_from(["claude-sonnet-4-5", "claude-sonnet-5-5", "gpt-oss-120b"])


def same(quick: tuple[float, float, float], exact: Projection) -> None:
    expected = (float(exact.expected), float(exact.low), float(exact.high))
    assert quick == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(TOKENS, MODELS, st.sampled_from([TIERED, BARE]))
def test_a_move_to_another_vendor(tokens: Tokens, model: str, there: Rates) -> None:
    factors = Assumptions().factors(model, "other")
    exact = project(tokens, HERE, Elsewhere(there), factors, Gaps(), baseline=Decimal("0.5"))
    quick = move(tokens, lambda prompt: fast_rates(there, prompt), fast_factors(factors), 0.5, 0.0)
    same(quick, exact)


@given(TOKENS, MODELS)
def test_what_it_does_to_the_cache_is_charged(tokens: Tokens, model: str) -> None:
    factors = Assumptions().factors(model, "other")
    gaps = Gaps(200.0, 150.0)
    exact = project(tokens, HERE, Elsewhere(BARE), factors, gaps)
    charge = float(exact.penalty_write + exact.penalty_ttl)
    quick = move(
        tokens,
        lambda prompt: fast_rates(BARE, prompt),
        fast_factors(factors),
        float(exact.baseline),
        charge,
    )
    same(quick, exact)


@given(TOKENS, MODELS, st.booleans())
def test_a_cheaper_model_of_the_vendor(tokens: Tokens, model: str, is_first: bool) -> None:
    factors = Assumptions().factors(model, "claude-haiku-5-5")
    exact = project_sibling(tokens, TIERED, factors, baseline=Decimal(1), is_first=is_first)
    quick = move_sibling(
        tokens,
        lambda prompt: fast_rates(TIERED, prompt),
        fast_factors(factors),
        1.0,
        is_first=is_first,
    )
    same(quick, exact)


def test_rates_without_input_are_refused() -> None:
    with pytest.raises(ValueError, match="no price"):
        fast_rates(Rates("odd", "test"), 1)

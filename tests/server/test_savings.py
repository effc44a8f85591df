"""The formulas, on numbers that can be followed on paper; shared vectors are in their own file."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pricing import Rate, Rates
from providers.types import Usage
from server.limits import PlanLimits
from server.savings import (
    Elsewhere,
    Factors,
    Gaps,
    Moved,
    Span,
    Tokens,
    bill,
    exactly,
    naive,
    penalties,
    project,
    project_sibling,
    realised,
    span,
    tokens_of,
)
from server.savings_assumptions import Assumptions, assumptions, tokenizer_of
from server.savings_worlds import Away, Step, play


def rate(usd: str, *tiers: tuple[int, str]) -> Rate:
    return Rate(Decimal(usd), tuple((start, Decimal(higher)) for start, higher in tiers))


HOME = Rates(
    "home",
    "test",
    input=rate("2", (100_000, "4")),
    output=rate("10", (100_000, "20")),
    cache_read=rate("0.2", (100_000, "0.4")),
    cache_write_5m=rate("2.5", (100_000, "5")),
    cache_write_1h=rate("4", (100_000, "8")),
)
CHEAP = Rates("cheap", "test", input=rate("0.5"), output=rate("1"))
THERE = Elsewhere(CHEAP)
SURE = Factors(k_in=exactly(1), k_out=exactly(1), fail=exactly(0))
ONE_NANO = Decimal("1e-9")


def usd(text: str) -> Decimal:
    return Decimal(text)


# ------------------------------------------------------------------ prices


def test_a_bill_has_five_parts() -> None:
    tokens = Tokens(input=1000, write_5m=2000, write_1h=3000, read=40_000, output=500)
    assert bill(tokens, HOME) == usd("0.002") + usd("0.005") + usd("0.012") + usd("0.008") + usd(
        "0.005"
    )


@pytest.mark.parametrize(("read", "expected"), [(100_000, "0.03"), (100_001, "0.0600004")])
def test_a_long_prompt_moves_the_whole_bill(read: int, expected: str) -> None:
    assert bill(Tokens(read=read, output=1000), HOME) == usd(expected)


def test_missing_cache_rates_are_the_next_dearer_ones() -> None:
    assert bill(Tokens(read=1_000_000), CHEAP) == usd("0.5")
    assert bill(Tokens(write_1h=1_000_000), CHEAP) == usd("0.5")
    no_long = replace(HOME, cache_write_1h=None)
    assert bill(Tokens(write_1h=10_000), no_long) == usd("0.025")


def test_without_a_price_there_is_no_bill() -> None:
    with pytest.raises(ValueError, match="no price"):
        bill(Tokens(1), replace(CHEAP, output=None))


def test_tokens_come_from_the_reported_usage() -> None:
    assert tokens_of(Usage(output_tokens=5)) is None
    assert tokens_of(Usage(1, 2, 3, 4, None)) == Tokens(1, 4, 0, 3, 2)
    only_read = tokens_of(Usage(1, 2, 3, 0, 0), ttl="1h")
    assert only_read is not None
    assert only_read.lifetime_s == 3600


# ------------------------------------------------------------------ the seed's figure


@pytest.mark.parametrize(
    ("route", "chars", "most", "expected"),
    [
        # 1,000 in, 500 out: 0.003 + 0.0075 - 0.00015
        ("summary", 4000, None, "0.01035"),
        ("code_draft", 4000, 500, "0.01035"),
        # 1,001 in, 800 out at most: 0.003003 + 0.012 - 0.0001801 = 0.0148229
        ("planning", 4001, 128_000, "0.01482"),
        ("tool_loop", 4000, None, "0"),
        ("long_context", 400_000, 500, "0"),
    ],
)
def test_the_naive_figure(route: str, chars: int, most: int | None, expected: str) -> None:
    assert naive(route, chars, most) == usd(expected)


# ------------------------------------------------------------------ penalties

WARM = Tokens(write_5m=1000, read=50_000, output=100)


@pytest.mark.parametrize(
    ("prev", "after", "write", "ttl"),
    [
        (None, None, "0", "0"),
        (None, 300.0, "0.0023", "0"),
        (None, 300.1, "0", "0"),
        (100.0, 200.0, "0.0023", "0"),
        (100.0, 200.1, "0.0023", "0.115"),
        (300.0, 300.0, "0.0023", "0.115"),
        (300.1, 300.0, "0.0023", "0"),
        (10.0, None, "0", "0"),
    ],
)
def test_penalties_depend_on_both_gaps(
    prev: float | None, after: float | None, write: str, ttl: str
) -> None:
    assert penalties(WARM, HOME, Gaps(prev, after)) == (usd(write), usd(ttl))


def test_a_write_for_an_hour_lives_for_an_hour_and_costs_more() -> None:
    long = Tokens(write_1h=1000, read=50_000)
    assert penalties(long, HOME, Gaps(3000, 3600)) == (usd("0.0038"), usd("0.19"))
    assert penalties(long, HOME, Gaps(200, 190)) == (usd("0.0038"), usd("0"))


# ------------------------------------------------------------------ one turn


def test_a_warm_turn_loses_at_list_price() -> None:
    made = project(WARM, HOME, THERE, SURE, Gaps(10, 20))
    # 0.0025 + 0.01 + 0.001 here; 51,000 * 0.5 + 100 * 1 there
    assert (made.baseline, made.target) == (usd("0.0135"), usd("0.0256"))
    assert made.direct == usd("-0.0121")
    assert made.net == made.expected == made.low == made.high == usd("-0.0144")
    assert made.redo == 0


def test_every_bad_end_at_once_is_low_and_every_good_one_high() -> None:
    factors = Factors(
        k_in=span("1", "0.5", "2"), k_out=span("1", "0.5", "3"), fail=span("0.1", "0", "0.5")
    )
    made = project(Tokens(input=10_000, output=1000), HOME, THERE, factors, Gaps())
    assert made.baseline == usd("0.03")
    assert made.target == usd("0.006")
    assert made.expected == usd("0.9") * usd("0.024") - usd("0.1") * usd("0.006")
    assert made.low == usd("0.5") * (usd("0.03") - usd("0.013")) - usd("0.5") * usd("0.013")
    assert made.high == usd("0.03") - usd("0.003")


def test_where_leaving_loses_a_failed_try_is_the_good_end() -> None:
    factors = replace(SURE, fail=span("0.1", "0.02", "0.3"))
    made = project(WARM, HOME, THERE, factors, Gaps(200, 200))
    assert made.net == usd("-0.1294")
    assert made.low == usd("0.98") * made.net - usd("0.02") * made.target
    assert made.high == usd("0.7") * made.net - usd("0.3") * made.target


def test_tokens_are_rounded_up_after_the_exact_product() -> None:
    factors = replace(SURE, k_in=exactly("1.1"), k_out=exactly("0.8"))
    made = project(Tokens(input=850, output=3), HOME, THERE, factors, Gaps())
    assert (made.target_input, made.target_output) == (935, 3)


def test_a_free_and_stripped_call_costs_nothing() -> None:
    there = Elsewhere(CHEAP, stripped=50_000, is_free=True)
    made = project(WARM, HOME, there, SURE, Gaps())
    assert (made.target, made.target_input) == (usd("0"), 1000)


def test_a_sibling_keeps_the_shape_of_the_cache() -> None:
    sibling = Rates(
        "small",
        "test",
        input=rate("1"),
        output=rate("5"),
        cache_read=rate("0.1"),
        cache_write_5m=rate("1.25"),
    )
    factors = Factors(k_in=exactly(1), k_out=span("1", "0.5", "2"), fail=exactly(0))

    made = project_sibling(WARM, sibling, factors, baseline=usd("0.0135"), is_first=False)
    assert made.target == usd("0.00125") + usd("0.005") + usd("0.0005")
    assert (made.penalty_write, made.penalty_ttl) == (usd("0"), usd("0"))
    assert (made.low, made.high) == (usd("0.00625"), usd("0.007"))

    first = project_sibling(WARM, sibling, factors, baseline=usd("0.0135"), is_first=True)
    assert (first.expected, first.high) == (made.expected, made.high)
    # its 50,000 tokens of foreign prefix would have to be written: 51,000 * 1.25
    assert first.low == usd("0.0135") - usd("0.06375") - usd("0.001")


_counts = st.integers(0, 200_000)


@st.composite
def _spans(draw: st.DrawFn, most: int = 3) -> Span:
    ends = st.decimals(0, most, places=2)
    lo, mid, hi = sorted((draw(ends), draw(ends), draw(ends)))
    return Span(mid, lo, hi)


@given(
    tokens=st.builds(Tokens, _counts, _counts, _counts, _counts, _counts),
    factors=st.builds(Factors, k_in=_spans(), k_out=_spans(), fail=_spans(most=1)),
    gaps=st.builds(Gaps, st.none() | st.floats(0, 4000), st.none() | st.floats(0, 4000)),
    is_first=st.booleans(),
)
def test_the_figure_lies_in_its_range_and_adds_up(
    tokens: Tokens, factors: Factors, gaps: Gaps, is_first: bool
) -> None:
    baseline = bill(tokens, HOME)
    for made in (
        project(tokens, HOME, THERE, factors, gaps),
        project_sibling(tokens, HOME, factors, baseline=baseline, is_first=is_first),
    ):
        assert made.low <= made.expected <= made.high
        parts = made.target + made.penalty_write + made.penalty_ttl + made.redo
        assert abs(made.baseline - parts - made.expected) < ONE_NANO


# ------------------------------------------------------------------ turns that were moved


def test_a_realised_saving_is_the_estimate_less_what_was_paid() -> None:
    moved = Moved(20_000, 1000, is_warm=True, output=100, paid=usd("0.002"), extra_write=1000)
    made = realised(moved, HOME, span("1", "0.5", "2"), span("1", "0.5", "2"))
    assert made.baseline == usd("0.004") + usd("0.0025") + usd("0.001")
    assert made.extra_write == usd("0.0023")
    assert made.usd == usd("0.0032")
    assert made.low == made.usd - usd("0.00125") - usd("0.0005")
    assert made.high == made.usd + usd("0.0025") + usd("0.001")
    cold = realised(replace(moved, is_warm=False), HOME, exactly(1), exactly(1))
    assert cold.baseline - made.baseline == usd("0.046")


def test_a_redone_turn_cost_what_was_paid_and_more() -> None:
    moved = Moved(20_000, 1000, True, 100, usd("0.002"), is_redone=True, redo=usd("0.001"))
    made = realised(moved, HOME, span("1", "0.5", "2"), exactly(1))
    assert made.usd == made.low == made.high == usd("-0.003")


# ------------------------------------------------------------------ whole sessions


def test_a_session_is_played_in_both_worlds() -> None:
    steps = [Step(0, 1000, 100), Step(10, 900, 100, is_moved=True), Step(20, 900, 100)]
    away = Away(THERE, Decimal(1), Decimal(2))
    worlds = play(steps, HOME, away, base=9000)
    # stayed: writes 10,000; reads 10,000 writes 1,000; reads 11,000 writes 1,000; 100 out each
    assert worlds.stayed == usd("0.026") + usd("0.0055") + usd("0.0057")
    # routed: the same first; 11,000 sent, 200 answered; reads 10,000 writes 2,100
    assert worlds.routed == usd("0.026") + usd("0.0057") + usd("0.00825")
    assert worlds.saving == usd("-0.00275")
    assert worlds.admitted == (True,)


def test_a_pause_longer_than_the_cache_writes_everything_again() -> None:
    steps = [Step(0, 1000, 100), Step(301, 900, 100)]
    away = Away(THERE, Decimal(1), Decimal(1))
    short = play(steps, HOME, away, base=9000)
    long = play(steps, HOME, away, base=9000, ttl_s=3600)
    assert short.stayed == usd("0.026") + usd("0.0285")
    assert long.stayed == usd("0.041") + usd("0.007")


@pytest.mark.parametrize(("over", "routed"), [("stay", "0.026"), ("pay", "0.0051")])
def test_a_full_plan_keeps_a_turn_home_or_makes_it_pay(over: str, routed: str) -> None:
    there = Elsewhere(CHEAP, is_free=True)
    limits = PlanLimits(tokens_per_minute=10_000)
    away = Away(there, Decimal(1), Decimal(1), limits, over)  # type: ignore[arg-type]
    worlds = play([Step(0, 1000, 100, is_moved=True)], HOME, away, base=9000)
    assert worlds.admitted == (False,)
    assert worlds.routed == usd(routed)


# ------------------------------------------------------------------ assumptions


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-opus-4-7", "claude from 4.7"),
        ("anthropic/claude-sonnet-5[1m]", "claude from 4.7"),
        ("claude-haiku-5-5-20261001", "claude from 4.7"),
        ("claude-haiku-4-5-20251001", "claude before 4.7"),
        ("claude-sonnet-4-20250514", "claude before 4.7"),
        ("claude-3-5-sonnet-latest", "claude before 4.7"),
        ("gpt-6-luna", "other"),
        (None, "other"),
    ],
)
def test_a_model_name_tells_its_tokenizer(model: str | None, family: str) -> None:
    assert tokenizer_of(model) == family


def test_other_vendors_count_fewer_tokens_than_new_claude_models() -> None:
    made = Assumptions()
    assert made.factors("claude-sonnet-5-5", "gpt-oss-120b").k_in == span("0.80", "0.75", "0.85")
    assert made.factors("claude-sonnet-4-5", "gpt-oss-120b").k_in.mid == 1
    assert made.factors("claude-sonnet-5-5", "claude-haiku-5-5").k_in == exactly(1)
    assert made.factors("gpt-6-luna", "gpt-oss-120b").k_in.lo < 1


def test_the_assumptions_are_said_in_words() -> None:
    sentences = assumptions()
    assert all(sentence.endswith(".") for sentence in sentences)
    text = " ".join(sentences)
    for figure in ("0.5 to 2 times", "10 %", "2 % to 30 %", "0.80 times", "list-price equivalent"):
        assert figure in text

"""The share of answers that have to be made again, assumed or measured."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hand_session import GROQ, HAIKU, PRICES, SONNET
from past_turns import START, past

from providers.pricing import Prices
from server.backtest import Backtest, backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_scores import PastScore
from server.savings_assumptions import Assumptions
from server.savings_learned import LEAST_PAIRS, PastRates, RedoRate
from server.verification.ladder import RATED

TITLES = {
    "routes": {"summary": [f"groq/{GROQ}"]},
    "modes": {"summary": "live"},
}


def scores(passed: Iterable[bool], kind: str = "title", model: str = GROQ) -> list[PastScore]:
    return [
        PastScore(kind, "summary", "groq", model, START + n, good, False, {})
        for n, good in enumerate(passed)
    ]


def replayed(compared: Iterable[PastScore]) -> Backtest:
    titles = [
        past(float(n), kind="title", route="summary", session=None, input_tokens=1000,
             output_tokens=20, cost_usd=0.0022, cache_ttl=None)
        for n in range(5)
    ]  # fmt: skip
    book = PriceBook(Prices(PRICES), Assumptions())
    book.learn(compared)
    return backtest(titles, Replan(Settings.model_validate({"routing": TITLES})), book, {})


def test_too_few_comparisons_change_nothing() -> None:
    few = [True] * (LEAST_PAIRS - 1)
    assert RedoRate(LEAST_PAIRS - 1, 0).span is None
    assert replayed(scores(few)).total == replayed([]).total
    assert PastRates(scores(few)).as_json() == []


def test_enough_of_them_replace_the_assumption() -> None:
    span = RedoRate(40, 6).span
    assert span is not None
    # Wilson's 95 % interval of 6 in 40, worked out with other arithmetic.
    assert (span.mid, span.lo, span.hi) == (Decimal("0.15"), Decimal("0.0706"), Decimal("0.2907"))
    total = replayed(scores([False] * 6 + [True] * 34)).total
    # There: 800 tokens in and 20 out; 15 in 100 are paid for twice.
    there = 0.000132
    saved = 0.85 * (0.0022 - there) - 0.15 * there
    assert total.before - total.after == pytest.approx(5 * saved)
    assert total.after_high - total.after_low > 0


def test_they_count_for_their_own_kind_and_model_alone() -> None:
    plain = replayed([]).total
    assert replayed(scores([False] * 40, kind="topic")).total == plain
    assert replayed(scores([False] * 40, model="another")).total == plain
    assert replayed(scores([False] * 40)).total.after > plain.after


def test_only_the_latest_count() -> None:
    rates = PastRates(scores([False] * 500 + [True] * RATED))
    assert rates("title", "groq", GROQ) == RedoRate(RATED, 0)
    (row,) = rates.as_json()
    assert (row["pairs"], row["failed"], row["share"], row["low"]) == (RATED, 0, 0.0, 0.0)
    assert 0 < row["high"] < 0.03


def test_the_factors_of_a_projection() -> None:
    known = Assumptions(redone=PastRates(scores([True] * 60)))
    measured = known.factors(SONNET, GROQ, kind="title", provider="groq").fail
    assert measured.mid == 0
    assert known.factors(SONNET, GROQ).fail == Assumptions().fail
    assert known.factors(SONNET, HAIKU, kind="title", provider="anthropic").fail == known.fail

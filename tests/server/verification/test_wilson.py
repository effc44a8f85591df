"""The bounds of a pass rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.verification.wilson import Z, bounds

few = settings(deadline=None, database=None, max_examples=60)


@pytest.mark.parametrize(
    ("passed", "trials", "low"), [(35, 35, 0.90), (50, 50, 0.92), (96, 100, 0.90), (189, 200, 0.90)]
)
def test_so_many_good_answers_make_ninety_percent_sure(
    passed: int, trials: int, low: float
) -> None:
    assert bounds(passed, trials)[0] >= low
    assert bounds(passed - 1, trials - 1)[0] < bounds(passed, trials)[0]


def test_a_known_interval() -> None:
    # 81 of 263, a textbook's example.
    low, high = bounds(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert bounds(0, 0) == (0.0, 1.0)
    assert bounds(10, 10)[1] == 1.0
    assert bounds(0, 10)[0] == 0.0


@pytest.mark.parametrize("numbers", [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot have passed"):
        bounds(*numbers)


@few
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_its_ends_solve_the_equation_they_come_from(numbers: tuple[int, int]) -> None:
    passed, trials = numbers
    rate = passed / trials
    low, high = bounds(passed, trials)
    assert 0 <= low <= rate <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(rate - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / trials))

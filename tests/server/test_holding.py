"""How long an overloaded vendor is asked again."""

from __future__ import annotations

import pytest

from server.holding import LONGEST_S, hold_s


@pytest.mark.parametrize(
    ("tries", "chance", "wait"),
    [(1, 0.0, 0.5), (1, 1.0, 1.0), (3, 1.0, 4.0), (4, 0.5, 6.0), (9, 1.0, LONGEST_S)],
)
def test_it_takes_longer_each_time(tries: int, chance: float, wait: float) -> None:
    assert hold_s(tries, None, 100.0, lambda: chance) == wait


def test_never_sooner_than_it_asked() -> None:
    assert hold_s(1, 7.0, 100.0, lambda: 0.0) == 7.0
    assert hold_s(9, 7.0, 100.0, lambda: 1.0) == LONGEST_S


def test_not_when_the_time_would_be_over() -> None:
    assert hold_s(1, 30.0, 30.0, lambda: 0.0) is None
    assert hold_s(1, None, 0.5, lambda: 0.0) is None
    assert hold_s(1, None, -1.0, lambda: 0.0) is None

"""Sums as the screens read them from the engine's snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from fake_engine import saved

from tui.sums import MOST_GROUPS, Saved, Savings, saved_from, savings_from


def test_the_greatest_gain_comes_first_and_losses_last() -> None:
    found = savings_from(
        {"all": saved(3, 1.0), "by_kind": {"a": saved(1, -2.0), "b": saved(1, 3.0), "c": saved(9)}}
    )
    assert found.is_known
    assert list(found.by_kind) == ["b", "c", "a"]
    assert found.all.usd == 1.0
    many = savings_from({"by_kind": {f"k{n}": saved(1, n) for n in range(MOST_GROUPS + 9)}})
    assert len(many.by_kind) == MOST_GROUPS
    assert "k0" not in many.by_kind


def test_what_is_counted_is_what_has_a_price() -> None:
    found = saved_from(saved(5, 1.0, unpriced=2))
    assert (found.priced, found.is_empty) == (3, False)
    assert Saved().is_empty
    assert not Saved(needs_key=1).is_empty
    assert savings_from({}) == Savings()


@pytest.mark.parametrize("odd", [None, "x", -1, float("nan"), [], True])
def test_nonsense_is_nothing(odd: Any) -> None:
    assert saved_from(dict.fromkeys(("turns", "unpriced", "losses"), odd)).turns == 0
    assert savings_from({"assumptions": odd, "by_route": odd, "today": odd}).today == Saved()

"""Which turns are compared."""

from __future__ import annotations

from server.planning import lot_of
from server.verification.ladder import Outcome, Standing
from server.verification.sampling import FIRST_PAIRS, WEEK_PAIRS, WEEK_S, draw, is_sampled

NOW = 1_800_000_000.0
IDS = [f"gw_{number:024x}" for number in range(4000)]


def known(count: int, at: float = NOW) -> Standing:
    return Standing((Outcome(at, passed=True),) * count)


def taken(standing: Standing, percent: int) -> int:
    return sum(is_sampled(turn, standing, percent, NOW) for turn in IDS)


def test_every_turn_until_there_are_some_then_a_share() -> None:
    assert taken(known(FIRST_PAIRS - 1), 1) == len(IDS)
    for percent in (1, 10, 50):
        share = 100 * taken(known(FIRST_PAIRS), percent) / len(IDS)
        assert abs(share - percent) < 2.5
    assert taken(known(FIRST_PAIRS), 100) == len(IDS)


def test_none_at_all_of_nothing() -> None:
    assert taken(known(0), 0) == 0


def test_a_week_has_its_most() -> None:
    assert taken(known(WEEK_PAIRS), 100) == 0
    assert taken(known(WEEK_PAIRS - 1), 100) == len(IDS)
    assert taken(known(WEEK_PAIRS, NOW - WEEK_S - 1), 100) == len(IDS)


def test_the_same_turn_is_always_drawn_alike_and_apart_from_its_canary_lot() -> None:
    assert [draw(turn) for turn in IDS] == [draw(turn) for turn in IDS]
    in_canary = [turn for turn in IDS if lot_of(turn) < 10]
    share = 100 * sum(draw(turn) < 10 for turn in in_canary) / len(in_canary)
    assert 3 < share < 18

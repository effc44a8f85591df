"""The ladder's state machine: what demotes, what suggests, what forgives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.verification.ladder import (
    FLOOR,
    HARD_FAILURES,
    HARD_WINDOW,
    JUDGED,
    KEPT,
    LEAST_JUDGED,
    RATED,
    Outcome,
    Rung,
    Standing,
    add,
    after,
    complaint,
    promoted,
    suggestion,
)
from server.verification.wilson import bounds

few = settings(deadline=None, database=None, max_examples=40)

outcomes = st.builds(
    Outcome,
    st.just(0.0),
    st.sampled_from([True, False, None]),
    st.sampled_from([False] * 6 + [True]),
).map(lambda o: Outcome(o.at, False if o.hard and o.passed else o.passed, o.hard))
runs = st.lists(outcomes, max_size=120)


def good(count: int, at: float = 0.0) -> list[Outcome]:
    return [Outcome(at, True)] * count


def bad(count: int, *, hard: bool = False) -> list[Outcome]:
    return [Outcome(0.0, False, hard)] * count


def walked(run: list[Outcome], rung: Rung = Rung.LIVE, begin: Standing | None = None) -> Standing:
    standing = begin or Standing()
    for number, outcome in enumerate(run, 1):
        standing = after(standing, rung, Outcome(float(number), outcome.passed, outcome.hard))
    return standing


@pytest.mark.parametrize(
    ("run", "is_demoted"),
    [
        (bad(2, hard=True), False),
        (bad(3, hard=True), True),
        ([Outcome(0.0, None, hard=True)] * 3, True),
        ([*bad(1, hard=True), *good(9), *bad(2, hard=True)], False),
        ([*good(20), *bad(1, hard=True), *good(7), *bad(2, hard=True)], True),
        (bad(LEAST_JUDGED - 1), False),
        (bad(LEAST_JUDGED), True),
        ([*good(7), *bad(3)], True),
        ([*good(8), *bad(2)], False),
        (good(KEPT + 10), False),
    ],
)
def test_what_takes_a_kind_back(run: list[Outcome], is_demoted: bool) -> None:
    assert (walked(run).demotion is not None) is is_demoted


@few
@given(runs, st.sampled_from(Rung))
def test_it_is_demoted_exactly_when_the_rule_says_so(run: list[Outcome], rung: Rung) -> None:
    standing = Standing()
    for number, each in enumerate(run, 1):
        outcome = Outcome(float(number), each.passed, each.hard)
        seen = [*standing.outcomes, outcome]
        judged = [o.passed for o in seen if o.passed is not None][-JUDGED:]
        is_unusable = sum(o.hard for o in seen[-HARD_WINDOW:]) >= HARD_FAILURES
        enough = len(judged) >= LEAST_JUDGED
        is_poor = enough and bounds(sum(judged), len(judged))[1] < FLOOR
        was = standing.demotion
        standing = after(standing, rung, outcome)
        assert standing.outcomes[-1] == outcome
        if was is not None or not rung.moves:
            assert standing.demotion == was
        else:
            assert (standing.demotion is not None) == (is_unusable or is_poor)
            if standing.demotion is not None:
                assert standing.demotion.source is rung
                assert standing.demotion.reason


@few
@given(runs)
def test_what_only_observes_is_never_demoted(run: list[Outcome]) -> None:
    for rung in (Rung.OBSERVE, Rung.VERIFY):
        assert walked(run, rung).demotion is None


@few
@given(runs, runs)
def test_a_new_chance_is_judged_by_what_comes_after_it(
    before: list[Outcome], later: list[Outcome]
) -> None:
    forgiven = promoted(walked(before))
    assert forgiven.demotion is None
    again = forgiven
    fresh = Standing()
    for number, each in enumerate(later):
        outcome = Outcome(2e6 + number, each.passed, each.hard)
        again, fresh = after(again, Rung.LIVE, outcome), after(fresh, Rung.LIVE, outcome)
    assert (again.demotion is None) == (fresh.demotion is None)
    assert again.samples >= fresh.samples, "the evidence itself is not forgotten"


@few
@given(st.lists(outcomes, max_size=KEPT + 50))
def test_it_remembers_no_more_than_it_should(run: list[Outcome]) -> None:
    standing = Standing()
    for outcome in run:
        standing = add(standing, outcome)
    assert len(standing.outcomes) == min(len(run), KEPT)
    assert standing.samples <= RATED
    assert 0 <= standing.passed <= standing.samples
    low, high = standing.range
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("run", "rung", "saves", "wanted"),
    [
        (good(19), Rung.VERIFY, True, None),
        (good(20), Rung.VERIFY, True, Rung.CANARY),
        (good(20), Rung.CANARY, True, None),
        (good(34), Rung.VERIFY, True, Rung.CANARY),
        (good(35), Rung.VERIFY, True, Rung.LIVE),
        (good(35), Rung.OBSERVE, True, Rung.LIVE),
        (good(35), Rung.CANARY, True, Rung.LIVE),
        (good(35), Rung.LIVE, True, None),
        (good(35), Rung.VERIFY, False, None),
        ([*good(96), *bad(4)], Rung.VERIFY, True, Rung.LIVE),
        ([*bad(3, hard=True), *good(97)], Rung.VERIFY, True, Rung.CANARY),
        ([*good(60), *bad(3, hard=True)], Rung.VERIFY, True, None),
        ([], Rung.VERIFY, True, None),
    ],
)
def test_what_the_evidence_would_carry(
    run: list[Outcome], rung: Rung, saves: bool, wanted: Rung | None
) -> None:
    assert suggestion(walked(run, Rung.VERIFY), rung, saves) is wanted


@few
@given(runs, st.sampled_from(Rung), st.booleans())
def test_nothing_is_suggested_that_would_be_taken_back_at_once(
    run: list[Outcome], rung: Rung, saves: bool
) -> None:
    standing = walked(run, Rung.VERIFY)
    wanted = suggestion(standing, rung, saves)
    if wanted is not None:
        assert wanted.moves
        assert saves
        assert wanted is not rung
        assert complaint(standing) is None

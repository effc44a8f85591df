"""The circuit breaker: opens on real failures only, and closes again by itself."""

from __future__ import annotations

import random

from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.breaker import (
    FAILURES_IN_A_ROW,
    LONGEST_OPEN_S,
    OPEN_S,
    PROBE_S,
    Breaker,
    Outcome,
    Permit,
    State,
)


def attempt(breaker: Breaker, outcome: Outcome, now: float, error: str | None = None) -> bool:
    permit = breaker.ask(now)
    assert permit is not None
    return breaker.record(permit, outcome, now, error)


def broken(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        attempt(breaker, Outcome.FAILURE, now, "refused")
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    changes = [attempt(breaker, Outcome.FAILURE, 0.0) for _ in range(5)]
    assert changes == [False] * 4 + [True]
    assert breaker.state(0.0) is State.OPEN
    assert breaker.ask(OPEN_S - 0.1) is None
    assert breaker.retry_in(5.0) == OPEN_S - 5.0


def test_a_success_in_between_starts_the_row_again() -> None:
    breaker = Breaker()
    for _ in range(4):
        attempt(breaker, Outcome.FAILURE, 0.0)
    attempt(breaker, Outcome.SUCCESS, 0.0)
    for _ in range(4):
        attempt(breaker, Outcome.FAILURE, 70.0)
    assert breaker.state(70.0) is State.CLOSED


def test_half_of_ten_calls_within_a_minute_open_it() -> None:
    breaker = Breaker()
    for number in range(10):
        attempt(breaker, Outcome.FAILURE if number % 2 else Outcome.SUCCESS, number * 5.0)
    assert breaker.state(46.0) is State.OPEN


def test_what_is_older_than_a_minute_does_not_count() -> None:
    breaker = Breaker()
    for number in range(10):
        attempt(breaker, Outcome.FAILURE if number % 2 else Outcome.SUCCESS, number * 20.0)
    assert breaker.state(181.0) is State.CLOSED


def test_slow_successes_open_it_too() -> None:
    breaker = Breaker()
    for _ in range(5):
        attempt(breaker, Outcome.SLOW, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_ten_thousand_refusals_and_cancels_leave_it_closed() -> None:
    breaker = Breaker()
    for number in range(10_000):
        attempt(breaker, Outcome.NEUTRAL, number * 0.01)
    assert breaker.state(100.0) is State.CLOSED


def test_one_probe_at_a_time_and_two_successes_close_it() -> None:
    breaker = broken()
    first = breaker.ask(OPEN_S)
    assert first is not None
    assert first.is_probe
    assert breaker.ask(OPEN_S) is None
    assert breaker.record(first, Outcome.SUCCESS, OPEN_S + 1) is False
    assert breaker.state(OPEN_S + 1) is State.HALF_OPEN
    assert attempt(breaker, Outcome.SUCCESS, OPEN_S + 2) is True
    assert breaker.state(OPEN_S + 2) is State.CLOSED


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    breaker, now, lengths = broken(), 0.0, []
    for _ in range(7):
        left = breaker.retry_in(now)
        assert left is not None
        lengths.append(left)
        now += left
        attempt(breaker, Outcome.FAILURE, now)
    assert lengths == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, LONGEST_OPEN_S]


def test_chance_spreads_the_open_time_by_a_fifth() -> None:
    for chance, length in ((0.0, 12.0), (1.0, 18.0)):
        breaker = Breaker(lambda chance=chance: chance)  # type: ignore[misc]
        for _ in range(5):
            attempt(breaker, Outcome.FAILURE, 0.0)
        assert breaker.retry_in(0.0) == length


def test_ten_quiet_minutes_forgive_earlier_openings() -> None:
    breaker = broken()
    for now in (OPEN_S, OPEN_S + 1):
        attempt(breaker, Outcome.SUCCESS, now)
    later = OPEN_S + 1 + 600
    for _ in range(5):
        attempt(breaker, Outcome.FAILURE, later)
    assert breaker.retry_in(later) == OPEN_S


def test_an_abandoned_probe_counts_nothing_and_frees_its_place() -> None:
    breaker = broken()
    attempt(breaker, Outcome.NEUTRAL, OPEN_S)
    assert breaker.ask(OPEN_S) is not None
    assert breaker.ask(OPEN_S + PROBE_S - 1) is None
    assert breaker.ask(OPEN_S + PROBE_S) is not None


def test_a_permit_counts_once() -> None:
    breaker = Breaker()
    permit = breaker.ask(0.0)
    assert permit is not None
    for _ in range(10):
        breaker.record(permit, Outcome.FAILURE, 0.0)
    assert breaker.failures_in_a_row == 1


def test_attempts_begun_before_it_opened_change_nothing() -> None:
    breaker = Breaker()
    early = [breaker.ask(0.0) for _ in range(8)]
    for permit in early[:5]:
        assert permit is not None
        breaker.record(permit, Outcome.FAILURE, 0.0)
    left = breaker.retry_in(0.0)
    for permit in early[5:]:
        assert permit is not None
        breaker.record(permit, Outcome.FAILURE, 1.0)
    assert breaker.retry_in(0.0) == left


def test_reset_closes_and_forgets() -> None:
    breaker = broken()
    breaker.reset()
    assert breaker.state(0.0) is State.CLOSED
    assert (breaker.failures_in_a_row, breaker.last_error) == (0, None)


class Machine(RuleBasedStateMachine):
    """Any sequence of attempts: never two probes at once, never open for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(random.Random(7).random)
        self.now = 0.0
        self.out: list[tuple[Permit, float]] = []

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        can = self.breaker.can_try(self.now)
        permit = self.breaker.ask(self.now)
        assert (permit is not None) is can
        if permit is not None:
            self.out.append((permit, self.now))

    @rule(outcome=st.sampled_from(list(Outcome)))
    def end(self, outcome: Outcome) -> None:
        if self.out:
            self.breaker.record(self.out.pop(0)[0], outcome, self.now)

    @invariant()
    def one_probe_at_most(self) -> None:
        fresh = [p for p, at in self.out if p.is_probe and self.now - at < PROBE_S]
        assert len(fresh) <= 1

    @invariant()
    def never_open_for_ever(self) -> None:
        left = self.breaker.retry_in(self.now)
        assert left is None or 0 < left <= LONGEST_OPEN_S * 1.2


TestAnySequence = Machine.TestCase
TestAnySequence.settings = effort(max_examples=60, stateful_step_count=60, deadline=None)

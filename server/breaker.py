"""When to leave a failing provider alone: a circuit breaker as a pure state machine.

    closed --(5 failures in a row | 10 calls and half of them failed | 5 slow ones)--> open
    open --(its time is over)--> half-open: one probe at a time
    half-open --(2 successes in a row)--> closed        --(a failure)--> open, twice as long

Time is passed in (monotonic seconds), so is chance. Refusals, rate limits and cancelled requests
say nothing about a provider's health and must be recorded as ``NEUTRAL``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

WINDOW_S = 60.0
BUCKET_S = 5.0
FAILURES_IN_A_ROW = 5
LEAST_CALLS = 10
FAILED_SHARE = 0.5
SLOW_IN_A_ROW = 5
OPEN_S = 15.0
"""How long it stays open the first time; twice as long each time it opens again."""
LONGEST_OPEN_S = 300.0
JITTER = 0.2
"""Part of the open time that chance adds or takes."""
PROBES_TO_CLOSE = 2
PROBE_S = 120.0
"""A probe without any outcome gives its place up after this long."""
FORGIVE_S = 600.0
"""Closed for this long, the next opening starts at ``OPEN_S`` again."""


class State(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(StrEnum):
    """What an attempt says about its provider's health."""

    SUCCESS = "success"
    SLOW = "slow"
    """A success whose first byte came too late."""
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Nothing: a refusal, a rate limit, a client that left, a fault of ours."""


@dataclass(eq=False, slots=True)
class Permit:
    """Leave to make one attempt; give it back with ``Breaker.record``, exactly once."""

    is_probe: bool = False
    is_used: bool = False
    is_forced: bool = False
    """Taken without leave; only a success says something new."""


@dataclass(slots=True)
class _Bucket:
    start: float
    calls: int = 0
    failures: int = 0


class Breaker:
    """One breaker; ``chance`` gives numbers from 0 up to 1."""

    def __init__(self, chance: Callable[[], float] = lambda: 0.5) -> None:
        self._chance = chance
        self._buckets: deque[_Bucket] = deque()
        self._failed_in_a_row = 0
        self._slow_in_a_row = 0
        self._openings = 0
        self._is_open = False
        self._open_until = 0.0
        self._closed_since: float | None = None
        self._good_probes = 0
        self._probe: tuple[Permit, float] | None = None
        self.last_error: str | None = None
        self.last_failure_at: float | None = None

    def state(self, now: float) -> State:
        """Where it stands at ``now``."""
        if not self._is_open:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def retry_in(self, now: float) -> float | None:
        """Seconds until the first probe; ``None`` unless it is open."""
        return self._open_until - now if self.state(now) is State.OPEN else None

    @property
    def failures_in_a_row(self) -> int:
        """Failures since the last success."""
        return self._failed_in_a_row

    def can_try(self, now: float) -> bool:
        """Whether ``ask`` would give a permit now."""
        match self.state(now):
            case State.CLOSED:
                return True
            case State.OPEN:
                return False
            case _:
                return not self._is_probing(now)

    def ask(self, now: float) -> Permit | None:
        """Leave to make an attempt; ``None`` while it is open or a probe is under way."""
        if not self.can_try(now):
            return None
        if not self._is_open:
            return Permit()
        permit = Permit(is_probe=True)
        self._probe = (permit, now)
        return permit

    def record(
        self, permit: Permit, outcome: Outcome, now: float, error: str | None = None
    ) -> bool:
        """Count one attempt, once; whether the state changed."""
        if permit.is_used:
            return False
        permit.is_used = True
        before = self._is_open
        if self._probe is not None and self._probe[0] is permit:
            self._probe = None
        if outcome is Outcome.FAILURE:
            self.last_error, self.last_failure_at = error, now
        if permit.is_forced:
            if outcome is Outcome.SUCCESS and self._is_open:
                self._record_probe(outcome, now)
        elif outcome is not Outcome.NEUTRAL:
            if permit.is_probe:
                self._record_probe(outcome, now)
            elif not self._is_open:
                # An attempt begun before it opened says what is known already.
                self._count(outcome, now)
        return self._is_open is not before

    def reset(self) -> None:
        """Close it and forget what happened."""
        self.__init__(self._chance)  # type: ignore[misc]

    # ------------------------------------------------------------------ inside

    def _is_probing(self, now: float) -> bool:
        return self._probe is not None and now - self._probe[1] < PROBE_S

    def _record_probe(self, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.FAILURE:
            self._failed_in_a_row += 1
            self._open(now)
            return
        self._good_probes += 1
        if self._good_probes >= PROBES_TO_CLOSE:
            self._is_open = False
            self._closed_since = now
            self._failed_in_a_row = self._slow_in_a_row = 0
            self._buckets.clear()

    def _count(self, outcome: Outcome, now: float) -> None:
        bucket = self._bucket(now)
        bucket.calls += 1
        if outcome is Outcome.FAILURE:
            bucket.failures += 1
            self._failed_in_a_row += 1
        else:
            self._failed_in_a_row = 0
            self._slow_in_a_row = self._slow_in_a_row + 1 if outcome is Outcome.SLOW else 0
        if self._is_too_bad():
            self._open(now)

    def _is_too_bad(self) -> bool:
        if self._failed_in_a_row >= FAILURES_IN_A_ROW or self._slow_in_a_row >= SLOW_IN_A_ROW:
            return True
        failures = sum([bucket.failures for bucket in self._buckets])
        if not failures:
            return False
        calls = sum([bucket.calls for bucket in self._buckets])
        return calls >= LEAST_CALLS and failures >= FAILED_SHARE * calls

    def _bucket(self, now: float) -> _Bucket:
        while self._buckets and now - self._buckets[0].start >= WINDOW_S:
            self._buckets.popleft()
        if not self._buckets or now - self._buckets[-1].start >= BUCKET_S:
            self._buckets.append(_Bucket(now))
        return self._buckets[-1]

    def _open(self, now: float) -> None:
        if self._closed_since is not None and now - self._closed_since >= FORGIVE_S:
            self._openings = 0
        length = min(OPEN_S * 2**self._openings, LONGEST_OPEN_S)
        spread = 1 + JITTER * (2 * self._chance() - 1)
        self._openings = min(self._openings + 1, 16)
        self._is_open = True
        self._open_until = now + length * spread
        self._good_probes = self._slow_in_a_row = 0
        self._buckets.clear()

"""One request on its way along its plan, and why its latest attempt gave the client nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from providers.errors import DeadlineExpired, Offline, UpstreamError
from providers.faults import Fault
from server.credentials import Credential
from server.exchange import Exchange
from server.judge import Judgement
from server.legs import Leg, Legs, Unserved
from server.policy import Plan
from server.storms import Storm

MOST_ATTEMPTS = 3
"""Of one request; the last candidate is asked even so, once."""


@dataclass(slots=True)
class Failure:
    """Why an attempt gave the client nothing."""

    leg: Leg
    judgement: Judgement
    error: UpstreamError | None = None
    fault: Fault | None = None

    @property
    def reason(self) -> str:
        """In words."""
        text = self.fault.message if self.fault is not None else str(self.error or "")
        return text[:300]


@dataclass(slots=True)
class Run:
    """One request on its way along its plan."""

    exchange: Exchange
    plan: Plan
    legs: Legs
    accepted_at: float
    storm: Storm
    credential: Credential | None = None
    """What the first target is paid with, where that is known already."""
    index: int = 0
    """Of the target being tried."""
    failure: Failure | None = None
    """The latest."""
    refusal: Unserved | None = None
    """Why the latest target that cannot take it cannot."""
    notes: list[str] = field(default_factory=list)
    """For the turn's record, whichever target serves it."""
    lessons: int = 0
    """How often something was learned from a refusal, and the request sent again."""
    holds: int = 0
    """How often an overloaded vendor was waited for."""
    hold: float | None = None
    """Seconds until it is asked again, once that is decided."""

    @property
    def is_last(self) -> bool:
        """Whether nobody could take over from the target being tried."""
        return self.index == len(self.plan.targets) - 1

    @property
    def is_stand_in(self) -> bool:
        """Whether the target being tried is not the one the client asked for."""
        return self.index < self.plan.stand_ins

    @property
    def is_over(self) -> bool:
        """Whether what failed is not to be tried at the next target."""
        failure = self.failure
        if failure is None:
            return False
        if isinstance(failure.error, DeadlineExpired):
            return True
        return not self.is_stand_in and not failure.judgement.fail_over

    def skips(self) -> bool:
        """Whether the target ``index`` is passed over: only the way home is left."""
        if self.failure is None or self.is_last:
            return False
        is_offline = isinstance(self.failure.error, Offline)
        return (is_offline and self.is_stand_in) or len(
            self.exchange.turn.attempts
        ) >= MOST_ATTEMPTS

"""What comparisons may cost a day, and which share of a provider's plan they may use.

Both are asked before anything is sent. Real traffic comes first: a comparison needs room in its
own share of the limits in the settings, in those limits as a whole, and in the windows that the
provider's answers report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from server.clock import Clock
from server.limits import Admission, PlanLimits
from server.stats import local_day
from server.windows import DEFAULT_ANSWER, Windows


class Budget:
    """Money of the local day; one that is being spent is reserved, so that none is spent twice."""

    def __init__(self, clock: Clock, spent_usd: float = 0.0) -> None:
        self._clock = clock
        self._spent = spent_usd
        self._reserved = 0.0
        self._next_midnight = local_day(clock.time())[1]

    @property
    def spent_usd(self) -> float:
        """Since midnight."""
        self._turn_the_day()
        return self._spent

    def reserve(self, usd: float, limit_usd: float) -> bool:
        """Set aside what a comparison may cost at most; ``False`` when there is not enough left."""
        self._turn_the_day()
        if self._spent + self._reserved + usd > limit_usd:
            return False
        self._reserved += usd
        return True

    def settle(self, reserved_usd: float, usd: float) -> None:
        """What was reserved has really cost ``usd``."""
        self._turn_the_day()
        self._reserved = max(0.0, self._reserved - reserved_usd)
        self._spent += usd

    def _turn_the_day(self) -> None:
        now = self._clock.time()
        if now >= self._next_midnight:
            self._next_midnight = local_day(now)[1]
            self._spent = 0.0


class Share:
    """The part of every provider's limits that comparisons may use."""

    def __init__(self, clock: Clock, plans: Mapping[str, PlanLimits], windows: Windows) -> None:
        self._clock = clock
        self._plans = plans
        self._windows = windows
        self._percent: int | None = None
        self._gates: dict[str, Admission] = {}

    def refuses(
        self, provider: str, percent: int, *, tokens_in: int, max_tokens: int | None
    ) -> bool:
        """Whether a comparison does not fit now; one that does is booked, as real calls are."""
        if percent != self._percent:
            self._percent = percent
            self._gates = {n: Admission(part(plan, percent)) for n, plan in self._plans.items()}
        if percent <= 0 or self._windows.left_after(provider, tokens_in) < 1 - percent / 100:
            return True
        answer = min(DEFAULT_ANSWER, max_tokens or DEFAULT_ANSWER)
        gate = self._gates.get(provider)
        if gate is not None and not gate.admit(
            self._clock.monotonic(), tokens_in=tokens_in, tokens_out=answer, max_tokens=max_tokens
        ):
            return True
        refused = self._windows.refuses(provider, tokens_in=tokens_in, max_tokens=max_tokens)
        return refused is not None


def part(plan: PlanLimits, percent: int) -> PlanLimits:
    """``percent`` of every limit, rounded down; what is not limited stays so.

    Of calls at the same time one is always left: comparisons come one after another.
    """

    def share(limit: int | None) -> int | None:
        return None if limit is None else limit * percent // 100

    return replace(
        plan,
        requests_per_minute=share(plan.requests_per_minute),
        requests_per_day=share(plan.requests_per_day),
        tokens_per_minute=share(plan.tokens_per_minute),
        tokens_per_day=share(plan.tokens_per_day),
        max_in_flight=None
        if plan.max_in_flight is None
        else max(1, share(plan.max_in_flight) or 0),
    )

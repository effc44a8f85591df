"""What a provider's plan lets through: sliding windows of a minute and a day; pure.

The same admission serves real traffic and projections: time is an argument, so that a shadow run
promises no more than the plan would have allowed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.settings_providers import ProviderTable

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0

RESERVING: Final = frozenset({"cerebras"})
"""Providers that book the longest possible answer before the call."""


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a plan allows; ``None`` is no limit."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    max_in_flight: int | None = None
    reserves_answer: bool = False
    """Whether a call must have room for ``max_tokens``, not only for its answer."""

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing would ever be refused."""
        return self._numbers == (None,) * 5

    @property
    def _numbers(self) -> tuple[int | None, ...]:
        return (
            self.requests_per_minute,
            self.requests_per_day,
            self.tokens_per_minute,
            self.tokens_per_day,
            self.max_in_flight,
        )


def plans(providers: Mapping[str, ProviderTable]) -> dict[str, PlanLimits]:
    """The limits the settings give, by provider; those without any are left out."""
    found = {}
    for name, table in providers.items():
        limits = table.limits
        plan = PlanLimits(
            requests_per_minute=limits.requests_per_minute,
            requests_per_day=limits.requests_per_day,
            tokens_per_minute=limits.tokens_per_minute,
            tokens_per_day=limits.tokens_per_day,
            max_in_flight=limits.max_in_flight,
            reserves_answer=name in RESERVING,
        )
        if not plan.is_unlimited:
            found[name] = plan
    return found


@dataclass(slots=True)
class _Window:
    """Requests and tokens of the last ``width`` seconds; one exactly that old is out."""

    width: float
    requests: int | None
    tokens: int | None
    _kept: deque[tuple[float, int]] = field(default_factory=deque)
    _sum: int = 0

    def admits(self, now: float, tokens: int) -> bool:
        while self._kept and now - self._kept[0][0] >= self.width:
            self._sum -= self._kept.popleft()[1]
        if self.requests is not None and len(self._kept) + 1 > self.requests:
            return False
        return self.tokens is None or self._sum + tokens <= self.tokens

    def book(self, now: float, tokens: int) -> None:
        # Without a limit nothing ever needs to be remembered.
        if self.requests is not None or self.tokens is not None:
            self._kept.append((now, tokens))
            self._sum += tokens


class Admission:
    """The windows of one plan.

    Times are seconds on any one clock; one that lies before the latest counts as the latest.
    """

    def __init__(self, limits: PlanLimits) -> None:
        self.limits = limits
        self._minute = _Window(MINUTE_S, limits.requests_per_minute, limits.tokens_per_minute)
        self._day = _Window(DAY_S, limits.requests_per_day, limits.tokens_per_day)
        self._ends: list[float] = []
        self._now = float("-inf")

    def admit(
        self,
        now: float,
        *,
        tokens_in: int,
        tokens_out: int,
        max_tokens: int | None = None,
        until: float | None = None,
    ) -> bool:
        """Whether a call fits now; one that does is booked with its input and answer.

        ``until`` is when it ends, for the limit on calls at the same time.
        """
        self._now = now = max(self._now, now)
        reserve = max_tokens if self.limits.reserves_answer else None
        asked = tokens_in + (tokens_out if reserve is None else reserve)
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        most = self.limits.max_in_flight
        if most is not None and len(self._ends) + 1 > most:
            return False
        if not (self._minute.admits(now, asked) and self._day.admits(now, asked)):
            return False
        self.book(now, tokens_in + tokens_out)
        if most is not None and until is not None:
            heapq.heappush(self._ends, until)
        return True

    def book(self, now: float, tokens: int) -> None:
        """Count a call that took place."""
        self._now = now = max(self._now, now)
        self._minute.book(now, tokens)
        self._day.book(now, tokens)

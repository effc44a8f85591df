"""How far back the savings look."""

from __future__ import annotations

from enum import StrEnum

from server.stats import local_day

_DAY_S = 86_400.0


class Period(StrEnum):
    """In the order in which a key goes through them."""

    TODAY = "today"
    WEEK = "the last 7 days"
    MONTH = "the last 30 days"
    ALL = "everything on record"

    @property
    def next(self) -> Period:
        """The one after it."""
        periods = list(Period)
        return periods[(periods.index(self) + 1) % len(periods)]

    @property
    def words(self) -> str:
        """As a title ends: ``today``, ``in 7 days``, ``on record``."""
        return {
            Period.TODAY: "today",
            Period.WEEK: "in 7 days",
            Period.MONTH: "in 30 days",
            Period.ALL: "on record",
        }[self]

    def since(self, now: float) -> float:
        """When it begins; days begin at local midnight, seconds since the epoch."""
        midnight, _ = local_day(now)
        match self:
            case Period.TODAY:
                return midnight
            case Period.WEEK:
                return midnight - 6 * _DAY_S
            case Period.MONTH:
                return midnight - 29 * _DAY_S
            case _:
                return 0.0

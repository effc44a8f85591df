"""How often and how soon an attempt is repeated at the same place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST_AT_ONE_PLACE: Final = 2
BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 2.0
EARNED: Final = 0.2
FIRST_TOKENS: Final = 3.0
MOST_TOKENS: Final = 10.0


class RetryBudget:
    """Keeps retries from multiplying a failing provider's load: a fifth of all requests."""

    def __init__(self) -> None:
        self._tokens = FIRST_TOKENS

    def earn(self) -> None:
        """A request was accepted."""
        self._tokens = min(self._tokens + EARNED, MOST_TOKENS)

    def spend(self) -> bool:
        """Whether one more attempt is allowed."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def backoff_s(tries: int, asked_s: float | None, chance: Callable[[], float]) -> float:
    """Seconds to wait after ``tries`` attempts: by chance, never less than the provider asked."""
    longest: float = min(BACKOFF_S * 2.0 ** (tries - 1), LONGEST_BACKOFF_S)
    return max(asked_s or 0.0, longest * chance())

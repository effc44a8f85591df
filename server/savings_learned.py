"""How often answers of a cheaper model have to be made again, learned from compared answers; pure.

A comparison that was not good enough stands for an answer that would have been thrown away. Below
``LEAST_PAIRS`` comparisons of one kind and model nothing is learned, and the assumption of
``server.savings_assumptions`` stays in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from server.ledger_scores import PastScore
from server.savings import Span
from server.verification.ladder import RATED
from server.verification.wilson import bounds

LEAST_PAIRS: Final = 30
"""Comparisons of one kind and model from which on they count for more than the assumption."""

_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class RedoRate:
    """What comparisons say of one kind at one model."""

    pairs: int
    """Answers compared, of the latest ``RATED``."""
    failed: int

    @property
    def span(self) -> Span | None:
        """The share that fails with its 95 % bounds (Wilson); ``None``: too few comparisons."""
        if self.pairs < LEAST_PAIRS:
            return None
        low, high = bounds(self.failed, self.pairs)
        return Span(_share(self.failed / self.pairs), _share(low), _share(high))

    @property
    def words(self) -> str:
        """``6 of 40 compared answers failed``."""
        return f"{self.failed} of {self.pairs} compared answers failed"


RedoRates = Callable[[str, str, str | None], RedoRate | None]
"""By kind, provider and model; ``None`` where nothing was compared."""


def none_known(kind: str, provider: str, model: str | None) -> RedoRate | None:
    """Before anything was compared."""
    return None


class PastRates:
    """The rates of recorded comparisons; callable as ``RedoRates``."""

    def __init__(self, scores: Iterable[PastScore]) -> None:
        """``scores`` are oldest first, as ``LedgerReader.scores`` gives them."""
        trials: defaultdict[tuple[str, str, str], list[bool]] = defaultdict(list)
        for score in scores:
            trials[score.kind, score.provider, score.model].append(score.passed)
        self._rates = {
            key: RedoRate(len(latest), latest.count(False))
            for key, passed in trials.items()
            if (latest := passed[-RATED:])
        }

    def __call__(self, kind: str, provider: str, model: str | None) -> RedoRate | None:
        return self._rates.get((kind, provider, model or ""))

    def as_json(self) -> list[dict[str, Any]]:
        """``[{"kind", "provider", "model", "pairs", "failed", "share", "low", "high"}]``.

        Only those that are reckoned with, in order of their names; shares are 0 to 1.
        """
        return [
            {
                "kind": kind,
                "provider": provider,
                "model": model,
                "pairs": rate.pairs,
                "failed": rate.failed,
                "share": float(span.mid),
                "low": float(span.lo),
                "high": float(span.hi),
            }
            for (kind, provider, model), rate in sorted(self._rates.items())
            if (span := rate.span) is not None
        ]


def _share(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_PLACES)

"""How each provider has done in this run, from the attempts that went to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from server.clock import Clock
from server.record import Attempt

TTFT_SAMPLES: Final = 200
"""Answers that ``ttft_p50_s`` and ``ttft_p95_s`` look back on."""

MOST_LABELS: Final = 64
"""Distinct values kept of a label whose values are not ours to choose."""

OTHER: Final = "other"
"""Stands for all further ones."""


@dataclass(slots=True)
class _Provider:
    requests: int = 0
    errors: int = 0
    status: str = "unused"
    since: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    ttft: deque[float] = field(default_factory=lambda: deque(maxlen=TTFT_SAMPLES))
    rate_limits: dict[str, dict[str, Any]] = field(default_factory=dict)


class ProviderBook:
    """One entry a provider."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._providers: dict[str, _Provider] = {}
        self.outcomes: dict[tuple[str, str], int] = {}
        """Attempts by provider and outcome."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """Fold one attempt in."""
        provider = self._provider(attempt.provider)
        provider.requests += 1
        key = (attempt.provider, attempt.outcome)
        if key not in self.outcomes and len(self.outcomes) >= MOST_LABELS:
            key = (attempt.provider, OTHER)
        self.outcomes[key] = self.outcomes.get(key, 0) + 1
        if attempt.ttft_s is not None:
            provider.ttft.append(attempt.ttft_s)
        if attempt.outcome not in ("success", "cancelled", "open"):
            provider.errors += 1
            provider.last_error = attempt.error or error_text(attempt)
            provider.last_error_at = self._clock.time()
        health = health_of(attempt)
        if health is not None and health != provider.status:
            provider.status, provider.since = health, self._clock.time()

    def window_seen(self, name: str, window: str, values: Mapping[str, Any]) -> None:
        """Keep the newest state of a rate-limit window."""
        self._provider(name).rate_limits[window] = dict(values)

    def stats(self, name: str) -> dict[str, Any]:
        """Requests and errors counted in attempts, times in seconds, instants in wall time.

        ``status`` is ``unused``, ``ok``, ``failing`` or ``offline`` (this machine is), ``since``
        when it became so. Refusals (4xx, 429 included) count as errors and cancels do not;
        neither says anything about the provider's health.
        """
        found = self._providers.get(name) or _Provider()
        samples = sorted(found.ttft)
        return {
            "requests": found.requests,
            "errors": found.errors,
            "ttft_p50_s": percentile(samples, 0.50),
            "ttft_p95_s": percentile(samples, 0.95),
            "status": found.status,
            "since": found.since,
            "last_error": found.last_error,
            "last_error_at": found.last_error_at,
            "rate_limits": {window: dict(values) for window, values in found.rate_limits.items()},
        }

    def _provider(self, name: str) -> _Provider:
        found = self._providers.get(name)
        if found is None:
            found = self._providers[name] = _Provider()
        return found


def percentile(samples: Sequence[float], share: float) -> float | None:
    """Nearest rank in sorted samples, ``None`` without any."""
    if not samples:
        return None
    return samples[max(0, math.ceil(share * len(samples)) - 1)]


def health_of(attempt: Attempt) -> str | None:
    """What an attempt says about its provider: ``ok``, ``failing``, ``offline`` or nothing."""
    match attempt.outcome:
        case "success":
            return "ok"
        case "cancelled" | "open":
            return None
        case "offline":
            return "offline"
        case _:
            is_refusal = attempt.status is not None and 400 <= attempt.status < 500
            return None if is_refusal else "failing"


def error_text(attempt: Attempt) -> str:
    """A failed attempt in a few words, for one that left no message."""
    if attempt.status is not None and attempt.status >= 400:
        return f"HTTP {attempt.status}"
    return attempt.outcome

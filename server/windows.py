"""Whether a provider's plan would let a request through now; asked before it is sent.

Two sources: the limits in the settings, booked here as requests leave, and the windows that the
provider's own answers report. Only targets that stand in for a baseline are asked: the vendor a
client chose itself is never second-guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from providers.faults import retry_seconds
from server.clock import Clock
from server.limits import Admission, PlanLimits
from server.record import RateLimit

DEFAULT_ANSWER = 1_000
"""Tokens an answer is taken to have where nothing says more."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One reported window."""

    limit: float | None
    remaining: float | None
    until: float
    """Monotonic seconds when it is full again."""
    counts_tokens: bool


class Windows:
    """The plans of all providers; belongs to the loop's thread."""

    def __init__(self, clock: Clock, plans: Mapping[str, PlanLimits]) -> None:
        self._clock = clock
        self._gates = {name: Admission(limits) for name, limits in plans.items()}
        self._seen: dict[str, dict[str, _Seen]] = {}

    def note(self, limits: Iterable[RateLimit]) -> None:
        """Take over what an answer's headers said."""
        now, wall = self._clock.monotonic(), self._clock.time()
        for limit in limits:
            fields = limit.fields
            reset = retry_seconds(fields.get("reset", ""), wall)
            if reset is None:
                continue
            windows = self._seen.setdefault(limit.provider, {})
            if len(windows) >= 32 and limit.name not in windows:
                continue
            windows[limit.name] = _Seen(
                _number(fields.get("limit")),
                _number(fields.get("remaining")),
                now + reset,
                "token" in limit.name,
            )

    def refuses(
        self, provider: str, *, tokens_in: int, max_tokens: int | None = None
    ) -> str | None:
        """Why a request does not fit now, in words; one that fits is booked."""
        told = self._by_headers(provider, tokens_in)
        if told is not None:
            return told
        gate = self._gates.get(provider)
        if gate is None:
            return None
        answer = min(DEFAULT_ANSWER, max_tokens or DEFAULT_ANSWER)
        fits = gate.admit(
            self._clock.monotonic(), tokens_in=tokens_in, tokens_out=answer, max_tokens=max_tokens
        )
        return None if fits else "its plan's limits are used up for now"

    def left_after(self, provider: str, tokens: int) -> float:
        """The least share of a reported window that would be left after a request; 1: none known."""
        now = self._clock.monotonic()
        shares = [1.0]
        for seen in self._seen.get(provider, {}).values():
            if seen.limit and seen.remaining is not None and now < seen.until:
                shares.append((seen.remaining - (tokens if seen.counts_tokens else 1)) / seen.limit)
        return min(shares)

    def _by_headers(self, provider: str, tokens: int) -> str | None:
        now = self._clock.monotonic()
        for seen in self._seen.get(provider, {}).values():
            if not seen.counts_tokens:
                if seen.remaining == 0 and now < seen.until:
                    return f"no requests left for {seen.until - now:.0f} s"
                continue
            if seen.limit is not None and tokens > seen.limit:
                return f"about {tokens:,} tokens, but its plan takes {seen.limit:,.0f} at once"
            if seen.remaining is not None and tokens > seen.remaining and now < seen.until:
                return f"only {seen.remaining:,.0f} tokens left for {seen.until - now:.0f} s"
        return None


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text is not None else None
    except ValueError:
        return None
    return found if found is not None and 0 <= found < 1e15 else None

"""Rate-limit windows of the simulated vendors, as their answers report them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from server.clock import Clock

WINDOW_S = 60.0

Pairs = list[tuple[bytes, bytes]]


class Windows:
    """What is left of each limit in the running minute."""

    def __init__(self, clock: Clock, limits: Mapping[str, int]) -> None:
        self._clock = clock
        self._limits = limits
        self._used: dict[str, int] = {}
        self._ends = 0.0

    def spend(self, amounts: Mapping[str, int]) -> None:
        """Take ``amounts`` out of the running minute; a new one begins full."""
        now = self._clock.monotonic()
        if now >= self._ends:
            self._used, self._ends = {}, now + WINDOW_S
        for name, amount in amounts.items():
            self._used[name] = self._used.get(name, 0) + amount

    def left(self, name: str) -> int:
        """What remains of limit ``name``."""
        return max(0, self._limits[name] - self._used.get(name, 0))

    def anthropic_headers(self) -> Pairs:
        """``anthropic-ratelimit-<name>-limit``, ``-remaining`` and ``-reset`` (RFC 3339)."""
        wait = timedelta(seconds=max(0.0, self._ends - self._clock.monotonic()))
        at = datetime.fromtimestamp(self._clock.time(), UTC) + wait
        reset = at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        pairs: Pairs = []
        for name, limit in self._limits.items():
            field = b"anthropic-ratelimit-" + name.encode()
            pairs += [
                (field + b"-limit", b"%d" % limit),
                (field + b"-remaining", b"%d" % self.left(name)),
                (field + b"-reset", reset),
            ]
        return pairs

    def openai_headers(self) -> Pairs:
        """``x-ratelimit-limit-<name>``, ``-remaining-`` and ``-reset-`` (seconds)."""
        wait = b"%.3fs" % max(0.0, self._ends - self._clock.monotonic())
        pairs: Pairs = []
        for name, limit in self._limits.items():
            field = name.encode()
            pairs += [
                (b"x-ratelimit-limit-" + field, b"%d" % limit),
                (b"x-ratelimit-remaining-" + field, b"%d" % self.left(name)),
                (b"x-ratelimit-reset-" + field, wait),
            ]
        return pairs

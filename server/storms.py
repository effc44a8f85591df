"""Clients that send the same failing request again and again.

Agents retry on their own, ten times and more. Only when one and the same request has failed three
times within ten minutes are they told to stop; never earlier, because a retry usually helps.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque

from server.clock import Clock

FAILURES = 3
WITHIN_S = 600.0
REMEMBERED = 1_000


BRIDGED_S = {"claude-code": 200.0, "codex": 35.0}
"""How long an agent goes on retrying by itself, in seconds (measured: Claude Code asks 11 times
in 180 to 200 s, Codex 30 times in 33 s)."""
BRIDGED_BY_SDK_S = 10.0
"""The same for everybody else: the vendors' SDKs ask three times."""


def bridged_s(client: str) -> float:
    """How long an outage may last that ``client`` survives by its own retries, in seconds."""
    return BRIDGED_S.get(client, BRIDGED_BY_SDK_S)


class Storms:
    """Counts failures by session and body; belongs to the loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[bytes, deque[float]] = OrderedDict()

    def watch(self, session: str | None, body: bytes) -> Storm:
        """The part of one request; ``body`` is hashed only if it fails."""
        return Storm(self, session, body)

    def failed(self, session: str | None, body: bytes) -> bool:
        """Note one failed request; whether it is at least the third of its kind."""
        digest = hashlib.blake2b(body, digest_size=16)
        digest.update((session or "").encode("utf-8", "replace"))
        key, now = digest.digest(), self._clock.monotonic()
        times = self._failures.setdefault(key, deque(maxlen=FAILURES))
        self._failures.move_to_end(key)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
        times.append(now)
        return len(times) == FAILURES and now - times[0] <= WITHIN_S


class Storm:
    """One request that may fail; several looks at it count once."""

    def __init__(self, storms: Storms, session: str | None, body: bytes) -> None:
        self._storms = storms
        self._session = session
        self._body = body
        self._is_one: bool | None = None

    def is_one(self) -> bool:
        """The request failed: whether it has done so again and again."""
        if self._is_one is None:
            self._is_one = self._storms.failed(self._session, self._body)
        return self._is_one

"""The real clock, running faster: long waits of the gateway beside a client that has its own time."""

from __future__ import annotations

from server.clock import SystemClock


class QuickClock(SystemClock):
    """Its monotonic time runs ``speed`` times as fast as the machine's."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = super().monotonic()

    def monotonic(self) -> float:
        now = super().monotonic()
        return self._began + (now - self._began) * self._speed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)

"""The one source of time, injected everywhere so that tests never sleep."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for display, monotonic time for durations."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""


class SystemClock:
    """The machine's clocks."""

    # In this order: the name ``time`` means the method from its own line on.
    monotonic = staticmethod(time.monotonic)  # noqa: TID251
    time = staticmethod(time.time)  # noqa: TID251

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

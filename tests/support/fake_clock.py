"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """Implements server.clock.Clock; ``advance`` wakes the sleepers that are due, in order."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._wall = start
        self._mono = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._mono

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono + seconds, next(self._count), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move both clocks on, letting every sleeper run at its own instant."""
        end = self._mono + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._wall += max(0.0, due - self._mono)
            self._mono = max(self._mono, due)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._wall += end - self._mono
        self._mono = end
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

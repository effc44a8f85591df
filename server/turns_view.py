"""Turns as front ends see them: the running ones from memory, the others from where they are."""

from __future__ import annotations

import asyncio
import heapq
from pathlib import Path
from typing import Any

from server.cold_desk import recorded
from server.ledger import LedgerReader
from server.services import Services
from server.stats import RECENT_TURNS

FLUSH_S = 1.0
"""Longest wait for rows on their way to the database, before somebody reads them there."""


class TurnsView:
    """Reads turns; ``reader`` is there once the ledger is open."""

    def __init__(self, services: Services, path: Path) -> None:
        self._services = services
        self._path = path
        self.reader: LedgerReader | None = None

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """Turn summaries, newest first; running ones as they are now."""
        services = self._services
        finished = services.stats.recent_turns()
        if limit > RECENT_TURNS and self.reader is not None:
            # Only then: a thread that makes rows takes the interpreter away from the streams,
            # again and again, and front ends ask once a second.
            await asyncio.to_thread(services.ledger.flush, FLUSH_S)
            finished = await asyncio.to_thread(self.reader.recent, limit)
        running = {x.turn.id: x.turn.summary() for x in services.active.values()}
        rows = [*running.values(), *(row for row in finished if row["id"] not in running)]
        return heapq.nlargest(limit, rows, key=lambda row: float(row["at"]))

    async def one(self, turn_id: str) -> dict[str, Any] | None:
        """A turn in full, ``None`` when nothing is known of it."""
        services = self._services
        exchange = services.active.get(turn_id)
        if exchange is not None:
            return exchange.turn.detail()
        if self.reader is None:
            return None
        await asyncio.to_thread(services.ledger.flush, FLUSH_S)
        prices = services.prices
        return await asyncio.to_thread(recorded, self._path, self.reader, prices, turn_id)

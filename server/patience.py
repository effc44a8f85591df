"""How long a request waits for the ledger: as long as that keeps a promise, and no longer.

A client that got any byte of an answer can rely on the turn's row, one that got the last byte on
its terminal state. So both rows are waited for, but traffic matters more than its record: a
ledger that does not keep up costs one long wait, and short ones until it has caught up.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from typing import Final

SHORT_S: Final = 0.02
"""How long dispatch waits for the write-ahead row, and everyone for a ledger that is behind."""

LONG_S: Final = 0.5
"""Longer than the ledger takes to find its database locked and to spill its rows instead."""


class Patience:
    """Shared by all turns of one ledger."""

    def __init__(self) -> None:
        self._is_behind = False

    async def briefly(self, recorded: Future[None]) -> None:
        """Give a row its first chance; it will be waited for again before it matters."""
        await _wait(recorded, SHORT_S)

    async def wait(self, recorded: Future[None]) -> None:
        """Wait until the row is durable, or until waiting longer would harm the client."""
        await _wait(recorded, SHORT_S if self._is_behind else LONG_S)
        self._is_behind = not recorded.done()


async def _wait(recorded: Future[None], seconds: float) -> None:
    # Every request comes here twice; asyncio.wait and wrap_future would double the price.
    if recorded.done():
        return
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake_from_thread(_: object) -> None:
        # The loop may have ended while the row was written.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(wake)

    recorded.add_done_callback(wake_from_thread)
    timer = loop.call_later(seconds, wake)
    try:
        await woken
    finally:
        timer.cancel()

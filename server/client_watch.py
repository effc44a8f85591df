"""Notices that a client has left while its answer is on the way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from server.exchange import Exchange, Receive
from server.interrupt import ClientGone
from server.tasks import spawn

WATCH_AFTER_S: Final = 0.05
"""How long an answer has to be under way before its client's leaving is looked for."""


class ClientWatches:
    """One for a dispatcher: a timer for all exchanges, since most end before it is due."""

    def __init__(self) -> None:
        self._young: deque[tuple[float, ClientWatch]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: ClientWatch) -> None:
        """Begin ``watch`` after a moment, unless it is over by then."""
        loop = asyncio.get_running_loop()
        due = loop.time() + WATCH_AFTER_S
        self._young.append((due, watch))
        if self._timer is None:
            self._timer = loop.call_at(due, self._begin_due)

    def _begin_due(self) -> None:
        young, loop = self._young, asyncio.get_running_loop()
        now = loop.time()
        while young and (young[0][1].is_over or young[0][0] <= now):
            young.popleft()[1].begin()
        self._timer = loop.call_at(young[0][0], self._begin_due) if young else None


class ClientWatch:
    """Ends ``exchange`` when its client leaves, while the ``with`` lasts.

    It looks only after a moment: most short answers are out before a task for it would have paid.
    """

    __slots__ = ("_exchange", "_receive", "_task", "_watches", "is_over")

    def __init__(self, watches: ClientWatches, receive: Receive, exchange: Exchange) -> None:
        self._watches = watches
        self._receive = receive
        self._exchange = exchange
        self._task: asyncio.Task[None] | None = None
        self.is_over = False

    def __enter__(self) -> None:
        self._watches.add(self)

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        if self._task is not None:
            self._task.cancel()

    def begin(self) -> None:
        """Look from now on; without effect once it is over."""
        if not self.is_over:
            self._task = spawn("client watch", self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._exchange.interrupt.fire(ClientGone())

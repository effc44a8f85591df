"""Tells every watcher what happens; ``publish`` never waits and never fails.

A watcher that is slow loses progress events first (the newest per turn is kept); when its queue
is full of others it is told to read a fresh snapshot. Nothing that matters depends on delivery:
the ledger is the record. All methods belong to the loop's thread, except ``publish_threadsafe``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from server.clock import Clock
from server.events import LOSSY, VERSION, Event

QUEUE_EVENTS: Final = 4096
"""Most events waiting for one watcher."""

HISTORY_EVENTS: Final = 1000
"""Events kept for watchers that come back."""


class Bus:
    """Numbers events and hands them to the subscriptions.

    Events are shared between watchers: they are to be read, not changed.
    """

    def __init__(self, clock: Clock, history: int = HISTORY_EVENTS) -> None:
        self._clock = clock
        self._seq = 0
        self._history: deque[Event] = deque(maxlen=max(1, history))
        self._forgotten = 0
        self._subscriptions: list[BusSubscription] = []
        self._is_closed = False

    @property
    def seq(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._seq

    def publish(self, event_type: str, /, **fields: Any) -> Event:
        """Number, remember and hand out one event; ``fields`` cannot replace the envelope."""
        self._seq += 1
        envelope = {"v": VERSION, "seq": self._seq, "at": self._clock.time(), "type": event_type}
        event: Event = envelope | fields | envelope
        if event_type not in LOSSY:
            if len(self._history) == self._history.maxlen:
                self._forgotten = self._history[0]["seq"]
            self._history.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def publish_threadsafe(
        self, loop: asyncio.AbstractEventLoop, event_type: str, /, **fields: Any
    ) -> None:
        """Publish from another thread, soon; nothing happens when the loop has ended."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: self.publish(event_type, **fields))

    def subscribe(self, after_seq: int | None = None) -> BusSubscription:
        """Events from now on, or those after ``after_seq`` too, as far as they are still kept.

        Progress events are not kept. When others are missing, or ``after_seq`` is of an earlier
        run, the subscription starts with ``resync`` set.
        """
        subscription = BusSubscription(self._unsubscribe)
        if self._is_closed:
            subscription.close()
            return subscription
        if after_seq is not None:
            if after_seq < self._forgotten or after_seq > self._seq:
                subscription.resync = True
            for event in self._history:
                if event["seq"] > after_seq:
                    subscription.offer(event)
        self._subscriptions.append(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription; later ones are born closed. Publishing stays harmless."""
        self._is_closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _unsubscribe(self, subscription: BusSubscription) -> None:
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)


class BusSubscription:
    """One watcher's queue (``server.engine.Subscription``); events come in ``seq`` order."""

    def __init__(self, leave: Callable[[BusSubscription], None], limit: int = QUEUE_EVENTS) -> None:
        self._leave = leave
        self._limit = limit
        self._queue: OrderedDict[int, Event] = OrderedDict()
        self._progress: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._resync = False
        self._is_closed = False
        self.dropped = 0
        """Events, other than progress, that could not be queued since the last resync."""

    @property
    def resync(self) -> bool:
        """Events were lost: read a fresh snapshot, then set this to ``False``."""
        return self._resync

    @resync.setter
    def resync(self, value: bool) -> None:
        self._resync = value
        if not value:
            self.dropped = 0

    def offer(self, event: Event) -> None:
        """Queue an event, as far as there is room."""
        if self._is_closed:
            return
        key = self._progress_key(event)
        if key is not None and (older := self._progress.pop(key, None)) is not None:
            # The newer one goes to the end: a watcher that resumes after its ``seq`` must not
            # skip what was queued between the two.
            del self._queue[older]
        if len(self._queue) >= self._limit and not self._make_room(key is not None):
            return
        self._queue[event["seq"]] = event
        if key is not None:
            self._progress[key] = event["seq"]
        self._wake()

    async def get(self) -> Event:
        """The next event, waiting for it; raises ``StopAsyncIteration`` once closed."""
        while not self._queue:
            if self._is_closed:
                raise StopAsyncIteration
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
        return self._pop()

    def drain(self) -> list[Event]:
        """Every queued event, without waiting."""
        events = list(self._queue.values())
        self._queue.clear()
        self._progress.clear()
        return events

    def close(self) -> None:
        """Stop receiving and forget what is queued; iteration and waiting end at once."""
        if not self._is_closed:
            self._is_closed = True
            self.drain()
            self._leave(self)
            self._wake()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self.get()

    def _pop(self) -> Event:
        _, event = self._queue.popitem(last=False)
        if (key := self._progress_key(event)) is not None:
            self._progress.pop(key, None)
        return event

    def _make_room(self, is_lossy: bool) -> bool:
        """Give up the oldest progress event for one that must be kept, or ask for a resync."""
        if is_lossy:
            return False
        if self._progress:
            _, seq = self._progress.popitem(last=False)
            del self._queue[seq]
            return True
        self._resync = True
        self.dropped += 1
        return False

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    @staticmethod
    def _progress_key(event: Event) -> tuple[str, str] | None:
        if event["type"] not in LOSSY:
            return None
        return event["type"], str(event.get("turn_id"))

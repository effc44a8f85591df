"""From the engine's events to the folded state, without ever touching a widget.

The front end calls ``tick`` on its paint timer. A tick is bounded work; everything that has to
wait for the engine runs in one background task at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from server import events
from server.clock import Clock
from server.engine import EngineClient, EngineUnreachable, Subscription
from server.events import Event
from server.tasks import spawn
from tui.state import LiveState

EVENTS_PER_TICK = 80
"""Folding this many takes a few milliseconds, the most the loop may be held."""
CATCH_UP_S = 0.04
CATCH_UP_EVENTS = 25
"""Between two paints the rest of a flood is folded in smaller pieces, so that no chunk waits."""
BACKLOG_LIMIT = 3_000
"""Beyond this a snapshot is cheaper than catching up."""
TOTALS_BUSY_S = 1.0
TOTALS_IDLE_S = 5.0
STALE_LIMIT = 50

_TURN_EVENTS = frozenset({events.TURN_OPENED, events.TURN_UPDATED, events.TURN_FINISHED})
_log = logging.getLogger("sbgw.tui")


class Bridge:
    """Subscribes to an engine and keeps a ``LiveState`` up to date."""

    def __init__(self, engine: EngineClient, state: LiveState, clock: Clock) -> None:
        self._engine = engine
        self._state = state
        self._clock = clock
        self._subscription: Subscription | None = None
        self._backlog: list[Event] = []
        self._task: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._want_snapshot = True
        self._saw_turns = False
        self._asked_at: float | None = None

    def start(self) -> None:
        """Subscribe, and read the first snapshot in the background."""
        self._subscription = self._engine.subscribe()
        self._ask()

    def tick(self) -> None:
        """Fold at most ``EVENTS_PER_TICK`` events and ask for what is missing."""
        subscription = self._subscription
        if subscription is None:
            return
        if subscription.resync:
            subscription.resync = False
            self._want_snapshot = True
        self._backlog = coalesce([*self._backlog, *subscription.drain()])
        if len(self._backlog) > BACKLOG_LIMIT:
            self._backlog.clear()
            self._want_snapshot = True
        self._fold(EVENTS_PER_TICK)
        if (
            self._backlog
            and self._state.is_loaded
            and (self._catching_up is None or self._catching_up.done())
        ):
            self._catching_up = spawn("tui.catch-up", self._catch_up())
        self._ask()

    def _fold(self, most: int) -> None:
        if not self._state.is_loaded:
            return
        now, self._backlog = self._backlog[:most], self._backlog[most:]
        for event in now:
            self._saw_turns = self._saw_turns or event.get("type") in _TURN_EVENTS
            self._state.apply(event)

    async def _catch_up(self) -> None:
        """Fold what a flood has left, in pieces that hold nothing up."""
        while self._backlog:
            await self._clock.sleep(CATCH_UP_S)
            self._fold(CATCH_UP_EVENTS)

    def _ask(self) -> None:
        if self._task is not None and not self._task.done():
            return
        now = self._clock.monotonic()
        due = TOTALS_BUSY_S if self._saw_turns or self._want_snapshot else TOTALS_IDLE_S
        if self._asked_at is not None and now - self._asked_at < due:
            return
        self._asked_at = now
        self._task = spawn("tui.snapshot", self._read())

    async def _read(self) -> None:
        whole, self._want_snapshot, self._saw_turns = self._want_snapshot, False, False
        try:
            if not whole:
                self._state.load_totals(await self._engine.totals())
                return
            snapshot = await self._engine.snapshot()
            stale = self._state.load(snapshot)
            for turn_id in stale[:STALE_LIMIT]:
                self._state.settle(turn_id, await self._engine.turn(turn_id))
        except EngineUnreachable as error:
            self._want_snapshot = True  # what happens meanwhile is not heard of
            self._state.mark_unreachable(f"{error}; trying again")
        except Exception as error:  # whatever an engine of this process raises
            _log.warning("snapshot failed: %r", error)
            self._want_snapshot = self._want_snapshot or whole
            self._state.mark_unreachable(f"{type(error).__name__}: {error}")

    async def settled(self) -> None:
        """Wait until nothing is being read from the engine."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Unsubscribe and stop reading."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        for task in (self._task, self._catching_up):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})


def coalesce(backlog: Iterable[Event]) -> list[Event]:
    """The events without those that a later one of the same turn replaces.

    A turn's summary is always whole, so of several only the newest says something; a progress
    report counts only until a summary or another report follows.
    """
    kept: list[Event] = []
    summed_up: set[object] = set()
    reported: set[object] = set()
    for event in reversed(list(backlog)):
        kind, turn_id = event.get("type"), turn_of(event)
        if turn_id is not None:
            if turn_id in summed_up or (kind == events.TURN_PROGRESS and turn_id in reported):
                continue
            (reported if kind == events.TURN_PROGRESS else summed_up).add(turn_id)
        kept.append(event)
    kept.reverse()
    return kept


def turn_of(event: Event) -> str | None:
    """The turn an event is about."""
    if event.get("type") == events.TURN_PROGRESS:
        turn_id = event.get("turn_id")
    elif event.get("type") in _TURN_EVENTS and isinstance(event.get("turn"), dict):
        turn_id = event["turn"].get("id")
    else:
        return None
    return turn_id if isinstance(turn_id, str) else None

"""How much is served at the same time: requests in all, at each provider, bytes of their bodies.

What does not fit waits for a moment, in bounded numbers; what cannot wait is refused at once, in
the words of its own protocol, so that its client tries again soon. Background calls make room for
what a user waits for.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from providers.types import Headers
from server.clock import Clock
from server.config import ServerSettings
from server.exchange import Receive
from server.headers import first
from server.http.errors import HttpError
from server.tasks import spawn

STAND_IN_LIMIT: Final = 32
"""Requests at the same time at a provider that stands in, unless its settings say otherwise."""

BACKGROUND_SHARE: Final = 0.8
"""Part of all places that background calls may take."""

FILES_EACH: Final = 2
"""A request has two sockets."""
FILES_KEPT: Final = 128
"""File descriptors that are not for requests: ledger, listener, idle connections."""

TOO_BUSY: Final = "too_busy"
"""``HttpError.reason`` of what was refused here."""

LONGEST_RETRY_S: Final = 5

TOLD_EVERY_S: Final = 10.0
"""How often the log says that requests are refused."""

_log = logging.getLogger("sbgw.bulkhead")


def too_busy(why: str, number: int) -> HttpError:
    """The refusal of a request that was not begun; ``number`` spreads the next tries."""
    wait = str(1 + number % LONGEST_RETRY_S).encode()
    return HttpError(
        503,
        "api_error",
        f"the gateway has too much to do: {why}",
        [(b"retry-after", wait), (b"x-should-retry", b"true")],
        reason=TOO_BUSY,
        openai_code="gateway_overloaded",
    )


@dataclass(slots=True)
class _Gate:
    """Places at one door, and who waits for one: the user's own requests before background ones."""

    running: int = 0
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    waiting_behind: deque[asyncio.Future[bool]] = field(default_factory=deque)

    @property
    def queued(self) -> int:
        return len(self.waiting) + len(self.waiting_behind)

    def has_place(self, limit: int, *, is_background: bool) -> bool:
        """Whether a newcomer may go on at once."""
        if is_background:
            return self.running < background_limit(limit) and not self.queued
        return self.running < limit and not self.waiting

    def wake(self, limit: int) -> None:
        """Give free places to those who wait."""
        while self.waiting and self.running < limit:
            self._admit(self.waiting.popleft())
        while self.waiting_behind and self.running < background_limit(limit):
            self._admit(self.waiting_behind.popleft())

    def _admit(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            self.running += 1
            waiter.set_result(True)

    def drop_background(self) -> bool:
        """Refuse the background call that came last; whether there was one."""
        if not self.waiting_behind:
            return False
        waiter = self.waiting_behind.pop()
        if not waiter.done():
            waiter.set_result(False)
        return True


def counted(headers: Headers, receive: Receive, held: Holding) -> Receive:
    """``receive`` of a request body that counts its bytes, before they come if they are declared."""
    declared = int(first(headers, b"content-length") or 0)
    told = False

    async def receive_counted() -> Any:
        nonlocal told
        if declared and not told:
            told = True
            held.more(declared)
        message = await receive()
        if not declared:
            held.more(len(message.get("body", b"")))
        return message

    return receive_counted


def background_limit(limit: int) -> int:
    """How many of ``limit`` places background calls may take; always one at least."""
    return max(1, int(limit * BACKGROUND_SHARE))


class Place:
    """One place, held while the ``async with`` lasts."""

    # Every request takes two; a generator's context manager costs several times as much.
    __slots__ = ("_gate", "_is_background", "_limit", "_wait")

    def __init__(
        self,
        gate: _Gate,
        limit: int | None,
        wait: Callable[[_Gate, int, bool], Awaitable[None]],
        is_background: bool,
    ) -> None:
        self._gate = gate
        self._limit = limit
        self._wait = wait
        self._is_background = is_background

    async def __aenter__(self) -> None:
        gate, limit = self._gate, self._limit
        if limit is None or gate.has_place(limit, is_background=self._is_background):
            gate.running += 1
        else:
            await self._wait(gate, limit, self._is_background)

    async def __aexit__(self, *_: object) -> None:
        gate = self._gate
        gate.running -= 1
        if self._limit is not None and (gate.waiting or gate.waiting_behind):
            gate.wake(self._limit)


class Holding:
    """The bytes of one request's body, counted while the ``with`` lasts."""

    __slots__ = ("_bulkhead", "size")

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead = bulkhead
        self.size = 0

    def __enter__(self) -> Holding:
        return self

    def __exit__(self, *_: object) -> None:
        self._bulkhead.buffered -= self.size

    def more(self, size: int) -> None:
        """So many bytes come; raises ``HttpError`` 503 when too much is held already.

        One body alone always fits.
        """
        self._bulkhead.make_room(self.size, size)
        self.size += size


class Bulkhead:
    """All places of one gateway; belongs to the loop's thread."""

    def __init__(
        self,
        settings: Callable[[], ServerSettings],
        clock: Clock,
        *,
        on_shed: Callable[[str], None] = lambda sort: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_shed = on_shed
        self._told_at = float("-inf")
        self._all = _Gate()
        self._places: dict[str, _Gate] = {}
        self.buffered = 0
        self._most_buffered = 0
        self._shed = {"foreground": 0, "background": 0, "memory": 0}
        self._most = max(1, (_file_limit() - FILES_KEPT) // FILES_EACH)

    # ------------------------------------------------------------------ requests

    @property
    def limit(self) -> int:
        """Requests at the same time: the setting, or fewer where files are short."""
        return min(self._settings().max_in_flight, self._most)

    def place(self, *, is_background: bool) -> Place:
        """One of all places; entering raises ``HttpError`` 503 when there is none in time."""
        return Place(self._all, self.limit, partial(self._wait, ""), is_background)

    def has_room_at(self, provider: str, limit: int | None) -> bool:
        """Whether a request that could go elsewhere may go to ``provider``."""
        gate = self._places.get(provider)
        return gate is None or gate.has_place(limit or STAND_IN_LIMIT, is_background=False)

    def place_at(self, provider: str, limit: int | None, *, is_background: bool) -> Place:
        """A place at one provider, without a ``limit`` at once; raises as ``place``."""
        gate = self._places.get(provider)
        if gate is None:
            gate = self._places[provider] = _Gate()
        return Place(gate, limit, partial(self._wait, f" at {provider}"), is_background)

    async def _wait(self, where: str, gate: _Gate, limit: int, is_background: bool) -> None:
        why = f"{gate.running} requests are under way{where}"
        if self._is_full(gate) and (is_background or not gate.drop_background()):
            raise self._refusal(why, is_background=is_background)
        line = gate.waiting_behind if is_background else gate.waiting
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        line.append(waiter)
        timer = spawn("place", self._expire(waiter))
        try:
            is_admitted = await waiter
        except BaseException:
            self._give_up(gate, line, waiter, limit)
            raise
        finally:
            timer.cancel()
        if not is_admitted:
            self._give_up(gate, line, waiter, limit)
            raise self._refusal(why, is_background=is_background)

    def _is_full(self, gate: _Gate) -> bool:
        settings = self._settings()
        return gate.queued >= settings.max_waiting or settings.max_wait_s == 0

    async def _expire(self, waiter: asyncio.Future[bool]) -> None:
        await self._clock.sleep(self._settings().max_wait_s)
        if not waiter.done():
            waiter.set_result(False)

    def _give_up(
        self,
        gate: _Gate,
        line: deque[asyncio.Future[bool]],
        waiter: asyncio.Future[bool],
        limit: int,
    ) -> None:
        """Leave the line; a place that was given in the same moment goes to the next."""
        if waiter in line:
            line.remove(waiter)
        elif waiter.done() and not waiter.cancelled() and waiter.result():
            gate.running -= 1
            gate.wake(limit)

    def _refusal(self, why: str, *, is_background: bool) -> HttpError:
        return self._refuse("background" if is_background else "foreground", why)

    def _refuse(self, sort: str, why: str) -> HttpError:
        self._shed[sort] += 1
        self._on_shed(sort)
        number, now = sum(self._shed.values()), self._clock.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            _log.warning("requests are refused (%d so far): %s", number, why)
        return too_busy(why, number)

    # ------------------------------------------------------------------ memory

    def holding(self) -> Holding:
        """Counts the body of one request."""
        return Holding(self)

    def make_room(self, held: int, size: int) -> None:
        """Take ``size`` bytes more of a body of which ``held`` are here; see ``Holding.more``."""
        others = self.buffered - held
        limit = self._settings().max_buffered_mb << 20
        if others > 0 and self.buffered + size > limit:
            raise self._refuse("memory", f"it holds {others >> 20} MiB of requests")
        self.buffered += size
        self._most_buffered = max(self._most_buffered, self.buffered)

    # ------------------------------------------------------------------ reading out

    def at_json(self, provider: str) -> dict[str, Any]:
        """``in_flight waiting`` of a provider."""
        gate = self._places.get(provider) or _Gate()
        return {"in_flight": gate.running, "waiting": gate.queued}

    def as_json(self) -> dict[str, Any]:
        """``in_flight waiting limit buffered_bytes most_buffered_bytes shed{...}``."""
        return {
            "in_flight": self._all.running,
            "waiting": self._all.queued,
            "limit": self.limit,
            "buffered_bytes": self.buffered,
            "most_buffered_bytes": self._most_buffered,
            "shed": dict(self._shed),
        }


def _file_limit() -> int:
    """How many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft

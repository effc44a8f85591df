"""Asks the engine one question again and again, and keeps the newest answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from server.clock import Clock
from server.engine import EngineClient
from server.tasks import spawn
from tui.rows import mapping_of

SHARE = 20.0
"""An answer that takes long is asked for that much less often than it takes."""

_log = logging.getLogger("sbgw.tui")


class Asker:
    """One command of ``server.views``; ``want`` is called on the paint timer and returns at once.

    ``answered`` is called after every answer. An engine that does not know the question leaves
    ``data`` as it is, ``None`` at first.
    """

    def __init__(
        self,
        engine: EngineClient,
        clock: Clock,
        name: str,
        *,
        every_s: float,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._name = name
        self._every_s = every_s
        self._answered = answered
        self._task: asyncio.Task[None] | None = None
        self._wanted: object = None
        self._due = 0.0
        self.data: Mapping[str, Any] | None = None
        self.about: object = None
        """What ``data`` is the answer for."""
        self.problem: str | None = None
        """Why there is no newer answer; not neutralised."""
        self.count = 0
        """How many answers there were."""

    def want(self, about: object, **arguments: Any) -> None:
        """Ask when the last answer is old, or at once when ``about`` is another thing."""
        if self._task is not None and not self._task.done():
            return
        if about == self._wanted and self._clock.monotonic() < self._due:
            return
        self._wanted = about
        self._task = spawn(f"tui.ask {self._name}", self._ask(about, arguments))

    def current(self, about: object) -> Mapping[str, Any] | None:
        """The answer, if it is one about this."""
        return self.data if self.about == about else None

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, about: object, arguments: Mapping[str, Any]) -> None:
        began = self._clock.monotonic()
        try:
            found = await self._engine.command(self._name, **arguments)
        except Exception as error:  # whatever the engine's transport raises
            _log.warning("asking for %s failed: %r", self._name, error)
            self.problem = f"{type(error).__name__}: {error}"
        else:
            self.problem = None if found.ok else found.message
            if found.ok:
                self.data, self.about = mapping_of(found.data), about
        now = self._clock.monotonic()
        self._due = now + max(self._every_s, (now - began) * SHARE)
        self.count += 1
        self._answered()

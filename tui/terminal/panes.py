"""The panes that are open, which outlive the screen that shows them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.agents import Agent
    from tui.terminal.session import TerminalSession


@dataclass(slots=True, eq=False)
class Pane:
    """An agent and its terminal."""

    id: str
    """What its requests are known by; never used twice."""
    number: int
    agent: Agent
    session: TerminalSession


@dataclass(slots=True)
class Panes:
    """In the order they were opened."""

    all: list[Pane] = field(default_factory=list)
    chosen: Pane | None = None
    _closing: list[Pane] = field(default_factory=list)

    @staticmethod
    def new_id() -> str:
        """An id for a pane to come."""
        return f"pane-{secrets.token_hex(6)}"

    @property
    def running(self) -> int:
        """How many agents run."""
        return sum(pane.session.is_running for pane in self.all)

    def add(self, pane_id: str, agent: Agent, session: TerminalSession) -> Pane:
        """Open a pane and choose it; its program starts when it has a size."""
        numbers = {pane.number for pane in self.all}
        number = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
        pane = Pane(pane_id, number, agent, session)
        self.all.append(pane)
        self.chosen = pane
        return pane

    def choose(self, step: int) -> None:
        """Choose another one, so many places on."""
        if self.chosen in self.all and self.chosen is not None:
            at = (self.all.index(self.chosen) + step) % len(self.all)
            self.chosen = self.all[at]

    async def close(self, pane: Pane) -> None:
        """Take a pane away and end its program and its group; returns when they have gone."""
        if pane not in self.all:
            return
        at = self.all.index(pane)
        self.all.remove(pane)
        self._closing.append(pane)
        if self.chosen is pane:
            self.chosen = self.all[min(at, len(self.all) - 1)] if self.all else None
        pane.session.listeners.on_output = pane.session.listeners.on_state = None
        try:
            await pane.session.close()
        finally:
            self._closing.remove(pane)

    async def close_all(self) -> None:
        """End every program, all at once."""
        await asyncio.gather(*(self.close(pane) for pane in list(self.all)))

    def kill_all(self) -> None:
        """The same at once and without the event loop: for the end of the process."""
        for pane in (*self.all, *self._closing):
            pane.session.kill()

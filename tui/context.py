"""What every screen is given: the engine, the folded state, the time and the keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.clock import Clock
from server.engine import EngineClient
from tui.keys import Facts, Key
from tui.state import LiveState
from tui.terminal.panes import Panes


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by the application and its screens."""

    engine: EngineClient
    state: LiveState
    clock: Clock
    keys: tuple[Key, ...]
    program: str = "sbgw-tui"
    """What to type to run this program."""
    panes: Panes = field(default_factory=Panes)
    """The agents that run in panes."""

    def facts(self) -> Facts:
        """What decides which keys can do something now."""
        state = self.state
        has_rows, is_filtered = len(state) > 0, state.is_narrowed
        return Facts(
            has_rows=has_rows,
            is_draining=state.gateway.draining,
            can_copy=has_rows or (state.gateway.url is not None and not is_filtered),
            is_filtered=is_filtered,
            has_panes=bool(self.panes.all),
        )

    def key(self, key_id: str) -> Key:
        """The key of an id, as the user has set it."""
        return next(key for key in self.keys if key.id == key_id)

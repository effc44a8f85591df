"""The turns by session: what each session costs, and one of them as a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import filter as filters
from tui import keys, session_page, sessions
from tui.context import Context
from tui.lines import Line, line
from tui.screens.base import bindings
from tui.screens.pick import PickScreen
from tui.sessions import Order, Session
from tui.widgets.pick_list import PickLine


class SessionsScreen(PickScreen):
    """The table, and the chosen session's turns; reckoned once a second."""

    CONTEXT = keys.SESSIONS
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.SESSIONS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._order = Order.BURN
        self._folded: tuple[int, Order] | None = None
        self._sessions: dict[str, Session] = {}

    def depends(self) -> tuple[object, ...]:
        second = int(self.context.clock.time())
        if self._folded != (second, self._order):
            self._folded = (second, self._order)
            found = sessions.fold(self.context.state.all_rows(), float(second))
            self._sessions = {s.id: s for s in sessions.ordered(found, self._order)}
        return self._folded

    def top_lines(self, width: int) -> Sequence[Line]:
        count = len(self._sessions)
        said = f" {count} session{'' if count == 1 else 's'}, by {self._order}"
        return [line((said, "muted")), session_page.titles(width - 1)]

    def list_lines(self, width: int) -> Sequence[PickLine]:
        self.depends()
        now = self.context.clock.time()
        if not self._sessions:
            return [(None, line((" No turns yet.", "muted")))]
        return [(name, session_page.row(s, width, now)) for name, s in self._sessions.items()]

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        session = self._sessions.get(picked or "")
        return [] if session is None else session_page.timeline(session, width)

    def action_sort(self) -> None:
        """The next order."""
        orders = list(Order)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self.sync()

    def action_turns(self) -> None:
        """The chosen session's turns in the list."""
        picked = self.list.picked
        if not picked:
            self.tell("These turns name no session, so the list cannot be cut down to them.")
            return
        word = picked.replace('"', "")
        self.context.state.set_filter(filters.parse(f'session:"{word}"'))
        self.dismiss()

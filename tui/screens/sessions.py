"""The turns by project, session and sub-agent: what each costs, and the turns of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import filter as filters
from tui import format as fmt
from tui import groups, keys, session_page, small
from tui.asker import Asker
from tui.context import Context
from tui.groups import Level, Node
from tui.lines import Line, line
from tui.rows import TurnRow, mappings_in, row_from
from tui.screens.base import bindings
from tui.screens.pick import PickScreen
from tui.sessions import Order
from tui.widgets.pick_list import PickLine

WINDOWS_S: tuple[float | None, ...] = (900.0, 3_600.0, 6 * 3_600.0, 86_400.0, 7 * 86_400.0, None)
"""How far back it adds up, ``None`` as far as the record reaches."""
_DAY = 3

SUMS_S = 2.0
TURNS_S = 10.0


class SessionsScreen(PickScreen):
    """The tree, and the chosen part's turns; reckoned once a second."""

    CONTEXT = keys.SESSIONS
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.SESSIONS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._order = Order.BURN
        self._by_project = True
        self._window = _DAY
        self._folded: tuple[object, ...] = ()
        self._roots: list[Node] = []
        self._parts: dict[str, tuple[Node, int]] = {}
        engine, clock = context.engine, context.clock
        self._sums = Asker(engine, clock, "sessions", every_s=SUMS_S, answered=self.answered)
        self._turns = Asker(engine, clock, "session_turns", every_s=TURNS_S, answered=self.answered)

    def on_unmount(self) -> None:
        self._sums.close()
        self._turns.close()

    def sync(self) -> None:
        window = WINDOWS_S[self._window]
        since = 0.0 if window is None else self.context.clock.time() - window
        self._sums.want(window, since=since)
        picked = self._parts.get(self.list.picked or "")
        session = picked[0].sums.session if picked else None
        if session:
            self._turns.want(session, session=session)
        super().sync()

    def depends(self) -> tuple[object, ...]:
        second = int(self.context.clock.time())
        wanted = (second, self._order, self._by_project, self._window, self._sums.count)
        if self._folded != (*wanted, self._turns.count):
            self._folded = (*wanted, self._turns.count)
            self._fold(float(second))
        return self._folded

    def _fold(self, now: float) -> None:
        window = WINDOWS_S[self._window]
        listed = [
            row
            for row in self.context.state.all_rows()
            if window is None or row.is_open or row.at >= now - window
        ]
        data = self._sums.current(window)
        lines = groups.of_rows(listed, now) if data is None else groups.read(data)
        lines = groups.with_running(lines, listed)
        self._roots = groups.tree(lines, now, self._order, by_project=self._by_project)
        self._parts = {node.key: (node, depth) for node, depth in _flat(self._roots)}

    def told(self) -> Sequence[Line]:
        self.depends()
        return small.sessions(groups.total(self._roots), self.context.clock.time())

    # -- lines -------------------------------------------------------------------------------

    def top_lines(self, width: int) -> Sequence[Line]:
        self.depends()
        now, window = self.context.clock.time(), WINDOWS_S[self._window]
        span = "all on record" if window is None else f"last {fmt.age(window)}"
        if self._sums.current(window) is None:
            span += " of the turns in the list" if self._sums.count else ", adding up"
        words = [span, f"by {self._order}"]
        whole = groups.total(self._roots)
        return [
            session_page.summed(whole, now, width, words=words),
            session_page.titles(width - 1),
        ]

    def list_lines(self, width: int) -> Sequence[PickLine]:
        self.depends()
        now = self.context.clock.time()
        if not self._parts:
            return [(None, line((" No turns in this time.", "muted")))]
        lines: list[PickLine] = []
        for node, depth in self._parts.values():
            lines.append((node.key, session_page.row(node, depth, width, now)))
            if node.more:
                lines.append((None, session_page.more(node.more, depth + 1)))
        return lines

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        found = self._parts.get(picked or "")
        if found is None:
            return []
        node = found[0]
        now = self.context.clock.time()
        return session_page.timeline(node, self._rows_of(node), now, width)

    def _rows_of(self, node: Node) -> list[TurnRow]:
        """Its turns at hand, oldest first: those in the list, and older ones of the record."""
        rows = {row.id: row for row in self.context.state.all_rows()}
        data = self._turns.current(node.sums.session) if node.sums.session else None
        for summary in mappings_in((data or {}).get("turns")):
            if (row := row_from(summary, 0)) is not None:
                rows.setdefault(row.id, row)
        window, now = WINDOWS_S[self._window], self.context.clock.time()
        return sorted(
            (
                row
                for row in rows.values()
                if node.holds(row) and (window is None or row.is_open or row.at >= now - window)
            ),
            key=lambda row: (row.at, row.id),
        )

    # -- actions -----------------------------------------------------------------------------

    def action_sort(self) -> None:
        """The next order."""
        orders = list(Order)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self.sync()

    def action_group(self) -> None:
        """With the projects, or the sessions alone."""
        self._by_project = not self._by_project
        self.sync()

    def action_window(self, step: int) -> None:
        """Add up less or farther back."""
        self._window = max(0, min(len(WINDOWS_S) - 1, self._window + step))
        self.sync()

    def action_turns(self) -> None:
        """The chosen part's turns in the list."""
        found = self._parts.get(self.list.picked or "")
        node = found[0] if found else None
        name = None if node is None else node.name if node.level is Level.PROJECT else node.sums.session  # fmt: skip
        if node is None or not name:
            self.tell("These turns name none, so the list cannot be cut down to them.")
            return
        field = "project" if node.level is Level.PROJECT else "session"
        word = name.replace('"', "")
        self.context.state.set_filter(filters.parse(f'{field}:"{word}"'))
        self.dismiss()


def _flat(nodes: Iterable[Node], depth: int = 0) -> Iterable[tuple[Node, int]]:
    for node in nodes:
        yield node, depth
        yield from _flat(node.children, depth + 1)

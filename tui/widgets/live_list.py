"""The list of turns, drawn line by line.

A table widget repaints all its rows when one cell changes, which holds the event loop (and with
it every stream) for tens of milliseconds; here only the lines that differ are drawn.
"""

from __future__ import annotations

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from server.clock import Clock
from tui import columns
from tui.lines import EMPTY
from tui.rows import TurnRow
from tui.state import LiveState
from tui.theme import SELECTED
from tui.widgets.lines_view import LineWidget

CACHED_STRIPS = 500
LINES_PER_FRAME = 6
"""Drawing this many holds the loop for about a millisecond; the rest follows a frame later, so
that the streams get their turn in between."""
FRAME_S = 1 / 60

_Look = tuple[str, int, bool, bool]
"""What else a drawn row depends on: the age as text, the width, whether it is selected, whether it
is marked."""
_Drawn = tuple[TurnRow, _Look] | None


class LiveList(LineWidget, ScrollView, can_focus=True, inherit_bindings=False):
    """Shows a ``LiveState``; the keys belong to the screen."""

    class Opened(Message):
        """A row was double-clicked."""

    def __init__(self, state: LiveState, clock: Clock, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state = state
        self._clock = clock
        self._shown: dict[int, _Drawn] = {}
        """What each line of the viewport shows."""
        self._strips: dict[str, tuple[TurnRow, _Look, Strip]] = {}
        self._width = 0
        self.is_painting = False
        """Whether lines that differ are still waiting for their frame."""
        self._thumb = (0, 0, 0)
        self._top_id: str | None = None
        self._was_selected: str | None = None
        self._is_syncing = False

    # -- following the state -----------------------------------------------------------------

    def sync(self) -> None:
        """Follow the state: size, scroll position, and the lines that differ."""
        count = len(self._state)
        width = self._width = self.scrollable_content_region.width
        self._is_syncing = True
        # Set plainly, a new size would have the toolkit lay out and repaint the whole screen.
        self.set_reactive(LiveList.virtual_size, Size(width, count))
        top = self._wanted_top(count)
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, force=True)
        self._move_scrollbar(count)
        self._is_syncing = False
        self._remember_top()
        moved = self._was_selected != self._state.selected
        self._was_selected = self._state.selected
        if moved and not self._state.follow:
            self._refresh_changed()
        else:
            # Not here, at the end of what the tick had to do anyway.
            self._wait_a_frame()

    def _move_scrollbar(self, count: int) -> None:
        """Tell the scrollbar when one would see it move: it costs as much to draw as ten rows."""
        rows, whole = self._rows, max(1, count)
        thumb = (rows, rows * rows // whole, rows * self.scroll_offset.y // whole)
        if thumb != self._thumb:
            self._thumb = thumb
            self._scroll_update(self.virtual_size)

    def _wanted_top(self, count: int) -> int:
        """The first index to show: the same turn as before, or the newest when following."""
        state, height = self._state, self._rows
        top = self.scroll_offset.y
        if state.follow and not state.is_frozen:
            top = 0
        elif top > 0 and self._top_id is not None:
            index = state.index_of(self._top_id)
            top = top if index is None else index
        chosen = state.selected_index
        if chosen is not None and self._must_show_selected(top):
            top = min(max(top, chosen - height + 1), chosen)
        return max(0, min(top, count - height))

    def _must_show_selected(self, top: int) -> bool:
        """Whether the user moved the selection, or new rows would push it out of sight."""
        return self._state.selected != self._was_selected or top == 0

    def _remember_top(self) -> None:
        y = self.scroll_offset.y
        self._top_id = self._state.at(y).id if y < len(self._state) else None

    @property
    def _rows(self) -> int:
        return max(1, self.scrollable_content_region.height)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._is_syncing:
            return
        self._remember_top()
        if round(new_value) > 0 and self._state.follow and not self._state.is_frozen:
            self._state.set_follow(False)

    def on_resize(self) -> None:
        self._was_selected = None
        self.sync()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    # -- drawing -----------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        frozen_at = self._state.frozen_at
        return self._clock.time() if frozen_at is None else frozen_at

    def _wanted(self, y: int, now: float) -> _Drawn:
        """What line ``y`` of the viewport should show."""
        index = y + self.scroll_offset.y
        if index >= len(self._state):
            return None
        row = self._state.at(index)
        state = self._state
        is_marked = row.pane is not None and row.pane == state.pane
        return row, (columns.age_text(row, now), self._width, row.id == state.selected, is_marked)

    def _refresh_changed(self) -> None:
        """Repaint lines that differ, from the top, a bounded number in each frame."""
        now = self._now
        changed = [
            y
            for y in range(self._rows)
            if y not in self._drawn or not _is_same(self._shown.get(y), self._wanted(y, now))
        ]
        self.put(changed[:LINES_PER_FRAME])
        if len(changed) > LINES_PER_FRAME:
            self._wait_a_frame()

    def _wait_a_frame(self) -> None:
        if not self.is_painting:
            self.is_painting = True
            self.set_timer(FRAME_S, self._continue)

    def _continue(self) -> None:
        self.is_painting = False
        self._refresh_changed()

    def render_line(self, y: int) -> Strip:
        drawn = self._shown[y] = self._wanted(y, self._now)
        if drawn is None:
            return self.strip(EMPTY, self.size.width)
        row, look = drawn
        known = self._strips.get(row.id)
        if known is not None and known[0] is row and known[1] == look:
            return known[2]
        strip = self._draw(row, selected=look[2], marked=look[3])
        if len(self._strips) >= CACHED_STRIPS:
            self._strips.clear()
        self._strips[row.id] = (row, look, strip)
        return strip

    def _draw(self, row: TurnRow, *, selected: bool, marked: bool) -> Strip:
        layout = columns.layout(self._width)
        spans = columns.row_line(row, layout, self._now, selected=selected, marked=marked)
        return self.strip(spans, self._width, SELECTED if selected else None)

    # -- the mouse ---------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index >= len(self._state):
            return
        self._state.select(index)
        self.sync()
        if event.chain == 2:
            self.post_message(self.Opened())


def _is_same(before: _Drawn, after: _Drawn) -> bool:
    if before is None or after is None:
        return before is after
    return before[0] is after[0] and before[1] == after[1]

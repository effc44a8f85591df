"""A short list of which one entry is chosen, drawn line by line, headings between the entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.lines import EMPTY, Line, clip
from tui.moves import distance
from tui.theme import SELECTED
from tui.widgets.lines_view import LineWidget

PickLine = tuple[str | None, Line]
"""The entry's key, ``None`` for a heading, and how it is drawn."""

_SHARE = 2
"""The list takes at most one part in so many of the screen's height."""


class PickList(LineWidget, ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of entries and headings; the keys belong to the screen."""

    class Picked(Message):
        """Another entry was chosen."""

    def __init__(self, builder: Callable[[int], Sequence[PickLine]], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._builder = builder
        self._lines: Sequence[PickLine] = ()
        self._shown: list[PickLine | None] = []
        self.picked: str | None = None
        """The key of the chosen entry, ``None`` while there is none."""

    # -- following the state -----------------------------------------------------------------

    def sync(self) -> None:
        """Build the lines again, keep the choice, and repaint what differs."""
        width = self.scrollable_content_region.width
        self._lines = self._builder(width)
        entries = self._entries()
        if self.picked not in entries:
            self.picked = entries[0] if entries else None
        if self.virtual_size != Size(width, len(self._lines)):
            self.virtual_size = Size(width, len(self._lines))
            self.refresh(layout=True)
        self._put_changed()

    def _put_changed(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        now = [self._look(y + top) for y in range(height)]
        before, self._shown = self._shown, now
        if len(before) != len(now):
            self.refresh()
        else:
            self.put(y for y in range(height) if before[y] != now[y])

    def _look(self, index: int) -> PickLine | None:
        """What a line shows; the chosen one differs from itself unchosen."""
        if index >= len(self._lines):
            return None
        key, line = self._lines[index]
        return ("chosen", line) if key is not None and key == self.picked else (None, line)

    def _entries(self) -> list[str]:
        return [key for key, _ in self._lines if key is not None]

    def on_resize(self) -> None:
        self._shown = []
        self.sync()
        self._show_picked()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if not self._lines:
            self._lines = self._builder(width)  # else it would be laid out again once it has them
        return max(1, min(len(self._lines), viewport.height // _SHARE))

    # -- choosing ----------------------------------------------------------------------------

    def move(self, step: str) -> None:
        """Choose another entry by a movement name of the key table."""
        entries = self._entries()
        if not entries:
            return
        down = distance(step, self.size.height, len(entries))
        at = entries.index(self.picked) if self.picked in entries else 0
        self._pick(entries[max(0, min(len(entries) - 1, at + down))])

    def _pick(self, key: str) -> None:
        self.picked = key
        self._show_picked()
        self._put_changed()
        self.post_message(self.Picked())

    def _show_picked(self) -> None:
        """Scroll so that the chosen entry is seen, and its heading when it is the first."""
        keys = [key for key, _ in self._lines]
        if self.picked is None or self.picked not in keys:
            return
        at, height, top = keys.index(self.picked), max(1, self.size.height), self.scroll_offset.y
        first = next(index for index, key in enumerate(keys) if key is not None)
        if at < top or at == first:
            top = 0 if at == first else at
        elif at >= top + height:
            top = at - height + 1
        if top != self.scroll_offset.y:
            self._shown = []
            self.scroll_to(y=top, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < len(self._lines) and (key := self._lines[index][0]) is not None:
            self._pick(key)

    # -- drawing -----------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        found = self._look(y + self.scroll_offset.y)
        if found is None:
            return self.strip(EMPTY, self.size.width)
        chosen, spans = found
        mark = (("▌" if chosen else " ", "accent"),)
        shown = clip((*mark, *spans), self.scrollable_content_region.width)
        return self.strip(shown, self.size.width, SELECTED if chosen else None)

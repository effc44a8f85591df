"""Widgets that draw ready-made lines: a block of fixed height, and a page that scrolls.

Both are given a function from width to lines. ``sync`` builds the lines again and repaints only
those that differ, so it may be called as often as the paint timer runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.format import neutralise, to_ascii
from tui.lines import EMPTY, ROLES, Line, clip, width_of

ASCII_CLASS = "-ascii"
"""Set on the application when only ASCII signs may be drawn."""
ROLE_CLASSES = frozenset(f"line--{role}" for role in ROLES)

Builder = Callable[[int], Sequence[Line]]


def paint(widget: Widget, spans: Line, width: int, overlay: Style | None = None) -> Strip:
    """A line as a strip of exactly ``width`` cells, in the widget's styles.

    ``overlay`` goes over every span. Every text passes ``neutralise`` here once more, so no
    line builder can forget it.
    """
    ascii_only = widget.app.has_class(ASCII_CLASS)
    room = width - width_of(spans)
    segments: list[Segment] = []
    if room:
        spans = (*spans, (" " * room, "text")) if room > 0 else clip(spans, width)
    for text, role in spans:
        shown = neutralise(text)
        style = widget.get_component_rich_style(f"line--{role}")
        segments.append(
            Segment(
                to_ascii(shown) if ascii_only else shown,
                style if overlay is None else style + overlay,
            )
        )
    return Strip(segments, width if room >= 0 else None).adjust_cell_length(width)


class LineBlock(Widget):
    """As many lines as the builder gives, the widget's height following them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = "LineBlock { height: auto; width: 100%; }"

    def __init__(self, builder: Builder, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._builder = builder
        self._lines: Sequence[Line] = ()

    def sync(self) -> None:
        """Build the lines again and repaint what differs."""
        old, self._lines = self._lines, self._builder(self.size.width)
        if len(old) != len(self._lines):
            self.refresh(layout=True)
            return
        for y, (before, after) in enumerate(zip(old, self._lines, strict=True)):
            if before != after:
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def on_resize(self) -> None:
        self.sync()

    def render_line(self, y: int) -> Strip:
        spans = self._lines[y] if y < len(self._lines) else EMPTY
        return paint(self, spans, self.size.width)


class LinesView(ScrollView, can_focus=True, inherit_bindings=False):
    """A page of lines that scrolls; the keys belong to the screen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)

    def __init__(self, builder: Builder, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._builder = builder
        self._lines: Sequence[Line] = ()

    def sync(self) -> None:
        """Build the lines again and repaint what differs."""
        width = self.scrollable_content_region.width
        old, self._lines = self._lines, self._builder(width)
        if self.virtual_size != Size(width, len(self._lines)):
            self.virtual_size = Size(width, len(self._lines))
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, self._lines, strict=False)):
            if before != after:
                self.refresh_line(y)

    def on_resize(self) -> None:
        self.sync()

    def move(self, step: str) -> None:
        """Scroll by a movement name of the key table."""
        page = max(1, self.size.height - 1)
        deltas = {
            "up": -1,
            "down": 1,
            "page_up": -page,
            "page_down": page,
            "half_up": -(page // 2 or 1),
            "half_down": page // 2 or 1,
            "top": -len(self._lines),
            "bottom": len(self._lines),
        }
        self.scroll_to(y=self.scroll_offset.y + deltas[step], animate=False)

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        spans = self._lines[index] if index < len(self._lines) else EMPTY
        return paint(self, spans, self.size.width)

"""Widgets that draw ready-made lines: a block of fixed height, and a page that scrolls.

Both are given a function from width to lines. ``sync`` builds the lines again and repaints only
those that differ, so it may be called as often as the paint timer runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.format import neutralise, to_ascii
from tui.lines import EMPTY, Line, clip, width_of
from tui.moves import distance
from tui.theme import ThemedApp

Builder = Callable[[int], Sequence[Line]]


class LineWidget(Widget):
    """What all widgets have in common that draw lines: the looks over their own background."""

    _base: Style | None = None
    _mixed: tuple[Mapping[str, Style], dict[tuple[str, str | None], Style]] | None = None
    """The looks that were mixed with the base, and the mixtures."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._drawn: dict[int, Strip] = {}
        """Lines of the viewport as they were drawn last, until they are to be drawn again."""

    @property
    def base(self) -> Style:
        """The widget's own style, which every look is laid over."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def notify_style_update(self) -> None:
        self._base = self._mixed = None
        self._drawn.clear()
        super().notify_style_update()

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """As the toolkit's; forgets the lines that are to be drawn again."""
        if repaint and not regions:
            self._drawn.clear()
        for region in regions:
            for y in region.line_range:
                self._drawn.pop(y, None)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def put(self, lines: Iterable[int]) -> None:
        """Draw these lines of the viewport again, straight to the terminal when they stand free."""
        changed = list(lines)
        for y in changed:
            self._drawn.pop(y, None)
        if not changed:
            return
        painter = cast(ThemedApp[object], self.app).painter
        region = None if self._has_gutter else painter.region(self)
        if region is None:
            width = self.size.width
            self.refresh(*(Region(0, y, width, 1) for y in changed))
            return
        self._draw_lines(changed)
        width, base = region.width, self.base
        ready = [(y, self._drawn[y].adjust_cell_length(width, base)) for y in changed]
        painter.write(self, region, ready)

    def _draw_lines(self, lines: Iterable[int]) -> None:
        """Draw those of the lines that have to be."""
        wanted = [y for y in lines if y not in self._drawn]
        if not wanted:
            return
        filters, background = self.get_line_filters(), self.background_colors[1]
        for y in wanted:
            strip = self.render_line(y)
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)
            self._drawn[y] = strip

    @property
    def _has_gutter(self) -> bool:
        return any(self.styles.gutter)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines as they were drawn, without what the toolkit does for padding and opacity.

        The toolkit asks for every line whenever anything at all is painted.
        """
        if self._has_gutter:
            return super().render_lines(crop)
        self._draw_lines(crop.line_range)
        width, base = self.region.width, self.base
        strips = [self._drawn[y].adjust_cell_length(width, base) for y in crop.line_range]
        if crop.column_span != (0, width):
            return [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def strip(self, spans: Line, width: int, over: str | None = None) -> Strip:
        """A line as a strip of exactly ``width`` cells; ``over`` names a look laid over it all.

        Every text passes ``neutralise`` here once more, so no line builder can forget it.
        """
        ascii_only = cast(ThemedApp[object], self.app).ascii_only
        room = width - width_of(spans)
        if room:
            spans = (*spans, (" " * room, "text")) if room > 0 else clip(spans, width)
        segments: list[Segment] = []
        styles = self._styles()
        for text, role in spans:
            shown = neutralise(text)
            style = styles.get((role, over)) or self._mix(role, over)
            segments.append(Segment(to_ascii(shown) if ascii_only else shown, style))
        return Strip(segments, width if room >= 0 else None).adjust_cell_length(width, self.base)

    def _styles(self) -> dict[tuple[str, str | None], Style]:
        """The mixtures made so far with the looks of now."""
        looks = cast(ThemedApp[object], self.app).looks
        if self._mixed is None or self._mixed[0] is not looks:
            self._mixed = (looks, {})
        return self._mixed[1]

    def _mix(self, role: str, over: str | None) -> Style:
        looks = cast(ThemedApp[object], self.app).looks
        overlay = looks[over] if over is not None else Style.null()
        mixed = self._styles()[role, over] = self.base + looks[role] + overlay
        return mixed


class LineBlock(LineWidget):
    """As many lines as the builder gives, the widget's height following them."""

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
        pairs = enumerate(zip(old, self._lines, strict=True))
        self.put(y for y, (before, after) in pairs if before != after)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def on_resize(self) -> None:
        self.sync()

    def render_line(self, y: int) -> Strip:
        spans = self._lines[y] if y < len(self._lines) else EMPTY
        return self.strip(spans, self.size.width)


class LinesView(LineWidget, ScrollView, can_focus=True, inherit_bindings=False):
    """A page of lines that scrolls; the keys belong to the screen."""

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
        top, height = self.scroll_offset.y, self.size.height
        pairs = enumerate(zip(old, self._lines, strict=False))
        changed = (y - top for y, (before, after) in pairs if before != after)
        self.put(y for y in changed if 0 <= y < height)

    def on_resize(self) -> None:
        self.sync()

    def move(self, step: str) -> None:
        """Scroll by a movement name of the key table."""
        down = distance(step, self.size.height, len(self._lines))
        self.scroll_to(y=self.scroll_offset.y + down, animate=False)

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        spans = self._lines[index] if index < len(self._lines) else EMPTY
        return self.strip(spans, self.size.width)

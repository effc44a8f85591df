"""Rows of the engine as strips of the toolkit, with the cursor on them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.terminal.engine import RGB, CellStyle, Colour, Cursor, CursorShape, Run, Underline

_MOST = 4096


class Stylist:
    """Styles of one widget; ``base`` is what cells without colours of their own look like."""

    def __init__(self, base: Style) -> None:
        self.base = base
        self._known: dict[CellStyle, Style] = {}

    def style(self, cell: CellStyle) -> Style:
        """The toolkit's style of a cell."""
        found = self._known.get(cell)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[cell] = self.base + _style(cell)
        return found

    def strip(self, runs: Sequence[Run], width: int) -> Strip:
        """A row, cut or filled to ``width`` cells."""
        known, style = self._known, self.style
        segments = [Segment(text, known.get(cell) or style(cell)) for text, cell in runs]
        return Strip(segments).adjust_cell_length(width, self.base)


def with_cursor(strip: Strip, cursor: Cursor, *, has_focus: bool) -> Strip:
    """The row of the cursor; one that has not the keys is only hinted at."""
    width = strip.cell_length
    if not 0 <= cursor.x < width:
        return strip
    if not has_focus:
        look = Style(underline=True, dim=True)
    elif cursor.shape is CursorShape.BLOCK:
        look = Style(reverse=True)
    else:
        look = Style(underline=True, bold=True)
    before, under, after = strip.divide([cursor.x, cursor.x + 1, width])
    if not under.cell_length or cursor.x + 1 == width:
        parts = strip.divide([cursor.x, width])
        before, under, after = parts[0], parts[-1], Strip.blank(0)
    lit = Strip(
        [Segment(s.text, _lit(s.style or Style.null(), look)) for s in under], under.cell_length
    )
    return Strip.join([before, lit, after])


def _lit(style: Style, look: Style) -> Style:
    """A cell that is reversed already is turned back, or the cursor on it could not be seen."""
    return style + (Style(reverse=False) if look.reverse and style.reverse else look)


def _style(cell: CellStyle) -> Style:
    return Style(
        color=_colour(cell.fg),
        bgcolor=_colour(cell.bg),
        bold=cell.bold or None,
        dim=cell.dim or None,
        italic=cell.italic or None,
        underline=cell.underline is Underline.SINGLE or None,
        underline2=cell.underline is Underline.DOUBLE or None,
        blink=cell.blink or None,
        reverse=cell.reverse or None,
        conceal=cell.hidden or None,
        strike=cell.strike or None,
        overline=cell.overline or None,
        link=cell.link,
    )


def _colour(colour: Colour) -> Color | None:
    if colour is None:
        return None
    if colour & RGB:
        return Color.from_rgb(colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF)
    return Color.from_ansi(colour)

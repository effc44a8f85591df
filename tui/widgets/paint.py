"""Changed lines straight to the terminal, past the toolkit's compositor.

The compositor draws every widget of the screen anew for each change, which holds the event loop
for several milliseconds; a line that only one widget shows can be written where it stands. Touches
private parts of Textual (``Screen._compositor``, ``App._display``); the version is pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

from rich.console import Console, RenderableType
from textual._compositor import CompositorUpdate
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

_Visible = Mapping[Widget, tuple[Region, Region]]


class LinesUpdate(CompositorUpdate):
    """Whole lines of one widget, each at its place on the terminal."""

    def __init__(self, x: int, lines: Sequence[tuple[int, Strip]]) -> None:
        self._x = x
        self._lines = lines

    def placed(self) -> list[tuple[int, str]]:
        """Each line's number on the terminal, and its text."""
        return [(y, strip.text) for y, strip in self._lines]

    def render_segments(self, console: Console) -> str:
        column = self._x + 1
        return "".join(f"\x1b[{y + 1};{column}H{strip.render(console)}" for y, strip in self._lines)


@dataclass(slots=True)
class _Places:
    """Which widgets of one arrangement stand free, and where."""

    visible: _Visible
    free: dict[Widget, Region | None] = field(default_factory=dict)


class Painter:
    """Writes lines of widgets that nothing overlaps."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[Screen[object], _Places] = WeakKeyDictionary()

    def region(self, widget: Widget) -> Region | None:
        """Where ``widget`` is on the terminal; ``None`` unless it is wholly seen and uncovered."""
        app = widget.app
        screen = app.screen
        if app._batch_count or not widget.is_attached or widget.screen is not screen:
            return None
        if screen._layout_required or screen._repaint_required:
            return None
        visible = screen._compositor.visible_widgets
        places = self._places.get(screen)
        # The compositor makes a new mapping whenever anything is arranged anew.
        if places is None or places.visible is not visible:
            places = self._places[screen] = _Places(visible)
        if widget not in places.free:
            places.free[widget] = _free_region(widget, visible)
        return places.free[widget]

    def write(self, widget: Widget, region: Region, lines: Sequence[tuple[int, Strip]]) -> None:
        """Write lines, each with its line number in the widget."""
        update = LinesUpdate(region.x, [(region.y + y, strip) for y, strip in lines])
        widget.app._display(widget.screen, cast("RenderableType", update))


def _free_region(widget: Widget, visible: _Visible) -> Region | None:
    found = visible.get(widget)
    if found is None:
        return None
    region, clip = found
    if not clip.contains_region(region):
        return None
    above = set(widget.ancestors)
    for other, (place, other_clip) in visible.items():
        is_apart = other is widget or other in above
        if not is_apart and other.is_attached and place.intersection(other_clip).overlaps(region):
            # Its own scrollbars stand within its region, beside its lines.
            if other.parent is widget:
                region = _without(region, place)
                continue
            return None
    return region


def _without(region: Region, bar: Region) -> Region:
    if bar.height >= region.height:
        return Region(region.x, region.y, max(0, bar.x - region.x), region.height)
    return Region(region.x, region.y, region.width, max(0, bar.y - region.y))

"""The line under the header that names the numbered screens; each can be clicked."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events

from tui import keys
from tui.context import Context
from tui.lines import Line, Span
from tui.widgets.lines_view import LineBlock


class Tabs(LineBlock):
    """Key and name of every numbered screen, the one that is shown marked."""

    def __init__(self, context: Context, shown: str) -> None:
        super().__init__(lambda width: [self._line(width)], id="tabs")
        self._shared = context
        self._shown = shown
        self._spots: list[tuple[int, int, str]] = []

    def _line(self, width: int) -> Line:
        """All of them, closer together where they do not fit otherwise."""
        named = [(name, keys.first(self._shared.key(f"screen.{name}").keys)) for name in keys.TABS]
        is_tight = 1 + sum(cell_len(key) + len(name) + 4 for name, key in named) > width
        gap = "" if is_tight else " "
        spans: list[Span] = [(gap, "text")]
        self._spots = []
        at = len(gap)
        for name, key in named:
            title = name.capitalize()
            if name == self._shown:
                spans.append((f" {key} {title} ", "tab-badge"))
            else:
                spans.extend(((f" {key}", "key"), (f" {title} ", "text")))
            end = at + cell_len(key) + len(name) + 3
            self._spots.append((at, end, name))
            spans.append((gap, "text"))
            at = end + len(gap)
        return tuple(spans)

    async def on_click(self, event: events.Click) -> None:
        for start, end, name in self._spots:
            if start <= event.x < end:
                await self.app.run_action(self._shared.key(f"screen.{name}").action, self.app)

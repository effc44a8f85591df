"""What the gateway reports about itself, newest at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from tui import format as fmt
from tui import keys, log_book, log_lines, small
from tui.context import Context
from tui.lines import Line, join, line
from tui.screens.base import GatewayScreen, bindings
from tui.widgets.lines_view import LineBlock, LinesView

_UPWARDS = frozenset({"up", "page_up", "half_up", "top"})


class LogView(LinesView):
    """Tells when the mouse takes it away from its end."""

    class Scrolled(Message):
        """The wheel or the scrollbar moved it upwards."""

    def on_mouse_scroll_up(self) -> None:
        self.post_message(self.Scrolled())

    def on_scroll_up(self) -> None:
        self.post_message(self.Scrolled())

    def on_scroll_to(self) -> None:
        self.post_message(self.Scrolled())


class LogScreen(GatewayScreen):
    """Follows the end until one scrolls up."""

    CONTEXT = keys.LOG
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.LOG)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.level = log_book.LEVELS[0]
        self.follow = True
        self._lines = log_lines.LogLines()
        self._made: tuple[tuple[object, ...], list[Line]] | None = None
        self._count = 0
        self._page = LogView(self._page_lines, id="log")
        self._status = LineBlock(self._status_lines, id="log-status")

    def compose_body(self) -> Iterable[Widget]:
        yield self._page
        yield self._status

    def on_mount(self) -> None:
        self._page.focus(scroll_visible=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self._to_end)

    def sync(self) -> None:
        self._page.sync()
        super().sync()
        self._to_end()

    def _to_end(self) -> None:
        if self.follow:
            self._page.move("bottom")

    def told(self) -> Sequence[Line]:
        entries = self.context.state.log.at_least(self.level)
        return small.log(entries[-1] if entries else None)

    # -- lines -------------------------------------------------------------------------------

    def _page_lines(self, width: int) -> list[Line]:
        log = self.context.state.log
        depends = (log.newest, self.level, width, self.context.state.is_loaded)
        if self._made is None or self._made[0] != depends:
            entries = log.at_least(self.level)
            self._count = len(entries)
            lines = self._lines.lines(entries, width)
            if not lines:
                lines = log_lines.empty(self.level, self.context.state.is_loaded)
            self._made = (depends, lines)
        return self._made[1]

    def _status_lines(self, width: int) -> list[Line]:
        total = len(self.context.state.log)
        badge = line((" FOLLOW ", "live-badge")) if self.follow else ()
        shown = fmt.plural(self._count, "entry").replace("entrys", "entries")
        what = "all levels" if self.level == log_book.LEVELS[0] else f"{self.level} and worse"
        count = shown if self._count == total else f"{self._count} of {total} entries"
        return [join([line(" "), badge, line((f"{count}, {what}", "muted"))], " ")]

    # -- actions -----------------------------------------------------------------------------

    def action_move(self, step: str) -> None:
        self.follow = step == "bottom" or (self.follow and step not in _UPWARDS)
        self._page.move(step)
        self._status.sync()

    @on(LogView.Scrolled)
    def _let_go(self) -> None:
        self.follow = False
        self._status.sync()

    def action_follow(self) -> None:
        self.follow = not self.follow
        self.sync()

    def action_level(self) -> None:
        levels = log_book.LEVELS
        self.level = levels[(levels.index(self.level) + 1) % len(levels)]
        self.sync()

    def action_back(self) -> None:
        self.dismiss()

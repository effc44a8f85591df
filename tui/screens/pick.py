"""A list with one chosen entry, and below it all that is known of that one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from tui.context import Context
from tui.lines import EMPTY, Line
from tui.screens.base import GatewayScreen
from tui.widgets.lines_view import LineBlock, LinesView
from tui.widgets.pick_list import PickLine, PickList


class PickScreen(GatewayScreen):
    """The movements choose; paging moves the text below when it does not fit."""

    BINDINGS: ClassVar[list[BindingType]] = []
    BODY_WIDTH = 40
    BODY_HEIGHT = 6

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._top = LineBlock(self.top_lines, id="pick-top")
        self.list = PickList(self.list_lines, id="picks")
        self._below = LinesView(self._below_lines, id="picked")
        self._shown: tuple[object, ...] = ()

    def compose_body(self) -> Iterable[Widget]:
        yield self._top
        yield self.list
        yield LineBlock(lambda width: [(("─" * width, "rule"),)], id="pick-rule")
        yield self._below

    def depends(self) -> tuple[object, ...]:
        """Everything that is shown is made of these; compared first by identity."""
        state = self.context.state
        return state.providers, state.routing, state.savings, state.gateway

    def top_lines(self, width: int) -> Sequence[Line]:
        """What stands above the list: its titles, or what is to be said of the whole."""
        raise NotImplementedError

    def list_lines(self, width: int) -> Sequence[PickLine]:
        """The entries and the headings between them."""
        raise NotImplementedError

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        """All that is known of the chosen entry."""
        raise NotImplementedError

    def _below_lines(self, width: int) -> Sequence[Line]:
        lines = self.picked_lines(self.list.picked, max(0, width - 1))
        return [*(((" ", "text"), *spans) if spans else EMPTY for spans in lines), EMPTY]

    def on_mount(self) -> None:
        self.list.focus(scroll_visible=False)

    def sync(self) -> None:
        super().sync()
        shown = (*self.depends(), self.list.size, self._below.size, self.list.picked)
        if shown != self._shown:
            self._shown = shown
            self.list.sync()
            self._below.sync()

    @on(PickList.Picked)
    def _show_picked(self) -> None:
        self._below.scroll_to(y=0, animate=False)
        self._below.sync()

    def action_move(self, step: str) -> None:
        if step in ("page_up", "page_down", "half_up", "half_down"):
            self._below.move(step)
        else:
            self.list.move(step)

    def action_back(self) -> None:
        self.dismiss()

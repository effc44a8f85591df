"""What moving work would have saved, or saved, and how that is reckoned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui import keys, savings_page
from tui.context import Context
from tui.lines import Line
from tui.screens.base import GatewayScreen, bindings
from tui.sums import recent_from
from tui.widgets.lines_view import LinesView


class SavingsScreen(GatewayScreen):
    """One scrolling page, for today or for all that is on record."""

    CONTEXT = keys.SAVINGS
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.SAVINGS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._is_today = True
        self._made: tuple[tuple[object, ...], list[Line]] | None = None
        self._page = LinesView(self._lines, id="savings")

    def compose_body(self) -> Iterable[Widget]:
        yield self._page

    def on_mount(self) -> None:
        self._page.focus(scroll_visible=False)

    def sync(self) -> None:
        super().sync()
        self._page.sync()

    def _lines(self, width: int) -> list[Line]:
        """The page, made anew only when something of it has changed."""
        state = self.context.state
        shadow, key = state.gateway.shadow, keys.first(self.context.key("savings.period").keys)
        depends = (state.savings, state.providers, width, shadow, self._is_today, key)
        if self._made is None or self._made[0] != depends:
            lines = savings_page.page(
                state.savings,
                state.providers,
                width,
                shadow=shadow,
                is_today=self._is_today,
                key=key,
                recent=recent_from(state.all_rows()),
            )
            self._made = (depends, lines)
        return self._made[1]

    def action_move(self, step: str) -> None:
        self._page.move(step)

    def action_period(self) -> None:
        self._is_today = not self._is_today
        self.sync()

    def action_back(self) -> None:
        self.dismiss()

"""What moving work would have saved, or saved, and how that is reckoned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui import keys, savings_page, small
from tui.asker import Asker
from tui.context import Context
from tui.lines import Line
from tui.period import Period
from tui.screens.base import GatewayScreen, bindings
from tui.widgets.lines_view import LinesView

REPORT_S = 20.0
"""A report reads the turns of its period, so it is asked for now and then."""


class SavingsScreen(GatewayScreen):
    """One scrolling page, for today, a week, a month or all that is on record."""

    CONTEXT = keys.SAVINGS
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.SAVINGS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._period = Period.TODAY
        self._report = Asker(
            context.engine, context.clock, "report", every_s=REPORT_S, answered=self.answered
        )
        self._made: tuple[tuple[object, ...], list[Line]] | None = None
        self._page = LinesView(self._lines, id="savings")

    def compose_body(self) -> Iterable[Widget]:
        yield self._page

    def on_mount(self) -> None:
        self._page.focus(scroll_visible=False)

    def on_unmount(self) -> None:
        self._report.close()

    def sync(self) -> None:
        period = self._period
        self._report.want(period, since=period.since(self.context.clock.time()))
        super().sync()
        self._page.sync()

    def told(self) -> Sequence[Line]:
        return small.savings(self.context.state.savings, self.context.state.gateway.shadow)

    def _lines(self, width: int) -> list[Line]:
        """The page, made anew only when something of it has changed."""
        state = self.context.state
        shadow, key = state.gateway.shadow, keys.first(self.context.key("savings.period").keys)
        compared = (state.verification, state.verifier)
        depends = (
            (state.savings, state.providers, width, shadow, key),
            (self._period, self._report.count, *compared),
        )
        if self._made is None or self._made[0] != depends:
            lines = savings_page.page(
                state.savings,
                state.providers,
                width,
                shadow=shadow,
                period=self._period,
                key=key,
                report=self._report.current(self._period),
                verification=state.verification,
                verifier=state.verifier,
            )
            self._made = (depends, lines)
        return self._made[1]

    def action_move(self, step: str) -> None:
        self._page.move(step)

    def action_period(self) -> None:
        self._period = self._period.next
        self.sync()

    def action_back(self) -> None:
        self.dismiss()

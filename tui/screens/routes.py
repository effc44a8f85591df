"""What may go where: classes, kinds and baselines, and where each value was set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import keys, route_page, small
from tui.lines import Line
from tui.screens.base import bindings
from tui.screens.pick import PickScreen
from tui.widgets.pick_list import PickLine


class RoutesScreen(PickScreen):
    """The preference lists, and the chosen one in full."""

    CONTEXT = keys.ROUTES
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.ROUTES)

    def told(self) -> Sequence[Line]:
        picked, routing = self.list.picked, self.context.state.routing
        entries = route_page.entries_of(routing, picked) if picked is not None else None
        return small.routes(picked, entries, self.context.state.gateway.shadow)

    def selected_route(self) -> str:
        """The class or kind that is chosen; empty before the gateway has answered."""
        return self.list.picked or ""

    def top_lines(self, width: int) -> Sequence[Line]:
        state = self.context.state
        return route_page.top(state.routing, state.gateway.shadow, width)

    def list_lines(self, width: int) -> Sequence[PickLine]:
        state = self.context.state
        return route_page.listed(
            state.routing, state.savings, state.providers, width - 1, shadow=state.gateway.shadow
        )

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        state = self.context.state
        if picked is None:
            return []
        return route_page.detail(
            state.routing,
            state.savings,
            state.providers,
            picked,
            width,
            shadow=state.gateway.shadow,
        )

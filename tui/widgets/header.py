"""The header of every screen."""

from __future__ import annotations

from tui import headline
from tui.context import Context
from tui.widgets.lines_view import LineBlock


class GatewayHeader(LineBlock):
    """Mode, address, what is in flight, what today costs, and what is wrong."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            lambda width: headline.header(context.state, width, context.clock.time()), id="header"
        )

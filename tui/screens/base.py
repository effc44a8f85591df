"""What all screens have in common: a header, a footer with their keys, and a way to repaint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from tui import headline, keys, small
from tui.context import Context
from tui.format import neutralise
from tui.lines import EMPTY, Line, line
from tui.widgets.footer import KeyFooter
from tui.widgets.header import GatewayHeader
from tui.widgets.lines_view import LineBlock
from tui.widgets.tabs import Tabs

QUIT_NOW = "quit.now"


def bindings(context: str) -> list[BindingType]:
    """The table's own keys of a context, as the toolkit wants them."""
    own = [key for key in keys.TABLE if context in key.contexts and key.keys]
    return [
        Binding(
            key.keys,
            key.action,
            key.help,
            show=False,
            id=key.id,
            priority=key.id == QUIT_NOW,
        )
        for key in own
    ]


class GatewayScreen(Screen[None]):
    """A full screen of the application."""

    CONTEXT: ClassVar[str]
    BODY_WIDTH: ClassVar[int] = 24
    """A small terminal shows what stands between header and footer from this size on."""
    BODY_HEIGHT: ClassVar[int] = 5

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def compose(self) -> ComposeResult:
        yield LineBlock(self._small_lines, id="small")
        yield GatewayHeader(self.context)
        yield Tabs(self.context, self.CONTEXT)
        yield from self.compose_body()
        yield KeyFooter(self.context, self.CONTEXT)

    def compose_body(self) -> Iterable[Widget]:
        """The widgets between header and footer."""
        raise NotImplementedError

    def sync(self) -> None:
        """Show the state as it is now; cheap when nothing changed."""
        for block in self.query(LineBlock):
            block.sync()

    # -- a small terminal ----------------------------------------------------------------------

    @on(events.Resize)
    def fit_screen(self) -> None:
        """Leave out what there is no room for."""
        width, height = self.app.size
        is_small = width < small.LEAST_WIDTH or height < small.LEAST_HEIGHT
        self.set_class(is_small, "-small")
        self.set_class(is_small and not self.has_room(width, height), "-bare")
        for block in self.query("#small").results(LineBlock):
            block.sync()

    def has_room(self, width: int, height: int) -> bool:
        """Whether a small terminal shows what stands between header and footer."""
        return width >= self.BODY_WIDTH and height >= self.BODY_HEIGHT

    def told(self) -> Sequence[Line]:
        """What this screen says where there is no room for it, most important first."""
        return ()

    def _small_lines(self, width: int) -> Sequence[Line]:
        if not self.has_class("-small"):
            return ()
        state, now = self.context.state, self.context.clock.time()
        parts = [*self.told(), *headline.summary_parts(state, width, now)]
        if not self.has_class("-bare"):
            return small.flow(parts, width, 1)
        lines = small.flow(parts, width, max(1, self.size.height))
        if len(lines) + 2 <= self.size.height:
            room = f"more is shown from {self.BODY_WIDTH} columns, {self.BODY_HEIGHT} lines"
            lines += [EMPTY, line((room, "muted"))]
        return lines

    def on_screen_resume(self) -> None:
        self.sync()

    def answered(self) -> None:
        """Show what the engine has just answered, if this screen is the one that is seen."""
        if self.is_mounted and self.is_current:
            self.sync()

    def tell(self, message: str, *, is_bad: bool = False) -> None:
        """The outcome of something the user did."""
        self.notify(
            neutralise(message, 120),
            severity="warning" if is_bad else "information",
            timeout=3,
            markup=False,
        )

    def refused(self, key_id: str) -> bool:
        """Say why a key does nothing now; whether that was so."""
        reason = keys.why_not(self.context.key(key_id), self.CONTEXT, self.context.facts())
        if reason is not None:
            self.tell(f"{reason[0].upper()}{reason[1:]}.", is_bad=True)
        return reason is not None

"""The agents in panes, with the list of turns beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.widget import Widget

from tui import columns, keys, small
from tui.context import Context
from tui.lines import Line
from tui.moves import distance
from tui.screens.base import GatewayScreen, bindings
from tui.terminal.arrangement import Arrangement, Caption, Live, arrange, caption, welcome
from tui.terminal.pane import TerminalPane
from tui.terminal.panes import Pane
from tui.widgets.footer import KeyFooter
from tui.widgets.lines_view import LineBlock, LinesView
from tui.widgets.live_list import LiveList

MOST_ROWS = 1_000_000
"""More than any pane keeps."""

TWICE_S = 1.0
"""How soon after leaving a pane its key sends itself to the program."""


class PaneFrame(Vertical):
    """A pane under its caption."""

    def __init__(self, pane: Pane, context: Context) -> None:
        super().__init__(classes="pane-frame")
        self.pane = pane
        self._shared = context
        leave = context.key("pane.leave").keys.split(",")
        self.terminal = TerminalPane(pane.session, context.clock, leave=leave)
        self.caption = LineBlock(self._lines)
        self.others = 0

    def compose(self) -> ComposeResult:
        yield self.caption
        yield self.terminal

    def on_mount(self) -> None:
        self.pane.session.listeners.on_state = self._state_changed

    def _state_changed(self) -> None:
        if self.is_attached:
            self.caption.sync()
            self.terminal.redraw()

    def _lines(self, width: int) -> list[Line]:
        session, agent = self.pane.session, self.pane.agent
        engine, ending = session.engine, session.ending
        shown = Caption(
            number=self.pane.number,
            agent=agent.title,
            folder=session.folder,
            others=self.others,
            title=engine.title if engine is not None else "",
            status=engine.status if engine is not None else "",
            ended=ending.in_words(agent.title) if ending is not None else "",
            is_chosen=self._shared.panes.chosen is self.pane,
            has_keys=self.terminal.has_focus,
            behind=engine.scrolled_back() if engine is not None else 0,
            leave=keys.first(self._shared.key("pane.leave").keys),
        )
        return [caption(shown, width)]


class AgentsScreen(GatewayScreen):
    """Its keys choose, zoom and close panes; one that has the keyboard takes every key."""

    CONTEXT = keys.AGENTS
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.AGENTS)
    DEFAULT_CSS = """
    AgentsScreen #agents { height: 1fr; layout: vertical; }
    AgentsScreen.-right #agents { layout: horizontal; }
    AgentsScreen #panes { width: 1fr; height: 1fr; layout: vertical; }
    AgentsScreen.-row #panes { layout: horizontal; }
    AgentsScreen .pane-frame { width: 1fr; height: 1fr; }
    AgentsScreen.-row .pane-frame.-later { border-left: solid $border; }
    AgentsScreen .pane-frame LineBlock { height: 1; background: $panel; }
    AgentsScreen TerminalPane { width: 1fr; height: 1fr; background: $background; }
    AgentsScreen #beside { display: none; }
    AgentsScreen.-below #beside { display: block; height: 8; border-top: solid $border; }
    AgentsScreen.-right #beside { display: block; width: 60; border-left: solid $border; }
    AgentsScreen #beside LiveList { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden;
        overflow-y: scroll; scrollbar-size-horizontal: 0; background: $background; }
    AgentsScreen #beside LineBlock { height: 1; }
    AgentsScreen #no-panes { height: 1fr; padding: 1 0 0 2; background: $background;
        overflow-x: hidden; scrollbar-size-vertical: 1; }
    AgentsScreen.-ascii .pane-frame, AgentsScreen.-ascii #beside { border: none; }
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._is_zoomed = False
        self._with_live = True
        self._left_at: float | None = None
        self._arranged: tuple[Arrangement, Pane | None, int] | None = None
        self._panes = Container(id="panes")
        self._turns = LiveList(context.state, context.clock)
        self._turns.can_focus = False
        self._titles = LineBlock(self._title_lines)
        self._empty = LinesView(self._welcome_lines, id="no-panes")
        self._empty.can_focus = False

    def compose_body(self) -> Iterable[Widget]:
        yield self._empty
        with Container(id="agents"):
            with self._panes:
                yield from (PaneFrame(pane, self.context) for pane in self.context.panes.all)
            with Vertical(id="beside"):
                yield self._titles
                yield self._turns

    def on_mount(self) -> None:
        self.set_class(self.app.has_class("-ascii"), "-ascii")
        self.divide()

    def on_unmount(self) -> None:
        self.context.state.pane = None

    def on_resize(self, event: events.Resize) -> None:
        self.divide()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        for frame in self.frames():
            frame.terminal.redraw()

    def has_room(self, width: int, height: int) -> bool:
        """A pane is never hidden: what is typed would be taken for the screen's own keys."""
        return bool(self.context.panes.all) or super().has_room(width, height)

    def told(self) -> Sequence[Line]:
        panes = self.context.panes.all
        running = [f"{pane.number} {pane.agent.title}" for pane in panes if pane.session.is_running]
        ended = [f"{p.number} {p.agent.title}" for p in panes if p.session.ending is not None]
        return small.agents(running, ended, getattr(self.app, "pane_problem", None))

    # -- what is shown where -----------------------------------------------------------------

    def frames(self) -> list[PaneFrame]:
        """The panes on the screen, shown or not."""
        return [frame for frame in self._panes.children if isinstance(frame, PaneFrame)]

    def chosen(self) -> PaneFrame | None:
        """The frame of the chosen pane."""
        chosen = self.context.panes.chosen
        return next((frame for frame in self.frames() if frame.pane is chosen), None)

    async def follow_panes(self) -> None:
        """Show the panes that are open now."""
        wanted = self.context.panes.all
        for frame in self.frames():
            if frame.pane not in wanted:
                await frame.remove()
        shown = [frame.pane for frame in self.frames()]
        for pane in wanted:
            if pane not in shown:
                await self._panes.mount(PaneFrame(pane, self.context))
        self.divide()

    def divide(self) -> None:
        """Divide the screen among the panes and the list."""
        panes = self.context.panes
        count = len(self.frames())
        found = arrange(
            self.size.width,
            self.size.height,
            count,
            is_zoomed=self._is_zoomed,
            with_live=self._with_live,
        )
        self.fit_screen()
        self.set_class(bool(count), "-panes")
        self._empty.display = not count
        self._panes.display = bool(count)
        self.set_class(found.live is Live.RIGHT, "-right")
        self.set_class(found.live is Live.BELOW, "-below")
        self.set_class(found.is_row, "-row")
        for index, frame in enumerate(self.frames()):
            frame.display = not found.is_single or frame.pane is panes.chosen
            frame.set_class(index > 0 and not found.is_single, "-later")
            frame.others = count - 1 if found.is_single else 0
        self.sync()

    def sync(self) -> None:
        chosen = self.context.panes.chosen
        self.context.state.pane = chosen.id if chosen is not None else None
        super().sync()
        if not self.context.panes.all:
            self._empty.sync()
        elif self.has_class("-right") or self.has_class("-below"):
            self._turns.sync()

    def _welcome_lines(self, width: int) -> list[Line]:
        return welcome(getattr(self.app, "pane_problem", None), width)

    def _title_lines(self, _width: int) -> list[Line]:
        layout = columns.layout(self._turns.scrollable_content_region.width)
        return [columns.titles(layout, self.context.state.sort)]

    # -- the keyboard and the mouse ----------------------------------------------------------

    def _forward_event(self, event: events.Event) -> None:
        if isinstance(event, events.MouseEvent):
            for frame in self.frames():
                frame.terminal.is_shifted = event.shift
        super()._forward_event(event)

    def on_key(self, event: events.Key) -> None:
        """The key that left a pane leads back into it, and at once reaches its program."""
        frame = self.chosen()
        if frame is None or event.key not in self.context.key("pane.leave").keys.split(","):
            return
        event.stop()
        now = self.context.clock.monotonic()
        is_again = self._left_at is not None and now - self._left_at < TWICE_S
        self._left_at = None
        self.action_enter_pane()
        if is_again:
            frame.terminal.send_key(event.key)

    @on(TerminalPane.Left)
    def _leave_pane(self) -> None:
        self._left_at = self.context.clock.monotonic()
        self.sync()

    @on(TerminalPane.Told)
    def _told(self) -> None:
        for frame in self.frames():
            frame.caption.sync()

    @on(TerminalPane.Refused)
    def _refused(self) -> None:
        self.tell("The agent does not read what is typed; that was not sent.", is_bad=True)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, TerminalPane):
            frame = cast(PaneFrame, event.widget.parent)
            self.context.panes.chosen = frame.pane
            self.query_one(KeyFooter).tell_of(keys.PANE)
        self.sync()

    def on_descendant_blur(self) -> None:
        self.query_one(KeyFooter).tell_of(self.CONTEXT)
        self.sync()

    # -- actions -----------------------------------------------------------------------------

    def action_enter_pane(self) -> None:
        """Give the keyboard to the chosen pane."""
        frame = self.chosen()
        if not self.refused("agents.enter") and frame is not None:
            frame.terminal.focus(scroll_visible=False)

    def action_choose_pane(self, step: int) -> None:
        if not self.refused("agents.next"):
            self.context.panes.choose(step)
            self.divide()

    def action_zoom_pane(self) -> None:
        if not self.refused("agents.zoom"):
            self._is_zoomed = not self._is_zoomed
            self.divide()

    def action_beside(self) -> None:
        self._with_live = not self._with_live
        self.divide()

    def action_move(self, step: str) -> None:
        """Move through what the chosen pane has shown."""
        frame = self.chosen()
        if frame is None:
            self._empty.move(step)
            return
        height = frame.terminal.size.height
        frame.terminal.scroll_rows(distance(step, height, MOST_ROWS))

    def action_back(self) -> None:
        self.dismiss()

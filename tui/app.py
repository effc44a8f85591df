"""The application: screens over one engine, which it watches and never starts or stops."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

from server import heap
from server.clock import Clock, SystemClock
from server.engine import EngineClient
from server.tasks import spawn
from tui import format as fmt
from tui import keys
from tui.bridge import Bridge
from tui.context import Context
from tui.driver import TerminalDriver
from tui.leaving import Departure, Leave, users_of
from tui.palette import KeyCommands
from tui.pane_actions import PaneActions
from tui.screens.agents import AgentsScreen
from tui.screens.base import GatewayScreen, bindings
from tui.screens.confirm import ConfirmQuit
from tui.screens.help import HelpScreen
from tui.screens.live import LiveScreen
from tui.screens.log import LogScreen
from tui.screens.providers import ProvidersScreen
from tui.screens.routes import RoutesScreen
from tui.screens.savings import SavingsScreen
from tui.state import LiveState
from tui.theme import DARK, THEMES, ThemedApp

PAINT_S = 0.25
"""Four times a second: often enough to look live, rare enough not to delay a stream."""

CROWD = 24
"""Requests in flight from which on every second painting is left out: the list then changes as a
whole each time, and nobody reads it faster."""

SETTLED_AFTER_S = 2.0
"""When what the toolkit built for good is taken out of the garbage collector's sight."""

_SCREENS: Mapping[str, type[GatewayScreen]] = {
    keys.SAVINGS: SavingsScreen,
    keys.PROVIDERS: ProvidersScreen,
    keys.ROUTES: RoutesScreen,
    keys.AGENTS: AgentsScreen,
    keys.LOG: LogScreen,
}
"""What lies above the list of turns, by the name that ``action_go`` takes."""

_log = logging.getLogger("sbgw.tui")


class QuitReason(StrEnum):
    """What ``run_async`` returns; ``None`` means that the application crashed."""

    QUIT = "quit"
    """Drain, then stop (already drained when ``on_quit`` was given)."""
    FORCE = "force"
    """The user asked a second time: end the streams now."""
    KEPT = "kept"
    """A gateway without a screen goes on, and nothing runs here any more."""


class GatewayApp(PaneActions, ThemedApp[QuitReason], inherit_bindings=False):
    """Watches a running engine in the engine's own event loop (``run_async``).

    ``on_quit`` drains the engine and returns when that is done; meanwhile the screen stays and
    counts down, and a second ``ctrl+q`` returns ``FORCE``. Without it, quitting returns at once
    and the caller drains. With ``departure`` the gateway can be left running. ``is_attached``:
    the engine runs elsewhere and goes on whatever happens here, so quitting asks nothing.
    ``keymap`` maps key ids to key names (``ValueError`` when wrong). ``paint_s=None`` leaves
    painting to explicit ``tick`` calls.
    """

    CSS_PATH = "gateway.tcss"
    TITLE = "sbgw-tui"
    COMMANDS = {KeyCommands}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(keys.EVERYWHERE)]

    def __init__(
        self,
        engine: EngineClient,
        *,
        on_quit: Callable[[], Awaitable[Any]] | None = None,
        departure: Departure | None = None,
        is_attached: bool = False,
        ascii: bool = False,  # noqa: A002
        clock: Clock | None = None,
        keymap: Mapping[str, str] | None = None,
        theme: str | None = None,
        program: str = TITLE,
        paint_s: float | None = PAINT_S,
    ) -> None:
        table = keys.resolve(keymap or {})
        self._shared = Context(engine, LiveState(), clock or SystemClock(), table, program)
        super().__init__(ascii_only=ascii)
        self._bridge = Bridge(engine, self.state, self._shared.clock)
        self._on_quit = on_quit
        self._departure = departure
        self.state.is_attached = is_attached
        self._is_quitting = False
        self._has_left = False
        self._paint_s = paint_s
        self._painted_second = -1
        self._beats = 0
        self.animation_level = "none"
        self.set_class(ascii, "-ascii")
        self.set_keymap({key.id: key.keys for key in table if key.keys})
        for known in THEMES:
            self.register_theme(known)
        self.theme = theme or DARK.name

    @property
    def state(self) -> LiveState:
        """The folded state that all screens show."""
        return self._shared.state

    @property
    def bridge(self) -> Bridge:
        """The link to the engine."""
        return self._bridge

    def get_driver_class(self) -> type[Driver]:
        """The platform's driver, on POSIX the one that never makes the streams wait."""
        found = super().get_driver_class()
        return TerminalDriver if found is LinuxDriver else found

    def hang_up(self) -> None:
        """The terminal is gone; the application runs on unseen until it is told to quit."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.hang_up()

    def get_default_screen(self) -> Screen[Any]:
        return LiveScreen(self._shared)

    def on_mount(self) -> None:
        self._bridge.start()
        if self._paint_s is not None:
            self.set_interval(self._paint_s, self._beat)
            self.set_timer(SETTLED_AFTER_S, heap.settle)

    async def on_unmount(self) -> None:
        await self._shared.panes.close_all()
        await self._bridge.close()

    # -- painting ----------------------------------------------------------------------------

    def _beat(self) -> None:
        self._beats += 1
        self._leave_a_dead_terminal()
        if self._beats % 2 or self.state.totals.in_flight < CROWD:
            self.tick()

    def _leave_a_dead_terminal(self) -> None:
        """Quit when the terminal is gone: the signal for it does not reach us while an agent has it."""
        driver = self._driver
        if isinstance(driver, TerminalDriver) and not self._is_quitting and driver.has_hung_up():
            self.hang_up()
            self.begin_quit()

    def tick(self) -> None:
        """Fold what has arrived and repaint what changed; ages move once a second."""
        self._bridge.tick()
        if isinstance(self._driver, TerminalDriver) and self._driver.take_skipped():
            self.screen.refresh(layout=True)
        second = int(self._shared.clock.time())
        if self.state.take_changes() or second != self._painted_second:
            self._painted_second = second
            self.state.pass_time(self._shared.clock.time())
            self.paint()

    def paint(self) -> None:
        """Bring the screens that can be seen up to date."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, GatewayScreen | ConfirmQuit):
                screen.sync()
            if not screen.is_modal:
                return

    # -- actions -----------------------------------------------------------------------------

    def action_help(self) -> None:
        screen = self.screen
        if isinstance(screen, HelpScreen):
            screen.action_back()
        elif isinstance(screen, GatewayScreen):
            self.push_screen(HelpScreen(self._shared, screen.CONTEXT))

    def action_go(self, name: str) -> None:
        """Show one of the numbered screens; the list of turns lies below all others."""
        if isinstance(self.screen, GatewayScreen) and name == self.screen.CONTEXT:
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if name in _SCREENS:
            self.push_screen(_SCREENS[name](self._shared))

    def action_leave(self) -> None:
        """Quit, asking when somebody would be left without a gateway."""
        agents = self._departure.agents() if self._departure is not None else 0
        if self._is_quitting:
            self.action_help_quit()
        elif self.asks_about_panes():
            return
        elif self.state.is_attached:
            self.begin_quit()
        elif users_of(self.state, agents, self._shared.clock.time()).is_anybody:
            self.push_screen(ConfirmQuit(self._shared, self._departure), self._answered)
        else:
            self.begin_quit()

    def _answered(self, choice: Leave | None) -> None:
        if choice is Leave.STOP:
            self.begin_quit()
        elif choice is Leave.KEEP and self._departure is not None and not self._is_quitting:
            self._is_quitting = True
            spawn("tui.keep", self._keep(self._departure))

    async def action_quit(self) -> None:
        """Every way of quitting that the toolkit knows ends here."""
        self.begin_quit()

    def action_help_quit(self) -> None:
        key = keys.first(next(k.keys for k in self._shared.keys if k.id == "quit.now"))
        if self._is_quitting:
            in_flight = self.state.totals.in_flight
            count, them = fmt.plural(in_flight, "stream"), "it" if in_flight == 1 else "them"
            self.notify(f"Draining {count}; {key} ends {them} now.", markup=False, timeout=3)
        elif self.state.is_attached:
            self.notify(f"{key} leaves; the gateway goes on.", markup=False, timeout=3)
        else:
            self.notify(f"{key} drains and quits.", markup=False, timeout=3)

    # -- quitting ----------------------------------------------------------------------------

    def begin_quit(self) -> None:
        """Start draining and quit when that is done; called again, quit at once."""
        if self._is_quitting:
            self._go(QuitReason.FORCE)
        elif self._on_quit is None:
            self._go(QuitReason.QUIT)
        else:
            self._is_quitting = True
            spawn("tui.quit", self._drain(self._on_quit))

    async def _drain(self, on_quit: Callable[[], Awaitable[Any]]) -> None:
        try:
            await on_quit()
        except Exception as error:  # the screen must go away, whatever draining raises
            _log.error("draining failed: %r", error, exc_info=error)
        self._go(QuitReason.QUIT)

    async def _keep(self, departure: Departure) -> None:
        self._say("Starting a gateway without a screen ...")
        try:
            url = await departure.hand_over()
        except Exception as error:  # whatever is wrong, this gateway goes on as before
            _log.warning("the gateway was not left running: %s", error)
            self._is_quitting = False
            self._say(f"Not left running: {error}", is_bad=True)
            return
        if count := self.state.totals.in_flight:
            ends = fmt.plural(count, "answer") + (" ends" if count == 1 else " end")
            self._say(f"The gateway goes on at {url}. {ends} here first.")
        await departure.ended()
        self._go(QuitReason.KEPT)

    def _go(self, reason: QuitReason) -> None:
        """Leave, once: a drain that ends later does not change the reason."""
        if not self._has_left:
            self._has_left = True
            self.exit(reason)

"""Actions on agents in panes: start, restart and close them, or lend the whole terminal."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.tasks import spawn
from tui import format as fmt
from tui import keys
from tui.agents import AGENTS, Agent, Place, Prepared
from tui.launch_env import LaunchRefused
from tui.screens.agents import AgentsScreen
from tui.screens.confirm import Question
from tui.screens.start_agent import FullScreen, StartAgent
from tui.steering import SteeringActions
from tui.terminal.engine import EngineMissing
from tui.terminal.ghostty import GhosttyEngine, require_engine
from tui.terminal.ghostty_library import NOT_INSTALLED, is_installed
from tui.terminal.pane import TerminalPane
from tui.terminal.panes import Pane, Panes
from tui.terminal.session import MakeEngine, TerminalSession

_FORCE = "force"


class PaneActions(SteeringActions):
    """Mixed into the application, which sets ``_shared``."""

    make_engine: MakeEngine = GhosttyEngine
    check_engine: Callable[[], None] = staticmethod(require_engine)
    """Raises ``EngineMissing`` where there can be no panes; slow the first time."""
    folder: Path = Path()
    """Where agents start unless the user says otherwise."""
    pane_problem: str | None = None if is_installed() else NOT_INSTALLED
    """Why there are no panes, as far as that is known."""
    _has_exit_hook = False

    def action_go(self, name: str) -> None:
        """Show a screen by its name."""
        raise NotImplementedError

    # -- keys --------------------------------------------------------------------------------

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """Every key belongs to the pane that has the keyboard, those that quit included."""
        if priority and isinstance(self.focused, TerminalPane):
            return self.focused.leaves(key)
        return await super()._check_bindings(key, priority)

    # -- starting ----------------------------------------------------------------------------

    def action_agent(self, name: str) -> None:
        """Start ``claude`` or ``codex`` in a pane, after asking for the folder."""
        problem = self._why_no_agent()
        if problem is not None:
            self._say(problem, is_bad=True)
        else:
            self._begin(f"start {name}", self._start_agent(AGENTS[name]))

    async def _start_agent(self, agent: Agent) -> None:
        missing = await self.engine_problem()
        if missing is not None:
            self.pane_problem = missing
            self._say(f"No panes here: {missing}. {agent.title} gets the whole terminal.")
            await self._run_agent(agent)
            return
        here = self.folder.absolute()
        if await self._prepared(agent, Place(here, "")) is None:
            return
        if not (await self._is_served(agent) or await self._ask(self._unserved(agent))):
            return
        self.action_go(keys.AGENTS)
        chosen = self._shared.panes.chosen
        start = chosen.session.folder if chosen is not None else here
        folder = await self._ask(StartAgent(self._shared, agent, start))
        if folder is not None:
            await self._open(agent, folder)

    async def engine_problem(self) -> str | None:
        """Why there can be no panes, ``None`` when there can."""
        try:
            await asyncio.to_thread(self.check_engine)
        except EngineMissing as error:
            return str(error)
        return None

    async def _prepared(self, agent: Agent, place: Place) -> Prepared | None:
        """The agent's command; ``None`` after saying why there is none."""
        url = self._shared.state.gateway.url
        if self.prepare is None or url is None:
            return None
        try:
            return await asyncio.to_thread(self.prepare, agent, url, place)
        except LaunchRefused as error:
            self._say(str(error), is_bad=True)
            return None

    async def _open(self, agent: Agent, folder: Path) -> None:
        pane_id = Panes.new_id()
        prepared = await self._prepared(agent, Place(folder, pane_id))
        if prepared is None:
            return
        if not self._has_exit_hook:
            self._has_exit_hook = True
            atexit.register(self._shared.panes.kill_all)
        session = TerminalSession(prepared.command, folder, self._shared.clock, self.make_engine)
        self._shared.panes.add(pane_id, agent, session)
        for note in prepared.notes:
            self._say(note, is_bad=True)
        await self._show_panes()
        if isinstance(self.screen, AgentsScreen):
            self.screen.action_enter_pane()

    async def _show_panes(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, AgentsScreen):
                await screen.follow_panes()

    # -- the chosen pane ---------------------------------------------------------------------

    def action_restart_pane(self) -> None:
        """Start the chosen pane's agent again."""
        pane = self._chosen_pane()
        if pane is None:
            return
        if pane.session.is_running:
            self._say("It runs; close it first.", is_bad=True)
        elif (problem := self._why_no_agent()) is not None:
            self._say(problem, is_bad=True)
        else:
            self._begin("restart a pane", self._restart(pane))

    async def _restart(self, pane: Pane) -> None:
        prepared = await self._prepared(pane.agent, Place(pane.session.folder, pane.id))
        if prepared is None or pane.session.is_running:
            return
        engine = pane.session.engine
        pane.session.start(*(engine.size if engine is not None else (80, 24)), prepared.command)
        if isinstance(self.screen, AgentsScreen):
            self.screen.action_enter_pane()

    def action_close_pane(self) -> None:
        """Close the chosen pane, asking first while its agent runs."""
        pane = self._chosen_pane()
        if pane is not None:
            self._begin("close a pane", self._close(pane))

    async def _close(self, pane: Pane) -> None:
        title = f"{pane.agent.title} in {fmt.neutralise(pane.session.folder.name, 40) or '/'}"
        if pane.session.is_running:
            text = f"{title} runs. Closing its pane ends it, and what it has started."
            question = Question(self._shared, " Close a pane ", text, yes="Close it", no="Leave it")
            if not await self._ask(question):
                return
        await asyncio.gather(self._shared.panes.close(pane), self._show_panes())

    def _chosen_pane(self) -> Pane | None:
        pane = self._shared.panes.chosen
        if pane is None:
            self._say("No pane is open.", is_bad=True)
        return pane

    # -- the whole terminal ------------------------------------------------------------------

    def action_full_screen(self) -> None:
        """Lend the whole terminal to one of the agents."""
        problem = self._why_no_agent()
        if problem is not None:
            self._say(problem, is_bad=True)
        else:
            self._begin("lend the terminal", self._full_screen())

    async def _full_screen(self) -> None:
        name = await self._ask(FullScreen(self._shared, self.folder.absolute()))
        if name:
            await self._run_agent(AGENTS[name])

    # -- leaving -----------------------------------------------------------------------------

    def asks_about_panes(self) -> bool:
        """Whether agents run in panes, which the user is then asked about before quitting."""
        if not self._shared.panes.running:
            return False
        self._begin("leave the panes", self._leave_panes())
        return True

    async def _leave_panes(self) -> None:
        count = self._shared.panes.running
        them = "it" if count == 1 else "them"
        text = (
            f"{fmt.plural(count, 'agent')} in a pane of this screen; leaving ends {them}. "
            "What an agent has done and said stays in its own history."
        )
        question = Question(self._shared, " Quit ", text, yes="End and quit", no="Stay")
        if await self._ask(question):
            await self._shared.panes.close_all()
            self.call_later(self.run_action, "leave")

    def exit(self, *arguments: Any, **named: Any) -> None:
        """As the toolkit's; agents in panes are ended first."""
        panes = self._shared.panes
        if not panes.all:
            super().exit(*arguments, **named)
            return
        if arguments and arguments[0] == _FORCE:
            panes.kill_all()
        spawn("end the panes", self._exit_after_panes(arguments, named))

    async def _exit_after_panes(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        await self._shared.panes.close_all()
        super().exit(*arguments, **named)

"""Actions that change something in the engine, or hand the terminal over to an agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from server.engine import CommandResult
from server.tasks import spawn
from tui import format as fmt
from tui.agents import AGENTS, Agent, Prepare, Prepared
from tui.context import Context
from tui.hand_over import CannotLend, Foreground, lend
from tui.launch_env import LaunchRefused
from tui.live_preview import preview_from
from tui.route_page import entries_of
from tui.rows import mapping_of
from tui.screens.confirm import Question
from tui.screens.edit_route import SOURCE, EditRoute, ask_engine
from tui.screens.going_live import GoingLive, GoLive

if TYPE_CHECKING:
    from textual.app import App

    _Base = App[Any]
else:
    _Base = object

_LONGEST_TOAST = 400
_LOOK_AGAIN_S = 0.25

_log = logging.getLogger("sbgw.tui")


class CommandActions(_Base):
    """Mixed into the application, which sets ``_shared``."""

    _shared: Context
    prepare: Prepare | None = None
    """Makes the command of an agent; ``None`` where no agent can be started from the screen."""
    _doing: asyncio.Task[None] | None = None
    """What a key has begun; one thing at a time."""
    _holder: Foreground | None = None
    """The agent that has the terminal."""
    _left: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """How the application is to end, once it has its terminal back."""

    # -- shadow ------------------------------------------------------------------------------

    def action_shadow(self) -> None:
        """Off after a question that shows what it changes; on again at once."""
        if self._shared.state.gateway.shadow is False:
            self.action_all_shadow()
        else:
            self._begin("going live", self._ask_live())

    def action_all_shadow(self) -> None:
        """Back to shadow, whatever the mode is said to be; never asks."""
        spawn("back to shadow", self._set_shadow())

    async def _ask_live(self) -> None:
        result = await ask_engine(self._shared, "preview_live")
        if not result.ok:
            self._say(result.message or "The gateway cannot say what would change.", is_bad=True)
            return
        preview = preview_from(result.data)
        choice = await self._ask(GoingLive(self._shared, preview, self._shared.state.providers))
        if choice in (GoLive.ONCE, GoLive.REMEMBER):
            await self._go_live(remember=choice is GoLive.REMEMBER)

    async def _go_live(self, *, remember: bool) -> None:
        result = await ask_engine(
            self._shared, "set_shadow", enabled=False, remember=remember, source=SOURCE
        )
        text = result.message or ("The gateway is live." if result.ok else "Nothing was changed.")
        if result.ok and remember and result.data.get("persisted") is True:
            text += " It will be at its next start, too."
        elif result.ok and not remember:
            text += " Until it stops." if self._shared.state.is_attached else " Until you quit."
        self._say(text, is_bad=not result.ok or (remember and is_unkept(result)))

    async def _set_shadow(self) -> None:
        result = await ask_engine(
            self._shared, "set_shadow", enabled=True, remember=True, source=SOURCE
        )
        text = result.message
        if not result.ok:
            text = f"Still live: {text or 'the gateway did not say why'}"
        elif result.data.get("persisted") is True:
            text = f"{text or 'Back to shadow.'} Kept in your settings."
        self._say(text or "Back to shadow.", is_bad=not result.ok or is_unkept(result))

    # -- routes ------------------------------------------------------------------------------

    def action_edit_route(self) -> None:
        """Edit the class or kind that is chosen on the screen of routes."""
        chosen = getattr(self.screen, "selected_route", None)
        name = chosen() if callable(chosen) else ""
        if not name:
            self._say("Choose a class or a kind first.", is_bad=True)
        else:
            self._begin("edit a route", self._edit(str(name)))

    async def _edit(self, name: str) -> None:
        state = self._shared.state
        entries = entries_of(state.routing, name) or []
        result = await self._ask(EditRoute(self._shared, name, entries, state.providers))
        if isinstance(result, CommandResult):
            self._say(result.message or f"{name} was saved.", is_bad=is_unkept(result))

    # -- agents ------------------------------------------------------------------------------

    def _why_no_agent(self) -> str | None:
        gateway = self._shared.state.gateway
        if self.prepare is None:
            return "No agent can be started from this screen."
        if gateway.demo:
            return "The demo answers with made-up text: start without --demo to run an agent."
        if gateway.draining:
            return "The gateway is draining and takes no new requests."
        return None if gateway.url else "The gateway has not answered yet."

    async def _run_agent(self, agent: Agent) -> None:
        """Give the terminal to an agent until it ends."""
        url = self._shared.state.gateway.url
        if self.prepare is None or url is None:
            return
        try:
            prepared = await asyncio.to_thread(self.prepare, agent, url)
        except LaunchRefused as error:
            self._say(str(error), is_bad=True)
            return
        if await self._is_served(agent) or await self._ask(self._unserved(agent)):
            await self._lend(prepared)

    async def _is_served(self, agent: Agent) -> bool:
        """Whether the engine takes the agent's protocol; one that does not say takes Messages."""
        try:
            gateway = mapping_of((await self._shared.engine.snapshot()).get("gateway"))
        except Exception as error:  # whatever the engine's transport raises
            _log.warning("snapshot failed: %r", error)
            gateway = {}
        served = gateway.get("protocols")
        if not isinstance(served, list | tuple):
            return agent.protocol is AGENTS["claude"].protocol
        names = {agent.protocol.value, agent.protocol.value.partition("-")[2]}
        return not names.isdisjoint(map(str, served))

    def _unserved(self, agent: Agent) -> Question:
        text = (
            f"{agent.title} sends its requests to {agent.endpoint}, which this gateway does not "
            "serve: every one of them would be answered with 404. Start it all the same?"
        )
        title = f" {agent.title} "
        return Question(self._shared, title, text, yes="Start it", no="Leave it")

    async def _lend(self, prepared: Prepared) -> None:
        watch = spawn("end the agent when draining", self._end_when_draining())
        try:
            ending = await lend(self, prepared.command, self._lent)
        except CannotLend as error:
            self._say(str(error), is_bad=True)
            return
        finally:
            watch.cancel()
            self._holder = None
        self._say(ending.in_words(prepared.command.title), is_bad=ending.is_bad)
        for note in prepared.notes:
            self._say(note, is_bad=True)
        if self._left is not None:
            arguments, named = self._left
            super().exit(*arguments, **named)

    def _lent(self, holder: Foreground) -> None:
        self._holder = holder

    async def _end_when_draining(self) -> None:
        """A gateway that is told to stop shows that on its terminal, and an agent that stays would
        only get refusals."""
        while not self._shared.state.gateway.draining:
            await self._shared.clock.sleep(_LOOK_AGAIN_S)
        if self._holder is not None:
            self._holder.end()

    def exit(self, *arguments: Any, **named: Any) -> None:
        """As the toolkit's; an agent in the terminal is ended first, and the terminal put right."""
        if self._holder is None:
            super().exit(*arguments, **named)
        else:
            self._left = (arguments, named)
            self._holder.end()

    # -- what they share ---------------------------------------------------------------------

    def _begin(self, name: str, doing: Coroutine[Any, Any, None]) -> None:
        if self._doing is not None and not self._doing.done():
            doing.close()
            return
        self._doing = spawn(name, doing)

    async def _ask(self, question: Any) -> Any:
        """Show a modal screen and wait for its answer."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(value: Any) -> None:
            if not answered.done():
                answered.set_result(value)

        self.push_screen(question, answer)
        return await answered

    def _say(self, message: str, *, is_bad: bool = False) -> None:
        text = fmt.neutralise(message, _LONGEST_TOAST)
        timeout = 4.0 + len(text) / 25
        severity = "warning" if is_bad else "information"
        self.notify(text, severity=severity, timeout=timeout, markup=False)  # type: ignore[arg-type]


def is_unkept(result: CommandResult) -> bool:
    return result.data.get("persisted") is False

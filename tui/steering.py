"""Actions on the chosen provider, and on the mode of the chosen class or kind."""

from __future__ import annotations

from tui import mode_text, route_page
from tui import provider_health as health
from tui.commands import CommandActions, is_unkept
from tui.rows import mapping_of
from tui.screens.confirm import Question
from tui.screens.edit_route import SOURCE, ask_engine


class SteeringActions(CommandActions):
    """Mixed into the application, which sets ``_shared``."""

    # -- providers ---------------------------------------------------------------------------

    def action_reset_provider(self) -> None:
        """Close the chosen provider's breakers and forget its cooldowns, after a question."""
        if name := self._chosen("selected_provider", "a provider"):
            self._begin("reset a provider", self._reset(name))

    def action_pause_provider(self) -> None:
        """Send nothing to the chosen provider, or send again; its baseline asks first."""
        if name := self._chosen("selected_provider", "a provider"):
            self._begin("pause a provider", self._pause(name))

    def action_probe_provider(self) -> None:
        """Ask the chosen provider whether it answers, takes our key and has our models."""
        if name := self._chosen("selected_provider", "a provider"):
            self._begin("probe a provider", self._probe(name))

    async def _reset(self, name: str) -> None:
        found = self._shared.state.providers.get(name, {})
        said = health.breaker_text(found)
        now = f" Its breaker is {said[0]}." if said is not None else ""
        text = (
            f"Every breaker of {name} is closed and its cooldowns are forgotten, so the next "
            f"request may go there at once.{now}"
        )
        title = f" Reset {name} "
        if await self._ask(Question(self._shared, title, text, yes="Reset", no="Leave it")):
            await self._tell_engine("reset", name)

    async def _pause(self, name: str) -> None:
        state = self._shared.state
        if health.is_paused(state.providers.get(name, {})):
            await self._tell_engine("resume", name)
            return
        clients = route_page.baseline_of(state.routing, name)
        if clients:
            text = (
                f"{name} is the baseline of {' and '.join(clients)}: its own clients' requests go "
                "there. Paused, it still gets what nobody else may serve, so most of them go on, "
                "and those that may leave go to other companies or fail."
            )
            title = f" Pause {name} "
            if not await self._ask(Question(self._shared, title, text, yes="Pause", no="Leave it")):
                return
        await self._tell_engine("pause", name)

    async def _probe(self, name: str) -> None:
        self._say(f"Asking {name} ...")
        await self._tell_engine("probe", name)

    async def _tell_engine(self, command: str, name: str) -> None:
        result = await ask_engine(self._shared, command, provider=name, source=SOURCE)
        done = "done" if result.ok else "the gateway did not say why not"
        self._say(result.message or f"{command} {name}: {done}", is_bad=not result.ok)

    # -- modes -------------------------------------------------------------------------------

    def action_cycle_mode(self) -> None:
        """The next mode of the chosen class or kind, after a question."""
        if name := self._chosen("selected_route", "a class or a kind"):
            self._begin("set a mode", self._cycle(name))

    async def _cycle(self, name: str) -> None:
        state = self._shared.state
        wanted = mode_text.next_mode(state.routing, name)
        if wanted is None:
            self._say(f"{name} never moves: it stays with its vendor and model.", is_bad=True)
            return
        savings = state.savings
        is_class = name in mapping_of(state.routing.get("routes"))
        saved = (savings.by_route if is_class else savings.by_kind).get(name)
        entries = route_page.entries_of(state.routing, name) or []
        text = mode_text.mode_question(
            state.routing, name, wanted, entries, saved, state.gateway.shadow
        )
        question = Question(
            self._shared, f" {name}: {wanted} ", text, yes=f"Set {wanted}", no="Leave it"
        )
        if not await self._ask(question):
            return
        result = await ask_engine(self._shared, "set_mode", name=name, mode=wanted, source=SOURCE)
        text = result.message or f"{name} is in mode {wanted}."
        if not result.ok:
            text = result.message or "The gateway did not change it."
        self._say(text, is_bad=not result.ok or is_unkept(result))

    def _chosen(self, method: str, what: str) -> str:
        """What is chosen on the screen that is shown; empty after saying that nothing is."""
        chosen = getattr(self.screen, method, None)
        name = str(chosen()) if callable(chosen) else ""
        if not name:
            self._say(f"Choose {what} first.", is_bad=True)
        return name

"""What a front end may tell a running gateway to do."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from server import command_table, routing_view
from server.backtest_make import WEEK_S, make_backtest, stand_back
from server.backtest_prices import PriceBook
from server.bus import Bus
from server.config import RoutingSettings
from server.engine import CommandResult
from server.ledger_schema import LedgerError
from server.move_prices import MovePrices
from server.planning import Planner
from server.routing_change import BadChange, read_change, route_change
from server.savings_assumptions import Assumptions
from server.savings_quote import Quoter
from server.services import Services
from server.settings_edit import changed, persist
from server.settings_errors import SettingsError
from server.settings_file import Loaded
from server.settings_keys import join

_log = logging.getLogger("sbgw.routing")

WHAT_IF_TURNS = 1_000
TURNS_AT_ONCE = 4
"""Planned anew before running streams get their turn."""

SHADOW_KEY = "routing.shadow"


class Routing:
    """The routing table in force: shows it, changes it, and says what a change would do."""

    def __init__(
        self,
        loaded: Loaded,
        services: Services,
        planner: Planner,
        *,
        recent: Callable[[], Iterable[Mapping[str, Any]]],
        hits: Callable[[], tuple[Mapping[str, int], Mapping[str, int]]],
    ) -> None:
        self._loaded = loaded
        self._services = services
        self._planner = planner
        self._recent = recent
        self._hits = hits
        self._unsaved: set[str] = set()
        self._kept: dict[str, str] = {}
        """Keys written since the start, and where."""
        self._shown: tuple[RoutingSettings, dict[str, Any]] | None = None

    @property
    def _bus(self) -> Bus:
        return self._services.bus

    @property
    def table(self) -> RoutingSettings:
        """The table in force."""
        return self._services.settings.routing

    def as_json(self) -> dict[str, Any]:
        """``snapshot["routing"]``."""
        if self._shown is None or self._shown[0] is not self.table:
            content = routing_view.table_json(self.table, self._loaded.provenance)
            self._shown = (self.table, content)
        return self._with_state(self._shown[1])

    def _with_state(self, content: Mapping[str, Any]) -> dict[str, Any]:
        hits, kind_hits = self._hits()
        return routing_view.as_json(content, self._unsaved, self._kept, hits, kind_hits)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> CommandResult | None:
        """Run a command of ``server.engine``; ``None`` when it is not one of these."""
        commands: dict[str, Callable[..., Awaitable[CommandResult]]] = {
            "set_shadow": self.set_shadow,
            "preview_live": self.preview_live,
            "set_route": self.set_route,
            "check_route": self.check_route,
            "set_mode": self.set_mode,
            "change_routing": self.change_routing,
        }
        return await command_table.run(commands, name, arguments)

    async def set_shadow(
        self, enabled: bool, remember: bool = False, source: str = "the screen"
    ) -> CommandResult:
        """Turn shadow on or off; back on is always kept, off only when told to."""
        self._set({SHADOW_KEY: bool(enabled)})
        reason = None
        if enabled or remember:
            reason = await self._keep({SHADOW_KEY: bool(enabled)})
        else:
            self._note_unsaved({SHADOW_KEY})
        is_kept = SHADOW_KEY not in self._unsaved
        self._bus.publish("mode.changed", shadow=bool(enabled), source=source, persisted=is_kept)
        data = {"shadow": bool(enabled), "persisted": is_kept, "reason": reason}
        word = "shadow: everything goes to its baseline" if enabled else "live"
        text = f"The gateway is in {word}." if enabled else "The gateway is live."
        if reason:
            text += f" Not kept: {reason}."
        return CommandResult(True, text, data)

    async def preview_live(self) -> CommandResult:
        """What would change if shadow went off now, over recent turns."""
        found = await self._effect(self.table)
        return CommandResult(True, "", found.as_json())

    async def check_route(self, name: str, entries: Sequence[str]) -> CommandResult:
        """What another preference list would do, without changing anything."""
        try:
            change = route_change(name, list(entries))
            table = changed(self._services.settings, change).routing
        except SettingsError as error:
            return CommandResult(False, str(error))
        return CommandResult(True, "", await self._both(self.table, table, name))

    async def set_route(
        self, name: str, entries: Sequence[str], source: str = "the screen"
    ) -> CommandResult:
        """Set a class's or kind's preference list and keep it, comments and all."""
        said = f"{name} now goes to {', '.join(entries) or 'where its class goes'}."
        return await self._change_one(route_change(name, list(entries)), said, source)

    async def set_mode(
        self, name: str, mode: str | None, source: str = "the screen"
    ) -> CommandResult:
        """Set how far a class or kind may go and keep it; ``None`` takes its own mode away."""
        said = f"{name} is in mode {mode}." if mode else f"{name} has no mode of its own."
        if mode is not None and self.table.shadow:
            said += " It counts once shadow is off."
        change = {join(("routing", "modes", name)): mode}
        return await self._change_one(change, said, source)

    async def change_routing(
        self,
        change: Mapping[str, Any],
        dry_run: bool = False,
        remember: bool = True,
        source: str = "the screen",
    ) -> CommandResult:
        """Change any part of the table but shadow; see ``server.routing_change``.

        ``dry_run`` changes nothing, shows the table as it would be and replays a week's recorded
        turns under it (``backtest``: ``server.backtest_make``, ``None`` where the record cannot be
        read); without ``remember`` the change ends with this run.
        """
        before = self.table
        try:
            changes = read_change(change)
            after = changed(self._services.settings, changes).routing
        except (BadChange, SettingsError) as error:
            return CommandResult(False, str(error))
        data: dict[str, Any] = {"applied": False, "persisted": False, "reason": None}
        if dry_run:
            data["backtest"] = await self._backtest(changes)
            table = routing_view.table_json(after, self._loaded.provenance)
            data |= {"source": None, "routing": self._with_state(table)}
        else:
            data |= await self._apply(changes, remember=remember, source=source)
        data["effect"] = await self._both(before, after)
        return CommandResult(True, _said(data), data)

    # ------------------------------------------------------------------ inside

    def _set(self, changes: Mapping[str, Any]) -> None:
        self._services.settings = changed(self._services.settings, changes)

    async def _change_one(
        self, changes: Mapping[str, Any], said: str, source: str
    ) -> CommandResult:
        try:
            data = await self._apply(changes, remember=True, source=source)
        except SettingsError as error:
            return CommandResult(False, str(error))
        if data["reason"]:
            said += f" Not kept: {data['reason']}."
        return CommandResult(True, said, data)

    async def _apply(
        self, changes: Mapping[str, Any], *, remember: bool, source: str
    ) -> dict[str, Any]:
        """Put checked changes into force and tell everybody."""
        self._set(changes)
        reason = None
        if remember:
            reason = await self._keep(changes)
        else:
            self._note_unsaved(set(changes))
        is_kept = remember and reason is None
        self._bus.publish("routing.changed", routing=self.as_json(), source=source)
        return {
            "applied": True,
            "persisted": is_kept,
            "reason": reason,
            "source": str(self._loaded.config_file) if is_kept else routing_view.UNSAVED,
            "routing": self.as_json(),
        }

    async def _keep(self, changes: Mapping[str, Any]) -> str | None:
        reason = await asyncio.to_thread(persist, self._loaded, changes)
        if reason is None:
            self._unsaved.difference_update(changes)
            self._kept |= {
                key: "default" if value is None else str(self._loaded.config_file)
                for key, value in changes.items()
            }
        else:
            self._note_unsaved(set(changes))
        return reason

    def _note_unsaved(self, keys: set[str]) -> None:
        """Remember what is in force only until the end of this run."""
        self._unsaved |= keys
        if self.table.shadow == self._loaded.settings.routing.shadow:
            self._unsaved.discard(SHADOW_KEY)

    async def _backtest(self, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """A week's recorded turns under changed settings; ``None`` if they cannot be read."""
        services = self._services
        try:
            return await asyncio.to_thread(
                make_backtest,
                self._loaded.paths.ledger_file,
                changed(services.settings, changes),
                PriceBook(services.prices, Assumptions()),
                since=services.clock.time() - WEEK_S,
                demo=services.is_demo,
                pause=stand_back,
            )
        except (LedgerError, sqlite3.Error) as error:
            _log.warning("there is no backtest, the ledger cannot be read: %s", error)
            return None

    async def _both(
        self, before: RoutingSettings, after: RoutingSettings, name: str | None = None
    ) -> dict[str, Any]:
        old, new = await self._effect(before, name), await self._effect(after, name)
        return {"before": old.as_json(), "after": new.as_json()}

    async def _effect(self, table: RoutingSettings, name: str | None = None) -> routing_view.Effect:
        rows = list(self._recent())[:WHAT_IF_TURNS]
        services = self._services
        models = {n: provider.model for n, provider in services.settings.providers.items()}
        price = MovePrices(
            rows, Quoter(services.prices, services.assumptions, models), services.clock
        )
        found = routing_view.Effect()
        steps = routing_view.steps(found, table, rows, self._planner.what_if, price, name)
        for number, _ in enumerate(steps, 1):
            if number % TURNS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found


def _said(data: Mapping[str, Any]) -> str:
    if not data["applied"]:
        return "Nothing was changed; this is what would happen."
    return f"Changed. Not kept: {data['reason']}." if data["reason"] else "Changed."

"""What a front end may tell a running gateway to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from server import routing_view
from server.bus import Bus
from server.config import RoutingSettings
from server.engine import CommandResult
from server.planning import Planner
from server.record import Saving
from server.routing_view import Price
from server.services import Services
from server.settings_edit import changed, persist
from server.settings_errors import SettingsError
from server.settings_file import Loaded
from server.settings_types import KINDS, ROUTE_CLASSES

WHAT_IF_TURNS = 1_000

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
        price: Price,
    ) -> None:
        self._loaded = loaded
        self._services = services
        self._planner = planner
        self._recent = recent
        self._hits = hits
        self._price = price
        self._unsaved: set[str] = set()
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
        hits, kind_hits = self._hits()
        return routing_view.as_json(self._shown[1], self._unsaved, hits, kind_hits)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> CommandResult | None:
        """Run a command of ``server.engine``; ``None`` when it is not one of these."""
        commands: dict[str, Callable[..., Awaitable[CommandResult]]] = {
            "set_shadow": self.set_shadow,
            "preview_live": self.preview_live,
            "set_route": self.set_route,
            "check_route": self.check_route,
        }
        command = commands.get(name)
        if command is None:
            return None
        try:
            return await command(**arguments)
        except TypeError:
            return CommandResult(False, f"{name} was called with the wrong arguments")

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
        found = self._effect(self.table)
        return CommandResult(True, "", found.as_json())

    async def check_route(self, name: str, entries: Sequence[str]) -> CommandResult:
        """What another preference list would do, without changing anything."""
        try:
            table = changed(self._services.settings, _route_change(name, entries)).routing
        except SettingsError as error:
            return CommandResult(False, str(error))
        before, after = self._effect(self.table, name), self._effect(table, name)
        return CommandResult(True, "", {"before": before.as_json(), "after": after.as_json()})

    async def set_route(
        self, name: str, entries: Sequence[str], source: str = "the screen"
    ) -> CommandResult:
        """Set a class's or kind's preference list and keep it, comments and all."""
        change = _route_change(name, entries)
        try:
            self._set(change)
        except SettingsError as error:
            return CommandResult(False, str(error))
        reason = await self._keep(change)
        self._bus.publish("routing.changed", routing=self.as_json(), source=source)
        data = {"routing": self.as_json(), "persisted": reason is None, "reason": reason}
        text = f"{name} now goes to {', '.join(entries)}."
        if reason:
            text += f" Not kept: {reason}."
        return CommandResult(True, text, data)

    # ------------------------------------------------------------------ inside

    def _set(self, changes: Mapping[str, Any]) -> None:
        self._services.settings = changed(self._services.settings, changes)

    async def _keep(self, changes: Mapping[str, Any]) -> str | None:
        reason = await asyncio.to_thread(persist, self._loaded, changes)
        if reason is None:
            self._unsaved.difference_update(changes)
        else:
            self._note_unsaved(set(changes))
        return reason

    def _note_unsaved(self, keys: set[str]) -> None:
        """Remember what is in force only until the end of this run."""
        self._unsaved |= keys
        if self.table.shadow == self._loaded.settings.routing.shadow:
            self._unsaved.discard(SHADOW_KEY)

    def _effect(self, table: RoutingSettings, name: str | None = None) -> routing_view.Effect:
        rows = [
            row for row in self._recent() if name is None or name in (row["route"], row["kind"])
        ]
        return routing_view.effect(table, rows[:WHAT_IF_TURNS], self._planner.what_if, self._price)


def saving_of(row: Mapping[str, Any], provider: str, model: str | None) -> Saving | None:
    """What a turn would have saved at a place, where that is the one it was projected for."""
    proposal, saving = row.get("proposal"), row.get("saving")
    if not proposal or not saving or (proposal["provider"], proposal["model"]) != (provider, model):
        return None
    return Saving(**saving)


def _route_change(name: str, entries: Sequence[str]) -> dict[str, Any]:
    if name in ROUTE_CLASSES:
        return {f"routing.routes.{name}": list(entries)}
    if name in KINDS:
        return {f"routing.kinds.{name}": list(entries) or None}
    # The settings' own error names the nearest known one.
    return {f"routing.routes.{name}": list(entries)}

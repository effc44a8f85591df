"""What a front end may tell the verifier and the ladder to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from server import command_table
from server.clock import Clock
from server.commands import Routing
from server.engine import CommandResult
from server.events import VERIFIER_CHANGED
from server.ledger_read import LedgerReader
from server.services import Services
from server.settings_edit import changed, persist
from server.settings_errors import SettingsError
from server.settings_file import Loaded
from server.settings_types import KINDS, NEVER_MOVED, ROUTE_CLASSES, nearest
from server.verification.book import Ladder
from server.verification.ladder import Rung
from server.verification.verifier import Verifier

CONSENT_KEY: Final = "verification.consent"
LONGEST_S: Final = 30 * 86_400.0
"""Most that a kind can be live for a while; for longer there are the settings."""
LATEST_MOVES: Final = 50


class VerificationCommands:
    """``set_rung``, ``set_consent`` and ``ladder`` of ``server.engine``."""

    def __init__(
        self,
        loaded: Loaded,
        services: Services,
        routing: Routing,
        ladder: Ladder,
        verifier: Verifier,
        *,
        reader: Callable[[], LedgerReader | None],
    ) -> None:
        self._loaded = loaded
        self._services = services
        self._routing = routing
        self._ladder = ladder
        self._verifier = verifier
        self._reader = reader

    @property
    def _clock(self) -> Clock:
        return self._services.clock

    async def run(self, name: str, arguments: Mapping[str, Any]) -> CommandResult | None:
        """Run a command; ``None`` when it is not one of these."""
        commands: dict[str, Callable[..., Awaitable[CommandResult]]] = {
            "set_rung": self.set_rung,
            "set_consent": self.set_consent,
            "ladder": self.ladder,
        }
        return await command_table.run(commands, name, arguments)

    def noticed(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Another command was run that means something here: back to shadow ends every lease, and
        a mode that lets a kind move is the user's word for it."""
        source = str(arguments.get("source", "the screen"))
        if name == "set_shadow" and arguments.get("enabled"):
            self._ladder.take_back_all(source, "everything went back to shadow")
        elif name == "set_mode":
            self._mode_set(arguments.get("name"), arguments.get("mode"), source)
        elif name == "change_routing" and not arguments.get("dry_run"):
            for kind, mode in (arguments["change"].get("modes") or {}).items():
                self._mode_set(kind, mode, source)

    def _mode_set(self, kind: Any, mode: Any, source: str) -> None:
        if mode in (Rung.CANARY, Rung.LIVE):
            before = self._ladder.rung_of(str(kind))
            self._ladder.settle(str(kind), before, Rung(mode), "its mode was set", source)

    # ------------------------------------------------------------------ the ladder

    async def ladder(self) -> CommandResult:
        """Standings, leases, money and the latest moves; the body of ``GET /verification``."""
        reader = self._reader()
        moves = [] if reader is None else await asyncio.to_thread(reader.ladder_moves, LATEST_MOVES)
        data = self._verifier.as_json() | {
            "shadow": self._routing.table.shadow,
            "verification": self._ladder.as_json(),
            "moves": [move.as_json() for move in moves],
        }
        return CommandResult(True, "", data)

    async def set_rung(
        self, name: str, rung: str, for_s: float | None = None, source: str = "the screen"
    ) -> CommandResult:
        """Put a kind or class on a rung, kept in the settings, or ``live`` for so many seconds.

        Live is live at once, in spite of shadow, which stays on for everything else.
        """
        problem = _problem(name, rung, for_s)
        if problem is not None:
            return CommandResult(False, problem)
        if for_s is not None:
            lease = self._ladder.lend(name, float(for_s), source)
            said = f"{name} is live and comes back by itself."
            return self._done(name, Rung.LIVE, said, lease.until)
        return await self._keep(name, Rung(rung), source)

    async def _keep(self, name: str, rung: Rung, source: str) -> CommandResult:
        before = self._ladder.rung_of(name)
        kept = await self._routing.set_mode(name, rung.value, source)
        if not kept.ok:
            return kept
        self._ladder.take_back(name)
        is_lent = rung is Rung.LIVE and self._routing.table.shadow
        said = f"{name} is on {rung}."
        if is_lent:
            self._ladder.lend(name, None, source)
            said = (
                f"{name} is live. Everything else stays in shadow; when the gateway starts anew, "
                f"{name} is in shadow as well until shadow is off."
            )
        else:
            self._ladder.settle(name, before, rung, "its mode was set", source)
        if rung is Rung.CANARY and self._routing.table.shadow:
            said += " It counts once shadow is off."
        elif rung is Rung.VERIFY and not self._services.settings.verification.consent:
            said += " Nothing is compared before you consent: sbgw-tui verify on."
        if reason := kept.data["reason"]:
            said += f" Not kept: {reason}."
        return self._done(name, rung, said, None, kept.data["persisted"], reason)

    def _done(
        self,
        name: str,
        asked: Rung,
        said: str,
        until: float | None,
        persisted: bool = False,
        reason: str | None = None,
    ) -> CommandResult:
        entries = [e for e in self._ladder.as_json() if name in (e["kind"], e["route"])]
        targets = self._targets(name)
        without_key = self._without_key(targets)
        if asked in (Rung.LIVE, Rung.CANARY) and len(without_key) == len(targets) > 0:
            said += (
                f" Nothing moves until one of them has a key (sbgw-tui init): "
                f"{', '.join(dict.fromkeys(without_key.values()))}."
            )
        data = {
            "name": name,
            "rung": self._ladder.rung_of(name).value,
            "until": until,
            "persisted": persisted,
            "reason": reason,
            "targets": targets,
            "without_key": list(without_key),
            "verification": entries,
        }
        return CommandResult(True, said, data)

    def _without_key(self, targets: list[str]) -> dict[str, str]:
        """Those of ``targets`` that cannot take anything, each with its provider."""
        upstreams = self._services.upstreams
        providers = {target: target.partition("/")[0] for target in targets}
        return {
            target: name
            for target, name in providers.items()
            if name not in upstreams or not upstreams[name].is_configured
        }

    def _targets(self, name: str) -> list[str]:
        """Who may get its text."""
        table = self._routing.table
        routes = name if name in ROUTE_CLASSES else "fallback_safe"
        entries = table.entries_of(routes, name)
        if name not in ROUTE_CLASSES and name not in table.kinds:
            # A kind without a list of its own goes where its class goes.
            found = [entry for _, each in table.routes for entry in each]
            entries = tuple(dict.fromkeys(found))
        return [str(entry) for entry in entries if not entry.is_baseline]

    # ------------------------------------------------------------------ consent

    async def set_consent(
        self, consent: bool, remember: bool = True, source: str = "the screen"
    ) -> CommandResult:
        """Allow or forbid comparisons; forbidding is always kept."""
        if not isinstance(consent, bool):
            return CommandResult(False, "consent is true or false")
        change = {CONSENT_KEY: consent}
        try:
            self._services.settings = changed(self._services.settings, change)
        except SettingsError as error:
            return CommandResult(False, str(error))
        reason = None
        if remember or not consent:
            reason = await asyncio.to_thread(persist, self._loaded, change)
        persisted = (remember or not consent) and reason is None
        verifier = self._verifier.as_json()
        self._services.bus.publish(VERIFIER_CHANGED, verifier=verifier, source=source)
        said = "A sample of answers is compared." if consent else "Nothing is compared."
        if reason:
            said += f" Not kept: {reason}."
        data = verifier | {"persisted": persisted, "reason": reason}
        if consent:
            data["targets"] = self._targets("")
        return CommandResult(True, said, data)


def _problem(name: str, rung: str, for_s: object) -> str | None:
    known = (*ROUTE_CLASSES, *KINDS)
    if name not in known:
        hint = nearest(str(name), known) or f"known are {', '.join(known)}"
        return f'there is no kind or class "{str(name)[:40]}": {hint}'
    if rung not in [each.value for each in Rung]:
        return f"a rung is one of {', '.join(Rung)}"
    if name in NEVER_MOVED and Rung(rung) is not Rung.OBSERVE:
        return f"{name} never leaves its vendor and model"
    if for_s is None:
        return None
    if Rung(rung) is not Rung.LIVE:
        return "only live is for a while"
    if isinstance(for_s, bool) or not (isinstance(for_s, int | float) and 1 <= for_s <= LONGEST_S):
        return f"a while is from 1 to {LONGEST_S:.0f} seconds"
    return None

"""What a front end may do with one provider: reset, pause, resume, probe."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from server.engine import CommandResult
from server.events import PROVIDER_CHANGED
from server.health import Health
from server.probe import Prober
from server.services import Services
from server.settings_types import nearest

_log = logging.getLogger("sbgw.providers")

Describe = Callable[[str], dict[str, Any]]
"""``(name) ->`` one entry of ``snapshot["providers"]``."""


class ProviderCommands:
    """Acts on providers; every change is told on the bus as ``provider.changed``."""

    def __init__(
        self, services: Services, health: Health, describe: Describe, prober: Prober
    ) -> None:
        self._services = services
        self._health = health
        self._describe = describe
        self.prober = prober

    async def run(self, name: str, arguments: Mapping[str, Any]) -> CommandResult | None:
        """Run a command of ``server.engine``; ``None`` when it is not one of these."""
        commands: dict[str, Callable[[str], Awaitable[CommandResult]]] = {
            "reset": self._reset,
            "pause": self._pause,
            "resume": self._resume,
            "probe": self._probe,
        }
        command = commands.get(name)
        if command is None:
            return None
        provider = arguments.get("provider")
        if not isinstance(provider, str) or not set(arguments) <= {"provider", "source"}:
            return CommandResult(False, f"{name} was called with the wrong arguments")
        if provider not in self._services.upstreams:
            return CommandResult(False, self._unknown(provider))
        result = await command(provider)
        _log.info("%s: %s (%s)", provider, result.message, arguments.get("source", "the screen"))
        return result

    async def probe_all(self) -> list[dict[str, Any]]:
        """Every provider's entry with ``live``: what a probe of it found just now."""
        found = await self.prober.all(self._services.settings)
        for name in found:
            self._announce(name)
        return [self._describe(name) | {"live": probe.as_json()} for name, probe in found.items()]

    # ------------------------------------------------------------------ inside

    async def _reset(self, name: str) -> CommandResult:
        self._health.reset(name)
        self._services.learned.forget(name)
        return self._done(name, f"{name} is tried again from now on.")

    async def _pause(self, name: str) -> CommandResult:
        self._health.pause(name, True)
        said = f"{name} is paused: it gets only what nobody else could serve."
        return self._done(name, said)

    async def _resume(self, name: str) -> CommandResult:
        self._health.pause(name, False)
        return self._done(name, f"{name} takes requests again.")

    async def _probe(self, name: str) -> CommandResult:
        found = await self.prober.probe(name, self._services.settings)
        self._announce(name)
        took = "" if found.latency_s is None else f" ({found.latency_s * 1000:.0f} ms)"
        data = {"provider": self._describe(name), "probe": found.as_json()}
        return CommandResult(found.ok, f"{found.message}{took}.", data)

    def _done(self, name: str, message: str) -> CommandResult:
        return CommandResult(True, message, {"provider": self._describe(name)})

    def _announce(self, name: str) -> None:
        self._services.bus.publish(PROVIDER_CHANGED, provider=self._describe(name))

    def _unknown(self, name: str) -> str:
        settings = self._services.settings
        if name in settings.providers:
            env = settings.provider(name).account_id_env or "its address"
            return f"{name} is not set up: {env} is not set"
        known = self._services.upstreams
        hint = nearest(name, known) or f"known are {', '.join(known)}"
        return f'there is no provider "{name[:40]}" ({hint})'

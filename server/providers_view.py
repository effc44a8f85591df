"""What front ends and ``GET /health`` are told about the providers."""

from __future__ import annotations

from typing import Any

from server.health import Health
from server.probe import Prober
from server.services import Services


class ProvidersView:
    """One entry a provider: how it stands, who pays there, what it answered last."""

    def __init__(self, services: Services, health: Health, prober: Prober) -> None:
        self._services = services
        self._health = health
        self._prober = prober

    def entries(self) -> list[dict[str, Any]]:
        """``snapshot["providers"]``."""
        return [self.entry(name) for name in self._services.upstreams]

    def entry(self, name: str) -> dict[str, Any]:
        """One of ``snapshot["providers"]``."""
        upstream = self._services.upstreams[name]
        stats = self._services.stats.provider_stats(name)
        has_key = upstream.own_credential is not None
        configured = upstream.is_configured
        status = stats["status"] if configured else "needs_key"
        probe = self._prober.last.get(name)
        return stats | {
            "name": name,
            "protocol": upstream.protocol.value,
            "base_url": upstream.base_url,
            "configured": configured,
            "key_env": upstream.api_key_env,
            "credential": "our key" if has_key else "the client's" if configured else "none",
            "status": status,
            **self._health.as_json(name),
            **self._services.bulkhead.at_json(name),
            "learned": self._services.learned.as_json(name),
            "probe": probe.as_json() if probe else None,
        }

    def summed_up(self, *, live: bool) -> dict[str, Any]:
        """``providers`` of ``GET /health``; with ``live`` every entry beside."""
        entries = self.entries()
        configured = [entry["name"] for entry in entries if entry["configured"]]
        failing = [entry["name"] for entry in entries if entry["status"] == "failing"]
        found: dict[str, Any] = {
            "configured": bool(configured),
            "availableProviders": configured,
            "status": "degraded" if failing else "ok" if configured else "unconfigured",
        }
        if live:
            found["healthyProviders"] = [n for n in configured if n not in failing]
            found["unhealthyProviders"] = failing
            found["detail"] = {entry["name"]: entry for entry in entries}
        return found

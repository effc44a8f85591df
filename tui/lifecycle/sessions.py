"""Whom a stop would leave without a gateway: agents under a lease, and recent sessions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.leases import LEASES_FOLDER, Leases
from server.logs import one_line
from server.paths import Paths
from tui.client import GatewayUnreachableError, Health, call

RECENT_S = 600.0
"""A session whose last request is not older than this counts as attached."""

_ID_SHOWN = 8
_MOST = 8


@dataclass(frozen=True, slots=True)
class Attached:
    """Who uses a gateway now."""

    sessions: tuple[str, ...]
    """One line for each session seen lately; the running ones first."""
    agents: tuple[int, ...]
    """The pids of agents that a launcher started."""
    in_flight: int
    is_known: bool = True
    """``False``: the gateway did not say, and only ``agents`` is right."""

    @property
    def is_anybody(self) -> bool:
        """Whether a stop would be noticed."""
        return bool(self.sessions or self.agents or self.in_flight)


def attached(health: Health | None, paths: Paths, key: str) -> Attached:
    """Ask the gateway and look at the leases; never raises."""
    agents = tuple(Leases(paths.state_dir / LEASES_FOLDER).agents())
    if health is None:
        return Attached((), agents, 0, is_known=False)
    try:
        reply = call(health, "GET", "/snapshot", key=key)
        if not reply.is_ok:
            return Attached((), agents, 0, is_known=False)
        snapshot = reply.json()
        lines = tuple(sessions_of(snapshot["turns"], float(snapshot["at"])))
        return Attached(lines, agents, int(snapshot["counters"]["in_flight"]))
    except (GatewayUnreachableError, ValueError, KeyError, TypeError):
        return Attached((), agents, 0, is_known=False)


def sessions_of(turns: Iterable[Mapping[str, Any]], now: float) -> list[str]:
    """Sessions of ``turns`` (summaries, newest first), each in a line; running ones first."""
    newest: dict[object, Mapping[str, Any]] = {}
    running: dict[object, int] = {}
    for turn in turns:
        name = turn.get("session") or turn.get("client") or "unknown"
        newest.setdefault(name, turn)
        if turn.get("status") == "open":
            running[name] = running.get(name, 0) + 1
    found = [
        (running.get(name, 0), _line(turn, running.get(name, 0), now))
        for name, turn in newest.items()
        if name in running or now - float(turn["at"]) <= RECENT_S
    ]
    found.sort(key=lambda item: -item[0])
    lines = [line for _, line in found]
    more = len(lines) - _MOST
    return [*lines[:_MOST], f"and {more} more"] if more > 0 else lines


def _line(turn: Mapping[str, Any], running: int, now: float) -> str:
    parts = [str(turn.get("client") or "unknown client")]
    for name in ("label", "project", "branch"):
        if turn.get(name):
            parts.append(str(turn[name]))
    if not turn.get("project") and turn.get("session"):
        parts.append(f"session {str(turn['session'])[:_ID_SHOWN]}")
    minutes = int(max(0.0, now - float(turn["at"])) // 60)
    ago = f"last request {minutes} min ago" if minutes else "last request just now"
    parts.append(f"{running} in flight" if running else ago)
    return one_line(", ".join(parts))

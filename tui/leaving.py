"""Leaving the screen: who still uses the gateway, and what can become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from tui import format as fmt
from tui import sessions
from tui.lifecycle.sessions import RECENT_S
from tui.lines import EMPTY, Line, line, wrap
from tui.state import LiveState

MOST_SESSIONS = 4


class Leave(StrEnum):
    """What the user chose."""

    STAY = "stay"
    KEEP = "keep"
    """A gateway without a screen takes over, at the same address."""
    STOP = "stop"
    """Drain and stop."""


@dataclass(frozen=True, slots=True)
class Departure:
    """How a screen leaves the gateway that runs in its own process."""

    hand_over: Callable[[], Awaitable[str]]
    """Puts a gateway without a screen in its place and gives its URL; raises when it cannot."""
    ended: Callable[[], Awaitable[object]]
    """After that: waits for the answers that run here."""
    agents: Callable[[], int] = lambda: 0
    """How many agents that a launcher started run now."""


@dataclass(frozen=True, slots=True)
class Users:
    """Who uses the gateway now."""

    in_flight: int = 0
    sessions: tuple[str, ...] = ()
    """Those of the last minutes, each in a few words, the newest first."""
    agents: int = 0

    @property
    def is_anybody(self) -> bool:
        """Whether an end of the gateway would be noticed."""
        return bool(self.in_flight or self.sessions or self.agents)


def users_of(state: LiveState, agents: int, now: float) -> Users:
    """Who uses the gateway at wall time ``now``; the demo's made-up sessions lose nothing."""
    if state.gateway.demo:
        return Users()
    recent = (r for r in state.all_rows() if r.session and now - r.at <= RECENT_S)
    found = sessions.ordered(sessions.fold(recent, now), sessions.Order.AGE)
    return Users(state.totals.in_flight, tuple(_named(one, now) for one in found), agents)


def _named(session: sessions.Session, now: float) -> str:
    where = session.project.rstrip("/").rpartition("/")[2] if session.project else session.id[:8]
    ago = "running" if session.running else f"{fmt.age(max(0.0, now - session.last_at))} ago"
    return fmt.neutralise(f"{session.client or 'unknown client'} in {where}, {ago}", 60)


def question(users: Users, width: int, *, can_keep: bool, is_unsaved: bool) -> list[Line]:
    """What the dialog says."""
    said: list[Line] = []
    if users.in_flight or not (users.agents or users.sessions):
        said.append(line((fmt.plural(users.in_flight, "request") + " in flight", "strong")))
    if users.agents:
        said.append(line(fmt.plural(users.agents, "agent") + " started from here"))
    if users.sessions:
        said.append(line((fmt.plural(len(users.sessions), "session") + " in 10 minutes:", "muted")))
        said += [line(f"  {name}") for name in users.sessions[:MOST_SESSIONS]]
        if (more := len(users.sessions) - MOST_SESSIONS) > 0:
            said.append(line((f"  and {more} more", "muted")))
    said.append(EMPTY)
    if can_keep:
        text = (
            "Keep running: a gateway without a screen takes over at this address. What is in "
            "flight may finish, and nobody meets a closed port."
        )
        said += wrap(text, width)
        if is_unsaved:
            said += wrap("What you changed and did not save does not go along.", width, "warn")
    it = "it" if users.in_flight == 1 else "they"
    drain = f"{it} may finish, " if users.in_flight else ""
    said += wrap(f"Stop: {drain}new requests are turned away, then nothing answers here.", width)
    return said

"""How this home's gateway is doing, from its lock and its own proven answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from server.clock import Clock
from server.instance import InstanceInfo, read
from server.paths import Paths
from tui.client import Answer, Health, ask

EXIT_DOWN = 1
EXIT_SILENT = 4


class State(StrEnum):
    """What a gateway is found to be doing."""

    UP = "up"
    DRAINING = "draining"
    STARTING = "starting"
    SILENT = "not answering"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Condition:
    """One look at the gateway."""

    state: State
    info: InstanceInfo | None = None
    health: Health | None = None
    reason: str | None = None
    """Why it counts as not answering."""

    @property
    def exit_code(self) -> int:
        """0 while it serves (draining included), 1 when none runs, 4 when it does not answer."""
        if self.state in (State.UP, State.DRAINING):
            return 0
        return EXIT_DOWN if self.state is State.DOWN else EXIT_SILENT


def look(paths: Paths, *, timeout_s: float = 2.0) -> Condition:
    """Look once; ``InstanceError`` when lock or secret cannot be used."""
    info = read(paths)
    if info is None or not info.is_held:
        return Condition(State.DOWN, info)
    return judge(info, ask(info, paths, timeout_s=timeout_s))


def judge(info: InstanceInfo, answer: Answer) -> Condition:
    """What an answer says of the gateway that holds the lock."""
    if isinstance(answer, Health):
        state = State.UP if answer.is_serving else State.DRAINING
        return Condition(state, info, answer)
    if info.url is None:
        return Condition(State.STARTING, info, reason=answer.reason)
    return Condition(State.SILENT, info, reason=answer.reason)


def as_json(condition: Condition, paths: Paths, clock: Clock) -> dict[str, Any]:
    """``status --json``; what is not known is ``None``.

    ``state`` (see ``State``), ``pid``, ``url``, ``mode`` (``shadow`` or ``live``), ``version``,
    ``uptime_s``, ``started_at`` (seconds since the epoch), ``screen``, ``ledger``, ``reason``,
    ``log`` and ``home`` (paths).
    """
    info = condition.info if condition.state is not State.DOWN else None
    body = condition.health.body if condition.health is not None else {}
    uptime = body.get("uptime_s")
    if uptime is None and info is not None and info.started_at:
        uptime = max(0.0, clock.time() - info.started_at)
    return {
        "state": condition.state.value,
        "pid": info.pid if info else None,
        "url": info.url if info else None,
        "mode": _mode(body.get("shadowMode")),
        "version": condition.health.version if condition.health else None,
        "uptime_s": uptime,
        "started_at": info.started_at if info and info.started_at else None,
        "screen": info.has_screen if info else None,
        "ledger": body.get("ledger"),
        "reason": condition.reason,
        "log": str(paths.log_file),
        "home": str(paths.settings_dir),
    }


def in_words(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of ``status`` for people: a name and a value."""
    state = str(found["state"])
    rows = [("gateway", f"{state} ({found['reason']})" if found["reason"] else state)]
    if found["url"]:
        rows.append(("address", str(found["url"])))
    if found["pid"]:
        where = " (in a screen)" if found["screen"] else ""
        rows.append(("pid", f"{found['pid']}{where}"))
    if found["mode"]:
        meaning = {"shadow": "observes, sends nothing elsewhere", "live": "routes"}
        rows.append(("mode", f"{found['mode']}: {meaning[found['mode']]}"))
    if found["uptime_s"] is not None:
        rows.append(("uptime", str(timedelta(seconds=int(found["uptime_s"])))))
    if found["version"]:
        rows.append(("version", str(found["version"])))
    if found["ledger"] not in (None, "ok"):
        rows.append(("ledger", str(found["ledger"])))
    return [*rows, ("log", str(found["log"])), ("home", str(found["home"]))]


def _mode(is_shadow: object) -> str | None:
    if not isinstance(is_shadow, bool):
        return None
    return "shadow" if is_shadow else "live"

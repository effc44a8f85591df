"""``up``, ``down``, ``restart`` and ``shadow``: what they do, without their command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from server.clock import Clock
from server.instance import InstanceInfo, connect_url
from server.leases import LEASES_FOLDER, Leases
from server.paths import Paths
from tui.client import GatewayUnreachableError, Health, Reply, call
from tui.launch_gateway import (
    EXIT_BIND,
    EXIT_UNREACHABLE,
    GatewayCommand,
    StartFailed,
    ensure_gateway,
    gateway_argv,
)
from tui.lifecycle.sessions import Attached, attached
from tui.lifecycle.state import Condition, State, look
from tui.lifecycle.stop import DRAIN_MARGIN_S, Stopped, Stopper
from tui.lifecycle.succession import CannotHandOver, succeed

EXIT_USAGE = 2
NOT_RUNNING = "no gateway runs; sbgw-tui up starts one"
START_LIMIT_S = 30.0

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway that a command is about, and how to talk to the user."""

    paths: Paths
    clock: Clock
    env: Mapping[str, str]
    key: str
    host: str
    port: int
    """As the settings have it; 0 is any."""
    drain_s: float
    arguments: tuple[str, ...]
    """The options that a started gateway gets."""
    has_own_port: bool
    """The port was asked for on the command line."""
    say: Callable[[str], None]

    def command(self, *, has_lease: bool = False, more: Sequence[str] = ()) -> GatewayCommand:
        """How to start it."""
        argv = gateway_argv([*self.arguments, *more], has_lease=has_lease)
        return GatewayCommand(argv, self.env)

    def is_at(self, info: InstanceInfo) -> bool:
        """Whether ``info`` speaks of a gateway at the address that is wanted."""
        is_same_host = info.host in (None, self.host)
        return is_same_host and info.url == connect_url(self.host, self.port or info.port or 0)


def up(target: Target) -> tuple[int, str | None]:
    """Start this home's gateway if none runs; exit code, and its URL when it serves."""
    before = look(target.paths)
    if (code := _elsewhere(target, before)) is not None:
        return code, None
    try:
        found = _kept(target)
    except StartFailed as error:
        target.say(str(error))
        return error.exit_code, None
    url = found.url
    if before.info is not None and before.state is State.UP:
        target.say(f"the gateway already runs at {url} (pid {before.info.pid})")
    else:
        target.say(f"the gateway runs at {url}; its log: {target.paths.log_file}")
    try:
        has_our_key = call(found, "GET", "/providers", key=target.key).status not in (401, 403)
    except GatewayUnreachableError as error:
        target.say(str(error))
        return EXIT_UNREACHABLE, None
    if not has_our_key:
        target.say(
            "it was started with another gateway key than the one in force here: "
            "sbgw-tui restart gives it this one"
        )
        return EXIT_USAGE, url
    return 0, url


def _elsewhere(target: Target, now: Condition) -> int | None:
    """The exit code when the gateway runs where it was not asked to run."""
    info = now.info
    if now.state is not State.UP or info is None or info.url is None or target.is_at(info):
        return None
    if target.has_own_port:
        target.say(
            f"this home's gateway runs at {info.url} (pid {info.pid}), not on port {target.port}: "
            f"sbgw-tui --port {target.port} restart moves it"
        )
        return EXIT_BIND
    target.say(f"the settings ask for port {target.port}: sbgw-tui restart moves it there")
    return None


def _kept(target: Target) -> Health:
    """The gateway, started if need be, and told not to end when nobody uses it."""
    leases = Leases(target.paths.make_state_dir() / LEASES_FOLDER)
    for _ in range(_TRIES):
        found = ensure_gateway(target.paths, target.command(), target.clock, limit_s=START_LIMIT_S)
        info = look(target.paths).info
        if info is None or info.pid is None:
            continue
        leases.keep(info.pid)
        # It may have decided to end just before it could see that it is kept.
        again = look(target.paths)
        if again.state is State.UP and again.info is not None and again.health is not None:
            if again.info.instance == info.instance:
                return again.health
        elif again.state is State.SILENT:
            raise StartFailed(
                f"the gateway at {found.health.url} does not answer: {again.reason}",
                EXIT_UNREACHABLE,
            )
    raise StartFailed("the gateway starts and ends again", EXIT_UNREACHABLE)


@dataclass(frozen=True, slots=True)
class DownOptions:
    """How ``down`` is to go about it."""

    is_now: bool = False
    """Do not wait for running answers."""
    asks: Callable[[str], bool] | None = None
    """Asks the user before sessions are left without a gateway; ``None`` goes on."""


def down(target: Target, options: DownOptions) -> int:
    """End this home's gateway; 0 also when none runs."""
    now = look(target.paths)
    info = now.info
    if now.state is State.DOWN or info is None:
        target.say("no gateway runs")
        return 0
    if info.pid is None:
        target.say("the gateway is still starting; try again in a moment")
        return EXIT_UNREACHABLE
    users = attached(now.health, target.paths, target.key)
    tell(users, target.say)
    if options.asks is not None and users.is_anybody and not options.asks("Stop it anyway?"):
        target.say("the gateway was left running")
        return 1
    stopper = Stopper(target.paths, target.clock)
    if options.is_now:
        return _told(target, info, stopper.now(info))
    if users.in_flight:
        target.say(f"draining {users.in_flight} running, at most {target.drain_s:g} s")
    return _told(target, info, stopper.drain(info, target.drain_s + DRAIN_MARGIN_S))


def tell(users: Attached, say: Callable[[str], None]) -> None:
    """Name those who lose their gateway."""
    if not users.is_known and not users.agents:
        say("which sessions use it cannot be told: it does not answer to this gateway key")
    if not users.is_anybody:
        return
    say("this leaves without a gateway:")
    for line in users.sessions:
        say(f"  {line}")
    if users.agents:
        say(f"  agents started from here: pid {', '.join(map(str, users.agents))}")


def _told(target: Target, info: InstanceInfo, outcome: Stopped) -> int:
    texts = {
        Stopped.GONE: "the gateway has ended",
        Stopped.KILLED: f"the gateway hung and was killed (pid {info.pid})",
        Stopped.STILL_THERE: f"the gateway (pid {info.pid}) has not ended; sbgw-tui down --now",
        Stopped.NOT_VISIBLE: (
            f"process {info.pid} cannot be found from here, yet the lock of this home is held: "
            "stop the gateway where it was started"
        ),
    }
    target.say(texts[outcome])
    return 0 if outcome in (Stopped.GONE, Stopped.KILLED) else EXIT_UNREACHABLE


def restart(target: Target, options: DownOptions) -> tuple[int, str | None]:
    """Put a fresh gateway in the place of the running one, on the same socket if it can be.

    Running answers end where they began. Without a gateway this is ``up``.
    """
    now = look(target.paths)
    info = now.info
    if now.state is State.DOWN or info is None:
        return up(target)
    if info.has_screen:
        target.say(
            f"the gateway runs in a screen (pid {info.pid}): quit it there and start it again"
        )
        return EXIT_USAGE, None
    if info.is_service:
        target.say("the gateway runs as a service: systemctl --user restart sbgw-tui")
        return EXIT_USAGE, None
    if now.state is State.UP and target.is_at(info) and not options.is_now:
        try:
            url = succeed(target.paths, info, target.command(), target.clock)
        except (CannotHandOver, StartFailed) as error:
            target.say(f"no gateway took over, the old one goes on as before: {error}")
            return error.exit_code, info.url
        target.say(f"a fresh gateway runs at {url}; running answers end in the old one")
        return 0, url
    code = down(target, options)
    return up(replace(target, has_own_port=False)) if code == 0 else (code, None)


# ---------------------------------------------------------------------- shadow


def shadow(target: Target, wanted: bool | None, remember: bool) -> tuple[int, str | None]:
    """Show (``wanted`` ``None``) or set shadow on the running gateway; the mode it is in then."""
    now = look(target.paths)
    if now.health is None:
        target.say(NOT_RUNNING if now.state is State.DOWN else f"no answer: {now.reason}")
        return EXIT_UNREACHABLE, None
    if wanted is None:
        return 0, "shadow" if now.health.body.get("shadowMode") else "live"
    payload = {"enabled": wanted, "remember": remember}
    try:
        reply = call(now.health, "POST", "/shadow", key=target.key, payload=payload)
        table = call(now.health, "GET", "/routing", key=target.key)
    except GatewayUnreachableError as error:
        target.say(str(error))
        return EXIT_UNREACHABLE, None
    if reply.status in (401, 403):
        target.say("the gateway was started with another gateway key; sbgw-tui restart")
        return EXIT_USAGE, None
    if not reply.is_ok:
        target.say(f"the gateway refused ({reply.status})")
        return EXIT_UNREACHABLE, None
    done = reply.json()
    if not done["persisted"]:
        why = done.get("reason") or "shadow is on again after a restart; --keep keeps it off"
        target.say(f"not kept: {why}")
    if not done["shadowMode"] and table.is_ok:
        _tell_routes(target, table)
    return 0, "shadow" if done["shadowMode"] else "live"


def _tell_routes(target: Target, table: Reply) -> None:
    """Who gets text from now on: going live is never silent about that."""
    routing = json.loads(table.body)
    lists = {**routing["routes"], **routing["kinds"]}
    for name, entries in lists.items():
        if entries and entries[0] != "baseline":
            target.say(f"  {name} may go to {', '.join(entries)}")

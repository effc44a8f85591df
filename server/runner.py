"""Runs one gateway in this process, from the lock to the last drained stream."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, cast

from server import heap
from server.clock import Clock, SystemClock
from server.gateway import Gateway
from server.hardening import hardened
from server.instance import AlreadyRunning, InstanceError, InstanceLock, load_secret
from server.leases import LEASES_FOLDER, IdleWatch, Leases
from server.ledger import LedgerError
from server.listen import BindError, bind
from server.paths import Paths
from server.processes import owner_of_port, port_taken
from server.settings_file import Loaded
from server.succession import (
    Hello,
    Inheritance,
    SuccessionError,
    Successor,
    hand_over,
    inherit,
)
from server.tasks import spawn

_log = logging.getLogger("sbgw")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FRONT_LEAVES_S = 3.0


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    USAGE = 2
    BIND = 3
    UNREACHABLE = 4
    DOCTOR = 5
    INTERRUPT = 130


class Stop:
    """Running, then draining, then forced; signals and quitting only ever move it forward."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.forced = asyncio.Event()
        self.replaced = asyncio.Event()
        """Set when another gateway asks to take this one's place."""
        self.ended = asyncio.Event()
        """Set when draining is over; a front end leaves then."""

    def request(self) -> None:
        """First call: drain. Second call: end everything now."""
        if self.draining.is_set():
            self.forced.set()
        self.draining.set()


class CannotStart(Exception):
    """The gateway cannot run here; ``str()`` is one line for the user."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


FrontEnd = Callable[[Gateway, Stop], Awaitable[None]]
"""Shows the gateway until it calls ``Stop.request`` or returns."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run, beside the settings."""

    is_demo: bool = False
    has_lease: bool = False
    """Started by a launcher: end once nobody uses it."""
    has_screen: bool = False
    is_service: bool = False
    """A service manager started it: only that one may replace it."""
    arguments: tuple[str, ...] = ()
    """The options given, for a gateway that takes this one's place."""
    successor: Path | None = None
    """Where to wait for the gateway whose place is taken."""
    say: Callable[[str], None] = lambda line: None
    """Narration for the user."""


async def run(
    loaded: Loaded,
    env: Mapping[str, str],
    options: RunOptions,
    front: FrontEnd,
    clock: Clock | None = None,
) -> Exit:
    """Serve until told to stop; raises ``CannotStart`` before anything is shown."""
    with hardened():
        return await _run(loaded, env, options, front, clock or SystemClock())


async def _run(
    loaded: Loaded,
    env: Mapping[str, str],
    options: RunOptions,
    front: FrontEnd,
    clock: Clock,
) -> Exit:
    make_state_dir(loaded.paths)
    if options.successor is not None:
        return await _succeed(loaded, env, options, front, clock)
    lock = InstanceLock(loaded.paths, clock)
    try:
        lock.acquire()
    except AlreadyRunning as error:
        stop = f" with: kill {error.info.pid}" if error.info.pid else ""
        raise CannotStart(f"{error}; use it, or stop it{stop}", Exit.BIND) from error
    except InstanceError as error:
        raise CannotStart(str(error), Exit.BIND) from error
    try:
        secret = _secret(loaded.paths)
        gateway = _build(
            loaded,
            env=env,
            secret=secret,
            instance=lock.instance,
            clock=clock,
            is_demo=options.is_demo,
        )
        settings = loaded.settings.server
        await _start(gateway, _bind(settings.host, settings.port))
        _publish(lock, gateway, options)
        return await _serve(gateway, options, front, lock)
    except CannotStart:
        raise
    except Exception:
        # The line stays: launchers bring back a gateway that did not end in order.
        lock.leave_to_successor()
        raise
    finally:
        lock.release()


async def _succeed(
    loaded: Loaded,
    env: Mapping[str, str],
    options: RunOptions,
    front: FrontEnd,
    clock: Clock,
) -> Exit:
    """Run in the place of a gateway that hands over its socket and its lock."""
    inherited = await asyncio.to_thread(_inherit, loaded, cast(Path, options.successor))
    lock = InstanceLock.adopt(loaded.paths, clock, inherited.lock_fd)
    gateway: Gateway | None = None
    try:
        gateway = _build(
            loaded, env=env, secret=_secret(loaded.paths), instance=lock.instance, clock=clock
        )
        await _start(gateway, inherited.sock, predecessors=1)
        await asyncio.to_thread(inherited.claim)
    except BaseException as error:
        # The old gateway goes on and holds this lock too, so its line must stay.
        lock.leave_to_successor()
        if gateway is not None and not isinstance(error, CannotStart):
            await gateway.stop()
        if isinstance(error, SuccessionError):
            raise CannotStart(str(error), Exit.BIND) from error
        raise
    try:
        options = replace(options, has_lease=inherited.hello.has_lease)
        _publish(lock, gateway, options)
        return await _serve(gateway, options, front, lock)
    except Exception:
        lock.leave_to_successor()
        raise
    finally:
        lock.release()


def _inherit(loaded: Loaded, path: Path) -> Inheritance:
    try:
        inherited = inherit(path)
    except SuccessionError as error:
        raise CannotStart(str(error), Exit.BIND) from error
    server, hello = loaded.settings.server, inherited.hello
    if server.host != hello.host or server.port not in (0, hello.port):
        inherited.refuse()
        text = f"the settings ask for {server.host}:{server.port}, not for the socket of the old"
        raise CannotStart(f"{text} gateway ({hello.host}:{hello.port})", Exit.BIND)
    return inherited


def _secret(paths: Paths) -> bytes:
    try:
        return load_secret(paths)
    except InstanceError as error:
        raise CannotStart(str(error), Exit.BIND) from error


def _publish(lock: InstanceLock, gateway: Gateway, options: RunOptions) -> None:
    lock.publish(
        gateway.loaded.settings.server.host,
        gateway.port,
        arguments=options.arguments,
        has_screen=options.has_screen,
        is_service=options.is_service,
    )


def make_state_dir(paths: Paths) -> None:
    """Make the state folder if it is missing; ``CannotStart`` when that is not possible."""
    try:
        paths.make_state_dir()
    except OSError as error:
        text = f"cannot keep state in {paths.state_dir}: {error.strerror}"
        raise CannotStart(text, Exit.USAGE) from error


def _build(loaded: Loaded, **parts: Any) -> Gateway:
    try:
        return Gateway(loaded, **parts)
    except ValueError as error:
        raise CannotStart(str(error), Exit.USAGE) from error


async def _start(gateway: Gateway, sock: socket.socket, predecessors: int = 0) -> None:
    try:
        report = await gateway.start(sock)
    except LedgerError as error:
        sock.close()
        raise CannotStart(str(error), Exit.USAGE) from error
    if len(report.others_alive) > predecessors:
        pids = ", ".join(str(other.pid) for other in report.others_alive)
        _log.warning("others have this ledger open too: %s", pids)


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except BindError as error:
        text = port_taken(port, owner_of_port(port)) if error.is_taken else str(error)
        raise CannotStart(text, Exit.BIND) from error


async def _serve(
    gateway: Gateway, options: RunOptions, front: FrontEnd, lock: InstanceLock
) -> Exit:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.request)
    if not options.is_demo:
        loop.add_signal_handler(signal.SIGUSR1, stop.replaced.set)
    heap.settle()
    shown = spawn("front end", _shown(front, gateway, stop))
    idle = spawn("idle watch", _idle(gateway, stop)) if options.has_lease else None
    heirs = spawn("successor", _await_successor(gateway, stop, options, lock, idle))
    tidy = spawn("heap", heap.keep(lambda: bool(gateway.services.active), gateway.clock))
    try:
        await _until_over(gateway, stop, options, heirs)
        left = len(gateway.services.active)
        stop.ended.set()
        await asyncio.wait({shown}, timeout=_FRONT_LEAVES_S)
    finally:
        for task in (idle, shown, heirs, tidy):
            if task is not None:
                task.cancel()
        await gateway.stop()
        await asyncio.wait({shown})
        for number in (*_SIGNALS, signal.SIGUSR1):
            loop.remove_signal_handler(number)
    error = None if shown.cancelled() else shown.exception()
    if error is not None:
        raise error
    return Exit.INTERRUPT if left and not options.is_demo else Exit.OK


async def _until_over(
    gateway: Gateway, stop: Stop, options: RunOptions, heirs: asyncio.Task[None]
) -> None:
    """Until there is nothing left to serve here."""
    told = spawn("told to stop", stop.draining.wait())
    await asyncio.wait({told, heirs}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if stop.draining.is_set():
        # Nobody waits for the demo's made-up answers.
        drain_s = 0.0 if options.is_demo else gateway.loaded.settings.server.drain_s
        await _drain(gateway, stop, options, drain_s)


async def _await_successor(
    gateway: Gateway,
    stop: Stop,
    options: RunOptions,
    lock: InstanceLock,
    idle: asyncio.Task[None] | None,
) -> None:
    """Returns when another gateway has taken this one's place and nothing runs here any more."""
    while True:
        await stop.replaced.wait()
        stop.replaced.clear()
        try:
            heir = await asyncio.to_thread(_hand_over, gateway, options, lock)
        except (SuccessionError, RuntimeError) as error:
            _log.warning("nothing was handed over: %s", error)
            continue
        break
    if idle is not None:
        idle.cancel()
    lock.leave_to_successor()
    leaving = spawn("leave", gateway.leave(is_watched=options.has_screen))
    # One turn of the loop, so that this process accepts no more before the other is told.
    await asyncio.sleep(0)
    heir.take_over()
    options.say("another gateway took over; running answers end here")
    try:
        await leaving
    finally:
        leaving.cancel()


def _hand_over(gateway: Gateway, options: RunOptions, lock: InstanceLock) -> Successor:
    state_dir = gateway.loaded.paths.state_dir
    is_kept = Leases(state_dir / LEASES_FOLDER).is_kept(os.getpid())
    host = gateway.loaded.settings.server.host
    hello = Hello(host, gateway.port, options.has_lease and not is_kept)
    return hand_over(state_dir, hello, gateway.listener.fileno(), lock.fileno())


async def _shown(front: FrontEnd, gateway: Gateway, stop: Stop) -> None:
    try:
        await front(gateway, stop)
    finally:
        if not stop.draining.is_set():
            stop.request()


async def _drain(gateway: Gateway, stop: Stop, options: RunOptions, drain_s: float) -> None:
    running = len(gateway.services.active)
    if running:
        noun = "stream" if running == 1 else "streams"
        options.say(f"draining {running} {noun}, at most {drain_s:g} s; interrupt again to end now")
    drained = spawn("drain", gateway.drain(drain_s))
    forced = spawn("forced", stop.forced.wait())
    await asyncio.wait({drained, forced}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drained, forced):
        task.cancel()


async def _idle(gateway: Gateway, stop: Stop) -> None:
    """End a gateway that a launcher started, once nobody uses it any more."""
    clock = gateway.clock
    leases = Leases(gateway.loaded.paths.state_dir / LEASES_FOLDER)
    watch = IdleWatch(clock)
    seen = 0
    while True:
        await clock.sleep(1.0)
        if (requests := gateway.stats.counters()["requests"]) != seen:
            seen = requests
            watch.touch()
        if watch.observe(leases=leases.active(), in_flight=len(gateway.services.active)):
            # In the same step, so that a launcher never finds it serving after this decision.
            gateway.refuse_new()
            stop.request()
            return

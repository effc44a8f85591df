"""Runs one gateway in this process, from the lock to the last drained stream."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

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
    lock = InstanceLock(loaded.paths, clock)
    try:
        lock.acquire()
        secret = load_secret(loaded.paths)
    except AlreadyRunning as error:
        stop = f" with: kill {error.info.pid}" if error.info.pid else ""
        raise CannotStart(f"{error}; use it, or stop it{stop}", Exit.BIND) from error
    except InstanceError as error:
        raise CannotStart(str(error), Exit.BIND) from error
    try:
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
        lock.publish(settings.host, gateway.port)
        return await _serve(gateway, options, front, settings.drain_s)
    finally:
        lock.release()


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


async def _start(gateway: Gateway, sock: socket.socket) -> None:
    try:
        await gateway.start(sock)
    except LedgerError as error:
        sock.close()
        raise CannotStart(str(error), Exit.USAGE) from error


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except BindError as error:
        text = port_taken(port, owner_of_port(port)) if error.is_taken else str(error)
        raise CannotStart(text, Exit.BIND) from error


async def _serve(gateway: Gateway, options: RunOptions, front: FrontEnd, drain_s: float) -> Exit:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.request)
    gc.collect()
    gc.freeze()
    shown = spawn("front end", _shown(front, gateway, stop))
    idle = spawn("idle watch", _idle(gateway, stop)) if options.has_lease else None
    try:
        await stop.draining.wait()
        await _drain(gateway, stop, options, drain_s)
        left = len(gateway.services.active)
        stop.ended.set()
        await asyncio.wait({shown}, timeout=_FRONT_LEAVES_S)
    finally:
        for task in (idle, shown):
            if task is not None:
                task.cancel()
        await gateway.stop()
        await asyncio.wait({shown})
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    error = None if shown.cancelled() else shown.exception()
    if error is not None:
        raise error
    return Exit.INTERRUPT if left else Exit.OK


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

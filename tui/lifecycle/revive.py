"""Bringing back a gateway that died while an agent still talks to it.

One that ended in order (``down``, idle) leaves an empty lock file and is left alone; one that was
killed or crashed leaves its line there, which says where it listened and how it was started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from server.clock import Clock
from server.instance import InstanceError, InstanceInfo, read
from server.leases import LEASES_FOLDER, Leases
from tui.launch_gateway import (
    GatewayCommand,
    LaunchPaths,
    StartFailed,
    ensure_gateway,
    gateway_argv,
)
from tui.lifecycle.succession import stay_kept

WATCH_S = 0.5
"""How often the lock is looked at."""
LONGEST_S = 30.0
"""How long between two attempts at most, after attempts that failed."""

Pause = Callable[[float], bool]
"""Waits that many seconds; ``True`` when it is time to leave."""


def same_again(paths: LaunchPaths, dead: InstanceInfo, env: Mapping[str, str]) -> GatewayCommand:
    """How to start what ``dead`` was, on its port."""
    given = dict(zip(dead.arguments[::2], dead.arguments[1::2], strict=False))
    given["--port"] = str(dead.port)
    arguments = [part for pair in given.items() for part in pair]
    was_kept = Leases(paths.state_dir / LEASES_FOLDER).was_kept(dead.pid or 0)
    return GatewayCommand(gateway_argv(arguments, has_lease=not was_kept), env)


@dataclass(frozen=True, slots=True)
class Reviver:
    """Watches one home; ``command_of`` says how to start what died."""

    paths: LaunchPaths
    clock: Clock
    command_of: Callable[[InstanceInfo], GatewayCommand]

    def watch(self, pause: Pause) -> None:
        """Until ``pause`` says so. Never raises, and says nothing: the terminal is the agent's."""
        wait_s = WATCH_S
        while not pause(wait_s):
            wait_s = WATCH_S if self.look() else min(2 * wait_s, LONGEST_S)

    def look(self) -> bool:
        """Look once and revive what died; ``False`` when that failed."""
        try:
            dead = read(self.paths)
            if dead is None or dead.is_held or dead.url is None:
                return True
            ensure_gateway(self.paths, self.command_of(dead), self.clock)
            stay_kept(self.paths, dead)
        except (InstanceError, StartFailed, OSError):
            return False
        return True


@contextmanager
def reviving(reviver: Reviver) -> Iterator[None]:
    """Watch beside the block, on a thread of its own."""
    is_over = threading.Event()
    thread = threading.Thread(
        target=reviver.watch, args=(is_over.wait,), name="revive", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        # A start that is under way ends by itself; its gateway ends when nobody uses it.
        with suppress(RuntimeError):
            thread.join(timeout=WATCH_S)

"""Ending a gateway: the right process, politely at first, and never one that took over its pid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from server.clock import Clock
from server.instance import InstanceInfo, read
from server.paths import Paths
from server.processes import is_alive

DRAIN_MARGIN_S = 10.0
"""How much longer than its own drain time a gateway may take to end."""
NOW_S = 5.0
"""How long a gateway that was told to end at once may take before it is killed."""

_POLL_S = 0.05


class Stopped(Enum):
    """How an attempt to end a gateway went."""

    GONE = "gone"
    KILLED = "killed"
    STILL_THERE = "still there"
    NOT_VISIBLE = "not visible"
    """Its process cannot be found from here: another machine or container holds the lock."""


@dataclass(frozen=True, slots=True)
class Stopper:
    """Ends the gateway of one home; ``pause`` waits that many seconds."""

    paths: Paths
    clock: Clock
    pause: Callable[[float], None] = field(default=time.sleep)

    def drain(self, info: InstanceInfo, limit_s: float) -> Stopped:
        """Let running answers finish, at most ``limit_s`` seconds."""
        if not send(info, signal.SIGTERM):
            return self._unseen(info)
        return self._wait(info, limit_s)

    def now(self, info: InstanceInfo) -> Stopped:
        """End it at once: running answers get an error; one that hangs is killed."""
        # Two signals of the same number may arrive as one.
        if not (send(info, signal.SIGTERM) and send(info, signal.SIGINT)):
            return self._unseen(info)
        if self._wait(info, NOW_S) is Stopped.GONE:
            return Stopped.GONE
        if not send(info, signal.SIGKILL):
            return self._unseen(info)
        ended = self._wait(info, NOW_S)
        return Stopped.KILLED if ended is Stopped.GONE else ended

    def _wait(self, info: InstanceInfo, limit_s: float) -> Stopped:
        deadline = self.clock.monotonic() + limit_s
        while self.holds(info):
            if self.clock.monotonic() >= deadline:
                return Stopped.STILL_THERE
            self.pause(_POLL_S)
        return Stopped.GONE

    def _unseen(self, info: InstanceInfo) -> Stopped:
        return Stopped.NOT_VISIBLE if self.holds(info) else Stopped.GONE

    def holds(self, info: InstanceInfo) -> bool:
        """Whether that very gateway still holds this home."""
        found = read(self.paths)
        if found is None or not found.is_held:
            return False
        return found.pid is None or found.instance == info.instance


def send(info: InstanceInfo, number: signal.Signals) -> bool:
    """Signal the gateway's process; ``False`` when that process is not there any more.

    A pid is reused by the system, so it is pinned first and its start compared afterwards.
    """
    if info.pid is None:
        return False
    if not hasattr(os, "pidfd_open"):
        if not is_alive(info.pid, info.process_started):
            return False
        return _kill(info.pid, number)
    try:
        handle = os.pidfd_open(info.pid)
    except ProcessLookupError:
        return False
    except OSError:
        return is_alive(info.pid, info.process_started) and _kill(info.pid, number)
    try:
        if not is_alive(info.pid, info.process_started):
            return False
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True

"""Leases: how a gateway that a launcher started knows that it is still needed.

A lease is one file in the ``leases`` folder, locked with ``flock`` by its launcher, so that the
kernel ends the lease when the launcher dies. The file names the agent the launcher runs as well:
an agent that outlives a killed launcher still talks to the gateway and keeps it up.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from pathlib import Path
from types import TracebackType

from server import private_files
from server.clock import Clock
from server.processes import is_alive, start_ticks

IDLE_S = 60.0
"""A launched gateway ends this long after the last lease and the last request."""

LEASES_FOLDER = "leases"
"""The name of the folder below the state folder."""

_SUFFIX = ".lease"
_KEPT = "kept-"
_MAX_FILE = 1024


class Lease:
    """One held lease; ``release`` (or leaving the ``with`` block) ends it."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    def set_agent(self, pid: int) -> None:
        """Name the agent that runs under this lease."""
        if self._fd is None:
            raise RuntimeError("the lease was released")
        line = {"pid": os.getpid(), "agent": pid, "agent_started": start_ticks(pid)}
        data = json.dumps(line).encode() + b"\n"
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def release(self) -> None:
        """End the lease and remove its file; safe to call twice."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        self.path.unlink(missing_ok=True)
        os.close(fd)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Leases:
    """The leases of one home; ``folder`` is made when the first one is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self) -> Lease:
        """A new lease; ``OSError`` when the folder cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # A sweep between the two calls above may have taken the new file for a dead one.
            if os.fstat(fd).st_nlink:
                return Lease(path, fd)
            os.close(fd)

    def keep(self, pid: int) -> None:
        """A lease that lasts as long as process ``pid``: a gateway that is kept up for itself."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{_KEPT}{pid}{_SUFFIX}"
        line = {"pid": pid, "agent": pid, "agent_started": start_ticks(pid)}
        private_files.replace(path, json.dumps(line).encode() + b"\n")

    def was_kept(self, pid: int) -> bool:
        """Whether ``keep`` was called for process ``pid``, which may have died since."""
        return (self._folder / f"{_KEPT}{pid}{_SUFFIX}").exists()

    def is_kept(self, pid: int) -> bool:
        """Whether process ``pid`` lives and ``keep`` was called for it."""
        return _agent_of(self._folder / f"{_KEPT}{pid}{_SUFFIX}") == pid

    def agents(self) -> list[int]:
        """The pids of living agents that run under a lease."""
        found: list[int] = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._folder)):
                if name.endswith(_SUFFIX) and not name.startswith(_KEPT):
                    pid = _agent_of(self._folder / name)
                    found += [] if pid is None else [pid]
        return found

    def active(self) -> int:
        """How many leases are alive; files of dead ones are removed on the way."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return 0
        return sum(_is_active(self._folder / name) for name in names if name.endswith(_SUFFIX))


def _is_active(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _agent_lives(fd):
            return True
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def _agent_of(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return int(json.loads(os.pread(fd, _MAX_FILE, 0))["agent"]) if _agent_lives(fd) else None
    except (ValueError, KeyError, TypeError):
        return None
    finally:
        os.close(fd)


def _agent_lives(fd: int) -> bool:
    try:
        line = json.loads(os.pread(fd, _MAX_FILE, 0))
        started = line["agent_started"]
        return is_alive(int(line["agent"]), None if started is None else int(started))
    except (ValueError, KeyError, TypeError):
        return False


class IdleWatch:
    """Tells when a launched gateway has served its purpose.

    Feed it with ``observe`` every second or so. Time starts at construction, so a launcher has
    ``idle_s`` seconds to take its lease. The answer must be acted upon before the next ``await``:
    a launcher takes its lease first and asks for health second, so a gateway that says it serves
    has seen that lease.
    """

    def __init__(self, clock: Clock, *, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._last_use = clock.monotonic()

    def touch(self) -> None:
        """A request came in or ended."""
        self._last_use = self._clock.monotonic()

    def observe(self, *, leases: int, in_flight: int) -> bool:
        """``True`` once nothing was in use for ``idle_s`` seconds."""
        if leases or in_flight:
            self.touch()
        return self.remaining_s() <= 0

    def remaining_s(self) -> float:
        """Seconds until the end if nothing happens."""
        return self._last_use + self._idle_s - self._clock.monotonic()

"""Starting a gateway that takes the place of a running one, and waiting until it has."""

from __future__ import annotations

import fcntl
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from server import private_files
from server.clock import Clock
from server.instance import InstanceInfo, read
from server.leases import LEASES_FOLDER, Leases
from server.paths import Paths
from server.succession import NOTE
from tui.launch_gateway import (
    EXIT_UNREACHABLE,
    GatewayCommand,
    LaunchPaths,
    StartedGateway,
)
from tui.lifecycle.state import State, look
from tui.lifecycle.stop import send

LIMIT_S = 60.0

_POLL_S = 0.05


class CannotHandOver(Exception):
    """The old gateway goes on; ``str()`` says why."""

    exit_code = EXIT_UNREACHABLE


def succeed(
    paths: Paths,
    info: InstanceInfo,
    command: GatewayCommand,
    clock: Clock,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Put the gateway that ``command`` starts (headless) in the place of ``info``; its URL.

    Works on the calling process's own gateway too, from a thread: that is how a screen leaves
    its gateway behind. Raises ``CannotHandOver`` or ``StartFailed``; nothing has changed then.
    """
    with _alone(paths):
        found = read(paths)
        if found is not None and found.is_held and found.url and found.instance != info.instance:
            return found.url
        return _succeed(paths, info, command, clock, pause)


@contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    """One succession at a time: the note in the state folder names one successor."""
    with private_files.open_to_append(paths.make_state_dir() / f"{NOTE}.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _succeed(
    paths: Paths,
    info: InstanceInfo,
    command: GatewayCommand,
    clock: Clock,
    pause: Callable[[float], None],
) -> str:
    # Not in the state folder: the path of a Unix socket may have about a hundred bytes only.
    folder = Path(tempfile.mkdtemp(prefix="sbgw-"))
    note = paths.state_dir / NOTE
    try:
        path = folder / "successor"
        argv = [*command.argv, "--successor", str(path)]
        handing = _Handing(paths, clock, pause, clock.monotonic() + LIMIT_S)
        started = StartedGateway(paths, replace(command, argv=argv))
        handing.wait(started, path.exists)
        private_files.replace(note, str(path).encode())
        if not send(info, signal.SIGUSR1):
            raise CannotHandOver("its process is gone" + started.give_up())
        return handing.until_replaced(started, info)
    finally:
        note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Handing:
    """The wait for a successor."""

    paths: Paths
    clock: Clock
    pause: Callable[[float], None]
    deadline: float

    def wait(self, started: StartedGateway, is_so: Callable[[], bool]) -> None:
        """Until ``is_so``; ``CannotHandOver`` when the successor ends or time is over."""
        while not is_so():
            if started.exit_code() is not None:
                raise CannotHandOver(f"the new one did not start:\n{started.log_tail()}")
            if self.clock.monotonic() >= self.deadline:
                raise CannotHandOver("the new one took too long" + started.give_up())
            self.pause(_POLL_S)

    def until_replaced(self, started: StartedGateway, old: InstanceInfo) -> str:
        """Until another gateway than ``old`` serves; its URL."""
        url = ""

        def is_replaced() -> bool:
            nonlocal url
            found = look(self.paths)
            if found.state is State.UP and found.info and found.info.instance != old.instance:
                url = found.info.url or ""
            return bool(url)

        self.wait(started, is_replaced)
        stay_kept(self.paths, old)
        return url


def stay_kept(paths: LaunchPaths, old: InstanceInfo) -> None:
    """Keep the gateway that took the place of one that was kept up."""
    leases = Leases(paths.make_state_dir() / LEASES_FOLDER)
    if old.pid is None or not leases.was_kept(old.pid):
        return
    heir = read(paths)
    if heir is not None and heir.pid is not None:
        leases.keep(heir.pid)

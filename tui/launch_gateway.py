"""Find this home's gateway, or start one in the background and wait until it proves itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.clock import Clock
from server.instance import InstancePaths
from tui.client import Answer, Health, NotOurs, find

LEASE_FLAG = "--lease"
"""Tells a headless gateway to end once no launcher and no request needs it any more."""

START_LIMIT_S = 10.0
EXIT_BIND = 3
EXIT_UNREACHABLE = 4

_POLL_S = 0.05
_TAIL_LINES = 15
_TAIL_BYTES = 8 * 1024
_MAX_LOG = 4 * 1024 * 1024
_background: list[subprocess.Popen[bytes]] = []
"""Started gateways; they outlive us, so nobody waits for them."""


class LaunchPaths(InstancePaths, Protocol):
    """The files and folders a launcher uses."""

    @property
    def state_dir(self) -> Path: ...
    @property
    def log_file(self) -> Path: ...


class StartFailed(Exception):
    """There is no gateway to use; ``str()`` says why, ``exit_code`` is the command's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class GatewayCommand:
    """How to start a gateway."""

    argv: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A gateway that serves and has proved itself."""

    health: Health
    was_started: bool


def gateway_argv(arguments: Sequence[str] = (), *, has_lease: bool = True) -> list[str]:
    """The command line of a headless gateway, sheltered from the project's Python.

    By file and not by module: neither a checkout nor a hostile working directory matters then.
    """
    program = Path(__file__).resolve().parent.parent / "sbgw.py"
    lease = [LEASE_FLAG] if has_lease else []
    return [sys.executable, "-E", "-P", str(program), "--no-ui", *lease, *arguments]


def ensure_gateway(
    paths: LaunchPaths,
    command: GatewayCommand,
    clock: Clock,
    *,
    limit_s: float = START_LIMIT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Found:
    """The gateway of this home, started if none runs; raises ``StartFailed``.

    Launchers that start at once may start several: the instance lock lets one live, and all of
    them find that one. Blocks for at most about ``limit_s`` seconds.
    """
    deadline = clock.monotonic() + limit_s
    started: StartedGateway | None = None
    while True:
        answer = find(paths)
        if isinstance(answer, Health) and answer.is_serving:
            return Found(answer, started is not None)
        if answer is None:
            if started is None:
                started = StartedGateway(paths, command)
            elif (code := started.exit_code()) is not None and find(paths) is None:
                raise StartFailed(
                    f"the gateway did not start:\n{started.log_tail()}",
                    EXIT_BIND if code == EXIT_BIND else EXIT_UNREACHABLE,
                )
        if clock.monotonic() >= deadline:
            tail = started.give_up() if started is not None else ""
            raise StartFailed(_timed_out(answer, limit_s) + tail, EXIT_UNREACHABLE)
        pause(_POLL_S)


def _timed_out(answer: Answer | None, limit_s: float) -> str:
    if isinstance(answer, Health):
        return f"the gateway at {answer.url} is stopping; try again in a moment"
    if answer is None:
        return f"the gateway did not start within {limit_s:g} s"
    what = "is not this home's gateway" if isinstance(answer, NotOurs) else "does not answer"
    return f"the gateway at {answer.url or '(no address yet)'} {what}: {answer.reason}"


class StartedGateway:
    """A gateway process started from here, and its part of the log."""

    def __init__(self, paths: LaunchPaths, command: GatewayCommand) -> None:
        self._log = paths.log_file
        log = _open_log(self._log)
        try:
            self._offset = os.fstat(log).st_size
            self._process = subprocess.Popen(  # noqa: S603
                list(command.argv),
                env=_absolute_home(command.env),
                # Not the user's folder: the gateway outlives this command and serves others.
                cwd=paths.state_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(
                f"cannot start the gateway: {error.strerror}", EXIT_UNREACHABLE
            ) from error
        finally:
            os.close(log)
        _background.append(self._process)

    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll()

    def log_tail(self) -> str:
        """Its last log lines, safe to show."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._offset, size - _TAIL_BYTES))
                text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            text = ""
        lines = text.splitlines()[-_TAIL_LINES:]
        shown = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
        return "\n".join([*(f"  {line}" for line in shown), f"its log: {self._log}"])

    def give_up(self) -> str:
        """End it if it still runs, so that a failed launch leaves nothing; its log tail."""
        if self._process.poll() is None:
            self._process.terminate()
        return "\n" + self.log_tail()


def _open_log(path: Path) -> int:
    try:
        if path.exists() and path.stat().st_size > _MAX_LOG:
            path.replace(path.with_name(path.name + ".1"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise StartFailed(f"cannot write {path}: {error.strerror}", EXIT_UNREACHABLE) from error


def _absolute_home(env: Mapping[str, str]) -> dict[str, str]:
    """The environment with a relative ``SBGW_HOME`` made absolute: the folder changes."""
    home = env.get("SBGW_HOME")
    return {**env, "SBGW_HOME": str(Path(home).expanduser().absolute())} if home else dict(env)

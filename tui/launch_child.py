"""Run an agent in the foreground, as if the shell had started it.

The agent shares our process group and terminal, so keys that make signals (ctrl+c, ctrl+z,
ctrl+\\) reach it from the terminal itself; we only have to outlive it and to follow it when it
stops. Signals that other programs send to us alone are passed on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

CANNOT_RUN = 126
SIGNAL_BASE = 128

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_SETTLE_TRIES = 10
_SETTLE_PAUSE_S = 0.005
_CONTINUED = 0xFFFF
"""The wait status of a process that goes on."""

_Handler = Callable[[int, FrameType | None], Any]


def run_in_foreground(
    path: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    on_start: Callable[[int], None] = lambda pid: None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Run ``path`` to its end and return its exit code, 128+N when signal N ended it.

    ``on_start`` gets its pid; 126 when it cannot be run, with the reason given to ``say``.
    Must be called on the main thread. Our own signal handlers are as before afterwards.
    """
    child = _Child()
    with _signals(child):
        try:
            # Python ignores these two for itself; the agent must find them as the user has them.
            reset = (signal.SIGPIPE, signal.SIGXFSZ)
            child.start(os.posix_spawn(path, list(argv), dict(env), setsigdef=reset))
        except OSError as error:
            say(f"cannot run {path}: {error.strerror}")
            return CANNOT_RUN
        on_start(child.pid)
        code = child.wait()
    return SIGNAL_BASE - code if code < 0 else code


class _Child:
    """The running agent. A signal that arrives before it started is delivered at its start."""

    def __init__(self) -> None:
        self.pid = 0
        self._is_over = False
        self._early: list[int] = []

    def start(self, pid: int) -> None:
        self.pid = pid
        for number in self._early:
            self.send(number)

    def send(self, number: int) -> None:
        """Pass a signal on, unless the agent is gone and its pid may be another's."""
        if not self.pid:
            self._early.append(number)
        elif not self._is_over:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self) -> int:
        """The agent's exit code, negative for a signal; stops and resumes along with it."""
        while True:
            _, status = os.waitpid(self.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                status = self._follow()
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._is_over = True
                return os.waitstatus_to_exitcode(status)

    def _follow(self) -> int:
        """Stop too, so that the shell gets its terminal back; resume the agent after that.

        A stop and continue of the whole group reaches us first at times: then the agent is
        about to go on by itself, and stopping here would leave nobody to continue us.
        """
        for _ in range(_SETTLE_TRIES):
            pid, status = os.waitpid(self.pid, os.WCONTINUED | os.WNOHANG)
            if pid:
                return status
            time.sleep(_SETTLE_PAUSE_S)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.send(signal.SIGCONT)
        return _CONTINUED


@contextmanager
def _signals(child: _Child) -> Iterator[None]:
    """Outlive terminal signals and pass the others on; ignored ones stay ignored for both."""

    def stay(number: int, frame: FrameType | None) -> None:
        """Python code rather than ``SIG_IGN``, which the agent would inherit."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send(number)

    wanted: dict[signal.Signals, _Handler] = dict.fromkeys(_FROM_TERMINAL, stay)
    wanted |= dict.fromkeys(_PASSED_ON, pass_on)
    before = {
        number: signal.signal(number, handler)
        for number, handler in wanted.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

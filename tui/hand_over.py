"""Give the terminal to an agent and take it back, while the event loop goes on serving.

The agent gets a process group of its own, and that group gets the terminal's foreground: keys that
make signals (ctrl+c, ctrl+z) and changes of the window's size reach the agent and not us. An agent
that stops is continued, because nobody could type ``fg`` for it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from server.hardening import as_the_user
from server.tasks import spawn
from tui.agents import Command

CANNOT_RUN = 126
"""The shell's exit code for a program that is there and cannot be run."""

ENDING_STEPS: tuple[tuple[signal.Signals, float], ...] = (
    (signal.SIGHUP, 1.0),
    (signal.SIGTERM, 1.0),
    (signal.SIGKILL, 1.0),
)
"""How an agent is ended from here, with the seconds it has to obey each time: less in all than a
front end has for leaving."""

_CONTINUE_AFTER_S = 0.02
_READER_LEAVES_S = 1.0
_QUIET = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

_RESET = (
    b"\x1b[?2026l\x1b[?1002l\x1b[?1005l\x1b[?1016l\x1b[?2031l\x1b[?1l\x1b>"
    b"\x1b[<9u\x1b[>4;0m\x1b7\x1b[r\x1b8\x1b[0m\x1b[?7h"
)
"""Undoes what an agent that died may have left on and the screen itself never touches: held
output, mouse drags, cursor and keyboard modes, a scroll region, colours."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an agent's run ended."""

    code: int
    """Its exit code, negative for a signal; 126 when it could not be run."""
    problem: str | None = None
    """Why it could not be run."""
    was_told: bool = False
    """It was ended from here."""

    def in_words(self, title: str) -> str:
        """One sentence for the user."""
        if self.problem is not None:
            return f"{title} cannot be run: {self.problem}."
        if self.was_told:
            return f"{title} was ended, because the gateway is stopping."
        if self.code < 0:
            return f"{title} was ended by {_signal_name(-self.code)}."
        return f"{title} ended." if self.code == 0 else f"{title} ended with code {self.code}."

    @property
    def is_bad(self) -> bool:
        """Whether it did not simply end."""
        return self.code != 0


class CannotLend(Exception):
    """The terminal cannot be given away; ``str()`` says why."""


class Foreground:
    """One agent in the foreground of ``terminal`` (a descriptor)."""

    def __init__(
        self, command: Command, terminal: int, ignored: frozenset[signal.Signals] = frozenset()
    ) -> None:
        """``ignored``: the signals that the user's shell had it ignore."""
        self._command = command
        self._terminal = terminal
        self._ignored = ignored
        self._pid = 0
        self._is_over = False
        self._was_told = False
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()

    async def run(self) -> Ending:
        """Run it to its end; ``end`` ends it earlier."""
        try:
            self._start()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Ending(CANNOT_RUN, problem=reason or str(error))
        if self._was_told:
            spawn("end the agent", self._end())
        try:
            return Ending(await asyncio.shield(self._status), was_told=self._was_told)
        except asyncio.CancelledError:
            self._send(signal.SIGHUP)
            self._send(signal.SIGKILL)
            raise

    def end(self) -> None:
        """Make it leave, politely at first; harmless when it has left."""
        if not self._was_told:
            self._was_told = True
            if self._pid:
                spawn("end the agent", self._end())

    def _start(self) -> None:
        reset = [n for n in (*_QUIET, *_IGNORED_BY_PYTHON) if n not in self._ignored]
        command = self._command
        with as_the_user():
            self._pid = os.posix_spawn(
                command.path, command.argv, dict(command.env), setpgroup=0, setsigdef=reset
            )
        self._give_terminal()
        Thread(target=self._watch, name="agent", daemon=True).start()

    def _give_terminal(self) -> None:
        with suppress(OSError):  # A terminal without job control has no foreground to give.
            os.tcsetpgrp(self._terminal, self._pid)

    def _watch(self) -> None:
        """On a thread of its own: an agent runs for hours, and no other call tells of stops."""
        while True:
            try:
                _, status = os.waitpid(self._pid, os.WUNTRACED)
            except ChildProcessError:
                status = 0
            is_stop = os.WIFSTOPPED(status)
            self._is_over = not is_stop
            with suppress(RuntimeError):  # The loop may be gone before the agent.
                self._loop.call_soon_threadsafe(self._stopped if is_stop else self._ended, status)
            if not is_stop:
                return

    def _stopped(self, _status: int) -> None:
        self._loop.call_later(_CONTINUE_AFTER_S, self._go_on)

    def _go_on(self) -> None:
        if not self._is_over:
            self._give_terminal()
            self._send(signal.SIGCONT)

    def _ended(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(os.waitstatus_to_exitcode(status))

    def _send(self, number: signal.Signals) -> None:
        if self._pid and not self._is_over:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    async def _end(self) -> None:
        for number, patience_s in ENDING_STEPS:
            self._send(number)
            self._send(signal.SIGCONT)
            await asyncio.wait({self._status}, timeout=patience_s)
            if self._status.done():
                return


@contextmanager
def quiet_signals() -> Iterator[frozenset[signal.Signals]]:
    """Ignore what a terminal sends, while it may be ours or the agent's.

    A background write stops a process on a terminal set to ``tostop``, and a ctrl+c typed just
    after the agent left is not meant for the gateway. Yields those that were ignored before.
    Only on the main thread.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _QUIET}
    try:
        yield frozenset(n for n, handler in before.items() if handler is signal.SIG_IGN)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Loan:
    """A terminal as it was before it was lent, and the way to have it back."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.attributes: list[Any] | None = None
        with suppress(termios.error):
            self.attributes = termios.tcgetattr(terminal)

    def take_back(self, *, was_crash: bool) -> None:
        """Foreground and modes as before; keys typed meanwhile were not meant for us."""
        with suppress(OSError):
            os.tcsetpgrp(self._terminal, os.getpgrp())
        with suppress(termios.error):
            if self.attributes is not None:
                termios.tcsetattr(self._terminal, termios.TCSANOW, self.attributes)
            termios.tcflush(self._terminal, termios.TCIFLUSH)
        if was_crash:
            self._write(_RESET)

    def _write(self, data: bytes) -> None:
        """Only when the terminal takes it at once: a stalled one must not stall the streams."""
        with suppress(OSError, ValueError):
            if select.select([], [self._terminal], [], 0)[1]:
                os.write(self._terminal, data)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def lend(app: App[Any], command: Command, on_start: Callable[[Foreground], None]) -> Ending:
    """Run ``command`` in the application's terminal, the application's screen being away.

    ``on_start`` gets the agent, to end it with. Raises ``CannotLend``, and nothing has changed.
    """
    driver = app._driver
    if not isinstance(driver, LinuxDriver) or not driver.can_suspend:
        raise CannotLend("This screen has no terminal of its own to give away.")
    await _stop_reading(driver)
    with quiet_signals() as ignored:
        with app.suspend():
            loan = Loan(driver.fileno)
            agent = Foreground(command, driver.fileno, ignored)
            on_start(agent)
            was_crash = True
            try:
                ending = await agent.run()
                was_crash = ending.is_bad
            finally:
                loan.take_back(was_crash=was_crash)
        driver.attrs_before = loan.attributes
    app.screen.refresh(layout=True)
    return ending


async def _stop_reading(driver: LinuxDriver) -> None:
    """End the thread that reads keys; the toolkit would hold the event loop until it has."""
    thread = driver._key_thread
    if thread is None or driver.exit_event.is_set():
        return
    driver.exit_event.set()
    await asyncio.to_thread(thread.join, _READER_LEAVES_S)
    driver.exit_event.clear()

"""One program on a pseudo-terminal of its own, from its start to the end of its whole group.

Nothing here is logged: what goes through a terminal may hold secrets.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from server.clock import Clock
from server.hardening import as_the_user
from server.tasks import spawn
from tui.agents import Command
from tui.hand_over import CANNOT_RUN, ENDING_STEPS, Ending
from tui.terminal import pacing

MOST_WAITING = 1024 * 1024
"""Bytes for the child that it has not read yet; more is refused."""

_READ = 64 * 1024
_LAST_WORDS_S = 0.2
"""How long a program that has ended is listened to, when another one still holds its terminal."""
_LOOK_AGAIN_S = 0.05

_HELPER = """
import fcntl, os, signal, sys, termios
error = int(sys.argv[1])
try:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for name in ("HUP", "INT", "QUIT", "TSTP", "TTIN", "TTOU", "PIPE", "XFSZ"):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_DFL)
    os.set_inheritable(error, False)
    os.execv(sys.argv[2], sys.argv[3:])
except OSError as found:
    os.write(error, str(found.errno).encode())
    os._exit(126)
"""
"""Takes the terminal and becomes the program. Code between fork and exec would be unsafe here,
where threads run."""


class PtyProcess:
    """Calls ``on_output`` with what the program writes and ``on_end`` once, when it has gone."""

    def __init__(
        self,
        command: Command,
        folder: Path,
        size: tuple[int, int],
        *,
        clock: Clock,
        on_output: Callable[[bytes], None],
        on_end: Callable[[Ending], None],
    ) -> None:
        self._command = command
        self._folder = folder
        self._size = size
        self._clock = clock
        self._on_output = on_output
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._child: subprocess.Popen[bytes] | None = None
        self._master = -1
        self._problem = -1
        self._queue = bytearray()
        self._is_reading = False
        self._is_closing = False
        self._silent = asyncio.Event()
        self._exited = asyncio.Event()
        self._ended: asyncio.Future[Ending] = self._loop.create_future()

    @property
    def pid(self) -> int:
        """The program's process and group; 0 before it was started."""
        return 0 if self._child is None else self._child.pid

    @property
    def ending(self) -> Ending | None:
        """How it ended, ``None`` while it runs."""
        return self._ended.result() if self._ended.done() else None

    # -- beginning ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; one that cannot be started has ended."""
        try:
            self._start()
        except (OSError, ValueError) as error:
            self._give_back()
            self._end(Ending(CANNOT_RUN, problem=_reason(error)))

    def _start(self) -> None:
        self._master, slave = os.openpty()
        self._problem, problem = os.pipe()
        try:
            self.resize(*self._size)
            os.set_blocking(self._master, False)
            os.set_blocking(self._problem, False)
            self._child = self._popen(slave, problem)
        finally:
            os.close(slave)
            os.close(problem)
        self._listen()
        spawn("watch a pane's program", self._watch(self._child))

    def _popen(self, slave: int, problem: int) -> subprocess.Popen[bytes]:
        command = self._command
        helper = [sys.executable, "-ISc", _HELPER, str(problem), command.path, *command.argv]
        with as_the_user():
            return subprocess.Popen(  # noqa: S603
                helper,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=self._folder,
                env=dict(command.env),
                start_new_session=True,
                pass_fds=(problem,),
            )

    # -- while it runs -----------------------------------------------------------------------

    def write(self, data: bytes) -> bool:
        """Send keys; ``False`` when the program has too much to read already, or has gone."""
        if self._master < 0 or len(self._queue) + len(data) > MOST_WAITING:
            return False
        was_empty = not self._queue
        self._queue += data
        if was_empty:
            self._write_some()
        return True

    def _write_some(self) -> None:
        try:
            while self._queue:
                del self._queue[: os.write(self._master, self._queue)]
        except BlockingIOError:
            self._loop.add_writer(self._master, self._write_some)
            return
        except OSError:  # it has gone; the reader will notice
            self._queue.clear()
        self._loop.remove_writer(self._master)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program the size of its window; the kernel signals it."""
        self._size = columns, rows
        if self._master >= 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            with suppress(OSError):
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _listen(self) -> None:
        if self._master >= 0 and not self._silent.is_set():
            self._is_reading = True
            self._loop.add_reader(self._master, self._readable)

    def _readable(self) -> None:
        """Read for a short while, then let others have the loop; the kernel holds the rest."""
        began, taken = self._clock.monotonic(), 0
        while self._is_reading:
            try:
                data = os.read(self._master, _READ)
            except BlockingIOError:
                return
            except OSError:  # Linux says so when the last one has closed the other side
                data = b""
            if not data:
                self._fall_silent()
                return
            taken += len(data)
            self._on_output(data)
            if pacing.must_rest(self._clock.monotonic() - began, taken):
                self._stop_listening()
                self._loop.call_later(pacing.REST_S, self._listen)
                return

    def _stop_listening(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._master)

    def _fall_silent(self) -> None:
        self._stop_listening()
        self._silent.set()

    # -- the end -----------------------------------------------------------------------------

    async def _watch(self, child: subprocess.Popen[bytes]) -> None:
        try:
            await self._exit_of(child.pid)
            self._exited.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._silent.wait()
            if self._is_closing:
                # Before the leader is reaped, so that the group's number is still its own.
                self._send(signal.SIGKILL)
            while (code := child.poll()) is None:
                await self._clock.sleep(_LOOK_AGAIN_S)
        finally:
            self._exited.set()
            problem = self._problem_told()
            self._give_back()
        self._end(Ending(code, problem=problem, was_told=self._is_closing))

    async def _exit_of(self, pid: int) -> None:
        """Wait until the process is a zombie, without reaping it where that is possible."""
        try:
            watched = os.pidfd_open(pid)
        except (AttributeError, OSError):
            while self._child is not None and self._child.poll() is None:
                await self._clock.sleep(_LOOK_AGAIN_S)
            return
        gone = asyncio.Event()
        self._loop.add_reader(watched, gone.set)
        try:
            await gone.wait()
        finally:
            self._loop.remove_reader(watched)
            os.close(watched)

    def _problem_told(self) -> str | None:
        """Why the helper could not become the program."""
        try:
            told = os.read(self._problem, 16) if self._problem >= 0 else b""
        except OSError:
            return None
        return os.strerror(int(told)) if told.isdigit() else None

    def _give_back(self) -> None:
        self._stop_listening()
        self._silent.set()
        if self._master >= 0:
            self._loop.remove_writer(self._master)
            os.close(self._master)
        if self._problem >= 0:
            os.close(self._problem)
        self._master = self._problem = -1
        self._queue.clear()

    def _end(self, ending: Ending) -> None:
        if not self._ended.done():
            self._ended.set_result(ending)
            self._on_end(ending)

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    async def close(self) -> None:
        """Make it and its group leave, politely at first; returns when they have."""
        self._is_closing = True
        if self._child is None:
            return
        for number, patience_s in ENDING_STEPS:
            if self._ended.done():
                return
            self._send(number)
            self._send(signal.SIGCONT)
            await asyncio.wait({self._ended}, timeout=patience_s)

    def kill(self) -> None:
        """End it at once and for certain, without the event loop: for the end of the process."""
        self._send(signal.SIGKILL)
        if self._child is not None and self._child.returncode is None:
            self._child.wait()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        return f"{error.filename}: {said}" if error.filename else said
    return str(error)

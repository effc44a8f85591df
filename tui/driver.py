"""The terminal as this program needs it: it may stall or vanish, the streams must not notice.

Textual hands its output to a thread through a short queue and waits when that is full, and when a
terminal hangs up the kernel's SIGCONT makes it start a second pair of threads. Either would stop
the event loop, and with it every agent that works through the gateway.
"""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from queue import Full
from typing import IO, Any, cast

from rich.traceback import Traceback
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.drivers.linux_driver import LinuxDriver

_CLOSE_S = 1.0


class _Key(Enum):
    """Keys of plain terminals that the toolkit does not know."""

    ALT_ENTER = "alt+enter"


# Else it comes as enter alone, which sends a half-written prompt to the agent in a pane.
cast(dict[str, Any], ANSI_SEQUENCES_KEYS)["\x1b\r"] = (_Key.ALT_ENTER,)


class _Terminal:
    """The output file, without the errors of a terminal that is gone."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.is_gone = False

    def write(self, text: str) -> None:
        if not self.is_gone:
            try:
                self._file.write(text)
            except (OSError, ValueError):
                self.is_gone = True

    def flush(self) -> None:
        if not self.is_gone:
            try:
                self._file.flush()
            except (OSError, ValueError):
                self.is_gone = True

    def fileno(self) -> int:
        return self._file.fileno()


class TerminalDriver(LinuxDriver):
    """Drops output rather than wait for the terminal, and survives its hang-up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._terminal = _Terminal(cast("IO[str]", self._file))
        self._file = cast(Any, self._terminal)
        self._has_skipped = False

    def write(self, data: str) -> None:
        if self._writer_thread is None or self._terminal.is_gone:
            return
        try:
            self._writer_thread._queue.put_nowait(data)
        except Full:
            self._has_skipped = True

    def take_skipped(self) -> bool:
        """Whether output was dropped and the terminal takes some again: time for a full repaint."""
        if not self._has_skipped or self._writer_thread is None:
            return False
        if not self._writer_thread._queue.empty():
            return False
        self._has_skipped = False
        return True

    def has_hung_up(self) -> bool:
        """Whether there was a terminal and there is none any more; one system call."""
        try:
            return not os.isatty(self._terminal.fileno())
        except (OSError, ValueError):
            return True

    def hang_up(self) -> None:
        """The terminal is gone: write and read nothing any more."""
        self._terminal.is_gone = True
        self.exit_event.set()

    def close(self) -> None:
        thread = self._writer_thread
        if thread is None:
            return
        with contextlib.suppress(Full):
            thread._queue.put(None, timeout=_CLOSE_S)
        thread.join(_CLOSE_S)

    def disable_input(self) -> None:
        if not self._terminal.is_gone:
            super().disable_input()

    def _sigcont_application(self, *args: Any) -> None:
        """Resume only what SIGTSTP suspended; a hang-up sends SIGCONT as well."""
        if self._must_signal_resume and not self._terminal.is_gone:
            super()._sigcont_application(*args)

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            self.hang_up()
        except BaseException:
            self._app.call_later(self._app.panic, Traceback())

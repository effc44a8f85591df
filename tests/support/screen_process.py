"""The program with its screen as a child process in a pseudo-terminal, and what that shows."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from typing import Any

from gateway_process import PATIENCE_S, GatewayHome, GatewayProcess, program, until

_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the pseudo-terminal the session's own, so that its end is a hang-up."""

_SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[?<>=]?)(?P<numbers>[0-9;:]*)[ !$]?(?P<final>[@-~])"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ`-~]",
    re.DOTALL,
)


class Display:
    """What a terminal would show, as far as a test has to know."""

    def __init__(self) -> None:
        self.modes: dict[int, bool] = {}
        """Private modes, by number, as last set or reset."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._cells: dict[tuple[int, int], str] = {}
        self._row = self._column = 1

    def feed(self, data: bytes) -> None:
        """Take output of the program."""
        text = self._pending + self._decoder.decode(data)
        position = 0
        while position < len(text):
            if text[position] != "\x1b":
                self._put(text[position])
                position += 1
            elif match := _SEQUENCE.match(text, position):
                self._obey(match)
                position = match.end()
            else:
                break
        self._pending = text[position:]

    @property
    def text(self) -> str:
        """All lines."""
        rows: dict[int, dict[int, str]] = {}
        for (row, column), char in self._cells.items():
            rows.setdefault(row, {})[column] = char
        return "\n".join(
            "".join(cells.get(column, " ") for column in range(1, max(cells) + 1))
            for _, cells in sorted(rows.items())
        )

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 1
        elif char == "\n":
            self._row += 1
        elif char.isprintable():
            self._cells[self._row, self._column] = char
            self._column += 1

    def _obey(self, match: re.Match[str]) -> None:
        final, private = match["final"], match["private"]
        numbers = [int(n) for n in re.findall(r"\d+", match["numbers"] or "")]
        if private == "?" and final in "hl":
            self.modes.update(dict.fromkeys(numbers, final == "h"))
            if 1049 in numbers:
                self._cells.clear()
        elif not private and final == "H":
            self._row, self._column = numbers if len(numbers) == 2 else (1, 1)
        elif not private and final == "J":
            self._cells.clear()


class ScreenProcess(GatewayProcess):
    """The program in a pseudo-terminal of its own."""

    def __init__(self, home: GatewayHome, child: subprocess.Popen[bytes], terminal: int) -> None:
        super().__init__(home, child)
        self.display = Display()
        self._terminal: int | None = terminal
        self._is_read = asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, self._read)

    def press(self, keys: bytes) -> None:
        """Type."""
        assert self._terminal is not None
        os.write(self._terminal, keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal's window another size."""
        assert self._terminal is not None
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def attributes(self) -> list[Any]:
        """The terminal's modes, as ``stty`` reads them."""
        assert self._terminal is not None
        return termios.tcgetattr(self._terminal)

    async def ended(self) -> int:
        """Wait for the end of the program and of its output; the exit code."""
        code = await super().ended()
        async with asyncio.timeout(PATIENCE_S):
            await self._is_read.wait()
        return code

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        if self._terminal is not None:
            self._stop_reading()
            os.close(self._terminal)
            self._terminal = None

    async def shows(self, *texts: str) -> None:
        """Wait until all of the texts are on the screen."""
        display = self.display
        try:
            await until(lambda: all(text in display.text for text in texts), "")
        except AssertionError:
            raise AssertionError(f"{texts} are not all on the screen:\n{display.text}") from None

    def _read(self) -> None:
        assert self._terminal is not None
        try:
            self.display.feed(os.read(self._terminal, 65536))
        except OSError:  # Linux says EIO when the program has closed its side.
            self._stop_reading()

    def _stop_reading(self) -> None:
        assert self._terminal is not None
        asyncio.get_running_loop().remove_reader(self._terminal)
        self._is_read.set()


@contextlib.contextmanager
def terminal(
    home: GatewayHome, size: tuple[int, int] = (120, 40), arguments: tuple[str, ...] = ()
) -> Iterator[ScreenProcess]:
    """Start the program in a pseudo-terminal; ``size`` is columns and rows."""
    outside, inside = pty.openpty()
    try:
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        child = _spawn(home, inside, arguments)
    finally:
        os.close(inside)
    shown = ScreenProcess(home, child, outside)
    try:
        yield shown
    finally:
        shown.end()
        shown.hang_up()


@contextlib.asynccontextmanager
async def screen(
    home: GatewayHome, size: tuple[int, int] = (120, 40), arguments: tuple[str, ...] = ()
) -> AsyncIterator[ScreenProcess]:
    """Run the program with its screen, and wait until it serves."""
    with terminal(home, size, arguments) as shown:
        async with shown:
            yield shown


def _spawn(home: GatewayHome, inside: int, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *program(*arguments)],
        env=os.environ | home.env | {"TERM": "xterm-256color"},
        cwd=home.work_dir,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )

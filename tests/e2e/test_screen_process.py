"""The program with its screen, in a real pseudo-terminal: shown, drained, and gone without trace."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from gateway_process import PATIENCE_S, Call, GatewayHome, GatewayProcess, message, program, until
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.runner import Exit

CTRL_Q = b"\x11"
ALTERNATE_SCREEN, CURSOR, PASTE = 1049, 25, 2004
MOUSE = {1000, 1002, 1003, 1006, 1015}

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


def assert_restored(display: Display) -> None:
    """The terminal is as it was before the program."""
    assert display.modes[ALTERNATE_SCREEN] is False
    assert display.modes[CURSOR] is True
    assert not display.modes.get(PASTE)
    assert {mode for mode in MOUSE if display.modes.get(mode)} == set()


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
    last = chunk(MESSAGE_STOP) + chunk(b"")
    return steps(send(begin + chunk(TEXT)), pause(gate), send(last))


def assert_exact(call: Call) -> None:
    """The client got the whole stream, unchanged."""
    assert (call.status, call.is_whole, bytes(call.body)) == (200, True, TEXT + MESSAGE_STOP)


async def test_the_screen_shows_address_and_requests_and_q_quits(tmp_path: Path) -> None:
    gate = asyncio.Event()
    gate.set()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            await gateway.shows(gateway.url)
            assert gateway.display.modes[ALTERNATE_SCREEN] is True
            assert_exact(await gateway.call(message()).run())
            await gateway.shows("claude-opus-5-5", "1/1 turn")
            gateway.press(b"q")
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)


async def test_ctrl_q_drains_the_running_stream(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            call = gateway.call(message())
            async with call.running() as answer:
                await gateway.shows("1 in flight")
                gateway.press(CTRL_Q)
                await gateway.shows("DRAINING 1 stream")
                assert (await gateway.call(message()).run()).status == 503
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)
    assert_exact(call)
    assert home.statuses() == {call.turn_id: "completed"}


async def test_a_second_ctrl_q_ends_the_stream_with_the_native_error(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with ScriptedUpstream(held(never)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.press(CTRL_Q)
                await gateway.shows("DRAINING 1 stream")
                gateway.press(CTRL_Q)
                await answer
            assert await gateway.ended() == Exit.INTERRUPT
            assert_restored(gateway.display)
    assert call.is_whole
    assert bytes(call.body).startswith(TEXT + b"event: error\n")
    assert home.statuses() == {call.turn_id: "partial"}


async def test_a_signal_drains_and_restores_even_the_smallest_terminal(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home, (1, 1)) as gateway:
            await until(lambda: ALTERNATE_SCREEN in gateway.display.modes, "no screen")
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.signal(signal.SIGTERM)
                await gateway.reports(lambda health: health["state"] == "draining")
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)
    assert_exact(call)


@pytest.mark.parametrize("arguments", [(), ("--no-ui",)])
async def test_a_terminal_that_goes_away_drains_too(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home, arguments=arguments) as gateway:
            await gateway.shows(gateway.url)
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.hang_up()
                await gateway.reports(lambda health: health["state"] == "draining")
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
    assert_exact(call)
    assert home.statuses() == {call.turn_id: "completed"}


async def test_a_key_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.write_config('[server]\nport = 0\n[keys]\nqit = "x"\n')
    with terminal(home) as program_alone:
        assert await program_alone.ended() == Exit.USAGE
        await program_alone.shows("no key is named 'qit'; the nearest is 'quit'")
    assert ALTERNATE_SCREEN not in program_alone.display.modes
    assert "Traceback" not in program_alone.display.text

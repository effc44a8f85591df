"""A program and the terminal it writes to: what lives on while no screen shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from server.clock import Clock
from tui.agents import Command
from tui.hand_over import Ending
from tui.terminal.engine import Colours, KeyPress, MousePress, VTEngine
from tui.terminal.keys import FOCUS_IN, FOCUS_OUT, paste_bytes
from tui.terminal.pty_process import PtyProcess

LEAST_COLUMNS, LEAST_ROWS = 20, 5
"""No smaller window is told to a program: agents fail in one."""

FOCUS, BRACKETS = 1004, 2004
HOLD = 2026
WHEEL = 1007
_MOUSE = (1000, 1002, 1003)

MakeEngine = Callable[[int, int], VTEngine]


@dataclass(slots=True)
class Listeners:
    """Who is told; each may be left out."""

    on_output: Callable[[], None] | None = None
    """There may be something new to draw."""
    on_state: Callable[[], None] | None = None
    """The program began or ended."""


@dataclass(slots=True)
class TerminalSession:
    """One pane's program; ``start`` may be called again after it ended."""

    command: Command
    folder: Path
    clock: Clock
    make_engine: MakeEngine
    listeners: Listeners = field(default_factory=Listeners)
    engine: VTEngine | None = None
    ending: Ending | None = None
    """How it ended last, ``None`` while it runs or before it began."""
    _process: PtyProcess | None = None
    _colours: Colours | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a program."""
        return self._process is not None and self._process.ending is None

    @property
    def pid(self) -> int:
        """The process and group of the program; 0 without one."""
        return self._process.pid if self._process is not None and self.is_running else 0

    # -- beginning and end -------------------------------------------------------------------

    def start(self, columns: int, rows: int, command: Command | None = None) -> None:
        """Start the program in a window of this size, unless one runs; the screen is new."""
        if self.is_running:
            return
        self.command = command or self.command
        size = max(columns, LEAST_COLUMNS), max(rows, LEAST_ROWS)
        old, self.engine = self.engine, self.make_engine(*size)
        if old is not None:
            old.close()
        if self._colours is not None:
            self.engine.recolour(self._colours)
        self.ending = None
        process = PtyProcess(
            self.command,
            self.folder,
            size,
            clock=self.clock,
            on_output=self._output,
            on_end=self._ended,
        )
        self._process = process
        process.start()
        self._tell(self.listeners.on_state)

    async def close(self) -> None:
        """End the program and its group; returns when they have gone."""
        if self._process is not None:
            await self._process.close()
        self._dispose()

    def kill(self) -> None:
        """The same at once, without the event loop."""
        if self._process is not None:
            self._process.kill()

    def _dispose(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    # -- what the program does ---------------------------------------------------------------

    def _output(self, data: bytes) -> None:
        engine = self.engine
        if engine is None:
            return
        engine.feed(data)
        if replies := engine.take_replies():
            self._write(replies)
        self._tell(self.listeners.on_output)

    def _ended(self, ending: Ending) -> None:
        self.ending = ending
        self._tell(self.listeners.on_output)
        self._tell(self.listeners.on_state)

    @staticmethod
    def _tell(listener: Callable[[], None] | None) -> None:
        if listener is not None:
            listener()

    def _write(self, data: bytes) -> bool:
        return self._process is not None and self._process.write(data)

    # -- what the user does ------------------------------------------------------------------

    def press(self, key: KeyPress) -> bool:
        """Send a key and show the newest rows; whether the program took it."""
        engine = self.engine
        if engine is None or not self.is_running:
            return False
        if engine.scrolled_back():
            engine.scroll_to_end()
            self._tell(self.listeners.on_output)
        return self._write(engine.encode_key(key))

    def paste(self, text: str) -> bool:
        """Send a text as pasted; ``False`` when it is too much for the program."""
        engine = self.engine
        if engine is None or not self.is_running:
            return False
        if engine.scrolled_back():
            engine.scroll_to_end()
        return self._write(paste_bytes(text, bracketed=engine.mode(BRACKETS)))

    def mouse(self, event: MousePress) -> None:
        """Send an event of the mouse, where the program wants it."""
        if self.engine is not None:
            self._write(self.engine.encode_mouse(event))

    @property
    def wants_mouse(self) -> bool:
        """Whether the mouse is the program's."""
        engine = self.engine
        return engine is not None and self.is_running and any(map(engine.mode, _MOUSE))

    def wheel(self, delta: int) -> None:
        """Turn the wheel where the mouse is ours: the history, or arrows where there is none."""
        engine = self.engine
        if engine is None:
            return
        if not engine.is_alternate():
            engine.scroll(delta)
            self._tell(self.listeners.on_output)
        elif engine.mode(WHEEL) and self.is_running:
            key = KeyPress("ArrowUp" if delta < 0 else "ArrowDown")
            self._write(engine.encode_key(key) * abs(delta))

    def focus(self, has_it: bool) -> None:
        """The keys are the program's now, or no longer."""
        if self.engine is not None and self.is_running and self.engine.mode(FOCUS):
            self._write(FOCUS_IN if has_it else FOCUS_OUT)

    def resize(self, columns: int, rows: int) -> None:
        """Another size: the engine first, so that what the program draws then fits."""
        if self.engine is None or columns < LEAST_COLUMNS or rows < LEAST_ROWS:
            return
        if (columns, rows) == self.engine.size:
            return
        self.engine.resize(columns, rows)
        if self._process is not None:
            self._process.resize(columns, rows)

    def recolour(self, colours: Colours) -> None:
        """The colours the program may ask for."""
        if colours != self._colours:
            self._colours = colours
            if self.engine is not None:
                self.engine.recolour(colours)

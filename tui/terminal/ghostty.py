"""The terminal engine of Ghostty (libghostty-vt) behind ``VTEngine``.

Callbacks of the library only note things down: nothing may be raised inside one, and answers to the
child are sent when the call that caused them has returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from tui.terminal.engine import (
    PLAIN,
    Colours,
    Cursor,
    EngineError,
    EngineMissing,
    KeyPress,
    MousePress,
    Run,
)
from tui.terminal.ghostty_input import CELL_HEIGHT, CELL_WIDTH, KeyEncoder, MouseEncoder
from tui.terminal.ghostty_library import Library, library
from tui.terminal.ghostty_rows import RowReader

SCROLLBACK_LINES = 10_000
SCROLLBACK_BYTES = 48 * 1024 * 1024

_NAME = b"sbgw-tui"
_CLUSTERS = 2027
"""The mode in which an emoji of several characters is one cell; without it rows would break."""
_LONGEST_UNKNOWN = 256
_STATUS = b"7501;"
_CALLS = {
    "WRITE_PTY": "GhosttyTerminalWritePtyFn",
    "BELL": "GhosttyTerminalBellFn",
    "SIZE": "GhosttyTerminalSizeFn",
    "COLOR_SCHEME": "GhosttyTerminalColorSchemeFn",
    "XTVERSION": "GhosttyTerminalXtversionFn",
    "UNKNOWN_SEQUENCE": "GhosttyTerminalUnknownSequenceFn",
}


class _Notes:
    """What the callbacks note down; holds no reference to the engine, which holds them."""

    def __init__(self, library: Library, columns: int, rows: int) -> None:
        self._library = library
        self._name = library.ffi.new("char[]", _NAME)
        self.size = (columns, rows)
        self.is_dark = True
        self.replies: list[bytes] = []
        self.bells = 0
        self.status = ""

    def write_pty(self, _terminal: Any, _data: Any, text: Any, length: int) -> None:
        self.replies.append(self._library.ffi.buffer(text, length)[:])

    def bell(self, _terminal: Any, _data: Any) -> None:
        self.bells += 1

    def size_asked(self, _terminal: Any, _data: Any, out: Any) -> bool:
        out.columns, out.rows = self.size
        out.cell_width, out.cell_height = CELL_WIDTH, CELL_HEIGHT
        return True

    def color_scheme(self, _terminal: Any, _data: Any, out: Any) -> bool:
        out[0] = 1 if self.is_dark else 0
        return True

    def xtversion(self, _terminal: Any, _data: Any) -> Any:
        ffi = self._library.ffi
        return ffi.new("GhosttyString*", (ffi.cast("uint8_t*", self._name), len(_NAME)))[0]

    def unknown_sequence(self, _terminal: Any, _data: Any, sequence: Any) -> None:
        if sequence.tag != self._library.lib.GHOSTTY_TERMINAL_UNKNOWN_SEQUENCE_OSC:
            return
        content = sequence.value.osc.content
        text: bytes = self._library.ffi.buffer(content.ptr, content.len)[:] if content.len else b""
        if text.startswith(_STATUS):
            fields = text[len(_STATUS) :].decode("utf-8", "replace").split(";")
            found = (field[6:] for field in fields if field.startswith("state="))
            self.status = next(found, self.status)


class GhosttyEngine:
    """See ``VTEngine``. Raises ``EngineMissing`` where the library cannot be used."""

    def __init__(self, columns: int, rows: int, scrollback: int = SCROLLBACK_LINES) -> None:
        self._library = library()
        self._notes = _Notes(self._library, columns, rows)
        ffi, lib = self._library.ffi, self._library.lib
        self._handle = ffi.new("GhosttyTerminal*")
        made = lib.ghostty_terminal_new(ffi.NULL, self._handle, columns, rows)
        self._library.check(made, "terminal")
        self._terminal = self._handle[0]
        self._is_open = True
        self._callbacks = self._connect()
        self._set("SCROLLBACK_MAX_LINES", ffi.new("size_t*", scrollback))
        self._set("SCROLLBACK_MAX_BYTES", ffi.new("size_t*", SCROLLBACK_BYTES))
        self._set("KITTY_IMAGE_STORAGE_LIMIT", ffi.new("uint64_t*", 0))
        self._set("UNKNOWN_MAX_BYTES", ffi.new("size_t*", _LONGEST_UNKNOWN))
        clusters = ffi.new("GhosttyTerminalModeConfig*", (_CLUSTERS, True))
        self._set("MODE_DEFAULT", clusters)
        self._set("MODE", clusters)
        self._reader = RowReader(self._library, self._terminal)
        self._keys = KeyEncoder(self._library, self._terminal)
        self._mouse = MouseEncoder(self._library, self._terminal)
        self.resize(columns, rows)

    def _connect(self) -> list[Any]:
        """Every callback stays referenced as long as the terminal may call it."""
        notes, made = self._notes, []
        for name, ctype in _CALLS.items():
            function = notes.size_asked if name == "SIZE" else getattr(notes, name.lower())
            callback = self._library.ffi.callback(ctype, function, onerror=lambda *_: None)
            self._set(name, callback)
            made.append(callback)
        return made

    def close(self) -> None:
        """See ``VTEngine``; harmless when it is closed."""
        if self._is_open:
            self._is_open = False
            for part in (self._mouse, self._keys, self._reader):
                part.close()
            self._library.lib.ghostty_terminal_free(self._terminal)

    # -- bytes -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """See ``VTEngine``."""
        self._library.lib.ghostty_terminal_vt_write(self._terminal, data, len(data))

    def take_replies(self) -> bytes:
        """See ``VTEngine``."""
        replies = self._notes.replies
        if not replies:
            return b""
        self._notes.replies = []
        return b"".join(replies)

    def encode_key(self, key: KeyPress) -> bytes:
        """See ``VTEngine``."""
        return self._keys.encode(key)

    def encode_mouse(self, event: MousePress) -> bytes:
        """See ``VTEngine``."""
        return self._mouse.encode(event)

    # -- what it shows -----------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """See ``VTEngine``."""
        return self._notes.size

    @property
    def title(self) -> str:
        """See ``VTEngine``."""
        found = self._get("TITLE", "GhosttyString")
        text: bytes = self._library.ffi.buffer(found.ptr, found.len)[:] if found.len else b""
        return text.decode("utf-8", "replace")

    @property
    def status(self) -> str:
        """See ``VTEngine``."""
        return self._notes.status

    @property
    def bells(self) -> int:
        """See ``VTEngine``."""
        return self._notes.bells

    def take_dirty(self) -> Collection[int]:
        """See ``VTEngine``."""
        return self._reader.update()

    def rows(self, wanted: Collection[int]) -> Iterator[tuple[int, Sequence[Run]]]:
        """See ``VTEngine``."""
        return self._reader.rows(wanted)

    def cursor(self) -> Cursor | None:
        """See ``VTEngine``."""
        return self._reader.cursor()

    def mode(self, number: int) -> bool:
        """See ``VTEngine``."""
        asked = self._library.ffi.new("GhosttyTerminalModeConfig*", (number, False))
        lib = self._library.lib
        key = lib.GHOSTTY_TERMINAL_DATA_MODE
        return not lib.ghostty_terminal_get(self._terminal, key, asked) and bool(asked.value)

    def is_alternate(self) -> bool:
        """See ``VTEngine``."""
        return int(self._get("ACTIVE_SCREEN", "GhosttyTerminalScreen")) == 1

    # -- how it shows it ---------------------------------------------------------------------

    def resize(self, columns: int, rows: int) -> None:
        """See ``VTEngine``."""
        lib = self._library.lib
        done = lib.ghostty_terminal_resize(self._terminal, columns, rows, CELL_WIDTH, CELL_HEIGHT)
        self._library.check(done, "resize")
        self._notes.size = (columns, rows)
        self._mouse.resize(columns, rows)

    def recolour(self, colours: Colours) -> None:
        """See ``VTEngine``."""
        ffi = self._library.ffi
        self._notes.is_dark = colours.is_dark
        self._set("COLOR_FOREGROUND", ffi.new("GhosttyColorRgb*", colours.fg))
        self._set("COLOR_BACKGROUND", ffi.new("GhosttyColorRgb*", colours.bg))
        palette = ffi.new("GhosttyColorRgb[256]")
        self._library.lib.ghostty_color_palette_default(palette)
        for index, (red, green, blue) in colours.palette.items():
            palette[index].r, palette[index].g, palette[index].b = red, green, blue
        self._set("COLOR_PALETTE", palette)

    def scroll(self, delta: int) -> None:
        """See ``VTEngine``."""
        self._scroll(self._library.lib.GHOSTTY_SCROLL_VIEWPORT_DELTA, delta)

    def scroll_to_end(self) -> None:
        """See ``VTEngine``."""
        self._scroll(self._library.lib.GHOSTTY_SCROLL_VIEWPORT_BOTTOM, 0)

    def scrolled_back(self) -> int:
        """See ``VTEngine``."""
        bar = self._get("SCROLLBAR", "GhosttyTerminalScrollbar")
        return max(0, int(bar.total) - int(bar.offset) - int(bar.len))

    def _scroll(self, tag: int, to: int) -> None:
        where = self._library.ffi.new(f"{self._library.scroll_type}*")
        where.tag, where.to = tag, to
        self._library.scroll_viewport(self._terminal, where[0])

    def reset(self) -> None:
        """See ``VTEngine``."""
        self._library.lib.ghostty_terminal_reset(self._terminal)

    # -- the library -------------------------------------------------------------------------

    def _set(self, name: str, value: Any) -> None:
        lib = self._library.lib
        option = getattr(lib, f"GHOSTTY_TERMINAL_OPT_{name}")
        self._library.check(lib.ghostty_terminal_set(self._terminal, option, value), name)

    def _get(self, name: str, ctype: str) -> Any:
        out, lib = self._library.ffi.new(f"{ctype}*"), self._library.lib
        key = getattr(lib, f"GHOSTTY_TERMINAL_DATA_{name}")
        self._library.check(lib.ghostty_terminal_get(self._terminal, key, out), name)
        return out[0]


def require_engine() -> None:
    """Raise ``EngineMissing`` unless the engine loads and draws two cells as it should."""
    try:
        engine = GhosttyEngine(4, 2, scrollback=0)
        try:
            engine.feed(b"A\x1b[31mB")
            engine.take_dirty()
            (_, runs), *_ = engine.rows({0})
        finally:
            engine.close()
    except EngineError as error:
        raise EngineMissing(f"the terminal engine does not work: {error}") from None
    if [text for text, _ in runs] != ["A", "B", "  "] or runs[1][1].fg != 1 or runs[0][1] != PLAIN:
        raise EngineMissing("the terminal engine draws something else than it is told")

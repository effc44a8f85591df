"""What keys and the mouse send in the modes a child has set, encoded by the engine."""

from __future__ import annotations

import re
from typing import Any

from tui.terminal.engine import ALT, CTRL, KeyPress, MouseDeed, MousePress
from tui.terminal.ghostty_library import Library

CELL_WIDTH, CELL_HEIGHT = 8, 16
"""Pixels of a cell, for children that ask; nothing is drawn in pixels."""

_LONGEST = 128
_BUTTONS = {1: 1, 2: 3, 3: 2, 4: 4, 5: 5, 6: 6, 7: 7}
"""Our numbers of buttons and the engine's."""
_PARTS = re.compile(r"[A-Z][a-z]*|[0-9]+")


def key_constant(name: str) -> str:
    """The engine's name of a W3C key: ``KeyA`` is ``A``, ``ArrowUp`` is ``ARROW_UP``."""
    if name.startswith("Key"):
        return name[3:]
    if re.fullmatch(r"F\d+", name):
        return name
    return "_".join(part.upper() for part in _PARTS.findall(name)) or "UNIDENTIFIED"


class KeyEncoder:
    """Keys of one terminal."""

    def __init__(self, library: Library, terminal: Any) -> None:
        self._library = library
        self._terminal = terminal
        ffi, lib = library.ffi, library.lib
        self._encoder, self._event = ffi.new("GhosttyKeyEncoder*"), ffi.new("GhosttyKeyEvent*")
        library.check(lib.ghostty_key_encoder_new(ffi.NULL, self._encoder), "key encoder")
        library.check(lib.ghostty_key_event_new(ffi.NULL, self._event), "key event")
        self._out, self._length = ffi.new("char[]", _LONGEST), ffi.new("size_t*")

    def encode(self, key: KeyPress) -> bytes:
        """The bytes of a key; a text without a key is itself."""
        library, ffi, lib = self._library, self._library.ffi, self._library.lib
        if not key.name:
            return key.text.encode("utf-8", "replace")
        encoder, event = self._encoder[0], self._event[0]
        lib.ghostty_key_encoder_setopt_from_terminal(encoder, self._terminal)
        lib.ghostty_key_event_set_action(event, lib.GHOSTTY_KEY_ACTION_PRESS)
        lib.ghostty_key_event_set_key(event, getattr(lib, f"GHOSTTY_KEY_{key_constant(key.name)}"))
        lib.ghostty_key_event_set_mods(event, key.mods)
        # Shift has done its work where it made another character.
        consumed = key.mods & ~(CTRL | ALT) if key.text and key.text != key.unshifted else 0
        lib.ghostty_key_event_set_consumed_mods(event, consumed)
        text = ffi.from_buffer(key.text.encode("utf-8", "replace"))
        lib.ghostty_key_event_set_utf8(event, ffi.cast("char*", text), len(text))
        point = ord(key.unshifted) if len(key.unshifted) == 1 else 0
        lib.ghostty_key_event_set_unshifted_codepoint(event, point)
        result = lib.ghostty_key_encoder_encode(encoder, event, self._out, _LONGEST, self._length)
        library.check(result, "key")
        encoded: bytes = ffi.buffer(self._out, self._length[0])[:]
        return encoded

    def close(self) -> None:
        """Give the engine's objects back."""
        self._library.lib.ghostty_key_event_free(self._event[0])
        self._library.lib.ghostty_key_encoder_free(self._encoder[0])


class MouseEncoder:
    """The mouse of one terminal; motion within a cell is sent once."""

    def __init__(self, library: Library, terminal: Any) -> None:
        self._library = library
        self._terminal = terminal
        ffi, lib = library.ffi, library.lib
        self._encoder, self._event = ffi.new("GhosttyMouseEncoder*"), ffi.new("GhosttyMouseEvent*")
        library.check(lib.ghostty_mouse_encoder_new(ffi.NULL, self._encoder), "mouse encoder")
        library.check(lib.ghostty_mouse_event_new(ffi.NULL, self._event), "mouse event")
        self._out, self._length = ffi.new("char[]", _LONGEST), ffi.new("size_t*")
        self._last: MousePress | None = None

    def resize(self, columns: int, rows: int) -> None:
        """The size of the screen."""
        size = self._library.sized("GhosttyMouseEncoderSize")
        size.screen_width, size.screen_height = columns * CELL_WIDTH, rows * CELL_HEIGHT
        size.cell_width, size.cell_height = CELL_WIDTH, CELL_HEIGHT
        self._set("SIZE", size)

    def encode(self, event: MousePress) -> bytes:
        """The bytes of an event, none where the child does not want it."""
        if event.deed is MouseDeed.MOVE and event == self._last:
            return b""
        library, ffi, lib = self._library, self._library.ffi, self._library.lib
        encoder, made = self._encoder[0], self._event[0]
        lib.ghostty_mouse_encoder_setopt_from_terminal(encoder, self._terminal)
        self._set("ANY_BUTTON_PRESSED", ffi.new("bool*", event.is_held))
        lib.ghostty_mouse_event_set_action(made, event.deed.value)
        if event.button in _BUTTONS:
            lib.ghostty_mouse_event_set_button(made, _BUTTONS[event.button])
        else:
            lib.ghostty_mouse_event_clear_button(made)
        lib.ghostty_mouse_event_set_mods(made, event.mods)
        place = ffi.new("GhosttyMousePosition*")
        place.x, place.y = (event.x + 0.5) * CELL_WIDTH, (event.y + 0.5) * CELL_HEIGHT
        lib.ghostty_mouse_event_set_position(made, place[0])
        result = lib.ghostty_mouse_encoder_encode(encoder, made, self._out, _LONGEST, self._length)
        library.check(result, "mouse")
        encoded: bytes = ffi.buffer(self._out, self._length[0])[:]
        self._last = event if encoded else None
        return encoded

    def close(self) -> None:
        """Give the engine's objects back."""
        self._library.lib.ghostty_mouse_event_free(self._event[0])
        self._library.lib.ghostty_mouse_encoder_free(self._encoder[0])

    def _set(self, name: str, value: Any) -> None:
        lib = self._library.lib
        option = getattr(lib, f"GHOSTTY_MOUSE_ENCODER_OPT_{name}")
        lib.ghostty_mouse_encoder_setopt(self._encoder[0], option, value)

"""From the toolkit's names of keys to keys on a keyboard, and pasted text to bytes. Pure.

Names are the toolkit's: ``a``, ``A``, ``ctrl+c``, ``shift+enter``, ``alt+b``, ``full_stop``.
"""

from __future__ import annotations

import re
import unicodedata

from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character

from tui.terminal.engine import ALT, CTRL, SHIFT, SUPER, KeyPress

FOCUS_IN, FOCUS_OUT = b"\x1b[I", b"\x1b[O"

_MODS = {"shift": SHIFT, "ctrl": CTRL, "alt": ALT, "super": SUPER, "meta": SUPER, "hyper": SUPER}
_NAMED = {
    "enter": "Enter",
    "tab": "Tab",
    "backspace": "Backspace",
    "escape": "Escape",
    "delete": "Delete",
    "insert": "Insert",
    "home": "Home",
    "end": "End",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "up": "ArrowUp",
    "down": "ArrowDown",
    "left": "ArrowLeft",
    "right": "ArrowRight",
    **{f"f{number}": f"F{number}" for number in range(1, 25)},
}
_WRITING = {"enter": "\r", "tab": "\t", "backspace": "\x7f"}
_PUNCTUATION = {
    "`": "Backquote",
    "\\": "Backslash",
    "[": "BracketLeft",
    "]": "BracketRight",
    ",": "Comma",
    "=": "Equal",
    "-": "Minus",
    ".": "Period",
    "'": "Quote",
    ";": "Semicolon",
    "/": "Slash",
    " ": "Space",
}
_SHIFTED = dict(zip('~|{}<+_>":?!@#$%^&*()', "`\\[],=-.';/1234567890", strict=True))
_TOOLKIT_NAMES = {short: long for long, short in KEY_NAME_REPLACEMENTS.items()}

_PASTE_MARKS = re.compile("\x1b\\[20[01]~")
_LINE_ENDS = re.compile("\r\n|\n")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def key_press(key: str, character: str | None = None) -> KeyPress | None:
    """The key of a toolkit's key event; ``None`` for one that no keyboard has."""
    if key == "backspace" and character == "\x08":
        key = "ctrl+h"  # what the toolkit makes of it
    elif key == "ctrl+@":
        key = "ctrl+space"  # one code for both, and this is the one people type
    *names, base = _split(key)
    mods = 0
    for name in names:
        mods |= _MODS.get(name, 0)
    if base in _NAMED:
        return KeyPress(_NAMED[base], mods, _WRITING.get(base, ""), _WRITING.get(base, ""))
    text = _character(base, character, mods)
    if text is None:
        return None
    if mods & SHIFT and text.isalpha():
        text = text.upper()
    return _written(text, mods)


def _split(key: str) -> list[str]:
    parts = key.split("+")
    while len(parts) > 1 and parts[0] not in _MODS:
        parts = ["+".join(parts)]
    return parts


def _character(base: str, character: str | None, mods: int) -> str | None:
    if len(base) == 1:
        return base
    found = key_to_character(_TOOLKIT_NAMES.get(base, base))
    if found is not None and len(found) == 1 and found.isprintable():
        return found
    if character and character.isprintable() and not mods & CTRL:
        return character
    return None


def _written(text: str, mods: int) -> KeyPress:
    """A key that writes ``text``; Control takes the character as it is, as terminals do."""
    if len(text) == 1 and text.isascii() and text.isalpha():
        shift = SHIFT if text.isupper() else 0
        return KeyPress(f"Key{text.upper()}", mods | shift, text, text.lower())
    if mods & CTRL and text in _SHIFTED:
        return KeyPress("Unidentified", mods, text, text)
    if text in _SHIFTED:
        return KeyPress(_place(_SHIFTED[text]), mods | SHIFT, text, _SHIFTED[text])
    if text in _PUNCTUATION or (len(text) == 1 and text in "0123456789"):
        return KeyPress(_place(text), mods, text, text)
    return KeyPress("", mods, text, "")


def _place(char: str) -> str:
    return f"Digit{char}" if char in "0123456789" else _PUNCTUATION[char]


def paste_bytes(text: str, *, bracketed: bool) -> bytes:
    """A pasted text as a terminal sends it: lines end with CR, nothing in it can end the paste.

    ``bracketed``: the child has asked to be told what is pasted (mode 2004).
    """
    safe = _PASTE_MARKS.sub("", text)
    safe = _CONTROLS.sub("", _LINE_ENDS.sub("\r", safe))
    data = safe.encode("utf-8", "replace")
    return b"\x1b[200~" + data + b"\x1b[201~" if bracketed else data


def title_of(text: str, most: int = 60) -> str:
    """A window's title as one harmless line."""
    kept = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    return " ".join(kept.split())[:most]

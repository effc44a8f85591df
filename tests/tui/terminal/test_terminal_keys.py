from __future__ import annotations

import string

import pytest

from tui.terminal.engine import ALT, CTRL, SHIFT, KeyPress
from tui.terminal.keys import key_press, paste_bytes, title_of


@pytest.mark.parametrize(
    ("name", "press"),
    [
        ("a", KeyPress("KeyA", 0, "a", "a")),
        ("A", KeyPress("KeyA", SHIFT, "A", "a")),
        ("7", KeyPress("Digit7", 0, "7", "7")),
        ("ctrl+c", KeyPress("KeyC", CTRL, "c", "c")),
        ("alt+shift+b", KeyPress("KeyB", ALT | SHIFT, "B", "b")),
        ("shift+enter", KeyPress("Enter", SHIFT, "\r", "\r")),
        ("shift+tab", KeyPress("Tab", SHIFT, "\t", "\t")),
        ("ctrl+shift+left", KeyPress("ArrowLeft", CTRL | SHIFT)),
        ("f12", KeyPress("F12")),
        ("full_stop", KeyPress("Period", 0, ".", ".")),
        ("exclamation_mark", KeyPress("Digit1", SHIFT, "!", "1")),
        ("plus", KeyPress("Equal", SHIFT, "+", "=")),
        ("underscore", KeyPress("Minus", SHIFT, "_", "-")),
        ("ctrl+underscore", KeyPress("Unidentified", CTRL, "_", "_")),
        ("ctrl+backslash", KeyPress("Backslash", CTRL, "\\", "\\")),
        ("ctrl+right_square_bracket", KeyPress("BracketRight", CTRL, "]", "]")),
        ("ctrl+@", KeyPress("Space", CTRL, " ", " ")),
        ("space", KeyPress("Space", 0, " ", " ")),
        ("é", KeyPress("", 0, "é")),
        ("漢", KeyPress("", 0, "漢")),
        ("ignore", None),
        ("left_shift", None),
    ],
)
def test_names_of_keys(name: str, press: KeyPress | None) -> None:
    assert key_press(name) == press


@pytest.mark.parametrize("char", [c for c in string.printable if c.isprintable()])
def test_every_character_of_a_keyboard_is_written_as_it_is(char: str) -> None:
    from textual.keys import _character_to_key

    press = key_press(_character_to_key(char), char)
    assert press is not None
    assert press.text == char
    assert press.name


def test_what_the_toolkit_calls_backspace_may_be_ctrl_h() -> None:
    assert key_press("backspace", "\x7f") == KeyPress("Backspace", 0, "\x7f", "\x7f")
    assert key_press("backspace", "\x08") == KeyPress("KeyH", CTRL, "h", "h")


@pytest.mark.parametrize("bracketed", [True, False])
def test_a_paste_cannot_end_itself(bracketed: bool) -> None:
    text = "one\r\ntwo\nthr\x1b[201~ee\x1b[31m\x00\x03\x7f\x9b\ttab é 漢"
    sent = paste_bytes(text, bracketed=bracketed)
    inner = sent.removeprefix(b"\x1b[200~").removesuffix(b"\x1b[201~")
    assert inner == "one\rtwo\rthree[31m\ttab é 漢".encode()
    assert (sent != inner) is bracketed


def test_taking_the_end_out_makes_no_new_one() -> None:
    assert b"\x1b" not in paste_bytes("\x1b[20\x1b[201~1~", bracketed=False)


def test_titles_are_one_short_line() -> None:
    assert title_of("a\x1b]0;b\n c\u202e  d" + "x" * 99) == "a]0;b c d" + "x" * 51

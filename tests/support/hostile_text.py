"""Text that tries to act on a terminal, and the check that nothing of it is left."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len, get_character_cell_size

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x9b31mred",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9d0;title\x9c",
    "\x1bP1$r\x1b\\",
    "\x1b]8;;unclosed",
    "a\u202eb\u2066c\u2069d\u200e\u200f",
    "zero\u200bwidth\u200d\ufeff\u2060\u00ad",
    "tag\U000e0041\U000e007f",
    "e" + "\u0301" * 40,
    "\u0301leading",
    "\u3164\u115f\uffa0\u034f",
    "line\nbreak\ttab\rreturn\u2028\u2029\x85",
    "\x00\x07\x08\x7f\x80\x9f",
    "👨‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ 1️⃣",
    "日本語のモデル",
    "[@click=app.quit]x[/] [link=https://evil.example]y[/link] [red]z",
    "\ud800 lone surrogate",
    "x" * 100_000,
    "\x9d" * 50_000,
    "\x1b]" * 50_000,
]


def assert_safe(text: str) -> None:
    """Printable, one line, and every character as wide as it is alone."""
    for char in text:
        category = unicodedata.category(char)
        assert category not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"}, hex(ord(char))
        assert char == " " or category != "Zs"
    assert "\ufe0f" not in text
    assert cell_len(text) == sum(get_character_cell_size(char) for char in text)

"""The parts of the README that are made from code; run as a program, writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"

_KEYS = re.compile(r"(?s)(?<=<!-- keys:begin -->\n).*?(?=<!-- keys:end -->)")


def key_table() -> str:
    """The table of keys as the program has it."""
    from tui.keys import as_markdown

    return as_markdown()


def keys_in(text: str) -> str:
    """The table of keys as ``text`` has it; ``ValueError`` without the two markers."""
    found = _KEYS.search(text)
    if found is None:
        raise ValueError("the README has no place for the keys")
    return found.group()


def with_keys(text: str) -> str:
    """``text`` with the present table of keys."""
    return _KEYS.sub(lambda _: key_table(), text, count=1)


if __name__ == "__main__":
    README.write_text(with_keys(README.read_text("utf-8")), "utf-8")

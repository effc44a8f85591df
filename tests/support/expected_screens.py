"""Screens as text and as a map of styles, compared with what is kept in a file.

``UPDATE_SCREENS=1`` writes the files anew; look at the difference before it is committed.
"""

from __future__ import annotations

import itertools
import os
import string
from pathlib import Path

from rich.segment import Segment
from rich.style import Style

FOLDER = Path(__file__).resolve().parents[1] / "tui" / "screens"
UPDATES = bool(os.environ.get("UPDATE_SCREENS"))

_LETTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits

Strips = list[list[Segment]]


def text(strips: Strips) -> list[str]:
    """The lines, without blanks at their ends."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


def styles(strips: Strips) -> tuple[list[str], list[str]]:
    """A letter for every cell, and what the letters stand for, in order of appearance."""
    letters: dict[str, str] = {}
    fresh = iter(_LETTERS)
    lines = []
    for strip in strips:
        cells = []
        for segment in strip:
            look = _look(segment.style)
            if look not in letters:
                letters[look] = next(fresh)
            cells.append(letters[look] * segment.cell_length)
        lines.append(_packed("".join(cells)))
    return lines, [f"{letter} {look}" for look, letter in letters.items()]


def _packed(cells: str) -> str:
    """``aaabb`` as ``a3b2``."""
    return "".join(f"{letter}{len(list(run))}" for letter, run in itertools.groupby(cells))


def _look(style: Style | None) -> str:
    if style is None:
        return "default"
    parts = [style.color.name if style.color else "default"]
    parts.append(f"on {style.bgcolor.name if style.bgcolor else 'default'}")
    parts += [
        name for name in ("bold", "dim", "italic", "reverse", "underline") if getattr(style, name)
    ]
    return " ".join(parts)


def compare(name: str, sections: dict[str, list[str]]) -> None:
    """Fail unless the file of that name holds exactly these sections."""
    found = "".join(
        f"=== {title}\n" + "".join(f"{x}\n" for x in part) for title, part in sections.items()
    )
    path = FOLDER / f"{name}.txt"
    if UPDATES:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(found, "utf-8")
        return
    kept = path.read_text("utf-8") if path.exists() else ""
    assert found == kept, f"{path.name}: not as it was; if it should be: make screens"

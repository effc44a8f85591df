"""Screens as text and as a map of styles, compared with what is kept in a file.

``UPDATE_SCREENS=1`` writes the files anew; look at the difference before it is committed.
"""

from __future__ import annotations

import itertools
import os
import string
from pathlib import Path

from rich.color_triplet import ColorTriplet
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


def least_contrast(strips: Strips) -> float:
    """The least contrast (WCAG 2) of any text with its background; rules do not count."""
    pairs = {
        (_shown(segment.style, fore=True), _shown(segment.style, fore=False))
        for strip in strips
        for segment in strip
        if segment.style is not None and any(map(str.isalnum, segment.text))
    }
    return min(_contrast(fore, back) for fore, back in pairs)


def _shown(style: Style, *, fore: bool) -> ColorTriplet:
    """The colour of a style's signs, or of what is behind them."""
    colour = style.color if fore != bool(style.reverse) else style.bgcolor
    assert colour is not None
    return colour.get_truecolor()


def _contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: ColorTriplet) -> float:
    parts = [value / 255 for value in colour]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


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

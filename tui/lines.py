"""Styled text without a toolkit: a line is a tuple of (text, role) spans.

Roles are names that the theme gives a look (``tui.theme.looks``); meaning never depends on
the look alone. Everything that is shown is built here first, so it can be tested without a
terminal and measured in cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len

from tui.format import fit, neutralise

Span = tuple[str, str]
Line = tuple[Span, ...]

ROLES: Final = (
    "text",
    "muted",
    "rule",
    "strong",
    "title",
    "accent",
    "good",
    "live",
    "warn",
    "bad",
    "shadow-badge",
    "live-badge",
    "warn-badge",
    "demo-badge",
    "tab-badge",
    "key",
    "link",
)
"""Every role a span may have."""

EMPTY: Final[Line] = ()


def line(*spans: Span | str) -> Line:
    """A line of spans; a plain string has the role ``text``."""
    return tuple((span, "text") if isinstance(span, str) else span for span in spans)


def width_of(spans: Line) -> int:
    """The cells a line takes."""
    return sum(cell_len(text) for text, _ in spans)


def plain(spans: Line) -> str:
    """The text of a line, without roles."""
    return "".join(text for text, _ in spans)


def clip(spans: Line, width: int) -> Line:
    """The line cut to ``width`` cells, with an ellipsis where more than blanks was lost."""
    if width_of(spans) <= width:
        return spans
    spans = trimmed(spans)
    if width_of(spans) <= width:
        return spans
    kept: list[Span] = []
    room = width
    for text, role in spans:
        cells = cell_len(text)
        if cells < room:
            kept.append((text, role))
            room -= cells
            continue
        # the ellipsis belongs to this span: either it is too long, or more text follows it
        kept.append((neutralise(text + "  ", room), role))
        break
    return tuple(kept)


def trimmed(spans: Line) -> Line:
    """The line without the blanks at its end."""
    kept = list(spans)
    while kept and not kept[-1][0].strip():
        kept.pop()
    if kept:
        kept[-1] = (kept[-1][0].rstrip(), kept[-1][1])
    return tuple(kept)


def pad(spans: Line, width: int) -> Line:
    """The line cut or padded to exactly ``width`` cells."""
    clipped = clip(spans, width)
    missing = width - width_of(clipped)
    return (*clipped, (" " * missing, "text")) if missing > 0 else clipped


def spread(left: Line, right: Line, width: int) -> Line:
    """``left`` and ``right`` at the two ends of ``width``; ``right`` goes when there is no room."""
    gap = width - width_of(left) - width_of(right)
    if gap < 2:
        return clip(left, width)
    return (*left, (" " * gap, "text"), *right)


def join(parts: Iterable[Line], gap: str = "  ") -> Line:
    """Lines side by side in one line, with ``gap`` between those that are not empty."""
    joined: list[Span] = []
    for part in parts:
        if not part:
            continue
        if joined:
            joined.append((gap, "text"))
        joined.extend(part)
    return tuple(joined)


def beside(left: Sequence[Line], right: Sequence[Line], width: int, gap: int = 3) -> list[Line]:
    """Two blocks next to each other, each half of ``width``."""
    half = (width - gap) // 2
    rows = max(len(left), len(right))
    result: list[Line] = []
    for index in range(rows):
        first = left[index] if index < len(left) else EMPTY
        second = right[index] if index < len(right) else EMPTY
        result.append((*pad(first, half), (" " * gap, "text"), *clip(second, half)))
    return result


def wrap(text: object, width: int, role: str = "text") -> list[Line]:
    """Neutralised text broken at spaces into lines of at most ``width`` cells."""
    lines: list[Line] = []
    current = ""
    for word in neutralise(text).split():
        pieces = _pieces(word, width)
        for piece in pieces:
            joined = f"{current} {piece}" if current else piece
            if cell_len(joined) <= width:
                current = joined
            else:
                lines.append(((current, role),))
                current = piece
    if current:
        lines.append(((current, role),))
    return lines


def chopped(text: str, width: int, role: str = "text") -> list[Line]:
    """Neutralised text with its blanks, cut wherever ``width`` cells are full."""
    return [((piece, role),) for piece in _pieces(neutralise(text), width)]


def _pieces(word: str, width: int) -> list[str]:
    """A word cut into pieces that each fit ``width``."""
    pieces: list[str] = []
    piece = ""
    for char in word:
        if piece and cell_len(piece + char) > width:
            pieces.append(piece)
            piece = ""
        piece += char
    return [*pieces, piece]


def columns(cells: Iterable[tuple[str, int, str]], gap: str = " ") -> Line:
    """Left-aligned (text, width, role) cells as one line."""
    return join((((fit(text, width), role),) for text, width, role in cells), gap)

"""What a pane needs of a terminal emulator, and the words both sides share. No toolkit here.

Rows and columns count from 0 at the top left of what is shown, which is the newest part of the
screen unless one has scrolled back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

SHIFT, CTRL, ALT, SUPER = 1, 2, 4, 8
"""Bits of ``mods``."""

RGB = 0x1000000
"""Set in a colour that is red, green and blue; without it a colour is a palette index, 0-255."""

Colour = int | None
"""``None``: the terminal's own."""


class EngineMissing(Exception):
    """No terminal engine can be used here; ``str()`` says why."""


class EngineError(Exception):
    """The engine refused a call."""


class Underline(Enum):
    """The lines under a text that can be told apart."""

    NONE = 0
    SINGLE = 1
    DOUBLE = 2


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How cells look; equal styles are the same object within one engine."""

    fg: Colour = None
    bg: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: Underline = Underline.NONE
    blink: bool = False
    reverse: bool = False
    hidden: bool = False
    strike: bool = False
    overline: bool = False
    link: str | None = None
    """Where a hyperlink leads."""


PLAIN = CellStyle()

Run = tuple[str, CellStyle]
"""A text and how it looks; the runs of a row fill it exactly."""


class CursorShape(Enum):
    """What the child wants its cursor to look like."""

    BLOCK = "block"
    UNDERLINE = "underline"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the child's cursor is shown."""

    x: int
    y: int
    shape: CursorShape = CursorShape.BLOCK


@dataclass(frozen=True, slots=True)
class KeyPress:
    """One key on a keyboard with the layout of the United States, or a text of its own."""

    name: str
    """A key name of the W3C UI events, such as ``KeyA`` or ``ArrowUp``; empty: only text."""
    mods: int = 0
    text: str = ""
    """What the key writes with ``mods``, without Control and Alt."""
    unshifted: str = ""
    """The character of the key alone."""


class MouseDeed(Enum):
    """What happened to a button, or to the pointer."""

    PRESS = 0
    RELEASE = 1
    MOVE = 2


@dataclass(frozen=True, slots=True)
class MousePress:
    """One event of the mouse, in cells."""

    deed: MouseDeed
    button: int
    """1 left, 2 middle, 3 right, 4 and 5 the wheel up and down, 6 and 7 left and right; 0 none."""
    x: int
    y: int
    mods: int = 0
    is_held: bool = False
    """Whether any button is down."""


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours that the child may ask for; each is red, green and blue, 0-255."""

    fg: tuple[int, int, int]
    bg: tuple[int, int, int]
    is_dark: bool = True
    palette: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """The colours 0-15 as they are drawn."""


class VTEngine(Protocol):
    """A terminal emulator: bytes in, rows and replies out."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""

    @property
    def title(self) -> str:
        """What the child called its window; raw."""

    @property
    def status(self) -> str:
        """What the child says it is doing (OSC 7501 ``state=``), empty when it never said."""

    @property
    def bells(self) -> int:
        """How often it rang."""

    def feed(self, data: bytes) -> None:
        """Take output of the child."""

    def take_replies(self) -> bytes:
        """What the terminal answers to the child's questions; then it is forgotten."""

    def take_dirty(self) -> Collection[int]:
        """The rows that changed since the last call; fixes what ``rows`` and ``cursor`` say."""

    def rows(self, wanted: Collection[int]) -> Iterator[tuple[int, Sequence[Run]]]:
        """Some rows as they were at the last ``take_dirty``, each exactly as wide as the screen."""

    def cursor(self) -> Cursor | None:
        """The cursor at the last ``take_dirty``; ``None`` when it is hidden or scrolled away."""

    def resize(self, columns: int, rows: int) -> None:
        """Another size; long lines are broken anew."""

    def recolour(self, colours: Colours) -> None:
        """The colours to answer with."""

    def mode(self, number: int) -> bool:
        """Whether the child has set a private mode, such as 2004."""

    def is_alternate(self) -> bool:
        """Whether the child draws on the alternate screen, which has no history."""

    def scroll(self, delta: int) -> None:
        """Show older rows (negative) or newer ones."""

    def scroll_to_end(self) -> None:
        """Show the newest rows."""

    def scrolled_back(self) -> int:
        """How many rows below what is shown are out of sight."""

    def encode_key(self, key: KeyPress) -> bytes:
        """What a key sends in the modes the child has set."""

    def encode_mouse(self, event: MousePress) -> bytes:
        """What the mouse sends; nothing when the child has not asked for it."""

    def reset(self) -> None:
        """As if switched off and on again."""

    def close(self) -> None:
        """Give everything back; the engine cannot be used afterwards."""

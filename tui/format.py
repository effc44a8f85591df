"""Pure formatting: values become short text of a known width, foreign text becomes harmless.

Widths are terminal cells. Numbers are never cut: every number format has a fixed greatest
width, given by the constants here, and switches unit instead.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len, get_character_cell_size

TOKENS_WIDTH = 5
DURATION_WIDTH = 5
AGE_WIDTH = 3
COST_WIDTH = 9
ELLIPSIS = "…"
UNKNOWN = "?"
NOTHING = "–"
PENDING = "·"

Align = Literal["left", "right"]

_MAX_CHARS = 2_000
_HIDDEN = "\N{REPLACEMENT CHARACTER}"
_SPACES = frozenset("\t\n\v\f\r\x85\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}")
_MAX_MARKS = 2

_ESCAPES = re.compile(
    # OSC, DCS, SOS, PM and APC strings, 7-bit and 8-bit introducers, only when terminated
    "(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    # CSI sequences, complete or cut off
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    # every other escape; the introducer alone of a string that never ends
    "|\x1b[ -/]*[0-~]?"
)

_ASCII = str.maketrans(
    "●▶◌✕▲◐⊘⊗◇▌…·–×≈→←↑↓─│█▓░▏▕━•␡" + _HIDDEN,
    "*>.x!%/#~>~--x~><^v-|##.||=*??",
)
_ASCII.update(str.maketrans("‖◔■◑▁▂▃▄▅▆▇├└", "=(@)__.-=+*|`"))
_ASCII.update({0x2400 + code: ord("?") for code in range(0x21)})


def to_ascii(text: str) -> str:
    """Replace the program's own glyphs one for one; other text stays as it is."""
    return text if text.isascii() else text.translate(_ASCII)


def _invisible(char: str, category: str) -> bool:
    code = ord(char)
    return (
        category in {"Cc", "Cf", "Cs", "Co", "Cn"}
        or code in {0x115F, 0x1160, 0x3164, 0xFFA0, 0x034F}  # fillers and the grapheme joiner
        or 0x180B <= code <= 0x180F
    )


def _visible(char: str) -> str:
    """One printable replacement for ``char``, the character itself, or nothing."""
    code = ord(char)
    category = unicodedata.category(char)
    if char in _SPACES or category == "Zs":
        return " "
    if code < 0x20 or code == 0x7F:
        return chr(0x2400 + code) if code < 0x20 else "␡"
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or category == "Me":
        return ""  # variation selectors and enclosing marks: terminals disagree on the width
    if 0x1F3FB <= code <= 0x1F3FF:
        return ""  # skin tones join with the character before, or not, depending on the terminal
    if _invisible(char, category):
        return _HIDDEN
    if 0x1F1E6 <= code <= 0x1F1FF:
        return chr(
            code - 0x1F1E6 + ord("A")
        )  # a flag is one or two characters wide: letters are not
    return char


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    text = unicodedata.normalize("NFC", _ESCAPES.sub("\x1b", text))
    kept: list[str] = []
    marks = _MAX_MARKS
    for char in text:
        if unicodedata.combining(char) or get_character_cell_size(char) == 0:
            shown = _visible(char)
            if shown and get_character_cell_size(shown) == 0:
                marks += 1
                shown = shown if marks <= _MAX_MARKS else ""
        else:
            shown, marks = _visible(char), 0
        kept.append(shown)
    return unicodedata.normalize("NFC", "".join(kept))


def neutralise(text: object, width: int | None = None) -> str:
    """Text from outside, made safe to show on one line; ``None`` gives the empty string.

    Escape sequences (7-bit and 8-bit CSI, OSC, DCS ...) shrink to one visible mark; controls,
    bidi controls, zero-width, tag, private and unassigned characters become marks of one cell;
    line breaks become spaces; no character is left whose width depends on its neighbours.
    Markup is left as it is, because nothing here is ever read as markup. With ``width`` the
    result takes at most that many cells and ends in an ellipsis when it was cut.
    """
    if text is None:
        return ""
    value = text if isinstance(text, str) else str(text)
    if len(value) > _MAX_CHARS:
        value = value[:_MAX_CHARS] + ELLIPSIS
    if not (value.isascii() and value.isprintable()):
        value = _clean(value)
    return value if width is None else _cut(value, width)


def _cut(text: str, width: int) -> str:
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    room = width - 1
    for index, char in enumerate(text):
        room -= get_character_cell_size(char)
        if room < 0:
            return text[:index] + ELLIPSIS
    return text


@lru_cache(maxsize=8192)
def fit(text: str, width: int, align: Align = "left") -> str:
    """``text`` neutralised, cut and padded to exactly ``width`` cells."""
    shown = neutralise(text, width)
    padding = " " * (width - cell_len(shown))
    return padding + shown if align == "right" else shown + padding


def tokens(count: int | None) -> str:
    """A token count in at most 5 cells: ``9999``, ``81.2k``, ``1.23M``; unknown is ``?``."""
    if count is None or count < 0:
        return UNKNOWN
    if count < 10_000:
        return str(count)
    for limit, unit, digits, suffix in (
        (99_950, 1e3, 1, "k"),
        (999_500, 1e3, 0, "k"),
        (9_995_000, 1e6, 2, "M"),
        (99_950_000, 1e6, 1, "M"),
        (999_500_000, 1e6, 0, "M"),
    ):
        if count < limit:
            return f"{count / unit:.{digits}f}{suffix}"
    return ">999M"


def size(count: int | None) -> str:
    """A number of bytes, ``12.3 kB``; unknown is ``?``."""
    if count is None or count < 0:
        return UNKNOWN
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float | None) -> str:
    """Seconds in at most 5 cells: ``3ms 0.82s 12.3s 1m40s 12m 3h05m 12h 4d``."""
    if seconds is None:
        return UNKNOWN
    seconds = max(0.0, seconds)
    if seconds < 0.01:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 6_000:
        return f"{whole // 60}m"
    if whole < 36_000:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    if whole < 360_000:
        return f"{whole // 3600}h"
    return f"{min(whole // 86_400, 9_999)}d"


def age(seconds: float) -> str:
    """Whole seconds, minutes, hours, days, weeks or years since something, in at most 3 cells."""
    whole = max(0, int(seconds))
    for limit, unit, suffix in (
        (60, 1, "s"),
        (3600, 60, "m"),
        (86_400, 3600, "h"),
        (100 * 86_400, 86_400, "d"),
        (100 * 604_800, 604_800, "w"),
    ):
        if whole < limit:
            return f"{whole // unit}{suffix}"
    return f"{min(whole // 31_557_600, 99)}y"


def money(usd: float | None) -> str:
    """Dollars in at most 8 cells (9 when negative), four decimals below $10; unknown is ``?``.

    A known amount that rounds to nothing is ``<$0.0001``: zero is shown only for zero.
    """
    if usd is None:
        return UNKNOWN
    sign, value = ("-", -usd) if usd < 0 else ("", usd)
    if 0 < value < 0.00005:
        return f"{sign}<$0.0001"
    if value < 9.99995:
        return f"{sign}${value:.4f}"
    if value < 999.995:
        return f"{sign}${value:.2f}"
    if value < 999_500:
        return f"{sign}${value / 1e3:.{1 if value < 99_950 else 0}f}k"
    return f"{sign}>$999k"


def total(usd: float | None) -> str:
    """Dollars of a sum: cents from $1 on, sub-cent precision below; unknown is ``?``."""
    if usd == 0:
        return "$0.00"
    if usd is not None and 1 <= abs(usd) < 1e9:
        return f"{'-' if usd < 0 else ''}${abs(usd):,.2f}"
    return money(usd)


def estimated(amount: str) -> str:
    """Mark a money text as an estimate; one cell wider, except for ``<$0.0001``."""
    return amount if amount == UNKNOWN else "≈" + amount.replace("<$0.", "<$.")


def wall_clock(at: float | None, zone: tzinfo | None = None) -> str:
    """Local ``HH:MM`` of a time in seconds since the epoch; unknown is ``?``."""
    return _local(at, "%H:%M", zone)


def wall_seconds(at: float | None, zone: tzinfo | None = None) -> str:
    """Local ``YYYY-MM-DD HH:MM:SS`` of a time in seconds since the epoch."""
    return _local(at, "%Y-%m-%d %H:%M:%S", zone)


def _local(at: float | None, pattern: str, zone: tzinfo | None) -> str:
    if at is None:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(at, tz=UTC).astimezone(zone).strftime(pattern)
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


def plural(count: int, noun: str) -> str:
    """``1 turn``, ``2 turns``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

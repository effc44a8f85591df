"""Where the parts of a cell lie in the engine's 64-bit words, from its own description.

Reading words is ten times faster than a call for each cell, and safe only as long as the layout is
the one the library says it has; anything unknown means that the engine is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tui.terminal.engine import EngineMissing

SCHEMA = 1

_TAGS = {"CODEPOINT": 0, "CODEPOINT_GRAPHEME": 1, "BG_COLOR_PALETTE": 2, "BG_COLOR_RGB": 3}
_WIDTHS = {"NARROW": 0, "WIDE": 1, "SPACER_TAIL": 2, "SPACER_HEAD": 3}


@dataclass(frozen=True, slots=True)
class Bits:
    """A field of a word."""

    shift: int
    mask: int
    """Of the field alone, not shifted."""

    def of(self, word: int) -> int:
        """The field's value."""
        return (word >> self.shift) & self.mask

    @property
    def in_place(self) -> int:
        """The mask where the field lies."""
        return self.mask << self.shift


@dataclass(frozen=True, slots=True)
class CellLayout:
    """The fields of a cell."""

    tag: Bits
    codepoint: Bits
    palette: Bits
    red: Bits
    green: Bits
    blue: Bits
    style: Bits
    wide: Bits
    link: Bits


def layout_of(description: Mapping[str, Any]) -> CellLayout:
    """The layout that the library describes; ``EngineMissing`` when it is not understood."""
    try:
        return _layout(description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineMissing(f"the terminal engine has an unknown cell layout ({error})") from None


def _layout(description: Mapping[str, Any]) -> CellLayout:
    _require(description["schema"] == SCHEMA, "schema")
    _require(description["abi"]["endian"] == "little", "byte order")
    types = description["types"]
    cell = types["GhosttyCell"]
    _require((cell["kind"], cell["size"], cell["underlying"]) == ("packed", 8, "u64"), "cell")
    _same(types["GhosttyCellContentTag"]["values"], _TAGS)
    _same(types["GhosttyCellWide"]["values"], _WIDTHS)
    bits = cell["bits"]
    content = bits["content"]
    _require((content["kind"], content["tag"]) == ("union", "content_tag"), "content")
    arms, base = content["arms"], int(content["lsb"])
    point = arms["CODEPOINT"]["bits"]["codepoint"]
    _require(point == arms["CODEPOINT_GRAPHEME"]["bits"]["codepoint"], "codepoint")
    colour = arms["BG_COLOR_RGB"]["bits"]
    return CellLayout(
        tag=_bits(bits["content_tag"], 2),
        codepoint=_bits(point, 21, base),
        palette=_bits(arms["BG_COLOR_PALETTE"]["bits"]["index"], 8, base),
        red=_bits(colour["r"], 8, base),
        green=_bits(colour["g"], 8, base),
        blue=_bits(colour["b"], 8, base),
        style=_bits(bits["style_id"], 16),
        wide=_bits(bits["wide"], 2),
        link=_bits(bits["hyperlink"], 1),
    )


def _bits(found: Mapping[str, Any], width: int, base: int = 0) -> Bits:
    _require(found["width"] == width, "width")
    shift = int(found["lsb"]) + base
    _require(0 <= shift <= 64 - width, "place")
    return Bits(shift, (1 << width) - 1)


def _same(found: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    for name, value in wanted.items():
        _require(found[name] == value, name)


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(what)

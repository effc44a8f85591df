from __future__ import annotations

import copy
from typing import Any

import pytest

from tui.terminal.engine import EngineMissing
from tui.terminal.ghostty_layout import layout_of

_POINT = {"bits": {"codepoint": {"lsb": 0, "width": 21}}}
DESCRIBED: dict[str, Any] = {
    "schema": 1,
    "abi": {"endian": "little"},
    "types": {
        "GhosttyCellContentTag": {
            "values": {
                "CODEPOINT": 0,
                "CODEPOINT_GRAPHEME": 1,
                "BG_COLOR_PALETTE": 2,
                "BG_COLOR_RGB": 3,
            }
        },
        "GhosttyCellWide": {"values": {"NARROW": 0, "WIDE": 1, "SPACER_TAIL": 2, "SPACER_HEAD": 3}},
        "GhosttyCell": {
            "kind": "packed",
            "size": 8,
            "underlying": "u64",
            "bits": {
                "content_tag": {"lsb": 0, "width": 2},
                "content": {
                    "lsb": 2,
                    "kind": "union",
                    "tag": "content_tag",
                    "arms": {
                        "CODEPOINT": _POINT,
                        "CODEPOINT_GRAPHEME": _POINT,
                        "BG_COLOR_PALETTE": {"bits": {"index": {"lsb": 0, "width": 8}}},
                        "BG_COLOR_RGB": {
                            "bits": {
                                "r": {"lsb": 0, "width": 8},
                                "g": {"lsb": 8, "width": 8},
                                "b": {"lsb": 16, "width": 8},
                            }
                        },
                    },
                },
                "style_id": {"lsb": 26, "width": 16},
                "wide": {"lsb": 42, "width": 2},
                "hyperlink": {"lsb": 45, "width": 1},
            },
        },
    },
}


def test_fields_are_where_the_library_says() -> None:
    layout = layout_of(DESCRIBED)
    word = 0b1 << 45 | 1 << 42 | 0xBEEF << 26 | 0x1F600 << 2 | 1
    assert (layout.tag.of(word), layout.codepoint.of(word)) == (1, 0x1F600)
    assert (layout.style.of(word), layout.wide.of(word), layout.link.of(word)) == (0xBEEF, 1, 1)
    assert [bits.of(0x030201 << 2) for bits in (layout.red, layout.green, layout.blue)] == [1, 2, 3]
    moved = copy.deepcopy(DESCRIBED)
    moved["types"]["GhosttyCell"]["bits"]["style_id"]["lsb"] = 30
    assert layout_of(moved).style.shift == 30


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2),
        ("abi.endian", "big"),
        ("types.GhosttyCell.size", 16),
        ("types.GhosttyCell.bits.style_id.width", 8),
        ("types.GhosttyCell.bits.wide.lsb", 99),
        ("types.GhosttyCell.bits.content.kind", "struct"),
        ("types.GhosttyCellWide.values.WIDE", 3),
        ("types.GhosttyCellContentTag.values", None),
        ("types.GhosttyCell.bits", {}),
        ("types", []),
    ],
)
def test_a_layout_that_is_not_understood_is_refused(path: str, value: object) -> None:
    changed = copy.deepcopy(DESCRIBED)
    *parents, last = path.split(".")
    found = changed
    for name in parents:
        found = found[name]
    found[last] = value
    with pytest.raises(EngineMissing, match="unknown cell layout"):
        layout_of(changed)

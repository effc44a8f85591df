from __future__ import annotations

from pathlib import Path

import pytest

from tui.lines import plain, width_of
from tui.terminal.arrangement import Caption, Live, arrange, caption, welcome


@pytest.mark.parametrize(
    ("width", "height", "panes", "live", "is_row", "is_single"),
    [
        (80, 24, 1, Live.NOWHERE, True, True),
        (80, 24, 2, Live.NOWHERE, False, True),
        (120, 40, 1, Live.BELOW, True, True),
        (120, 40, 2, Live.BELOW, False, False),
        (160, 48, 1, Live.RIGHT, True, True),
        (160, 48, 2, Live.RIGHT, False, False),
        (240, 60, 2, Live.RIGHT, True, False),
        (160, 48, 9, Live.RIGHT, False, True),
        (160, 48, 0, Live.NOWHERE, True, True),
    ],
)
def test_where_panes_go(
    width: int, height: int, panes: int, live: Live, is_row: bool, is_single: bool
) -> None:
    found = arrange(width, height, panes, is_zoomed=False, with_live=True)
    assert (found.live, found.is_row, found.is_single) == (live, is_row, is_single)
    zoomed = arrange(width, height, panes, is_zoomed=True, with_live=True)
    assert (zoomed.live, zoomed.is_single) == (Live.NOWHERE, True)
    assert arrange(width, height, panes, is_zoomed=False, with_live=False).live is Live.NOWHERE


def shown(width: int = 120, **more: object) -> str:
    given = {"number": 1, "agent": "Codex", "folder": Path("/x/y"), "others": 0} | more
    made = caption(Caption(**given), width)  # type: ignore[arg-type]
    assert width_of(made) <= width
    return plain(made)


def test_a_caption_says_what_can_be_done() -> None:
    assert shown(is_chosen=True, has_keys=True).endswith("ctrl+] leaves ")
    assert shown(is_chosen=True).endswith("enter types here ")
    assert shown().rstrip().endswith("/x/y")
    assert "Codex ended with code 3." in shown(ended="Codex ended with code 3.")
    assert shown(ended="Codex ended.").endswith("r restarts d closes ")
    assert "12 lines below" in shown(behind=12, has_keys=True)
    assert "any key returns" in shown(behind=12, has_keys=True)
    assert "+2 more, tab" in shown(others=2, is_chosen=True)
    assert "▶ working" in shown(status="working")
    assert "nonsense" not in shown(status="nonsense")
    assert "a b" in shown(title="a\x1b\x07 b")
    assert shown(20, title="x" * 99, is_chosen=True)


def test_the_empty_page_says_why_there_are_no_panes() -> None:
    assert "Panes cannot" not in "\n".join(map(plain, welcome(None, 80)))
    said = "\n".join(map(plain, welcome("the engine is missing", 80)))
    assert "Panes cannot be used: the engine is missing." in said
    assert "c and x lend the whole terminal instead" in said

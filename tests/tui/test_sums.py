"""Sums of savings over the turns in the list."""

from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE, assert_safe

from tui import savings_page
from tui.lines import plain, width_of
from tui.rows import TurnRow, row_from
from tui.sums import Recent, Savings, recent_from


def row(number: int, usd: float | None, **fields: Any) -> TurnRow:
    made = row_from(
        {
            "id": f"gw_{number}", "status": "completed", "model_asked": "opus", "session": "s1",
            "project": "/home/u/shop", "proposal": {"provider": "groq", "state": "would_move"},
            "saving": {"state": "settled", "usd": usd, "low_usd": usd, "high_usd": usd}, **fields,
        },
        1,
    )  # fmt: skip
    assert made is not None
    return made


def test_what_is_known_is_added_up_and_the_rest_is_counted() -> None:
    waits = {"proposal": {"provider": "groq", "state": "needs_key"}}
    rows = [
        row(0, 0.5),
        row(1, -0.2),
        row(2, None),
        row(3, 9.0, **waits),
        row(4, 7.0, proposal=None),
    ]
    rows += [row(5, 1.0, model_asked="haiku", project=None, session=None)]
    found = recent_from(rows)
    assert found.turns == 6
    assert list(found.by_model) == ["haiku", "opus"]
    opus = found.by_model["opus"]
    assert (opus.turns, opus.unpriced, opus.needs_key, opus.losses) == (3, 1, 1, 1)
    assert opus.usd == pytest.approx(0.3)
    assert opus.losses_usd == pytest.approx(-0.2)
    assert set(found.by_project) == {"/home/u/shop", "not named"}
    assert set(found.by_session) == {"s1", "not named"}
    assert recent_from([]) == Recent()


@pytest.mark.parametrize("width", [58, 118])
def test_the_page_says_how_far_they_reach(width: int) -> None:
    def page(recent: Recent) -> list[str]:
        lines = savings_page.page(
            Savings(is_known=True), {}, width, shadow=True, is_today=True, key="t", recent=recent
        )
        assert all(width_of(line) <= width for line in lines)
        return [plain(line) for line in lines]

    text = "\n".join(page(recent_from([row(0, 0.5), row(1, 0.5, project="/x" * 40)])))
    for part in ("The last 2 turns", "BY MODEL ", "BY PROJECT", "BY SESSION", "opus", "+$1.00"):
        assert part in text, part
    assert "BY MODEL" not in "\n".join(page(Recent(3)))
    for hostile in HOSTILE:
        named = {"model_asked": hostile, "project": hostile, "session": hostile}
        for line in page(recent_from([row(0, 1.0, **named)])):
            assert_safe(line)

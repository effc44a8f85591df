"""The turns in the list put together by session."""

from __future__ import annotations

from typing import Any

import pytest

from tui import sessions
from tui.rows import TurnRow, row_from
from tui.sessions import Order, Session

NOW = 10_000.0


def row(number: int, session: str | None = "s1", **fields: Any) -> TurnRow:
    summary = {
        "id": f"gw_{number:03}", "at": NOW - 600 + number, "status": "completed", "duration_s": 2.0,
        "session": session, "kind": "tool_step", "cost_usd": 0.1, "provider": "anthropic",
        "model_served": "claude-opus-5-5", "input_tokens": 1_000, "cache_read_tokens": 39_000,
        "unpriced": False, **fields,
    }  # fmt: skip
    made = row_from(summary, 1)
    assert made is not None
    return made


def one(*rows: TurnRow) -> Session:
    (found,) = sessions.fold(rows, NOW)
    return found


def test_cost_rate_and_what_is_not_known() -> None:
    unpriced: dict[str, Any] = {"cost_usd": None, "unpriced": True}
    found = one(
        row(0), row(1), row(2, **unpriced), row(3, status="open", phase="waiting", **unpriced)
    )
    assert found.cost_usd == pytest.approx(0.2)
    assert (found.unpriced, found.running) == (1, 1)
    assert found.per_hour_usd == pytest.approx(0.2 * 3600 / 600)


def test_one_turn_just_now_is_no_firework() -> None:
    found = one(row(599))
    assert found.per_hour_usd == pytest.approx(0.1 * 3600 / sessions.LEAST_SPAN_S)
    assert one(row(0, at=NOW - 7200)).per_hour_usd == 0.0


def test_the_context_is_that_of_the_conversation() -> None:
    found = one(
        row(0),
        row(1, kind="title", input_tokens=9, cache_read_tokens=0),
        row(2, agent="a1", input_tokens=5, cache_read_tokens=0),
    )
    assert found.context == 40_000
    assert found.agents == 1
    assert found.context_limit is not None
    beyond = one(row(0, cache_read_tokens=50_000_000))
    assert beyond.context_limit is None, "a limit that was passed is not the limit"


def test_how_long_the_cache_stays_warm() -> None:
    assert one(row(500)).cache_left_s == pytest.approx(300 - 98)
    assert one(row(0)).cache_left_s == pytest.approx(300 - 598)
    assert one(row(0, cache_write_1h_tokens=5)).cache_left_s == pytest.approx(3600 - 598)
    assert one(row(0, cache_read_tokens=0)).cache_left_s is None


def test_orders() -> None:
    found = sessions.fold([row(0, "old", cost_usd=5.0, at=NOW - 9000), row(1, "new"), row(2, None)], NOW)  # fmt: skip
    names = {order: [s.id for s in sessions.ordered(found, order)] for order in Order}
    assert names[Order.COST][0] == "old"
    assert names[Order.AGE] == ["", "new", "old"]
    assert names[Order.BURN][-1] == "old"

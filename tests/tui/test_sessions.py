"""Turns put together by session, as figures, as lines and on the screen."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle, text_of

from tui import session_page, sessions
from tui.app import GatewayApp
from tui.lines import plain, width_of
from tui.rows import TurnRow, row_from
from tui.screens.live import LiveScreen
from tui.screens.sessions import SessionsScreen
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
    assert "$0.2000?" in plain(session_page.row(found, 118, NOW))


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
    assert session_page.context(found)[0].startswith("40.0k") or "40k" in session_page.context(found)[0]  # fmt: skip
    assert found.context_limit is not None
    beyond = one(row(0, cache_read_tokens=50_000_000))
    assert beyond.context_limit is None, "a limit that was passed is not the limit"


def test_how_long_the_cache_stays_warm() -> None:
    assert one(row(500)).cache_left_s == pytest.approx(300 - 98)
    assert one(row(0)).cache_left_s == pytest.approx(300 - 598)
    assert one(row(0, cache_write_1h_tokens=5)).cache_left_s == pytest.approx(3600 - 598)
    assert one(row(0, cache_read_tokens=0)).cache_left_s is None
    assert session_page.cache(one(row(500)))[0] == "warm 3m"
    assert session_page.cache(one(row(0)))[0] == "cold 4m"


def test_orders() -> None:
    found = sessions.fold([row(0, "old", cost_usd=5.0, at=NOW - 9000), row(1, "new"), row(2, None)], NOW)  # fmt: skip
    names = {order: [s.id for s in sessions.ordered(found, order)] for order in Order}
    assert names[Order.COST][0] == "old"
    assert names[Order.AGE] == ["", "new", "old"]
    assert names[Order.BURN][-1] == "old"


def test_the_timeline_runs_up_a_sum_and_keeps_sub_agents_together() -> None:
    rows = [row(0), row(1, agent="helper"), row(2), row(3, agent="helper"), row(4)]
    lines = [plain(x) for x in session_page.timeline(one(*rows), 118)]
    turns = [x for x in lines if "tool_step" in x]
    assert [x.split()[-1] for x in turns] == ["$0.5000", "$0.4000", "$0.2000", "$0.3000", "$0.1000"]
    at = next(i for i, x in enumerate(lines) if "sub-agent helper" in x)
    assert "2 turns, $0.2000" in lines[at]
    assert lines[at + 1].startswith(" │")
    assert lines[at + 2].startswith(" └")


@pytest.mark.parametrize("width", [58, 78, 118, 158])
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        names = (
            "session",
            "project",
            "client",
            "payer",
            "kind",
            "model_served",
            "agent",
            "provider",
        )
        found = sessions.fold([row(0, **{n: text for n in names}), row(1, text)], NOW)
        for session in found:
            for line in [session_page.row(session, width, NOW), *session_page.timeline(session, width)]:  # fmt: skip
                assert_safe(plain(line))
                assert width_of(line) <= width


async def test_from_the_list_to_a_session_and_back_to_its_turns() -> None:
    engine = FakeEngine(clock := FakeClock())
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 40)):
        for number in range(6):
            engine.finish(engine.open(session=f"session-{number % 2}", project="/home/u/shop"))
            await clock.advance(1)
        await settle(app)
        await press(app, "w")
        assert isinstance(app.screen, SessionsScreen)
        assert "2 sessions, by dollars an hour" in text_of(app)
        await press(app, "o", "o", "j", "enter")
        await settle(app)
        assert isinstance(app.screen, LiveScreen)
        assert app.state.filter.text == 'session:"session-0"'
        assert len(app.state) == 3
        await press(app, "escape", "o", "left_square_bracket")
        await settle(app)
        assert " by cost, last 6h " in text_of(app)
        assert "COST↓" in text_of(app)
        await clock.advance(7 * 3600)
        await settle(app)
        assert "None of 6 turns matches last 6h" in text_of(app)
        await press(app, "escape")
        assert len(app.state) == 6

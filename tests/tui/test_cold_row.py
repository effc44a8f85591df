"""A turn that found its cache cold: in the list, at its foot and in the filter."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from screen_text import settle, text_of

from providers.types import Payer
from tui import filter as filters
from tui import saving_text
from tui.app import GatewayApp
from tui.rows import Chill, cold_from, row_from

COLD: dict[str, Any] = {
    "cause": "tools", "text": "The tools changed: 1 added, 0 removed, 0 altered.",
    "tokens": 41_000, "usd": 0.0984, "idle_s": 12.0,
}  # fmt: skip


async def test_it_is_told_after_the_turn_has_ended() -> None:
    engine = FakeEngine(clock := FakeClock())
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 24)):
        engine.finish(warm := engine.open())
        engine.finish(turn := engine.open())
        await settle(app)
        engine.emit("cold.found", turn_id=turn.id, cold=COLD)
        engine.emit("cold.found", turn_id="gw_none", cold=COLD)
        engine.emit("cold.found", turn_id=warm.id, cold={"cause": None})
        await settle(app)
        row = app.state.row(turn.id)
        assert row is not None
        assert row.cold == Chill("tools", COLD["text"], 41_000, 0.0984)
        assert "  cold " in text_of(app)
        app.state.set_filter(filters.parse("cold"))
        assert [app.state.at(0).id, len(app.state)] == [turn.id, 1]
        await settle(app)
        assert "cold cache: The tools changed: 1 added, 0 removed" in text_of(app)


def test_a_snapshot_knows_it_too() -> None:
    row = row_from({"id": "gw_1", "status": "completed", "cold": COLD}, 1)
    assert row is not None
    assert row.cold is not None
    assert "cold cache: tools" in row.words


@pytest.mark.parametrize("odd", [None, 3, {}, {"cause": 3}, {"cause": ""}])
def test_nonsense_is_no_cause(odd: Any) -> None:
    assert cold_from(odd) is None


def test_the_note_says_what_it_cost() -> None:
    note = saving_text.cold_note(Chill("idle", "9 minutes passed.", 41_000, 0.0984))
    assert note == "cold cache: 9 minutes passed. 41.0k tokens again, $0.0984 more"
    assert saving_text.cold_note(Chill("idle", "", 10, None)) == "cold cache: idle 10 tokens again"


async def test_a_login_sees_its_windows_and_a_list_price_alone() -> None:
    engine = FakeEngine(clock := FakeClock())
    engine.money |= {"today_list_usd": 4.5}

    def windows(reset: float) -> dict[str, Any]:
        fields = {"utilization": "0.62", "reset": str(reset)}
        return {"anthropic-ratelimit-unified-5h": fields}

    engine.provider("anthropic", "ok", rate_limits=windows(clock.time() + 600))
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(140, 24)):
        engine.finish(engine.open(payer=Payer.LOGIN))
        await settle(app)
        head = text_of(app).splitlines()[0]
        assert "5h 62%" in head
        assert "today $4.50 list price, not billed" in head
        assert "$0.00" not in head
        assert head.index("5h 62%") < head.index("$4.50")
        await clock.advance(700)
        await settle(app)
        assert "62%" not in text_of(app).splitlines()[0], "the window has opened anew since"


async def test_a_chatgpt_login_sees_its_windows_too() -> None:
    engine = FakeEngine(clock := FakeClock())
    week = {"utilization": "0.09", "window-minutes": "10080"}
    limits = {"codex-primary": {"utilization": "0.5", "window-minutes": "300"}}
    engine.provider("openai", "ok", rate_limits=limits | {"codex-secondary": week})
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(140, 24)):
        await settle(app)
        assert "codex 5h 50% codex week 9%" in text_of(app).splitlines()[0]

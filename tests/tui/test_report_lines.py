"""A report as lines: plots, tables, losses, cold caches, prefix, advice and what was compared."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine, saved
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle, text_of

from server.cold import CAUSES
from server.engine import CommandResult
from tui import report_lines
from tui.app import GatewayApp
from tui.lines import plain, width_of
from tui.period import Period
from tui.screens.savings import SavingsScreen

WIDTHS = (58, 78, 118, 158)


def sums(name: str = "", **fields: Any) -> dict[str, Any]:
    """A row of ``server.report``."""
    zero = dict.fromkeys(
        ("turns", "unpriced", "projected", "moved", "losses", "no_figure", "needs_key"), 0
    )
    dollars = dict.fromkeys(
        ("cost_usd", "list_usd", "naive_usd", "saved_usd", "saved_low_usd", "saved_high_usd",
         "quota_usd", "realised_usd", "realised_low_usd", "realised_high_usd", "losses_usd"),
        0.0,
    )  # fmt: skip
    return {"name": name, **zero, **dollars, **fields}


def report(**fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "turns": 40, "projected": 10, "cost_usd": 4.0, "saved_usd": 1.0, "saved_high_usd": 1.5,
    }  # fmt: skip
    return {
        "turns": 80,
        "total": sums(**row | {"cost_usd": 8.0, "list_usd": 2.0}),
        "by": {
            "route": [sums("tool_loop", **row)],
            "kind": [sums("title", **row), sums("user_turn", turns=40, cost_usd=4.0, unpriced=2)],
            "model": [sums("claude-opus-5-5", **row)],
            "project": [sums("/home/someone/src/a/very/long/path/to/the/shop", **row)],
            "session": [sums("s1", projected=3, losses=2, saved_usd=-0.5, cost_usd=1.0)],
            "day": [sums("2026-11-22", cost_usd=3.0), sums("2026-11-23", **row)],
        },
        "losses": ["2 of 3 turns of kind user_turn would cost $0.5000 more elsewhere than at home."],
        "cold": {
            "turns": 5, "usd": 0.62, "unpriced": 1,
            "causes": [{"cause": "tools", "turns": 3, "usd": 0.5, "unpriced": 0},
                       {"cause": "idle", "turns": 2, "usd": 0.12, "unpriced": 1}],
        },
        "prefix": {"sessions": 2, "parts": [
            {"name": "system", "tokens": 4_000, "usd_per_turn": 0.0004},
            {"name": "MCP server github", "tokens": 18_000, "usd_per_turn": 0.002}]},
        "advice": [{"text": "Switch off github.", "usd": 1.2, "low_usd": 1.0, "high_usd": 1.5}],
        **fields,
    }  # fmt: skip


def text(found: dict[str, Any], width: int = 118) -> str:
    lines = [line for block in report_lines.blocks(found, width, is_real=False) for line in block]
    assert all(width_of(line) <= width for line in lines)
    return "\n".join(map(plain, lines))


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_reader_looks_for(width: int) -> None:
    shown = text(report(), width)
    for part in (
        "BY DAY", "2026-11-23", "$2.00 of it is list price", "LOSSES, IN WORDS", "$0.5000 more",
        "BY ROUTE", "BY KIND", "BY MODEL", "BY PROJECT", "BY SESSION", "claude-opus-5-5", "shop",
        "COLD CACHES", "tools changed", "idle for too long", "together", "$0.6200?",
        "EVERY TURN REPEATS", "MCP server github", "~18.0k", "ADVICE", "Switch off github. +$1.20",
    ):  # fmt: skip
        assert part in shown, part


def test_losses_are_shown_as_losses_and_what_is_unknown_as_unknown() -> None:
    shown = text(report())
    assert "-$0.5000" in shown
    assert "$4.00?" in shown
    day = next(line for line in shown.splitlines() if "2026-11-22" in line)
    assert day.rstrip().endswith("–"), "a day without a proposal has no figure"


def test_a_day_s_bar_is_as_long_as_its_cost() -> None:
    days = [sums(f"2026-11-{n:02}", cost_usd=float(n)) for n in (4, 8)]
    shown = text(report(by={"day": days})).splitlines()
    bars = [line.count("█") for line in shown if "2026-11" in line]
    assert bars[0] * 2 == bars[1] > 0


def test_every_cause_has_its_words() -> None:
    assert set(report_lines.CAUSES) == set(CAUSES)


def test_projected_and_realised_are_one_sum() -> None:
    both = sums(turns=9, projected=2, moved=1, no_figure=1, saved_usd=1.0, realised_usd=-3.0)
    found = report_lines.saved_of(both)
    assert (found.turns, found.usd, found.unpriced, found.observed_turns) == (4, -2.0, 1, 9)


def test_an_empty_report_has_nothing_to_say() -> None:
    assert report_lines.blocks({"turns": 0}, 78, is_real=False) == []
    assert (
        report_lines.blocks({"turns": 3, "by": 4, "cold": [], "losses": {}}, 78, is_real=True) == []
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_how_often_a_candidate_would_have_done(width: int) -> None:
    entry = {
        "kind": "title", "provider": "groq", "model": "openai/gpt-oss-120b", "samples": 40,
        "passed": 38, "low": 0.83, "high": 0.99, "rung": "verify", "reason": "needs 60 samples",
    }  # fmt: skip
    down = entry | {"kind": "recap", "demoted": True, "rung": "observe", "samples": 0}
    verifier = {"consent": True, "spent_today_usd": 0.12, "daily_budget_usd": 1.0}
    lines = report_lines.ladder([entry, down], verifier, width)
    shown = "\n".join(map(plain, lines))
    parts = (
        "title → gpt-oss-120b",
        "38 of 40",
        "83% to 99%",
        "verify",
        "needs 60",
        "none yet",
        "▼",
    )
    for part in parts:
        assert part in shown, part
    assert "$0.1200 today, of $1.00" in shown
    assert all(width_of(line) <= width for line in lines)
    assert report_lines.ladder([], {}, width) == []
    assert "No answer" in plain(report_lines.ladder([], {"consent": True}, width)[1])


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for odd in HOSTILE:
        named = {group: [sums(odd, turns=1)] for group in ("route", "model", "project", "session")}
        found = report(
            by=named, losses=[odd], advice=[{"text": odd}],
            cold={"causes": [{"cause": odd}]}, prefix={"parts": [{"name": odd}]},
        )  # fmt: skip
        assert_safe(text(found, width).replace("\n", ""))
        for line in report_lines.ladder([{"kind": odd, "model": odd, "reason": odd}], {}, width):
            assert_safe(plain(line))
            assert width_of(line) <= width


def test_periods_begin_at_midnight() -> None:
    now = FakeClock().time()
    since = [period.since(now) for period in Period]
    assert since[0] - since[1] == pytest.approx(6 * 86_400, abs=3_700)
    assert since[3] == 0.0
    assert Period.ALL.next is Period.TODAY


async def test_the_screen_goes_through_the_periods() -> None:
    engine = FakeEngine(clock := FakeClock())
    engine.savings = {"today": saved(2, 0.1), "all": saved(9, 2.0)}
    asked: list[float] = []

    def answer(since: float) -> CommandResult:
        asked.append(since)
        return CommandResult(True, "", report())

    engine.answers["report"] = answer
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 60)):
        await settle(app)
        await press(app, "2")
        await settle(app)
        await settle(app)
        assert isinstance(app.screen, SavingsScreen)
        assert "WOULD HAVE SAVED TODAY" in text_of(app)
        assert "BY DAY" in text_of(app)
        await press(app, "t")
        assert "WOULD HAVE SAVED IN 7 DAYS" in text_of(app)
        await settle(app)
        await settle(app)
        assert "10 of 40 turns could move" in text_of(app)
        assert len(asked) == 2
        assert asked[0] - asked[1] == pytest.approx(6 * 86_400, abs=3_700)

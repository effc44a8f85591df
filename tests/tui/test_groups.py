"""Projects, sessions and sub-agents as a tree: figures, lines and the screen."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle, text_of

from server.engine import CommandResult
from tui import groups, session_page
from tui.app import GatewayApp
from tui.groups import Level, Node, Sums
from tui.lines import plain, width_of
from tui.rows import TurnRow, row_from
from tui.screens.live import LiveScreen
from tui.screens.sessions import SessionsScreen
from tui.sessions import LEAST_SPAN_S, Order

NOW = 10_000.0


def row(number: int, session: str | None = "s1", **fields: Any) -> TurnRow:
    summary = {
        "id": f"gw_{number:03}", "at": NOW - 600 + number, "status": "completed", "duration_s": 2.0,
        "session": session, "kind": "tool_step", "cost_usd": 0.1, "provider": "anthropic",
        "model_served": "claude-opus-5-5", "input_tokens": 1_000, "cache_read_tokens": 39_000,
        "unpriced": False, "project": "/src/shop", "payer": "login", **fields,
    }  # fmt: skip
    made = row_from(summary, 1)
    assert made is not None
    return made


def recorded(session: str | None, agent: str | None = None, **fields: Any) -> dict[str, Any]:
    """A ``LINE`` of ``server.ledger_groups``."""
    return {
        "session": session, "agent": agent, "project": "/src/shop", "client": "claude-code",
        "payers": ["login"], "turns": 400, "first_at": NOW - 9_000, "last_at": NOW - 20,
        "cost_usd": 12.0, "list_usd": 12.0, "estimated_usd": 0.0, "unpriced": 0, "errors": 0,
        "hour_usd": 3.0, "hour_since": NOW - 1_800, "cache_until": NOW + 130,
        "context": 170_000, "context_provider": "anthropic", "context_model": "claude-haiku-4-5",
        **fields,
    }  # fmt: skip


def tree(*lines: Any, order: Order = Order.BURN, by_project: bool = True) -> list[Node]:
    sums = groups.read({"lines": list(lines)})
    return groups.tree(sums, NOW, order, by_project=by_project)


def test_sub_agents_stand_under_their_session_and_sessions_under_their_project() -> None:
    (shop, other) = tree(
        recorded("s1"),
        recorded("s1", "a1", cost_usd=1.0, hour_usd=1.0, context=None),
        recorded("s2", cost_usd=2.0, hour_usd=0.0, hour_since=None),
        recorded("s3", project="/src/other", hour_usd=0.1),
    )
    assert (shop.level, shop.name, other.name) == (Level.PROJECT, "/src/shop", "/src/other")
    assert [node.name for node in shop.children] == ["s1", "s2"]
    assert [node.name for node in shop.children[0].children] == ["a1"]
    assert shop.sums.cost_usd == pytest.approx(15.0)
    assert shop.sums.turns == 1_200
    assert shop.children[0].sums.cost_usd == pytest.approx(13.0)
    assert shop.children[0].sums.per_hour(NOW) == pytest.approx(8.0)
    assert shop.sums.context is None
    assert groups.total([shop, other]).cost_usd == pytest.approx(27.0)


def test_every_order_holds_at_every_level() -> None:
    lines = (
        recorded("dear", cost_usd=9.0, hour_usd=0.0, hour_since=None, last_at=1.0),
        recorded("hot", cost_usd=1.0, hour_usd=1.0, last_at=2.0),
        recorded("new", cost_usd=0.5, hour_usd=0.1, last_at=NOW),
    )
    first = {order: tree(*lines, order=order)[0].children[0].name for order in Order}
    assert first == {Order.BURN: "hot", Order.COST: "dear", Order.AGE: "new"}
    alone = tree(*lines, order=Order.COST, by_project=False)
    assert [node.level for node in alone] == [Level.SESSION] * 3


def test_one_turn_just_now_is_no_firework() -> None:
    line = Sums(hour_usd=0.1, hour_since=NOW - 1)
    assert line.per_hour(NOW) == pytest.approx(0.1 * 3600 / LEAST_SPAN_S)


def test_what_runs_is_added_and_what_is_not_on_record_yet_gets_a_line() -> None:
    lines = groups.read({"lines": [recorded("s1")]})
    flight: dict[str, Any] = {"status": "open", "phase": "streaming", "cost_usd": None}
    rows = [row(1, "s1", **flight), row(2, "s1", **flight), row(3, "s9", **flight), row(4, "s1")]
    found = {line.session: line for line in groups.with_running(lines, rows)}
    assert (found["s1"].running, found["s1"].turns) == (2, 400)
    assert (found["s9"].running, found["s9"].turns) == (1, 0)


def test_the_list_alone_gives_the_same_tree_until_the_record_has_answered() -> None:
    rows = [row(0), row(1, agent="a1", cache_read_tokens=5), row(2, None), row(3, "s2", payer=None)]
    (shop,) = groups.tree(groups.of_rows(rows, NOW), NOW, Order.COST)
    assert shop.sums.cost_usd == pytest.approx(0.4)
    assert {node.name for node in shop.children} == {"s1", "s2", ""}
    one = next(node for node in shop.children if node.name == "s1")
    assert one.sums.context == 40_000
    assert one.sums.list_usd == 0.0
    assert [r.id for r in rows if shop.holds(r)] == [r.id for r in rows]
    assert [r.id for r in rows if one.holds(r)] == ["gw_000", "gw_001"]
    assert [r.id for r in rows if one.children[0].holds(r)] == ["gw_001"]


@pytest.mark.parametrize("data", [{}, {"lines": 3}, {"lines": [{}, 5, {"payers": [1, None]}]}])
def test_nonsense_of_an_engine_is_no_error(data: Any) -> None:
    groups.tree(groups.read(data), NOW, Order.BURN)


def test_a_row_says_how_full_and_how_warm_it_is() -> None:
    (shop,) = tree(recorded("s1", unpriced=2, errors=3), recorded("s1", "a1"))
    text = plain(session_page.row(shop.children[0], 1, 118, NOW))
    for part in (
        "s1 claude-code",
        "800",
        "$24.00L?",
        "$12.00",
        "170k 85%",
        "warm 2m",
        "login",
        "3",
    ):
        assert part in text
    agent = plain(session_page.row(shop.children[0].children[0], 2, 118, NOW))
    assert agent.startswith("     └ a1")
    cold = Sums(cache_until=NOW - 70)
    assert session_page.cache(cold, NOW) == ("cold 1m", "muted")
    assert session_page.context(Sums(context=9))[0] == "9"


def test_the_timeline_runs_up_to_the_whole_sum_and_keeps_sub_agents_together() -> None:
    rows = [row(0), row(1, agent="helper"), row(2), row(3, agent="helper"), row(4)]
    (shop,) = groups.tree(groups.of_rows(rows, NOW), NOW, Order.COST)
    (one,) = shop.children
    lines = [plain(x) for x in session_page.timeline(one, rows, NOW, 118)]
    turns = [x for x in lines if "tool_step" in x]
    assert [x.split()[-1] for x in turns] == ["$0.5000", "$0.4000", "$0.2000", "$0.3000", "$0.1000"]
    at = next(i for i, x in enumerate(lines) if "sub-agent helper" in x)
    assert "2 turns, $0.2000" in lines[at]
    assert lines[at + 1].startswith(" │")
    assert lines[at + 2].startswith(" └")
    (known,) = tree(recorded("s1"), by_project=False)
    last = [plain(x) for x in session_page.timeline(known, rows, NOW, 118)]
    assert any("$12.00" in x for x in last), "what is not at hand is in the sum all the same"
    assert last[-1] == " and 395 earlier turns"


@pytest.mark.parametrize("width", [58, 78, 118, 158])
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        names = ("session", "agent", "project", "client")
        line = recorded("s1") | {name: text for name in names} | {"payers": [text]}
        rows = [row(0, **{n: text for n in ("session", "project", "agent", "kind", "provider")})]
        for project in tree(line, recorded("s2", "x")):
            for node in (project, *project.children, *project.children[0].children):
                drawn = [session_page.row(node, 1, width, NOW)]
                drawn += session_page.timeline(node, rows, NOW, width)
                for spans in drawn:
                    assert_safe(plain(spans))
                    assert width_of(spans) <= width


async def test_the_screen_adds_up_the_record_and_goes_back_to_the_turns() -> None:
    engine = FakeEngine(clock := FakeClock())
    lines = [recorded("session-0", last_at=clock.time()), recorded("session-1", cost_usd=50.0)]
    asked: list[float] = []

    def sums(since: float) -> CommandResult:
        asked.append(since)
        return CommandResult(True, "", {"lines": lines, "turns": 800})

    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 40)):
        for number in range(6):
            engine.finish(engine.open(session=f"session-{number % 2}", project="/src/shop"))
            await clock.advance(1)
        await settle(app)
        await press(app, "w")
        assert isinstance(app.screen, SessionsScreen)
        assert "of the turns in the list" in text_of(app)
        engine.answers["sessions"] = sums
        await clock.advance(3)
        await settle(app)
        await settle(app)
        assert "last 1d, by dollars an hour" in text_of(app)
        assert "800 turns" in text_of(app)
        assert "$62.00" in text_of(app)
        await press(app, "right_square_bracket")
        await settle(app)
        await settle(app)
        assert asked[-1] - asked[0] < -5 * 86_400
        await press(app, "v", "o")
        await settle(app)
        shown = text_of(app)
        assert "shop   " not in shown.split("CONTEXT")[1].split("─")[0]
        await press(app, "enter")
        await settle(app)
        assert isinstance(app.screen, LiveScreen)
        assert app.state.filter.text == 'session:"session-0"'
        assert len(app.state) == 3


async def test_the_list_goes_by_cost_and_by_time() -> None:
    engine = FakeEngine(clock := FakeClock())
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 40)):
        for number in range(6):
            engine.finish(engine.open(session=f"session-{number % 2}", project="/src/shop"))
        await settle(app)
        await press(app, "w")
        await press(app, "enter")
        await settle(app)
        assert app.state.filter.text == 'project:"/src/shop"'
        await press(app, "escape", "o", "left_square_bracket")
        await settle(app)
        assert " by cost, last 6h " in text_of(app)
        assert "COST↓" in text_of(app)
        await clock.advance(7 * 3600)
        await settle(app)
        assert "None of 6 turns matches last 6h" in text_of(app)
        await press(app, "escape")
        assert len(app.state) == 6

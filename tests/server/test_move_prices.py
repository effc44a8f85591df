"""Moves of finished turns, priced and followed through sub-agents."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from fake_clock import FakeClock
from hand_session import DEFAULT_MODELS, GROQ, HAIKU, PRICES, SONNET
from msgspec import structs
from turn_factory import NOON, attempt, finished

from providers.pricing import Prices
from providers.types import Usage
from server.accounting import price
from server.config import RoutingSettings, Settings
from server.move_prices import MovePrices
from server.planning import Planner, carries_any
from server.policy import Place, Plan, Target
from server.record import Proposal, Saving, Turn
from server.routing_view import effect
from server.savings_assumptions import Assumptions
from server.savings_quote import Quoter
from server.savings_tracker import SavingsTracker

MOVE = Proposal("groq", GROQ, "would_move", "why")
OVERRIDES = Prices(PRICES)
LATER = NOON + 10_000
WARM = Usage(0, 100, 50_000, 1000)
FRESH = Usage(1000, 100, 0, 0)


def call(at: float, **changes: Any) -> Turn:
    fields: dict[str, Any] = {
        "at": NOON + at,
        "model_asked": SONNET,
        "model_served": SONNET,
        "attempts": [attempt("anthropic", model=changes.get("model_asked", SONNET))],
        "usage": WARM,
        "cost_usd": None,
        "cost_parts": {},
    }
    turn = finished(**(fields | changes))
    price(turn, OVERRIDES, turn.at)
    return turn


def prices(turns: list[Turn], now: float = LATER) -> MovePrices:
    quoter = Quoter(OVERRIDES, Assumptions(), DEFAULT_MODELS)
    return MovePrices([turn.summary() for turn in turns], quoter, FakeClock(now))


def tracked(turns: list[Turn], now: float = LATER) -> dict[str, Saving]:
    """What the tracker says of the same turns, each proposed to go to Groq."""
    tracker = SavingsTracker(
        OVERRIDES, Assumptions(), FakeClock(now), default_models=DEFAULT_MODELS
    )
    found: dict[str, Saving] = {}
    for turn in turns:
        proposed = structs.replace(turn, proposal=MOVE)
        found |= dict(tracker.finished(proposed))
        assert proposed.saving is not None
        found[turn.id] = proposed.saving
    return found | dict(tracker.tick(now))


GAPS = [0.0, 40.0, 200.0, 290.0, 400.0]


@pytest.mark.parametrize("gaps", itertools.product(GAPS[1:], repeat=2))
def test_it_says_what_the_tracker_would_have_said(gaps: tuple[float, float]) -> None:
    turns = [call(at) for at in itertools.accumulate((0.0, *gaps))]
    turns.append(call(5, usage=FRESH, model_asked=HAIKU, model_served=HAIKU))
    expected, quote = tracked(turns), prices(turns)
    for turn in turns:
        found = quote(turn.summary(), "groq", GROQ)
        assert found is not None
        # A summary has neither the length of the text nor what a price was unsure of.
        told = expected[turn.id]
        assert replace(found, naive_usd=0, note=None) == replace(told, naive_usd=0, note=None)


def test_the_next_call_may_still_come() -> None:
    turns = [call(0), call(40)]
    found = prices(turns, NOON + 60)(turns[1].summary(), "groq", GROQ)
    expected = tracked(turns, NOON + 60)[turns[1].id]
    assert found is not None
    assert (found.state, expected.state) == ("open", "open")
    assert (found.usd, found.low_usd, found.high_usd) == (
        expected.usd,
        expected.low_usd,
        expected.high_usd,
    )


def test_without_a_session_the_range_covers_both() -> None:
    turn = call(0, session=None)
    found = prices([turn])(turn.summary(), "groq", GROQ)
    assert found is not None
    assert found.low_usd is not None
    assert found.high_usd is not None
    assert found.low_usd < found.high_usd
    assert found.note is not None
    assert "no session" in found.note


def test_what_was_recorded_stays() -> None:
    recorded = Saving("settled", 0.0, usd=0.5, low_usd=0.4, high_usd=0.6)
    row = call(0, proposal=MOVE, saving=recorded).summary()
    quote = prices([])
    assert quote(row, "groq", GROQ) == recorded
    assert quote(row, "anthropic", HAIKU) != recorded


def test_what_has_no_figure_has_none() -> None:
    quote = prices([])
    moved = replace(MOVE, state="moved")
    assert quote(call(0, proposal=moved).summary(), "cerebras", "gpt-oss-120b") is None
    assert quote(call(0).summary(), "groq", "no-such-model") is None
    assert quote(finished(cost_usd=None).summary(), "groq", GROQ) is None


# ------------------------------------------------------------------ sub-agents

DOWNGRADE = Settings.model_validate({"routing": {"kinds": {"subagent": [f"anthropic/{HAIKU}"]}}})


def planner() -> Planner:
    made = Planner(lambda: DOWNGRADE, {}, carries=carries_any)

    def place(name: str, has_credential: bool) -> Place | None:
        provider = DOWNGRADE.provider(name)
        return Place(name, provider.protocols, has_credential=True, model=provider.model)

    made._place = place  # type: ignore[method-assign]
    return made


def step(
    at: float, kind: str = "subagent", agent: str | None = "a1", **more: Any
) -> dict[str, Any]:
    route = "tool_loop" if kind == "tool_step" else "fallback_safe"
    return call(at, kind=kind, route=route, agent=agent, **more).summary()


def moves(rows: list[dict[str, Any]], name: str | None = None) -> tuple[int, int, int]:
    """Turns, those that move, and those of them without a figure."""
    turns = [row for row in rows if row["status"] != "open"]
    quote = MovePrices(turns, Quoter(OVERRIDES, Assumptions(), DEFAULT_MODELS), FakeClock(LATER))
    found = effect(DOWNGRADE.routing, rows, planner().what_if, quote, name)
    moved = list(found.moves.values())
    return found.turns, sum(m.turns for m in moved), sum(m.unpriced for m in moved)


def test_later_steps_follow_the_first_and_are_priced() -> None:
    rows = [step(0), step(10, "tool_step"), step(20, "tool_step"), step(5, "tool_step", None)]
    assert moves(list(reversed(rows))) == (4, 3, 0)
    assert moves(rows, "subagent") == (3, 3, 0)
    assert moves(rows, "tool_loop") == (3, 2, 0)


def test_agents_of_other_sessions_are_others() -> None:
    rows = [step(0), step(10, "tool_step", session="another")]
    assert moves(rows) == (2, 1, 0)


def test_a_sub_agent_that_began_at_home_stays_there() -> None:
    rows = [step(0, "tool_step"), step(10), step(20)]
    assert moves(rows) == (3, 0, 0)


def test_the_what_if_agrees_with_what_live_does() -> None:
    """The same steps, planned one after another as they would be live."""
    made: list[Plan | None] = []
    live = DOWNGRADE.routing.model_copy(update={"shadow": False})

    def what_if(
        routing: RoutingSettings,
        row: Any,
        *,
        stuck_to: Target | None = None,
        is_under_way: bool = False,
    ) -> Plan | None:
        assert routing == live
        made.append(planner().what_if(routing, row, stuck_to=stuck_to, is_under_way=is_under_way))
        return made[-1]

    effect(DOWNGRADE.routing, [step(0), step(10, "tool_step")], what_if, lambda *_: None)
    targets = [found.targets[0] for found in made if found]
    assert targets == [Target("anthropic", HAIKU)] * 2

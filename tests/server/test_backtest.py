"""Recorded turns under another routing table, with figures worked out by hand.

Sonnet at home costs 2 in, 10 out, 0.10 read and 2.50 written; Groq 0.15 in, 0.60 out (USD per
million). 0.80 tokens there stand for one here; one answer in ten is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hand_session import GROQ, HAIKU, PRICES
from msgspec.structs import replace
from past_turns import past

from providers.pricing import Prices
from server.backtest import Backtest, backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.backtest_table import TableError, other_settings
from server.config import Settings
from server.ledger_history import Past, Seen
from server.limits import PlanLimits
from server.savings_assumptions import Assumptions

TO_GROQ = {
    "routes": {"planning": [f"groq/{GROQ}"]},
    "modes": {"planning": "live"},
}
BREAKS = {"context": 0, "tools": 0, "images": 0, "rate_limit": 0}


def run(
    turns: Sequence[Past], routing: dict[str, Any], limits: dict[str, PlanLimits] | None = None
) -> Backtest:
    settings = Settings.model_validate({"routing": routing})
    return backtest(turns, Replan(settings), PriceBook(Prices(PRICES), Assumptions()), limits or {})


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-12)


def plain(at: float = 0, **changes: Any) -> Past:
    """A call beside any cache: 10,000 tokens in, 500 out, 0.025 USD."""
    return past(at, **({"input_tokens": 10_000, "output_tokens": 500, "cost_usd": 0.025} | changes))


def test_everything_stays_with_a_table_that_says_so() -> None:
    found = run([plain(), plain(1, route="tool_loop")], {"routes": {"planning": ["baseline"]}})
    assert (found.total.turns, found.total.moved) == (2, 0)
    assert found.total.after == found.total.before == near(0.05)
    assert found.moves == {}


def test_a_moved_turn_costs_what_it_would_have_cost_there() -> None:
    found = run([plain(), plain(1, route="tool_loop")], TO_GROQ)
    there = 8000 * 0.15e-6 + 500 * 0.6e-6
    planning = found.routes["planning"]
    saved = 0.9 * (0.025 - there) - 0.1 * there
    assert (planning.turns, planning.moved) == (1, 1)
    assert planning.before - planning.after == near(saved)
    assert planning.after_low < planning.after < planning.after_high
    assert found.routes["tool_loop"].moved == 0
    assert list(found.moves) == [("user_turn", "planning", "groq", GROQ)]
    assert found.total.as_json()["saved_usd"] == near(saved)


def warm(at: float, read: int, **changes: Any) -> Past:
    """A call of a warm session that adds 1000 tokens."""
    cost = read * 0.1e-6 + 1000 * 2.5e-6
    usage = {"cache_read_tokens": read, "cache_write_5m_tokens": 1000, "cost_usd": cost}
    return past(at, **(usage | {"route": "tool_loop"} | changes))


def test_a_prefix_left_to_expire_is_charged_once_to_the_run_that_did_it() -> None:
    turns = [
        warm(0, 100_000),
        warm(50, 101_000, route="planning"),
        warm(140, 102_000, route="planning"),
        warm(400, 103_000),
    ]
    found = run(turns, TO_GROQ)
    premium = 2.4e-6
    expected = 0.0
    for read, charge in ((101_000, 0), (102_000, 103_000 * premium)):
        there = 0.8 * (read + 1000) * 0.15e-6
        here = read * 0.1e-6 + 1000 * 2.5e-6
        expected += 0.9 * (here - there - charge) - 0.1 * there
    assert found.total.before - found.total.after == near(expected)
    assert expected < -0.2


def test_a_turn_that_keeps_a_warm_prefix_alive_is_not_moved() -> None:
    turns = [warm(0, 100_000), warm(200, 101_000, route="planning"), warm(400, 102_000)]
    found = run(turns, TO_GROQ)
    assert (found.total.moved, found.total.after) == (0, near(found.total.before))
    assert run([*turns[:1], replace(turns[1], at=turns[0].at + 301)], TO_GROQ).total.moved == 1


def test_the_middle_of_a_question_is_not_moved() -> None:
    question = plain(0, route="tool_loop")
    again = plain(5, kind="continuation")
    found = run([question, again, plain(9)], TO_GROQ)
    assert found.total.moved == 1
    assert run([plain(0), again], TO_GROQ).total.moved == 2


def test_a_subagent_on_a_cheaper_model_of_the_vendor_keeps_its_cache_and_its_model() -> None:
    first = warm(0, 10_000, kind="subagent", agent="a1", offload=0)
    later = warm(5, 11_000, kind="subagent", agent="a1", offload=0)
    later = replace(later, features=Seen(answered_before=True))
    stray = replace(later, agent="a2")
    routing = {"kinds": {"subagent": [f"anthropic/{HAIKU}"]}}
    found = run([first, later, stray], routing)
    assert found.total.moved == 2
    there = 21_000 * 0.01e-6 + 2000 * 0.125e-6
    here = (first.cost_usd or 0) + (later.cost_usd or 0)
    (move,) = found.moves.values()
    assert move.before - move.after == near(0.9 * (here - there) - 0.1 * there)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"input_tokens": 170_000}, "context"),
        ({"features": Seen(n_tools=500)}, "tools"),
        ({"features": Seen(server_tools=1)}, "tools"),
        ({"features": Seen(images=1)}, "images"),
        ({"features": Seen(documents=1)}, "images"),
    ],
)
def test_a_turn_that_breaks_a_hard_limit_stays_and_is_counted(
    changes: dict[str, Any], limit: str
) -> None:
    found = run([plain(**changes)], TO_GROQ)
    assert (found.total.moved, found.total.after) == (0, near(0.025))
    assert found.total.as_json()["broken"] == BREAKS | {limit: 1}


def test_the_next_entry_takes_what_the_first_cannot() -> None:
    routing = TO_GROQ | {"routes": {"planning": [f"groq/{GROQ}", "cerebras/gpt-oss-120b"]}}
    limits = {"groq": PlanLimits(requests_per_minute=1)}
    found = run([plain(0), plain(1), plain(61)], routing, limits)
    assert {key[2]: tally.moved for key, tally in found.moves.items()} == {"groq": 2, "cerebras": 1}


def test_a_plan_lets_through_what_it_would_have() -> None:
    found = run([plain(0), plain(30), plain(60)], TO_GROQ, {"groq": PlanLimits(1)})
    assert found.total.moved == 2
    assert found.total.as_json()["broken"] == BREAKS | {"rate_limit": 1}


def test_pins_and_the_gate_hold() -> None:
    turns = [plain(0, offload=0), plain(1, pinned_by="server_tools"), plain(2, kind="compaction")]
    assert run(turns, TO_GROQ).total.moved == 0


def test_what_is_not_known_is_counted_and_in_no_sum() -> None:
    turns = [
        plain(0, cost_usd=None, unpriced=1),
        plain(1, model_served="nobody-knows", cache_read_tokens=9),
    ]
    found = run(turns, TO_GROQ)
    assert (found.total.unpriced, found.total.before, found.total.after) == (2, 0, 0)


def test_what_was_refused_cost_nothing_anywhere() -> None:
    found = run([plain(cost_usd=None, unpriced=0, http_status=529, input_tokens=None)], TO_GROQ)
    assert (found.total.unpriced, found.total.before, found.total.after) == (0, 0, 0)


def moved_already(**changes: Any) -> Past:
    fields: dict[str, Any] = {
        "provider": "groq",
        "model_served": GROQ,
        "proposal_provider": "groq",
        "proposal_model": GROQ,
        "proposal_state": "moved",
        "cost_usd": 0.002,
        "saved_usd": 0.01,
        "saved_low_usd": 0.004,
        "saved_high_usd": 0.02,
    }
    return plain(**(fields | changes))


def test_a_turn_that_did_move_is_known_there_and_estimated_at_home() -> None:
    there = run([moved_already()], TO_GROQ).total
    assert (there.before, there.after) == (near(0.002), near(0.002))
    home = run([moved_already()], {"routes": {"planning": ["baseline"]}}).total
    assert (home.before, home.after) == (near(0.002), near(0.012))
    assert (home.after_low, home.after_high) == (near(0.006), near(0.022))
    elsewhere = TO_GROQ | {"routes": {"planning": ["cerebras/gpt-oss-120b"]}}
    assert run([moved_already()], elsewhere).total.unpriced == 1


def test_a_canary_moves_its_share_of_sessions() -> None:
    turns = [plain(at, session=f"s{at}", id=f"t{at}") for at in range(400)]
    routing = TO_GROQ | {"modes": {"planning": "canary", "canary_percent": 25}}
    assert 50 < run(turns, routing).total.moved < 150


def test_a_file_lies_over_the_settings(tmp_path: Path) -> None:
    base = Settings.model_validate(
        {
            "routing": {"routes": {"summary": ["baseline"]}},
            "providers": {"mine": {"kind": "openai-chat", "base_url": "https://models.example/v1"}},
        }
    )
    path = tmp_path / "routes.toml"
    path.write_text('[routing.routes]\nplanning = ["mine/m"]\n[prices."mine/m"]\nin = 1\nout = 2\n')
    made = other_settings(path, base)
    assert [str(entry) for entry in made.routing.routes.planning] == ["mine/m"]
    assert [str(entry) for entry in made.routing.routes.summary] == ["baseline"]
    assert [str(o.model) for o in made.price_overrides()] == ["m", "mine/m"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "="),
        ("[server]\nport = 1", "server has no place here"),
        ('[routing.routes]\nplanning = ["nowhere/x"]', "routing.routes.planning"),
        ("[routing.routes]\nplaning = []", "planing"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "routes.toml"
    path.write_text(text)
    with pytest.raises(TableError, match=why) as caught:
        other_settings(path, Settings())
    assert str(path) in str(caught.value)

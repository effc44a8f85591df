"""The scripted week of CONTRIBUTING.md: backtested both ways, and by other arithmetic."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hand_session import GROQ, PRICES
from hand_week import BACKGROUND, CALLS, QUESTIONS_TOO, SESSIONS, Call, cost, week
from msgspec.structs import replace
from past_turns import past

from providers.pricing import Prices
from server.backtest import Backtest, backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import Past
from server.savings_assumptions import Assumptions

LIFE_S = 300
GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def run(turns: list[Past], routing: dict[str, Any]) -> Backtest:
    settings = Settings.model_validate({"routing": routing})
    return backtest(turns, Replan(settings), PriceBook(Prices(PRICES), Assumptions()), {})


def charge(call: Call) -> float:
    """What leaving does to the cache at home, from the plan of the session alone."""
    if not call.written:
        return 0.0
    line = [one for one in CALLS if one.written]
    place = line.index(call)
    before = call.at - line[place - 1].at if place else None
    after = line[place + 1].at - call.at if place + 1 < len(line) else None
    if after is None or after > LIFE_S:
        return 0.0
    tokens = call.written
    if before is not None and before + after > LIFE_S:
        tokens += call.read
    return tokens * 2.4 / 1e6


def saved(call: Call, k_in: float = 0.8, k_out: float = 1.0, fails: float = 0.1) -> float:
    there = (call.fresh + call.written + call.read) * k_in * 0.15 + call.output * k_out * 0.6
    there /= 1e6
    return (1 - fails) * (cost(call) - charge(call) - there) - fails * there


def worst(call: Call) -> float:
    return min(saved(call, 0.85, 2.0, fails) for fails in (0.02, 0.3))


def best(call: Call) -> float:
    return max(saved(call, 0.75, 0.5, fails) for fails in (0.02, 0.3))


def moved(*kinds: str) -> list[Call]:
    return [call for call in CALLS if call.kind in kinds]


@pytest.mark.parametrize(
    ("routing", "calls"),
    [
        (BACKGROUND, moved("title", "web_digest")),
        (QUESTIONS_TOO, moved("title", "web_digest", "user_turn")),
    ],
    ids=["background", "questions too"],
)
def test_the_week_by_other_arithmetic(routing: dict[str, Any], calls: list[Call]) -> None:
    total = run(week(), routing).total
    before = SESSIONS * sum(map(cost, CALLS))
    assert (total.turns, total.moved) == (SESSIONS * len(CALLS), SESSIONS * len(calls))
    assert total.before == pytest.approx(before)
    assert total.after == pytest.approx(before - SESSIONS * sum(map(saved, calls)))
    assert total.after_high == pytest.approx(before - SESSIONS * sum(map(worst, calls)))
    assert total.after_low == pytest.approx(before - SESSIONS * sum(map(best, calls)))


def test_the_figures_in_the_guide() -> None:
    text = GUIDE.read_text()
    text = text[text.index("### A week") : text.index("## Adding a provider")]
    for routing, name in ((BACKGROUND, "background"), (QUESTIONS_TOO, "questions too")):
        total = run(week(), routing).total
        row = [f"${v:.2f}" for v in (total.before, total.after, total.after_low, total.after_high)]
        before, after, low, high = row
        assert re.search(rf"\| {name} \| {total.moved} \| {re.escape(before)} \|", text)
        assert f"| {after} | {low} to {high} |" in text
    for call in CALLS:
        assert f"| {cost(call):.4f} |" in text
        if call.kind != "tool_step":
            assert f"{saved(call):.6f}".rstrip("0") in text


def test_the_short_example_of_the_guide() -> None:
    def call(at: float, read: int, output: int, **more: Any) -> Past:
        usage = {"cache_read_tokens": read, "cache_write_5m_tokens": 1000, "output_tokens": output}
        usd = (read * 0.1 + 2500 + output * 10) / 1e6
        fields: dict[str, Any] = {"kind": "tool_step", "route": "tool_loop", "cost_usd": usd}
        return past(at, **fields | usage | more)

    title = {"kind": "title", "route": "summary", "input_tokens": 1000, "output_tokens": 20}
    titles = [past(400 + n, cost_usd=0.0022, **title) for n in range(5)]
    question = call(100, 61_000, 400, kind="user_turn", route="planning")
    steps = [call(0, 60_000, 200), call(320, 62_000, 200)]
    table: dict[str, Any] = {
        "routes": {"planning": [f"groq/{GROQ}"], "summary": [f"groq/{GROQ}"]},
        "modes": {"planning": "live", "summary": "live"},
    }
    total = run([steps[0], question, steps[1], *titles], table).total
    sums = (total.before, total.after, total.after_low, total.after_high)
    assert [f"{value:.4f}" for value in sums] == ["0.0448", "0.1658", "0.1370", "0.1797"]
    table["routes"]["planning"] = ["baseline"]
    assert f"{run([steps[0], question, steps[1], *titles], table).total.after:.4f}" == "0.0356"
    safe = replace(question, at=steps[0].at + 200)
    table["routes"]["planning"] = [f"groq/{GROQ}"]
    assert run([steps[0], safe, steps[1], *titles], table).total.moved == 5


def test_and_back_again() -> None:
    """A week in which titles and pages were moved, asked what it would have cost at home."""
    turns = []
    for turn in week():
        if turn.kind not in ("title", "web_digest"):
            turns.append(turn)
            continue
        home = turn.cost_usd or 0.0
        there = (turn.prompt_tokens * 0.8 * 0.15 + (turn.output_tokens or 0) * 0.6) / 1e6
        turns.append(
            replace(
                turn,
                provider="groq",
                model_served=GROQ,
                cost_usd=there,
                proposal_provider="groq",
                proposal_model=GROQ,
                proposal_state="moved",
                saving_state="settled",
                saved_usd=home - there,
            )
        )
    kept = run(turns, BACKGROUND).total
    assert kept.before == kept.after == pytest.approx(sum(t.cost_usd or 0.0 for t in turns))
    back = run(turns, {"kinds": {"title": ["baseline"], "web_digest": ["baseline"]}}).total
    assert back.after == pytest.approx(sum(t.cost_usd or 0.0 for t in week()))

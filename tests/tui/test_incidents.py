from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe

from server.record import Status
from tui import incident_card, incidents
from tui.incidents import Incident, Toll
from tui.lines import plain, width_of
from tui.rows import TurnRow, row_from
from tui.state import LiveState

OUT = Incident("groq", 100.0, "connection refused", 200.0)


def row(at: float, *chain: str, **fields: Any) -> TurnRow:
    summary = {
        "id": f"gw_{at}", "at": at, "status": "completed", "duration_s": 1.0, "session": "s1",
        "fallback_chain": list(chain), "attempts": len(chain), "provider": chain[-1], **fields,
    }  # fmt: skip
    made = row_from(summary, 1)
    assert made is not None
    return made


def test_an_outage_begins_goes_on_and_ends() -> None:
    bad, good = {"status": "failing", "last_error": "refused"}, {"status": "ok", "breaker": "closed"}  # fmt: skip
    known = incidents.watched({}, "groq", bad, 10.0)
    assert known["groq"] == Incident("groq", 10.0, "refused")
    assert incidents.watched(known, "groq", bad, 20.0) is known
    on_probation = {"status": "ok", "breaker": "half-open"}
    assert incidents.watched(known, "groq", on_probation, 25.0) is known
    over = incidents.watched(known, "groq", good, 30.0)
    assert over["groq"].until == 30.0
    assert incidents.watched(over, "groq", good, 40.0) is over
    again = incidents.watched(over, "groq", bad, 50.0)
    assert again["groq"] == known["groq"], "failing again at once is the same outage"
    later = incidents.watched(over, "groq", bad, 500.0)
    assert later["groq"].since == 500.0
    assert incidents.watched({}, "groq", good, 1.0) == {}


def test_what_an_outage_cost() -> None:
    rows = [
        row(50, "groq", "anthropic"),  # before
        row(110, "groq", "anthropic", cost_usd=0.25),
        row(120, "groq", "anthropic", session="s2"),
        row(130, "groq", "groq", cost_usd=0.5),
        row(140, "groq", status="failed", unpriced=False),
        row(145, "groq", status="error", http_status=503, unpriced=False),
        row(150, "groq", status="error", http_status=400),  # refused, not out
        row(155, "anthropic", status="failed"),  # never went there
        row(160, "groq"),  # went through at once
        row(170, "groq", "anthropic", status="open", phase="waiting", duration_s=None),
        row(300, "groq", "anthropic"),  # after
    ]
    found = incidents.toll(OUT, rows)
    assert found == Toll(
        6, 2, 2, 1, 2, 1, cost_usd=0.75, elsewhere_usd=0.25, unpriced=1
    )  # fmt: skip
    text = "\n".join(plain(x) for x in incident_card.card(OUT, found, 118))
    assert "LAST OUTAGE" in text
    assert "connection refused" in text
    assert "6 turns of 2 sessions met it" in text
    assert "2 served by another provider, 1 served here on another try, 1 still running, 2" in text
    assert "$0.7500 for those turns, $0.2500 of it elsewhere; 1 turn unpriced" in text


def test_one_that_touched_nobody_says_so() -> None:
    text = "\n".join(
        plain(x) for x in incident_card.card(Incident("x", 1.0, "no route"), Toll(), 60)
    )
    assert "OUT NOW" in text
    assert "none of those in the list was touched" in text
    assert "recovered" not in text


async def test_the_state_follows_outages_from_events_and_snapshots() -> None:
    clock = FakeClock()
    engine, state = FakeEngine(clock), LiveState()
    watch = engine.subscribe()
    state.load(await engine.snapshot())
    engine.provider("groq", "failing", "refused")
    began = clock.time()
    turn = engine.open(provider="groq")
    engine.finish(turn, Status.FAILED)
    for event in watch.drain():
        state.apply(event)
    assert state.incidents["groq"] == Incident("groq", began, "refused")
    await clock.advance(30)
    engine.provider("groq", "ok")
    state.load_totals(await engine.snapshot())
    assert state.incidents["groq"].until == began + 30
    watch.close()


@pytest.mark.parametrize("width", [58, 158])
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        for line in incident_card.card(Incident("x", 1.0, text), Toll(3, 1, 1, 1, 1), width):
            assert_safe(plain(line))
            assert width_of(line) <= width

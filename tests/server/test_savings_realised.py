"""Turns that live mode did move: what they saved, worked out by hand.

Sonnet at home costs 2 in, 10 out, 0.10 read, 2.50 and 4 written; Groq 0.15 in, 0.60 out (USD per
million). 0.80 tokens there stand for one here (0.75 to 0.85).
"""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from hand_session import DEFAULT_MODELS, GROQ, HAIKU, PRICES, SONNET
from turn_factory import NOON, attempt, finished

from providers.pricing import Prices
from providers.types import Protocol, Usage
from server.accounting import price
from server.record import Candidate, Proposal, Saving, Status, Turn
from server.savings_assumptions import Assumptions
from server.savings_tracker import SavingsTracker

OVERRIDES = Prices(PRICES)
MOVED = Proposal("groq", GROQ, "moved")
AWAY = [Candidate("groq", GROQ, "chosen"), Candidate("anthropic", None, "baseline")]
READ, WRITE, OUT = 0.10e-6, 2.50e-6, 10e-6


def tracker() -> SavingsTracker:
    return SavingsTracker(OVERRIDES, Assumptions(), FakeClock(NOON), default_models=DEFAULT_MODELS)


def priced(at: float, **changes: Any) -> Turn:
    turn = finished(at=NOON + at, cost_usd=None, cost_parts={}, **changes)
    price(turn, OVERRIDES, turn.at)
    return turn


def home(at: float, usage: Usage, **changes: Any) -> Turn:
    """A call that the vendor itself answered."""
    attempts = [attempt("anthropic", model=SONNET)]
    fields = {"model_asked": SONNET, "model_served": SONNET, "attempts": attempts, "usage": usage}
    return priced(at, **(fields | changes))


def away(at: float, usage: Usage, **changes: Any) -> Turn:
    """A call that Groq answered in the vendor's place."""
    fields: dict[str, Any] = {
        "model_asked": SONNET,
        "model_served": GROQ,
        "provider": "groq",
        "proposal": MOVED,
        "candidates": list(AWAY),
        "attempts": [attempt("groq", model=GROQ)],
        "usage": usage,
        "cache_ttl": "5m",
        "estimates": {"turn": 1000},
    }
    return priced(at, **(fields | changes))


def saving_of(turn: Turn) -> Saving:
    assert turn.saving is not None
    return turn.saving


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-9)


START = Usage(0, 500, 0, 39_500)
"""Leaves 40,000 tokens in the cache: 39,500 written and the answer."""
SENT = Usage(32_800, 400)
PAID = 32_800 * 0.15e-6 + 400 * 0.60e-6


def adds_up(saving: Saving) -> bool:
    parts = (saving.baseline_usd or 0) - (saving.target_usd or 0) - saving.penalty_write_usd
    return bool(saving.usd == near(parts - saving.penalty_ttl_usd - saving.redo_usd))


def test_a_title_is_compared_at_the_plain_input_price() -> None:
    turn = away(0, Usage(800, 20), cache_ttl=None, session=None)
    tracker().finished(turn)
    saving = saving_of(turn)
    baseline = 1000 * 2e-6 + 20 * OUT
    paid = 800 * 0.15e-6 + 20 * 0.6e-6
    assert (saving.state, saving.usd) == ("settled", near(baseline - paid))
    assert (saving.baseline_usd, saving.target_usd) == (near(baseline), near(paid))
    assert saving.low_usd == near(942 * 2e-6 + 10 * OUT - paid)
    assert saving.high_usd == near(1067 * 2e-6 + 40 * OUT - paid)
    assert saving.quota_usd == saving.usd


def test_on_a_warm_line_the_prefix_is_read_and_the_write_is_only_postponed() -> None:
    book = tracker()
    book.finished(home(0, START))
    turn = away(100, SENT)
    book.finished(turn)
    saving = saving_of(turn)
    baseline = 40_000 * READ + 1000 * WRITE + 400 * OUT
    extra = 1000 * (WRITE - READ)
    assert (saving.state, saving.baseline_usd) == ("open", near(baseline))
    assert saving.usd == near(baseline - PAID - extra)
    assert saving.penalty_write_usd == near(extra)
    assert adds_up(saving)
    assert saving.low_usd is not None
    assert saving.low_usd < -40_000 * (WRITE - READ) + baseline

    ((turn_id, settled),) = book.finished(home(150, Usage(0, 100, 40_000, 2000)))
    assert (turn_id, settled.state) == (turn.id, "settled")
    assert settled.usd == near(baseline - PAID - extra)
    assert book.waiting == 0


def test_a_prefix_that_was_left_to_expire_is_charged_to_the_move() -> None:
    book = tracker()
    book.finished(home(0, START))
    turn = away(200, SENT)
    book.finished(turn)
    ((_, saving),) = book.finished(home(400, Usage(0, 100, 0, 42_000)))
    assert saving.penalty_ttl_usd == near(40_000 * (WRITE - READ))
    assert saving.penalty_write_usd == near(1000 * (WRITE - READ))
    assert adds_up(saving)


def test_of_two_moves_only_the_last_could_have_kept_the_prefix_alive() -> None:
    book = tracker()
    book.finished(home(0, START))
    first, second = away(150, SENT), away(200, Usage(33_900, 400))
    book.finished(first)
    book.finished(second)
    settled = dict(book.finished(home(400, Usage(0, 100, 0, 43_000))))
    assert settled[first.id].penalty_ttl_usd == 0
    assert settled[second.id].penalty_ttl_usd == near(41_400 * (WRITE - READ))
    assert settled[second.id].baseline_usd == near(41_400 * READ + 1000 * WRITE + 400 * OUT)


def test_without_a_next_call_nothing_had_to_be_written() -> None:
    book = tracker()
    book.finished(home(0, START))
    turn = away(100, SENT)
    book.finished(turn)
    ((_, saving),) = book.tick(NOON + 401)
    assert (saving.penalty_write_usd, saving.penalty_ttl_usd) == (0, 0)


@pytest.mark.parametrize(("ttl", "write"), [("5m", 2.5e-6), ("1h", 4e-6)])
def test_a_cold_line_would_have_been_written_anew(ttl: str, write: float) -> None:
    book = tracker()
    book.finished(home(0, START))
    turn = away(4000, SENT, cache_ttl=ttl)
    book.finished(turn)
    saving = saving_of(turn)
    assert saving.baseline_usd == near(41_000 * write + 400 * OUT)
    assert saving.penalty_write_usd == near(41_000 * (write - READ))
    assert adds_up(saving)


def test_a_first_call_may_have_found_a_warm_prefix() -> None:
    turn = away(0, SENT)
    tracker().finished(turn)
    saving = saving_of(turn)
    assert saving.low_usd is not None
    assert saving.low_usd <= 41_000 * READ + 200 * OUT - PAID
    assert "cache" in (saving.note or "")


def test_a_conversation_that_shrank_is_not_credited_with_its_old_prefix() -> None:
    book = tracker()
    book.finished(home(0, Usage(0, 0, 0, 100_000)))
    turn = away(100, Usage(8000, 400), estimates={"turn": 500})
    book.finished(turn)
    assert saving_of(turn).baseline_usd == near(10_000 * READ + 500 * WRITE + 400 * OUT)


def test_openai_caches_without_being_asked() -> None:
    book = tracker()
    home_call = home(0, START, protocol=Protocol.RESPONSES)
    book.finished(home_call)
    turn = away(100, SENT, cache_ttl=None, protocol=Protocol.RESPONSES)
    book.finished(turn)
    assert saving_of(turn).baseline_usd == near(40_000 * READ + 1000 * WRITE + 400 * OUT)


@pytest.mark.parametrize(("status", "twice"), [(429, False), (None, False), (200, True)])
def test_a_move_that_came_home_saves_nothing_and_may_be_paid_twice(
    status: int | None, twice: bool
) -> None:
    tried = attempt("groq", "failed", model=GROQ, status=status)
    turn = home(
        0,
        Usage(1000, 100, 0, 0),
        proposal=MOVED,
        candidates=list(AWAY),
        attempts=[tried, attempt("anthropic", model=SONNET)],
    )
    tracker().finished(turn)
    saving = saving_of(turn)
    lost = 800 * 0.15e-6 + 100 * 0.6e-6 if twice else 0.0
    assert (saving.state, saving.usd, saving.redo_usd) == ("settled", near(-lost), near(lost))
    assert (saving.low_usd, saving.high_usd) == (near(-2 * lost), 0)
    assert adds_up(saving)


def test_a_second_provider_is_charged_with_the_first_ones_try() -> None:
    tried = attempt("cerebras", "stalled", model="gpt-oss-120b", status=200)
    turn = away(0, Usage(800, 20), cache_ttl=None, attempts=[tried, attempt("groq", model=GROQ)])
    tracker().finished(turn)
    saving = saving_of(turn)
    assert saving.redo_usd == near(800 * 0.35e-6 + 20 * 0.75e-6)
    assert adds_up(saving)


def test_a_cheaper_model_of_the_vendor_is_the_difference_of_both_rates() -> None:
    turn = away(
        0,
        Usage(10, 100, 20_000, 4000),
        provider="anthropic",
        model_served=HAIKU,
        proposal=Proposal("anthropic", HAIKU, "moved"),
        candidates=[Candidate("anthropic", HAIKU, "chosen"), AWAY[1]],
        attempts=[attempt("anthropic", model=HAIKU)],
    )
    tracker().finished(turn)
    saving = saving_of(turn)
    paid = 10 * 0.1e-6 + 20_000 * 0.01e-6 + 4000 * 0.125e-6 + 100 * 0.5e-6
    here = 10 * 2e-6 + 20_000 * READ + 4000 * WRITE + 100 * OUT
    assert (saving.state, saving.usd) == ("settled", near(here - paid))
    assert saving.low_usd == near(here - 50 * OUT - paid)
    assert saving.high_usd == near(here + 100 * OUT - paid)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"candidates": [Candidate("groq", GROQ, "chosen")]}, "vendor failed"),
        ({"model_asked": "nobody-knows"}, "no price for nobody-knows"),
        ({"model_served": "odd"}, "no price for odd"),
    ],
)
def test_what_is_not_known_is_unpriced(changes: dict[str, Any], note: str) -> None:
    turn = away(0, SENT, **changes)
    tracker().finished(turn)
    saving = saving_of(turn)
    assert (saving.state, saving.usd) == ("unpriced", None)
    assert note in (saving.note or "")


def test_a_move_that_failed_altogether_has_no_saving() -> None:
    turn = away(0, Usage(), status=Status.FAILED, http_status=502)
    tracker().finished(turn)
    assert turn.saving is None

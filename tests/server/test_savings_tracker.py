"""Proposals judged by what their sessions do next."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from fake_clock import FakeClock
from hand_session import DEFAULT_MODELS, GROQ, HAIKU, PRICES, SONNET
from turn_factory import NOON, attempt, finished, opened

from providers.pricing import Prices
from providers.types import Usage, UsageSource
from server import savings_tracker
from server.accounting import price
from server.limits import PlanLimits
from server.record import Candidate, Proposal, Saving, Status, Turn
from server.savings_assumptions import Assumptions
from server.savings_tracker import SavingsTracker

MOVE = Proposal("groq", GROQ, "would_move", "why")
WARM = Usage(0, 100, 50_000, 1000)
WARM_1H = Usage(0, 100, 50_000, 0, 1000)
WRITE = 1000 * 2.4e-6
TTL = 50_000 * 2.4e-6

OVERRIDES = Prices(PRICES)


def tracker(**changes: Any) -> SavingsTracker:
    more = {"default_models": DEFAULT_MODELS} | changes
    return SavingsTracker(OVERRIDES, Assumptions(), FakeClock(NOON), **more)


def call(at: float, **changes: Any) -> Turn:
    """A priced call of one session at ``NOON + at``."""
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
    if turn.cost_usd is None:
        price(turn, OVERRIDES, turn.at)
    return turn


def figures(saving: Saving | None) -> tuple[object, ...]:
    assert saving is not None
    return saving.state, saving.penalty_write_usd, saving.penalty_ttl_usd


def test_a_turn_without_a_proposal_has_no_saving() -> None:
    turn = call(0)
    assert tracker().finished(turn) == []
    assert turn.saving is None


def test_what_cannot_be_carried_is_not_projected() -> None:
    turn = call(0, proposal=replace(MOVE, state="unsupported"))
    tracker().finished(turn)
    assert turn.saving is None


def test_a_call_beside_the_cache_is_settled_at_once() -> None:
    turn = call(0, usage=Usage(1000, 100, 0, 0), proposal=MOVE)
    book = tracker()
    book.finished(turn)
    assert figures(turn.saving) == ("settled", 0, 0)
    assert book.waiting == 0


def test_an_open_turn_takes_its_write_as_repeated_and_its_range_covers_both_futures() -> None:
    book = tracker()
    book.finished(call(0))
    turn = call(100, proposal=MOVE)
    book.finished(turn)
    saving = turn.saving
    assert saving is not None
    assert figures(saving) == ("open", pytest.approx(WRITE), 0)
    assert saving.low_usd is not None
    assert saving.high_usd is not None
    assert saving.usd is not None
    assert saving.low_usd < saving.usd - TTL + 0.01
    assert saving.usd < saving.high_usd
    assert saving.usd == pytest.approx(
        (saving.baseline_usd or 0)
        - (saving.target_usd or 0)
        - saving.penalty_write_usd
        - saving.penalty_ttl_usd
        - saving.redo_usd
    )


@pytest.mark.parametrize(
    ("gap", "penalties"),
    [(50, (WRITE, 0.0)), (200, (WRITE, 0.0)), (201, (WRITE, TTL)), (301, (0.0, 0.0))],
)
def test_the_next_call_settles_it_with_the_true_gaps(
    gap: float, penalties: tuple[float, float]
) -> None:
    book = tracker()
    book.finished(call(0))
    turn = call(100, proposal=MOVE)
    book.finished(turn)

    ((turn_id, saving),) = book.finished(call(100 + gap))

    assert turn_id == turn.id
    assert figures(saving) == ("settled", *map(pytest.approx, penalties))
    assert turn.saving is not None
    assert turn.saving.state == "open", "the recorded turn itself does not change"
    assert book.waiting == 0


@pytest.mark.parametrize(
    "other",
    [
        {"session": "another"},
        {"agent": "sub-agent"},
        {"model_asked": HAIKU, "model_served": HAIKU},
        {"provider": "elsewhere", "cost_usd": 0.1},
        {"usage": Usage(500, 20, 0, 0)},
        {"usage": Usage(), "usage_source": UsageSource.NONE, "status": Status.ERROR},
        {"status": Status.REJECTED},
        {"session": None},
    ],
)
def test_a_call_that_is_not_on_the_line_settles_nothing(other: dict[str, Any]) -> None:
    book = tracker()
    book.finished(call(0, proposal=MOVE))
    assert book.finished(call(10, **other)) == []
    assert book.waiting == 1


@pytest.mark.parametrize(("usage", "lifetime"), [(WARM, 300), (WARM_1H, 3600)])
def test_a_write_that_was_never_read_again_settles_without_penalties(
    usage: Usage, lifetime: float
) -> None:
    book = tracker()
    turn = call(0, usage=usage, proposal=MOVE)
    book.finished(turn)
    assert book.tick(NOON + lifetime) == []

    ((turn_id, saving),) = book.tick(NOON + lifetime + 0.1)

    assert turn_id == turn.id
    assert figures(saving) == ("settled", 0, 0)
    assert book.tick(NOON + 9999) == []


def test_a_prefix_that_was_only_read_lives_as_long_as_was_asked_for() -> None:
    book = tracker()
    book.finished(call(0, usage=Usage(10, 100, 50_000, 0), cache_ttl="1h", proposal=MOVE))
    assert book.tick(NOON + 3600) == []
    assert len(book.tick(NOON + 3601)) == 1


def test_a_call_still_running_that_began_in_time_is_waited_for() -> None:
    book = tracker()
    turn = call(0, proposal=MOVE)
    book.finished(turn)
    running = opened(at=NOON + 250, model_asked=SONNET)
    late = opened(at=NOON + 601, model_asked=SONNET)
    stranger = opened(at=NOON + 250, model_asked=SONNET, session="another")

    assert book.tick(NOON + 700, [running]) == []
    ((_, saving),) = book.finished(call(250))
    assert saving.penalty_write_usd > 0

    book.finished(call(300, proposal=MOVE))
    assert len(book.tick(NOON + 700, [late, stranger])) == 1


def test_a_turn_that_ends_after_its_successor_is_settled_at_once() -> None:
    book = tracker()
    book.finished(call(0))
    book.finished(call(250))
    slow = call(100, proposal=MOVE)
    book.finished(slow)
    assert figures(slow.saving) == ("settled", pytest.approx(WRITE), 0)
    assert book.waiting == 0


def test_without_a_session_the_range_stays_wide() -> None:
    turn = call(0, session=None, proposal=MOVE)
    book = tracker()
    book.finished(turn)
    assert turn.saving is not None
    assert turn.saving.state == "settled"
    assert turn.saving.penalty_write_usd == pytest.approx(WRITE)
    assert "session" in (turn.saving.note or "")
    assert book.waiting == 0


def test_sessions_beyond_the_bound_are_given_up_with_their_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(savings_tracker, "MOST_LINES", 2)
    book = tracker()
    first = call(0, session="s0", proposal=MOVE)
    book.finished(first)
    assert book.finished(call(1, session="s1", proposal=MOVE)) == []

    ((turn_id, saving),) = book.finished(call(2, session="s2"))

    assert (turn_id, saving.state) == (first.id, "settled")
    assert first.saving is not None
    assert (saving.usd, saving.low_usd) == (first.saving.usd, first.saving.low_usd)
    assert book.waiting == 1


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"proposal": Proposal("groq", "nobody-knows", "would_move")}, "nobody-knows at groq"),
        ({"proposal": Proposal("workshop", None, "needs_key")}, "an unnamed model at workshop"),
        ({"usage": Usage(), "usage_source": UsageSource.NONE}, "no usage"),
        ({"model_asked": "a", "model_served": "a"}, "no price for a at anthropic"),
        ({"usage": Usage(), "status": Status.CANCELLED}, "no usage"),
    ],
)
def test_an_unknown_price_or_usage_is_unpriced_never_zero(
    changes: dict[str, Any], note: str
) -> None:
    turn = call(0, **({"proposal": MOVE} | changes))
    tracker().finished(turn)
    assert turn.saving is not None
    assert turn.saving.state == "unpriced"
    assert (turn.saving.usd, turn.saving.low_usd, turn.saving.quota_usd) == (None,) * 3
    assert note in (turn.saving.note or "")


def test_an_estimated_cost_says_so() -> None:
    turn = call(
        0,
        proposal=MOVE,
        usage=Usage(1000, 1, 0, 0),
        usage_source=UsageSource.PARTIAL,
        output_estimate=500,
        status=Status.PARTIAL,
    )
    tracker().finished(turn)
    assert turn.saving is not None
    assert turn.saving.baseline_usd == pytest.approx(1000 * 2e-6 + 500 * 10e-6)
    assert turn.saving.target_usd == pytest.approx(800 * 0.15e-6 + 500 * 0.6e-6)
    assert "broke off" in (turn.saving.note or "")


def test_a_plan_that_would_have_refused_saves_nothing_under_its_quota() -> None:
    limits = {"groq": PlanLimits(requests_per_minute=1)}
    book = tracker(limits=limits)
    quotas = []
    for at in (0, 30, 60):
        turn = call(at, usage=Usage(1000, 100, 0, 0), proposal=MOVE)
        book.finished(turn)
        assert turn.saving is not None
        quotas.append((turn.saving.quota_usd == turn.saving.usd, turn.saving.quota_usd))
    assert quotas[0][0]
    assert quotas[1] == (False, 0.0)
    assert quotas[2][0]


def test_changed_settings_keep_what_an_unchanged_plan_has_let_through() -> None:
    limits = {"groq": PlanLimits(requests_per_day=1)}
    book = tracker(limits=limits)

    def quota() -> float | None:
        turn = call(0, usage=Usage(1000, 100, 0, 0), proposal=MOVE)
        book.finished(turn)
        assert turn.saving is not None
        return turn.saving.quota_usd

    assert quota() != 0
    book.configure(limits, DEFAULT_MODELS)
    assert quota() == 0
    book.configure({"groq": PlanLimits(requests_per_day=2)}, DEFAULT_MODELS)
    assert quota() != 0
    book.configure({}, {})
    assert quota() != 0


def test_candidates_are_priced_where_they_can_be() -> None:
    turn = call(0, usage=Usage(1000, 100, 20_000, 4000))
    turn.candidates = [
        Candidate("groq", None, "needs_key"),
        Candidate("anthropic", HAIKU, "gated"),
        Candidate("anthropic", None, "baseline"),
        Candidate("workshop", "x", "unsupported"),
    ]
    tracker().finished(turn)
    assert [item.cost_usd for item in turn.candidates] == [
        pytest.approx(20_000 * 0.15e-6 + 100 * 0.6e-6),
        pytest.approx(1000 * 0.1e-6 + 20_000 * 0.01e-6 + 4000 * 0.125e-6 + 100 * 0.5e-6),
        turn.cost_usd,
        None,
    ]


def test_counting_tokens_costs_nothing_anywhere() -> None:
    turn = call(0, kind="count_tokens", usage=Usage(1000))
    turn.candidates = [Candidate("anthropic", None, "baseline"), Candidate("groq", GROQ, "spare")]
    tracker().finished(turn)
    assert [item.cost_usd for item in turn.candidates] == [0.0, None]


def test_the_users_own_rates_and_what_was_really_paid_are_used() -> None:
    turn = call(0, usage=Usage(1000, 100, 0, 0), proposal=MOVE, cost_usd=0.5)
    tracker().finished(turn)
    assert turn.saving is not None
    assert turn.saving.baseline_usd == 0.5
    target = Decimal("800") * Decimal("0.15e-6") + 100 * Decimal("0.6e-6")
    assert turn.saving.target_usd == float(target)

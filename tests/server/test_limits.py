"""Sliding windows on simulated time."""

from __future__ import annotations

import pytest

from server.config import Settings
from server.limits import Admission, PlanLimits, plans


def ask(gate: Admission, at: float, tokens: int = 1, **more: float | int | None) -> bool:
    return gate.admit(at, tokens_in=tokens, tokens_out=0, **more)  # type: ignore[arg-type]


def test_without_limits_everything_passes() -> None:
    gate = Admission(PlanLimits())
    assert all(ask(gate, 0, 10**9) for _ in range(1000))
    assert PlanLimits().is_unlimited


@pytest.mark.parametrize(
    ("limits", "width"),
    [
        (PlanLimits(requests_per_minute=2), 60),
        (PlanLimits(requests_per_day=2), 86_400),
        (PlanLimits(tokens_per_minute=2), 60),
        (PlanLimits(tokens_per_day=2), 86_400),
    ],
)
def test_a_window_lets_its_limit_through_and_then_waits(limits: PlanLimits, width: float) -> None:
    gate = Admission(limits)
    assert ask(gate, 0)
    assert ask(gate, 10)
    assert not ask(gate, width - 0.001)
    assert ask(gate, width), "a call exactly that old is out of the window"
    assert not ask(gate, width + 9.999)
    assert ask(gate, width + 10)


def test_what_was_refused_is_not_booked() -> None:
    gate = Admission(PlanLimits(tokens_per_minute=10))
    assert not ask(gate, 0, 11)
    assert ask(gate, 0, 10)
    assert not ask(gate, 0, 1)


def test_the_answer_counts_and_a_reserving_plan_wants_room_for_the_longest() -> None:
    plain = Admission(PlanLimits(tokens_per_minute=100))
    assert plain.admit(0, tokens_in=50, tokens_out=50, max_tokens=32_000)
    strict = Admission(PlanLimits(tokens_per_minute=100, reserves_answer=True))
    assert not strict.admit(0, tokens_in=50, tokens_out=10, max_tokens=51)
    assert strict.admit(0, tokens_in=50, tokens_out=10, max_tokens=50)
    assert strict.admit(0, tokens_in=30, tokens_out=10, max_tokens=None), "60 were booked"
    assert not strict.admit(0, tokens_in=1, tokens_out=0)


def test_calls_at_the_same_time_are_counted_until_they_end() -> None:
    gate = Admission(PlanLimits(max_in_flight=1))
    assert ask(gate, 0, until=10.0)
    assert not ask(gate, 9.9, until=20.0)
    assert ask(gate, 10, until=11.0)


def test_a_time_before_the_latest_counts_as_the_latest() -> None:
    gate = Admission(PlanLimits(requests_per_minute=1))
    assert ask(gate, 100)
    assert not ask(gate, 30)
    assert ask(gate, 160)


def test_limits_come_from_the_settings() -> None:
    settings = Settings.model_validate(
        {
            "providers": {
                "groq": {"limits": {"requests_per_minute": 30, "tokens_per_day": 200_000}},
                "cerebras": {"limits": {"max_in_flight": 2}},
            }
        }
    )
    assert plans(settings.providers) == {
        "groq": PlanLimits(requests_per_minute=30, tokens_per_day=200_000),
        "cerebras": PlanLimits(max_in_flight=2, reserves_answer=True),
    }

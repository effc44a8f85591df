"""Money of the day and shares of a plan."""

from __future__ import annotations

from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits import Admission, PlanLimits
from server.record import RateLimit
from server.verification.budget import Budget, Share, part
from server.windows import Windows

DAY = 86_400.0


def test_what_is_reserved_is_not_spent_twice() -> None:
    budget = Budget(FakeClock())
    assert budget.reserve(0.6, 1.0)
    assert not budget.reserve(0.6, 1.0)
    budget.settle(0.6, 0.1)
    assert budget.spent_usd == 0.1
    assert budget.reserve(0.9, 1.0)
    assert not budget.reserve(0.01, 1.0)


async def test_a_new_day_has_a_new_budget() -> None:
    clock = FakeClock()
    budget = Budget(clock)
    budget.settle(0.0, 5.0)
    assert not budget.reserve(0.1, 1.0)
    await clock.advance(DAY)
    assert budget.spent_usd == 0
    assert budget.reserve(0.1, 1.0)


@settings(deadline=None, database=None, max_examples=40)
@given(st.integers(0, 100), st.integers(1, 200), st.lists(st.integers(1, 50), max_size=30))
def test_no_more_than_the_share_is_ever_used(percent: int, limit: int, calls: list[int]) -> None:
    plan = PlanLimits(tokens_per_minute=limit)
    clock = FakeClock()
    share = Share(clock, {"p": plan}, Windows(clock, {"p": plan}))
    used = 0
    for tokens in calls:
        if not share.refuses("p", percent, tokens_in=tokens, max_tokens=1):
            used += tokens + 1
    assert used <= limit * percent / 100


def test_real_traffic_is_told_what_comparisons_used() -> None:
    clock = FakeClock()
    plan = PlanLimits(requests_per_minute=4)
    windows = Windows(clock, {"p": plan})
    share = Share(clock, {"p": plan}, windows)
    assert not share.refuses("p", 50, tokens_in=1, max_tokens=1)
    assert not share.refuses("p", 50, tokens_in=1, max_tokens=1)
    assert share.refuses("p", 50, tokens_in=1, max_tokens=1)
    assert [windows.refuses("p", tokens_in=1) is None for _ in range(3)] == [True, True, False]
    assert share.refuses("p", 100, tokens_in=1, max_tokens=1), "there is no room in the plan"


def test_a_share_of_every_limit() -> None:
    plan = PlanLimits(10, 100, 1000, 10_000, 3, reserves_answer=True)
    assert part(plan, 20) == PlanLimits(2, 20, 200, 2000, 1, reserves_answer=True)
    assert part(PlanLimits(), 20) == PlanLimits()
    assert not Admission(part(plan, 5)).admit(0.0, tokens_in=1, tokens_out=1)


def test_what_would_be_left_of_reported_windows() -> None:
    clock = FakeClock()
    windows = Windows(clock, {})
    assert windows.left_after("p", 10**9) == 1
    fields = {"limit": "100", "remaining": "50", "reset": "60s"}
    windows.note([RateLimit("p", "x-ratelimit-tokens", fields)])
    assert windows.left_after("p", 30) == 0.2
    windows.note([RateLimit("p", "x-ratelimit-requests", fields | {"remaining": "11"})])
    assert windows.left_after("p", 30) == 0.1
    assert windows.left_after("other", 30) == 1

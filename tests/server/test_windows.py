"""Requests that a provider's plan would refuse are not sent there."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock

from server.limits import PlanLimits
from server.record import RateLimit
from server.windows import Windows


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def seen(name: str, **fields: str) -> list[RateLimit]:
    return [RateLimit("groq", name, fields)]


async def test_a_request_larger_than_the_plan_is_never_sent(clock: FakeClock) -> None:
    windows = Windows(clock, {})
    windows.note(seen("x-ratelimit-tokens", limit="8000", remaining="8000", reset="1s"))
    assert windows.refuses("groq", tokens_in=8001) == (
        "about 8,001 tokens, but its plan takes 8,000 at once"
    )
    assert windows.refuses("groq", tokens_in=8000) is None
    assert windows.refuses("cerebras", tokens_in=10**6) is None


async def test_a_window_that_is_used_up_opens_again(clock: FakeClock) -> None:
    windows = Windows(clock, {})
    windows.note(seen("x-ratelimit-tokens", limit="8000", remaining="100", reset="2m30s"))
    assert windows.refuses("groq", tokens_in=101) == "only 100 tokens left for 150 s"
    assert windows.refuses("groq", tokens_in=100) is None
    await clock.advance(150)
    assert windows.refuses("groq", tokens_in=101) is None


async def test_no_requests_left(clock: FakeClock) -> None:
    windows = Windows(clock, {})
    windows.note(seen("x-ratelimit-requests", limit="30", remaining="0", reset="12"))
    assert windows.refuses("groq", tokens_in=1) == "no requests left for 12 s"


@pytest.mark.parametrize(
    "fields",
    [{}, {"limit": "x", "reset": "5"}, {"limit": "nan", "reset": "5"}, {"limit": "10"}],
)
async def test_what_cannot_be_read_refuses_nothing(
    clock: FakeClock, fields: dict[str, str]
) -> None:
    windows = Windows(clock, {})
    windows.note([RateLimit("groq", "x-ratelimit-tokens", fields)])
    assert windows.refuses("groq", tokens_in=10**6) is None


async def test_the_settings_limits_are_booked(clock: FakeClock) -> None:
    windows = Windows(clock, {"groq": PlanLimits(requests_per_minute=2)})
    assert [windows.refuses("groq", tokens_in=10) for _ in range(3)] == [
        None,
        None,
        "its plan's limits are used up for now",
    ]
    await clock.advance(60)
    assert windows.refuses("groq", tokens_in=10) is None


async def test_a_provider_that_reserves_the_answer(clock: FakeClock) -> None:
    limits = PlanLimits(tokens_per_minute=30_000, reserves_answer=True)
    windows = Windows(clock, {"cerebras": limits})
    assert windows.refuses("cerebras", tokens_in=10, max_tokens=32_000) is not None
    assert windows.refuses("cerebras", tokens_in=10, max_tokens=8_000) is None

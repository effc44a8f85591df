"""What keeps a provider from being tried, and for how long."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock

from server.breaker import Outcome
from server.health import Cause, Health


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def health(clock: FakeClock, changes: list[str]) -> Health:
    return Health(clock, chance=lambda: 0.5, on_change=changes.append)


def fail(health: Health, model: str | None, times: int = 5, *, is_connection: bool = False) -> None:
    for _ in range(times):
        leave = health.ask("groq", model)
        assert leave is not None
        health.record(leave, Outcome.FAILURE, is_connection=is_connection, error="boom")


async def test_a_failing_model_leaves_the_others_alone(health: Health, changes: list[str]) -> None:
    fail(health, "big")
    assert health.refuses("groq", "big") == "its breaker is open for 15 s more"
    assert health.refuses("groq", "small") is None
    assert health.ask("groq", "big") is None
    assert changes == ["groq"]
    told = health.as_json("groq")
    assert (told["breaker"], told["open_models"], told["failures"]) == ("open", ["big"], 5)
    assert told["breaker_error"] == "boom"


async def test_connection_failures_open_the_provider(health: Health) -> None:
    fail(health, "a", 3, is_connection=True)
    fail(health, "b", 2, is_connection=True)
    assert health.refuses("groq", "c") is not None


async def test_three_failing_models_are_a_failing_provider(health: Health) -> None:
    for model in ("a", "b", "c"):
        fail(health, model)
    assert health.refuses("groq", "d") == "3 of its models are failing"


async def test_it_closes_again_by_itself(health: Health, clock: FakeClock) -> None:
    fail(health, "big")
    await clock.advance(15)
    for _ in range(2):
        leave = health.ask("groq", "big")
        assert leave is not None
        assert health.ask("groq", "big") is None
        health.record(leave, Outcome.SUCCESS)
    assert health.refuses("groq", "big") is None
    assert health.as_json("groq")["breaker"] == "closed"


async def test_a_rate_limit_is_waited_out_and_no_failure(health: Health, clock: FakeClock) -> None:
    health.cool_down("groq", "big", Cause.RATE_LIMIT, 7.0)
    assert health.refuses("groq", "big") == "rate limit, for 7 s more"
    assert health.refuses("groq", "small") is None
    assert health.as_json("groq")["cooldown"] == {"cause": "rate limit", "left_s": 7.0}
    await clock.advance(7)
    assert health.refuses("groq", "big") is None
    assert health.as_json("groq")["breaker"] == "closed"


@pytest.mark.parametrize(
    ("cause", "seconds"),
    [(Cause.QUOTA, 900), (Cause.CONFIG, 60), (Cause.MODEL, 300)],
)
async def test_some_causes_have_a_time_of_their_own(
    health: Health, clock: FakeClock, cause: Cause, seconds: int
) -> None:
    health.cool_down("groq", None, cause)
    await clock.advance(seconds - 1)
    assert health.refuses("groq", "any") is not None
    await clock.advance(1)
    assert health.refuses("groq", "any") is None


async def test_no_cooldown_lasts_longer_than_an_hour(health: Health, clock: FakeClock) -> None:
    health.cool_down("groq", "big", Cause.RATE_LIMIT, 1e9)
    await clock.advance(3600)
    assert health.refuses("groq", "big") is None


async def test_a_paused_provider_takes_nothing_until_it_is_resumed(health: Health) -> None:
    health.pause("groq", True)
    assert health.refuses("groq", None) == "it is paused"
    health.pause("groq", False)
    assert health.refuses("groq", None) is None


async def test_the_last_candidate_is_tried_whatever_its_breaker_says(health: Health) -> None:
    fail(health, "big")
    leave = health.force("groq", "big")
    health.record(leave, Outcome.FAILURE)
    assert health.as_json("groq")["failures"] == 5


async def test_reset_forgets_everything_but_a_pause(health: Health) -> None:
    fail(health, "big")
    health.cool_down("groq", None, Cause.QUOTA)
    health.reset("groq")
    assert health.refuses("groq", "big") is None


async def test_names_from_outside_do_not_fill_the_memory(health: Health) -> None:
    for number in range(1_000):
        leave = health.ask("groq", f"model-{number}")
        assert leave is not None
        health.record(leave, Outcome.FAILURE)
        health.cool_down("groq", f"model-{number}", Cause.RATE_LIMIT, 60)
    assert len(health._providers["groq"].models) <= 64
    assert len(health._providers["groq"].cooldowns) <= 64

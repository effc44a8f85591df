"""The retry budget and the wait before a retry; the candidates themselves are tested end to end."""

from __future__ import annotations

import random

import pytest
from fake_clock import FakeClock
from turn_factory import attempt, opened

from providers.faults import Fault, FaultKind
from server.breaker import Outcome
from server.endings import gateway_headers, stopping
from server.health import Health
from server.judge import judge_fault
from server.retries import RetryBudget, backoff_s
from server.storms import Storms


def test_three_retries_are_free_and_then_one_in_five() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    spent = 0
    for _ in range(1_000):
        budget.earn()
        spent += budget.spend()
    assert 195 <= spent <= 200


def test_a_quiet_time_saves_up_ten_retries_at_most() -> None:
    budget = RetryBudget()
    for _ in range(1_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(50)) == 10


@pytest.mark.parametrize(
    ("tries", "asked", "chance", "wait"),
    [
        (1, None, 0.0, 0.0),
        (1, None, 1.0, 0.25),
        (2, None, 1.0, 0.5),
        (9, None, 1.0, 2.0),
        (1, 1.5, 0.0, 1.5),
        (1, 0.1, 1.0, 0.25),
    ],
)
def test_a_wait_is_never_shorter_than_asked(
    tries: int, asked: float | None, chance: float, wait: float
) -> None:
    assert backoff_s(tries, asked, lambda: chance) == wait


def test_a_flapping_provider_is_never_asked_much_more_often() -> None:
    """Half of all requests fail: what the retries add stays a fifth."""
    chance, budget = random.Random(7), RetryBudget()
    requests, attempts = 3_000, 0
    for _ in range(requests):
        budget.earn()
        attempts += 1
        if chance.random() < 0.5 and budget.spend():
            attempts += 1
    assert attempts / requests <= 1.2 + 3 / requests


async def test_ten_thousand_refusals_and_cancels_open_nothing() -> None:
    clock, chance = FakeClock(), random.Random(20261123)
    health = Health(clock, chance=chance.random)
    refusals = [
        Fault(FaultKind.RATE_LIMIT, "slow", 429, retry_after_s=0.0),
        Fault(FaultKind.INVALID, "no", 400),
        Fault(FaultKind.CONTEXT, "too long", 400),
        Fault(FaultKind.TOO_LARGE, "too large", 413),
        Fault(FaultKind.UNSUPPORTED, "unknown parameter", 400),
        Fault(FaultKind.TOOL_FORMAT, "bad call", 400),
        None,
    ]
    for number in range(10_000):
        leave = health.ask("groq", "m")
        assert leave is not None, health.refuses("groq", "m")
        fault = chance.choice(refusals)
        if fault is None:
            health.record(leave, Outcome.NEUTRAL)
        else:
            health.record(leave, judge_fault(fault, is_our_key=True).outcome)
        if number % 10 == 0:
            await clock.advance(chance.random())
    assert health.as_json("groq")["failures"] == 0


def test_a_client_that_shall_stop_is_not_told_to_wait() -> None:
    fields = [(b"Retry-After", b"3"), (b"X-Should-Retry", b"true"), (b"x", b"kept")]
    assert stopping(fields) == [(b"x", b"kept"), (b"x-should-retry", b"false")]


def test_our_fields_hold_nothing_that_breaks_a_head() -> None:
    turn = opened(route="summary")
    turn.attempts = [attempt("groq", model="gpt\r\nset-cookie: a=b \x1b[31m" + "é" * 300)]
    fields = dict(gateway_headers(turn))
    model = fields[b"x-gateway-model"]
    assert len(model) <= 400
    assert all(0x20 <= byte < 0x7F for byte in model)
    assert fields[b"x-gateway-attempts"] == b"1"
    assert fields[b"x-gateway-request-id"] == turn.id.encode()


def test_bodies_of_requests_that_succeed_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    calls: list[int] = []
    plain = hashlib.blake2b

    def counting(data: bytes, **more: int) -> object:
        calls.append(len(data))
        return plain(data, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("server.storms.hashlib.blake2b", counting)
    storm = Storms(FakeClock()).watch("s", b"x" * 100)
    assert calls == []
    storm.is_one()
    storm.is_one()
    assert calls == [100]

"""Charges of moved calls against two simulated worlds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from providers.pricing import Rate, Rates
from server.savings import (
    LIFETIME_1H_S,
    LIFETIME_5M_S,
    Elsewhere,
    Factors,
    Gaps,
    Tokens,
    bill,
    exactly,
    project,
)
from server.savings_line import Charge, LineCall, charges
from server.savings_worlds import Away, Step, play


def rate(usd: str) -> Rate:
    return Rate(Decimal(usd))


HOME = Rates("home", "test", rate("2"), rate("10"), rate("0.1"), rate("2.5"), rate("4"))
AWAY = Rates("away", "test", rate("0.5"), rate("1"))
THERE = Elsewhere(AWAY)
FACTORS = Factors(exactly("0.8"), exactly(1), exactly(0))


def at_home(steps: Sequence[Step], base: int, ttl_s: float) -> list[LineCall]:
    """The calls of a session that stays at home, billed by what a prompt cache does."""
    calls: list[LineCall] = []
    prefix, cached, last = base, 0, -1e9
    for step in steps:
        full = prefix + step.new
        read = cached if step.at - last <= ttl_s else 0
        wrote = full - read
        is_long = ttl_s > LIFETIME_5M_S
        tokens = Tokens(0, 0 if is_long else wrote, wrote if is_long else 0, read, step.out)
        tokens = structs.replace(tokens, reads_1h=is_long)
        calls.append(LineCall(step.at, tokens, HOME, step.is_moved))
        prefix, cached, last = full + step.out, full, step.at
    return calls


@st.composite
def sessions(draw: st.DrawFn) -> list[Step]:
    at, steps = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0.0, 1.0, 140.0, 150.0, 299.0, 300.0, 301.0, 1900.0, 3601.0]))
        new, out = draw(st.integers(1, 5000)), draw(st.integers(0, 900))
        steps.append(Step(at, new, out, draw(st.booleans())))
    return steps


def saved(call: LineCall, charge: Charge) -> Decimal:
    """What one moved call saves: its bill less the other one's, and what it leaves behind."""
    there = Tokens(call.tokens.prompt).scaled(Decimal("0.8"), Decimal(1))
    paid = bill(structs.replace(there, output=call.tokens.output), AWAY)
    return bill(call.tokens, HOME) - paid - charge.usd


@given(sessions(), st.integers(0, 200_000), st.sampled_from([LIFETIME_5M_S, LIFETIME_1H_S]))
def test_the_sum_over_turns_is_the_difference_of_the_bills(
    steps: list[Step], base: int, ttl_s: float
) -> None:
    calls = at_home(steps, base, ttl_s)
    total = sum(
        (
            saved(call, charge)
            for call, charge in zip(calls, charges(calls), strict=True)
            if call.is_moved
        ),
        Decimal(0),
    )
    away = Away(THERE, Decimal("0.8"), Decimal(1))
    assert total == play(steps, HOME, away, base=base, ttl_s=ttl_s).saving


@given(sessions(), st.integers(0, 200_000), st.data())
def test_a_single_move_is_charged_as_it_is_projected(
    steps: list[Step], base: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(steps) - 1))
    steps = [replace(step, is_moved=at == chosen) for at, step in enumerate(steps)]
    calls = at_home(steps, base, LIFETIME_5M_S)
    moved = calls[chosen]
    gaps = Gaps(
        moved.at - calls[chosen - 1].at if chosen else None,
        calls[chosen + 1].at - moved.at if chosen + 1 < len(calls) else None,
    )
    made = project(moved.tokens, HOME, THERE, FACTORS, gaps)
    found = charges(calls)
    assert found[chosen] == Charge(made.penalty_write, made.penalty_ttl)
    assert saved(moved, found[chosen]) == made.net
    assert all(charge.usd == 0 for at, charge in enumerate(found) if at != chosen)


def test_an_expired_prefix_is_charged_to_the_last_of_the_run() -> None:
    steps = [
        Step(0, 0, 0),
        Step(200, 1000, 0, is_moved=True),
        Step(400, 1000, 0, is_moved=True),
        Step(600, 1000, 0),
    ]
    found = charges(at_home(steps, 10_000, LIFETIME_5M_S))
    premium = Decimal("2.4e-6")
    assert found == [Charge(), Charge(), Charge(1000 * premium, 11_000 * premium), Charge()]


def test_a_first_call_that_leaves_is_written_by_the_next() -> None:
    steps = [Step(0, 10_000, 0, is_moved=True), Step(5, 100, 0)]
    found = charges(at_home(steps, 0, LIFETIME_5M_S))
    assert found == [Charge(10_000 * Decimal("2.4e-6")), Charge()]

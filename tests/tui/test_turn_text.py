from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.types import Payer
from server.record import Attempt, Candidate, Proposal, RateLimit, Saving, Status, Turn
from tui import turn_text
from tui.lines import plain, width_of

WIDTHS = (56, 76, 116, 156)


def finished(**fields: Any) -> Turn:
    clock = FakeClock()
    engine = FakeEngine(clock)
    turn = engine.open()
    limit = {"limit": "400", "remaining": "382", "reset": "2030-01-01"}
    turn.rate_limits = [RateLimit("anthropic", "anthropic-ratelimit-tokens", limit)]
    turn.candidates = [
        Candidate("groq", "gpt-oss-120b", "needs_key", "GROQ_API_KEY is not set", 0.0021),
        Candidate("anthropic", "claude-opus-5-5", "baseline"),
    ]
    asyncio.run(clock.advance(1))
    engine.stream(turn)
    asyncio.run(clock.advance(2))
    engine.finish(turn, **fields)
    return turn


def page(detail: dict[str, Any], width: int = 76, now: float = 1_800_000_010.0) -> str:
    return "\n".join(plain(line) for line in turn_text.body(detail, width, now))


def test_every_section_is_there() -> None:
    text = page(finished().detail())
    for section in (
        "ATTEMPTS  0 to 3.00s",
        "USAGE AND COST",
        "ASKED",
        "WHY HERE",
        "WHAT LIVE MODE WOULD HAVE DONE",
        "ALTERNATIVES",
        "RATE LIMITS",
        "IDS AND OUTCOME",
    ):
        assert section in text


def test_what_a_reader_looks_for() -> None:
    turn = finished()
    text = page(turn.detail())
    for part in (
        "● #1  anthropic   claude-opus-5-5      200 success",
        "2.99s from 0.01s, first byte 1.00s; 81.2 kB up, 0 B down",
        "cache read        81.2k     $0.0406",
        "cost" + 24 * " " + "$0.0754",
        "because      the last message holds a tool result",
        "groq/gpt-oss-120b                   ≈$0.0021  no key",
        "GROQ_API_KEY is not set",
        "anthropic/claude-opus-5-5                  –  where it goes unmoved",
        "anthropic tokens: 382 of 400 left, reset 2030-01-01",
        "client       claude-code 2.1.330",
        "project      /home/user/src/shop",
        "paid by      gateway's key",
        f"turn         {turn.id}",
        "upstream     req_000001",
        "usage        reported by the provider",
    ):
        assert part in text, part


def test_the_parts_add_up_to_the_cost() -> None:
    detail = finished().detail()
    assert sum(detail["cost_parts"].values()) == pytest.approx(detail["cost_usd"])


def test_an_unknown_cost_is_unknown_and_says_why() -> None:
    text = page(
        finished(cost_usd=None, cost_parts={}, price_note="no price for this model").detail()
    )
    assert "unknown" in text
    assert "no price for this model" in text
    assert "$0.0" not in text.replace("≈$0.0021", "")


def test_list_price_and_estimates_say_so() -> None:
    text = page(finished(payer=Payer.LOGIN, cost_is_estimate=True).detail())
    assert "≈$0.0754 estimate, list price, not billed" in text


def test_a_failed_attempt_before_the_one_that_served() -> None:
    turn = finished()
    turn.attempts.insert(
        0, Attempt(1, "groq", "gpt", 0.0, 429, "http_429", "rate limit reached", None, 0.3)
    )
    text = page(turn.detail())
    assert "✕ #1  groq" in text
    assert "rate limit reached" in text
    assert "no first byte" in text


def test_the_error_comes_first() -> None:
    turn = finished(
        status=Status.ERROR, http_status=529, error_type="overloaded_error", error_message="Busy"
    )
    lines = page(turn.detail()).splitlines()
    assert lines[:2] == ["ERROR", "HTTP 529 overloaded_error: Busy"]


def test_a_running_turn_shows_how_far_it_is() -> None:
    clock = FakeClock()
    engine = FakeEngine(clock)
    turn = engine.open()
    engine.progress(turn, 420)
    detail = turn.detail()
    assert "output so far      ~420" in page(detail, now=clock.time() + 7)
    assert "ATTEMPTS  0 to 7.00s" in page(detail, now=clock.time() + 7)
    assert "not known yet" in page(detail)
    assert "7s" in plain(turn_text.title(detail, clock.time() + 7, 76))


def test_a_wide_screen_has_two_blocks() -> None:
    detail = finished().detail()
    assert len(page(detail, 156).splitlines()) < len(page(detail, 76).splitlines())
    both = [line for line in page(detail, 156).splitlines() if "WHY HERE" in line]
    assert both
    assert "USAGE AND COST" in both[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_title_drops_whole_parts(width: int) -> None:
    detail = finished().detail()
    shown = plain(turn_text.title(detail, 0.0, width))
    assert shown.startswith("● ok")
    assert "…" not in shown


def test_a_summary_alone_is_enough() -> None:
    assert "ASKED" in page(finished().summary())


def test_a_turn_nobody_knows() -> None:
    assert "no longer knows" in page({})
    assert plain(turn_text.title({}, 0.0, 40)) == "turn not found"


def spoiled(value: object) -> dict[str, Any]:
    """A detail with ``value`` in the place of every text, and inside every list."""

    def spoil(old: object) -> object:
        if isinstance(old, str):
            return value
        if isinstance(old, dict):
            return {
                (value if isinstance(value, str) else name): spoil(v) for name, v in old.items()
            }
        if isinstance(old, list):
            return [spoil(item) for item in old]
        return old

    def keep_names(old: dict[str, Any]) -> dict[str, Any]:
        return {
            name: [keep_names(i) if isinstance(i, dict) else spoil(i) for i in item]
            if isinstance(item, list)
            else spoil(item)
            for name, item in old.items()
        }

    proposal = Proposal("groq", "gpt-oss-120b", "would_move", "a reason")
    saving = Saving(
        "open", 0.02, -0.2475, -0.25, 0.1, 0.0, 0.0754, 0.0021, 0.01, 0.248, note="a note"
    )
    detail = keep_names(
        finished(error_type="x", error_message="x", proposal=proposal, saving=saving).detail()
    )
    return {**detail, "id": value if isinstance(value, str) and value else "gw_1"}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_the_page(width: int) -> None:
    for hostile in HOSTILE:
        detail = spoiled(hostile)
        lines = turn_text.body(detail, width, 1_800_000_010.0)
        for line in [*lines, turn_text.title(detail, 0.0, width)]:
            assert_safe(plain(line))
            assert width_of(line) <= max(width, 230), "values are cut at 200 cells"


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = sorted(finished().detail())


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), junk, max_size=8), st.sampled_from(WIDTHS))
def test_values_of_any_type_are_survived(values: dict[str, Any], width: int) -> None:
    detail = {**finished().detail(), **values}
    for line in turn_text.body(detail, width, 1_800_000_010.0):
        assert_safe(plain(line))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"number": junk, "provider": junk},
            optional={
                "started_s": st.floats(),
                "duration_s": st.floats(),
                "ttft_s": st.floats(),
                "status": junk,
                "bytes_up": junk,
            },
        ),
        max_size=4,
    ),
    st.sampled_from(WIDTHS),
)
def test_the_bars_of_any_attempts_have_one_length(attempts: list[Any], width: int) -> None:
    detail = {**finished().detail(), "attempts_detail": attempts}
    lines = [plain(line) for line in turn_text.body(detail, width, 1_800_000_010.0)]
    bars = {len(line) for line in lines if line.strip() and not line.strip().strip("─░█")}
    assert len(bars) <= 1

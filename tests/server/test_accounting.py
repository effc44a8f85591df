"""Money on a finished turn: real usage, or an estimate that says so, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from providers.pricing import Prices
from providers.types import Protocol, Usage, UsageSource
from server.accounting import price
from server.record import Status, Turn

NOW = 1_795_000_000.0
PRICES = Prices()


def priced(**fields: Any) -> Turn:
    turn = Turn(id="gw_x", at=NOW, protocol=Protocol.MESSAGES, path="/v1/messages")
    turn.provider, turn.model_asked, turn.status = "anthropic", "claude-opus-5-5", Status.COMPLETED
    turn.usage_source = UsageSource.FINAL
    for name, value in fields.items():
        setattr(turn, name, value)
    price(turn, PRICES, NOW)
    return turn


def test_a_final_usage_is_priced_in_all_its_parts() -> None:
    usage = Usage(1_000, 2_000, 30_000, 4_000, 5_000)
    turn = priced(usage=usage)
    parts = {
        "input": 1_000 * 4e-6,
        "output": 2_000 * 20e-6,
        "cache_read": 30_000 * 0.2e-6,
        "cache_write_5m": 4_000 * 5e-6,
        "cache_write_1h": 5_000 * 8e-6,
    }
    assert turn.cost_parts == pytest.approx(parts)
    assert turn.cost_usd == pytest.approx(sum(parts.values()))
    assert turn.cost_is_estimate is False


def test_a_broken_stream_is_priced_by_what_was_seen_and_marked() -> None:
    turn = priced(
        usage=Usage(100, 1),
        usage_source=UsageSource.PARTIAL,
        output_estimate=50,
        status=Status.PARTIAL,
    )
    assert turn.cost_usd == pytest.approx(100 * 4e-6 + 50 * 20e-6)
    assert turn.cost_is_estimate is True
    assert turn.usage.output_tokens == 1


def test_no_usage_is_unknown_never_free() -> None:
    turn = priced(usage_source=UsageSource.NONE)
    assert turn.cost_usd is None
    assert turn.price_note


def test_an_unknown_model_is_unknown_never_free() -> None:
    turn = priced(usage=Usage(10, 10), model_asked="gw/auto")
    assert turn.cost_usd is None
    assert "gw/auto" in (turn.price_note or "")


def test_the_served_model_is_the_one_that_is_billed() -> None:
    turn = priced(usage=Usage(1_000_000, 0), model_served="claude-sonnet-5-5")
    assert turn.cost_usd == pytest.approx(2.0)


def test_counting_tokens_is_not_billed() -> None:
    turn = priced(kind="count_tokens", usage_source=UsageSource.NONE)
    assert (turn.cost_usd, turn.price_note) == (0.0, "not billed")

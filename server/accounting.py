"""Putting a price on a finished turn, from what the provider really reported."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import structs

from providers.pricing import Prices
from providers.types import Usage, UsageSource
from server.record import Status, Turn

FREE_KINDS = frozenset({"count_tokens"})
"""Calls no vendor bills (Anthropic: token counting)."""


def price(turn: Turn, prices: Prices, now: float) -> None:
    """Fill the money fields of ``turn``; an unknown price stays ``None`` with a note.

    A stream that broke off has reported its input, but not all of its output: what was seen to
    stream by is then counted instead, and the cost is marked as an estimate.
    """
    turn.price_version = prices.version
    if turn.kind in FREE_KINDS and turn.status is Status.COMPLETED:
        turn.cost_usd, turn.price_note = 0.0, "not billed"
        return
    if turn.usage_source is UsageSource.NONE or turn.provider is None:
        turn.price_note = "the provider reported no usage"
        return
    is_partial = turn.usage_source is not UsageSource.FINAL
    usage = billed_usage(turn)
    cost = prices.cost(
        provider=turn.provider,
        model=turn.model_served or turn.model_asked,
        usage=usage,
        at=datetime.fromtimestamp(now, UTC),
        source=turn.usage_source,
    )
    turn.price_version, turn.price_note = cost.version, cost.note
    if cost.usd is None:
        return
    turn.cost_usd = float(cost.usd)
    turn.cost_parts = {name: float(part) for name, part in cost.parts.items()}
    turn.cost_is_estimate = is_partial or cost.is_estimate


def billed_usage(turn: Turn) -> Usage:
    """The usage the turn is priced by: as reported, with what was seen of a broken answer."""
    usage = turn.usage
    if turn.usage_source is UsageSource.FINAL:
        return usage
    return structs.replace(usage, output_tokens=max(usage.output_tokens or 0, turn.output_estimate))

"""Recorded turns as ``server.ledger_history`` reads them."""

from __future__ import annotations

from typing import Any

from server.ledger_history import Past, Seen

START = 1_800_000_000.0


def past(at: float = 0.0, **changes: Any) -> Past:
    """A turn answered at Anthropic ``at`` seconds after the start; a dollar if not said."""
    fields: dict[str, Any] = dict.fromkeys(Past.__struct_fields__) | {
        "id": f"t{at:g}",
        "at": START + at,
        "status": "completed",
        "http_status": 200,
        "protocol": "anthropic-messages",
        "kind": "user_turn",
        "route": "planning",
        "offload": 1,
        "session": "s1",
        "provider": "anthropic",
        "model_asked": "claude-sonnet-5-5",
        "model_served": "claude-sonnet-5-5",
        "cache_ttl": "5m",
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": 1.0,
        "unpriced": 0,
        "features": Seen(),
    }
    return Past(**(fields | changes))

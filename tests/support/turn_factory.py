"""Turns as the relay would leave them, for tests of what records and counts them."""

from __future__ import annotations

from typing import Any

from providers.types import Delivery, Payer, Protocol, Usage, UsageSource
from server.record import Attempt, Candidate, Phase, RateLimit, Status, Turn, new_turn_id

NOON = 1_800_000_000.0


def opened(**changes: Any) -> Turn:
    """An accepted turn that has not been dispatched yet."""
    turn = Turn(id=new_turn_id(), at=NOON, protocol=Protocol.MESSAGES, path="/v1/messages")
    turn.session = "session-1"
    turn.project = "/home/someone/project"
    turn.client, turn.client_version = "claude-code", "2.1.330"
    turn.payer = Payer.CLIENT_KEY
    turn.model_asked = "model-a"
    turn.stream = True
    turn.kind, turn.route = "user_turn", "tool_loop"
    turn.features = {"tools": 12, "has_images": False}
    turn.estimates = {"system": 10, "tools": 20, "history": 30, "turn": 40}
    turn.reasons = ["tools are offered"]
    turn.provider = "anthropic"
    for name, value in changes.items():
        setattr(turn, name, value)
    return turn


def finish(turn: Turn, **changes: Any) -> Turn:
    """The same turn, answered in full, priced and closed."""
    turn.status, turn.phase, turn.http_status = Status.COMPLETED, Phase.DONE, 200
    turn.delivery, turn.bytes_down = Delivery.FULL, 4321
    turn.model_served, turn.stop_reason, turn.answer_kind = "model-a", "end_turn", "text"
    turn.ttft_s, turn.duration_s = 0.25, 1.5
    turn.usage = Usage(10, 20, 3000, 400, 0, raw={"input_tokens": 10, "nested": {"n": 1}})
    turn.usage_source = UsageSource.FINAL
    turn.cost_usd, turn.cost_parts = 0.0123, {"input": 0.01, "output": 0.0023}
    turn.price_version = "prices-1"
    turn.candidates = [Candidate("anthropic", "model-a", "chosen", "the baseline", 0.0123)]
    turn.attempts = [attempt("anthropic")]
    turn.rate_limits = [RateLimit("anthropic", "tokens", {"limit": "100", "remaining": "7"})]
    for name, value in changes.items():
        setattr(turn, name, value)
    return turn


def finished(**changes: Any) -> Turn:
    """A turn that came and went."""
    return finish(opened(), **changes)


def attempt(provider: str, outcome: str = "success", **changes: Any) -> Attempt:
    """One ended attempt; its status follows from the outcome."""
    status = 200 if outcome == "success" else None
    if outcome.startswith("http_"):
        status = int(outcome.removeprefix("http_"))
    made = Attempt(1, provider, "model-a", 0.01, status, outcome)
    made.ttft_s = 0.2 if outcome == "success" else None
    made.duration_s = 1.0
    for name, value in changes.items():
        setattr(made, name, value)
    return made

"""An engine with something to show on every screen, the same each time to the last cell."""

from __future__ import annotations

from typing import Any

from fake_clock import FakeClock
from fake_engine import FakeEngine, saved

from providers.types import Payer
from server.engine import CommandResult
from server.record import Status

PREVIEW = {
    "turns": 40,
    "stays": 31,
    "moves": [
        {
            "route": "summary", "kind": "title", "provider": "groq",
            "model": "openai/gpt-oss-120b", "state": "would_move", "turns": 9,
            "input_tokens": 18_000, "usd": 0.0123, "low_usd": 0.011, "high_usd": 0.0131,
            "unpriced": 0,
        }
    ],
}  # fmt: skip
ENDS: tuple[tuple[Status, dict[str, Any]], ...] = (
    (Status.COMPLETED, {}),
    (Status.ERROR, {"error_type": "overloaded_error", "error_message": "Overloaded"}),
    (Status.FAILED, {"error_type": "connect", "error_message": "nobody answers"}),
    (Status.PARTIAL, {"error_type": "stalled", "error_message": "no byte for 290 s"}),
    (Status.CANCELLED, {}),
    (Status.REJECTED, {"error_type": "rate_limit_error", "error_message": "slow down"}),
    (Status.INTERRUPTED, {}),
)


async def furnish(engine: FakeEngine, clock: FakeClock) -> None:
    """A few minutes of one afternoon."""
    engine.savings = {
        "today": saved(38, 0.1831, needs_key=7, unpriced=2, losses=4, losses_usd=-0.2),
        "all": saved(900, -3.25),
        "by_route": {"planning": saved(40, -1.2), "summary": saved(310, 0.9)},
        "by_kind": {"title": saved(500, 1.1)},
        "by_target": {"cerebras/gpt-oss-120b": saved(0, needs_key=7)},
    }
    engine.money.update(today_usd=2.41, today_list_usd=11.07, today_unpriced=2)
    engine.requests_per_min = 7.0
    engine.routing |= {
        "hits": {"planning": 212, "summary": 40},
        "kind_hits": {"title": 500, "tool_step": 9},
        "kinds": {"subagent": ["anthropic/claude-haiku-5-5"]},
        "modes": {"default": "live", "app": "observe", "planning": "canary"},
        "unsaved": ["routing.kinds.subagent"],
    }
    engine.answers["preview_live"] = CommandResult(True, "", PREVIEW)
    engine.answers["check_route"] = CommandResult(True, "", {"before": PREVIEW, "after": PREVIEW})
    for name in ("set_shadow", "set_mode", "reset", "pause", "resume", "probe", "set_route"):
        engine.answers[name] = CommandResult(True, f"{name} is done.")
    engine.provider("anthropic", "ok", credential="the client's", requests=12, ttft_p50_s=0.9)
    engine.provider("groq", "failing", "connection refused", credential="our key", errors=3)
    engine.provider("cerebras", "needs_key", configured=False, credential="none")
    for number, text in enumerate(("listening", "groq is failing", "a turn was cut off")):
        engine.log(text, ("info", "warning", "error")[number])
    for number, (status, fields) in enumerate(ENDS):
        turn = engine.open(
            model_asked=("claude-opus-5-5", "claude-sonnet-5-5", "gpt-5.4-codex")[number % 3],
            kind=("user_turn", "tool_step", "title")[number % 3],
            project=("/home/user/src/shop", "/home/user/src/api")[number % 2],
            payer=(Payer.GATEWAY_KEY, Payer.LOGIN)[number % 2],
            session=f"5e55{number % 3:04d}-0000-4000-8000-000000000000",
        )
        engine.propose(turn, "groq", "openai/gpt-oss-120b")
        await clock.advance(7 + number)
        engine.finish(turn, status, **fields)
        engine.settle(turn, 0.0012 if number % 3 else -0.0116)
    engine.stream(engine.open(kind="user_turn"), 812)
    await clock.advance(2)
    engine.open(kind="subagent", agent="agent-1")

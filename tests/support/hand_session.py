"""A scripted session whose savings were worked out by hand, turn by turn.

``SESSION`` holds the turns with what must come out; ``PRICES`` the rates they are priced by, so
that no price list moves the figures. All figures are USD and whole nano-dollars. The factors are
the assumptions before anything was measured: 0.80 prompt tokens there for one here (0.75 to 0.85),
answers as long (0.5 to 2), one in ten made again (2 % to 30 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from turn_factory import NOON, attempt, finished

from providers.pricing import PriceOverride, Prices
from providers.types import Usage
from server.accounting import price
from server.limits import PlanLimits
from server.record import Candidate, Proposal, Turn

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
GROQ, CEREBRAS = "openai/gpt-oss-120b", "gpt-oss-120b"


def _rates(provider: str, model: str, *usd: str) -> PriceOverride:
    kinds = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    rates = dict(zip(kinds, map(Decimal, usd), strict=False))
    return PriceOverride(provider=provider, model=model, **rates)  # type: ignore[arg-type]


PRICES = (
    _rates("anthropic", SONNET, "2", "10", "0.10", "2.50", "4"),
    _rates("anthropic", HAIKU, "0.10", "0.50", "0.01", "0.125", "0.20"),
    _rates("groq", GROQ, "0.15", "0.60"),
    _rates("cerebras", CEREBRAS, "0.35", "0.75"),
)
"""USD per million tokens: input, output, cache read, 5-minute write, 1-hour write."""

LIMITS = {"groq": PlanLimits(tokens_per_minute=24_000)}
"""T8 alone would need more: 23,200 tokens in and 1,000 out."""

DEFAULT_MODELS = {"groq": GROQ, "cerebras": CEREBRAS, "anthropic": None}

END_S = 801.0
"""Seconds after the first turn when the last write has certainly expired."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The final figures of one proposal, worked out by hand."""

    naive: float
    baseline: float
    target: float
    usd: float
    low: float
    high: float
    quota: float
    write: float = 0.0
    ttl: float = 0.0
    redo: float = 0.0


@dataclass(frozen=True, slots=True)
class Scripted:
    """One turn of the session: what it used, where it might have gone, what that is worth."""

    name: str
    at: float
    """Seconds after the first turn."""
    kind: str
    route: str
    conversation: int
    """Estimated tokens of history and turn, which only the naive figure uses."""
    usage: Usage
    model: str = SONNET
    agent: str | None = None
    proposal: Proposal | None = None
    expected: Expected | None = None
    """``None`` without a proposal, or when it cannot be priced."""
    opened_at: tuple[float, float, float] | None = None
    """``usd``, ``low`` and ``high`` while the session's next call is not known."""


def _move(provider: str, model: str | None, state: str = "would_move") -> Proposal:
    return Proposal(provider, model, state, f"its route prefers {provider}")


SESSION = (
    Scripted(
        "T1 title",
        0,
        "title",
        "summary",
        1000,
        Usage(1000, 20, 0, 0),
        proposal=_move("groq", GROQ),
        expected=Expected(
            naive=0.01482,
            baseline=0.0022,
            target=0.000132,
            redo=0.00022,
            usd=0.001848,
            low=0.0013885,
            high=0.0020375,
            quota=0.001848,
        ),
    ),
    Scripted(
        "T2 first question",
        2,
        "user_turn",
        "planning",
        500,
        Usage(0, 500, 0, 25_000),
        proposal=_move("groq", GROQ),
        opened_at=(0.00345, 0.0014625, 0.0631875),
        expected=Expected(
            naive=0.01337,
            baseline=0.0675,
            target=0.0033,
            write=0.06,
            redo=0.00075,
            usd=0.00345,
            low=0.0014625,
            high=0.0043875,
            quota=0.00345,
        ),
    ),
    Scripted("T3 tool step", 42, "tool_step", "tool_loop", 1500, Usage(0, 200, 25_000, 1000)),
    Scripted(
        "T4 second question",
        242,
        "user_turn",
        "planning",
        3200,
        Usage(0, 400, 26_000, 1000),
        proposal=_move("groq", None),
        opened_at=(0.00255, -0.0585085, 0.0057605),
        expected=Expected(
            naive=0.0212,
            baseline=0.0091,
            target=0.00348,
            write=0.0024,
            ttl=0.0624,
            redo=-0.00557,
            usd=-0.05361,
            low=-0.0585085,
            high=-0.0421475,
            quota=-0.05361,
        ),
    ),
    Scripted(
        "T5 page digest",
        300,
        "web_digest",
        "summary",
        8000,
        Usage(8000, 500, 0, 0),
        model=HAIKU,
        proposal=_move("cerebras", CEREBRAS, "needs_key"),
        expected=Expected(
            naive=0.03512,
            baseline=0.00105,
            target=0.002615,
            redo=0.000105,
            usd=-0.00167,
            low=-0.002395,
            high=-0.0012585,
            quota=-0.00167,
        ),
    ),
    Scripted("T6 tool step", 442, "tool_step", "tool_loop", 4000, Usage(0, 100, 27_000, 1000)),
    Scripted(
        "T7 sub-agent",
        450,
        "subagent",
        "tool_loop",
        9000,
        Usage(0, 300, 12_000, 10_000),
        agent="agent-1",
        proposal=_move("anthropic", HAIKU),
        expected=Expected(
            naive=0.0,
            baseline=0.0292,
            target=0.00152,
            redo=0.00292,
            usd=0.02476,
            low=0.01739,
            high=0.027171,
            quota=0.02476,
        ),
    ),
    Scripted(
        "T8 last question",
        500,
        "user_turn",
        "summary",
        6000,
        Usage(0, 1000, 28_000, 1000),
        proposal=_move("groq", GROQ, "observed"),
        opened_at=(0.00753, -0.0581115, 0.0114315),
        expected=Expected(
            naive=0.02932,
            baseline=0.0153,
            target=0.00408,
            redo=0.00153,
            usd=0.00969,
            low=0.0058125,
            high=0.0114315,
            quota=0.0,
        ),
    ),
    Scripted(
        "T9 recap",
        510,
        "recap",
        "summary",
        2000,
        Usage(3000, 100, 0, 0),
        proposal=_move("workshop", "local-model"),
    ),
)

TOTAL = {
    "turns": 6,
    "naive_usd": 0.07871,
    "usd": -0.013862,
    "low_usd": -0.0324550,
    "high_usd": 0.0028800,
    "quota_usd": -0.023552,
    "losses": 1,
    "losses_usd": -0.05361,
    "open": 0,
    "unpriced": 1,
    "needs_key": 1,
    "needs_key_usd": -0.00167,
    "observed_turns": 9,
    "cost_usd": 0.14455,
    "moved_turns": 0,
    "moved_usd": 0.0,
}
"""``SAVED`` of the whole session once T8's write has expired; T5 is outside, T9 has no figure."""

ASSUMED_MAX_TOKENS = 128_000


def turn_of(scripted: Scripted, prices: Prices, start: float = NOON) -> Turn:
    """The turn as the relay leaves it: ended and priced, its saving still to be found."""
    changes: dict[str, Any] = {
        "id": scripted.name,
        "at": start + scripted.at,
        "agent": scripted.agent,
        "kind": scripted.kind,
        "route": scripted.route,
        "model_asked": scripted.model,
        "model_served": scripted.model,
        "max_tokens": ASSUMED_MAX_TOKENS,
        "estimates": {"system": 3000, "tools": 19_000, "history": 0, "turn": scripted.conversation},
        "usage": scripted.usage,
        "proposal": scripted.proposal,
        "candidates": [Candidate("anthropic", None, "baseline")],
        "attempts": [attempt("anthropic", model=scripted.model)],
        "cost_usd": None,
        "cost_parts": {},
    }
    turn = finished(**changes)
    price(turn, prices, turn.at)
    return turn

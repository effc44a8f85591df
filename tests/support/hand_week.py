"""A scripted week whose backtest can be worked out by hand: see CONTRIBUTING.md.

Five days of four sessions, each with the same nine calls, in the shapes the demo plays: a title, a
question that fills the cache, three steps, a web page's digest, a question in between, one more
step, and a last question.
"""

from __future__ import annotations

from typing import NamedTuple

from hand_session import GROQ
from past_turns import past

from server.ledger_history import Past, Seen

DAYS, A_DAY = 5, 4
SESSIONS = DAYS * A_DAY


class Call(NamedTuple):
    """One call of the session; tokens as Anthropic bills them."""

    at: float
    name: str
    kind: str
    route: str
    fresh: int
    written: int
    read: int
    output: int


CALLS = (
    Call(0, "title", "title", "summary", 1_000, 0, 0, 20),
    Call(1, "question 1", "user_turn", "planning", 0, 25_000, 0, 500),
    Call(41, "step 1", "tool_step", "tool_loop", 0, 1_000, 25_000, 200),
    Call(111, "step 2", "tool_step", "tool_loop", 0, 1_000, 26_000, 200),
    Call(181, "step 3", "tool_step", "tool_loop", 0, 1_000, 27_000, 200),
    Call(200, "page", "web_digest", "summary", 8_000, 0, 0, 500),
    Call(281, "question 2", "user_turn", "planning", 0, 1_000, 28_000, 400),
    Call(501, "step 4", "tool_step", "tool_loop", 0, 1_000, 29_000, 200),
    Call(601, "question 3", "user_turn", "planning", 0, 1_000, 30_000, 1_000),
)

BACKGROUND = {"kinds": {"title": [f"groq/{GROQ}"], "web_digest": [f"groq/{GROQ}"]}}
QUESTIONS_TOO = BACKGROUND | {
    "routes": {"planning": [f"groq/{GROQ}"]},
    "modes": {"planning": "live"},
}


def cost(call: Call) -> float:
    """USD at Sonnet's 2, 2.50, 0.10 and 10 a million."""
    return (call.fresh * 2 + call.written * 2.5 + call.read * 0.1 + call.output * 10) / 1e6


def week() -> list[Past]:
    """The calls as they are on record."""
    turns = []
    for number in range(SESSIONS):
        day, hour = divmod(number, A_DAY)
        start = day * 86_400.0 + hour * 7_200.0
        for call in CALLS:
            turn = past(
                start + call.at,
                id=f"{number}-{call.name}",
                session=f"s{number}",
                kind=call.kind,
                route=call.route,
                offload=int(call.kind != "tool_step"),
                input_tokens=call.fresh,
                cache_write_5m_tokens=call.written,
                cache_read_tokens=call.read,
                output_tokens=call.output,
                cache_ttl="5m" if call.written else None,
                cost_usd=cost(call),
                features=Seen(answered_before=call.read > 0),
            )
            turns.append(turn)
    return turns

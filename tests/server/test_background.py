"""What agents ask beside their user, and how little room such answers need."""

from __future__ import annotations

import pytest

from providers.neutral import Request
from server.background import ANSWER_TOKENS, BACKGROUND, fitted
from server.settings_types import KINDS, NEVER_MOVED


def request(limit: int | None) -> Request:
    return Request(model="m", messages=(), max_tokens=limit)


def test_the_kinds_are_kinds() -> None:
    assert BACKGROUND | ANSWER_TOKENS.keys() <= set(KINDS)
    # What is not moved needs no room elsewhere, and what blocks the agent is not background.
    assert not ANSWER_TOKENS.keys() & NEVER_MOVED
    assert not BACKGROUND & {"user_turn", "tool_step", "permission_check", "compaction"}


@pytest.mark.parametrize(
    ("provider", "kind", "limit", "sent"),
    [
        ("cerebras", "title", 128_000, ANSWER_TOKENS["title"]),
        ("cerebras", "title", None, ANSWER_TOKENS["title"]),
        ("cerebras", "title", 100, 100),
        ("cerebras", "user_turn", 128_000, 128_000),
        ("groq", "title", 128_000, 128_000),
    ],
)
def test_only_a_limit_that_is_booked_is_lowered(
    provider: str, kind: str, limit: int | None, sent: int
) -> None:
    assert fitted(request(limit), provider, kind).max_tokens == sent


def test_the_room_left_is_many_times_what_such_answers_need() -> None:
    assert min(ANSWER_TOKENS.values()) >= 4_096

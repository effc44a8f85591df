"""Answers that were asked for again."""

from __future__ import annotations

import pytest

from server.verification.ladder import Key
from server.verification.redos import MOST_SESSIONS, WINDOW_S, Redos

KEY = Key("user_turn", "groq", "gpt-oss")
QUESTION = "How do I rename\n a branch?"


def told(text: str, *, later: float = 10.0, interrupted: bool = False) -> bool:
    redos = Redos()
    redos.answered("s", QUESTION, KEY, "planning", 100.0)
    assert redos.waits_for("s", 100.0 + later) is (later < WINDOW_S)
    found = redos.asked("s", text, interrupted=interrupted, now=100.0 + later)
    if found is not None:
        assert (found.key, found.route) == (KEY, "planning")
    return found is not None


@pytest.mark.parametrize(
    ("text", "is_poor"),
    [
        (QUESTION, True),
        ("How do I rename a  branch? ", True),
        ("no", True),
        ("Wrong!", True),
        ("that\u2019s not right.", True),
        ("Nein.", True),
        ("\u4e0d\u5bf9", True),
        ("thanks", False),
        ("now do it for tags", False),
        ("no problem, thanks", False),
        ("", False),
    ],
)
def test_what_shows_that_it_was_poor(text: str, is_poor: bool) -> None:
    assert told(text) is is_poor


def test_an_interruption_does_and_a_minute_later_nothing_does() -> None:
    assert told("now something else", interrupted=True)
    assert not told(QUESTION, later=WINDOW_S)


def test_one_answer_is_blamed_once_and_another_session_never() -> None:
    redos = Redos()
    redos.answered("s", QUESTION, KEY, "planning", 0.0)
    assert redos.asked("t", QUESTION, interrupted=False, now=1.0) is None
    assert redos.asked("s", QUESTION, interrupted=False, now=1.0) is not None
    assert redos.asked("s", QUESTION, interrupted=False, now=2.0) is None
    assert not redos.waits_for(None, 1.0)


def test_only_so_many_sessions_are_remembered() -> None:
    redos = Redos()
    for number in range(MOST_SESSIONS + 1):
        redos.answered(f"s{number}", QUESTION, KEY, "planning", 0.0)
    assert not redos.waits_for("s0", 1.0)
    assert redos.waits_for(f"s{MOST_SESSIONS}", 1.0)
    assert QUESTION not in repr(redos._latest)

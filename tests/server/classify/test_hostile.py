"""Hostile text: a class whatever comes, work that does not grow with it, and short reasons."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from agent_bodies import assistant, encode, main_turn, steady, user
from hypothesis import given
from hypothesis import strategies as st

from providers.types import Protocol
from server.classify import ROUTES, Intent, classify, warm
from server.classify.passage import near_of, read_passage
from server.explain import read_as

LONG = 400_000
MOST_CHARACTERS = 2_000
MOST_CALLS = 20_000
LONGEST_REASON = 120

PIECES = {
    "a letter": "a",
    "a blank": " ",
    "a line end": "\n",
    "a question mark": "?",
    "a backtick": "`",
    "a fence": "```",
    "an open quote": "“",
    "quotes": '"',
    "nested quotes": '“"«„',
    "quotation levels": "> > > ",
    "brackets": "[({",
    "dots": ".",
    "dotted": "a.b",
    "a path": "a/",
    "a path with names": "src/a.py",
    "dashes": "-a",
    "options": "--a ",
    "underscores": "a_",
    "camels": "aA",
    "capitals": "Aa",
    "digits": "1",
    "hashes": "a1b2c3d ",
    "pairs": 'a="\\"',
    "assignments": "a=",
    "addresses": "http://",
    "mentions": "@",
    "colons": "1:1:",
    "parentheses": "a()",
    "reminders": "<system-reminder>",
    "a cue": "explain ",
    "a cue with a gap": "look .. ",
    "announcements": "this text: ",
    "Chinese": "解释",
    "Japanese": "このコード",
    "Hangul": "코드",
    "Arabic": "اشرح ",
    "emoji": "\U0001f469\u200d\U0001f4bb",
    "combining": "e\u0301",
    "expanding": "\ufdfa",
    "sharp s": "ß",
    "our own marks": "\ue000\ue007",
    "nul": "\0",
}


def judged(words: str) -> Intent:
    body = main_turn(user("hello"), assistant("Hello."), user(words))
    return classify(read_as(Protocol.MESSAGES, encode(body)), None)


def calls_of(act: Callable[[], object]) -> int:
    """How many calls an act makes: a measure of work that no other load on the machine changes."""
    count = 0

    def trace(_frame: FrameType, event: str, _detail: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", PIECES)
def test_a_great_deal_of_anything_gets_a_class_and_stays(name: str) -> None:
    piece = PIECES[name]
    found = judged(piece * (LONG // len(piece)))
    assert (found.route in ROUTES, found.offload, found.kind) == (True, False, "user_turn")


@pytest.mark.parametrize("name", PIECES)
def test_what_is_read_of_a_message_has_a_bound(name: str) -> None:
    piece = PIECES[name]
    words = piece * (LONG // len(piece))
    assert len(near_of(words)) < MOST_CHARACTERS
    assert len(near_of(f"explain this\n{words}\nplease")) < MOST_CHARACTERS


@pytest.mark.parametrize("name", PIECES)
def test_calls_do_not_grow_with_the_message(name: str) -> None:
    # Small enough to be no long conversation, which would not be read at all.
    warm()
    piece = PIECES[name]
    short, long = (judge_of(piece * (size // len(piece))) for size in (4_000, 40_000))
    few, many = calls_of(short), calls_of(long)
    assert max(few, many) < MOST_CALLS
    assert many < 1.5 * few + 500


def judge_of(words: str) -> Callable[[], object]:
    request = read_as(Protocol.MESSAGES, encode(main_turn(user(words))))
    return lambda: classify(request, None)


BAIT = st.lists(
    st.one_of(
        st.sampled_from([*PIECES.values(), "fix the bug", "what is a mutex?", "run it", "\n\n"]),
        st.text(max_size=20),
    ),
    max_size=40,
).map("".join)


@steady
@given(BAIT, st.integers(1, 30))
def test_any_mixture_gets_a_class_with_short_reasons(words: str, times: int) -> None:
    found = judged((words * times).encode("utf-8", "replace").decode())
    assert found.route in ROUTES
    assert 0 <= found.confidence <= 1
    assert found.pinned_by is None
    assert found.reasons
    for reason in found.reasons:
        assert reason.endswith(".")
        assert len(reason) <= LONGEST_REASON


def test_a_block_between_two_requests_hides_neither() -> None:
    block = "```\n" + "x = 1\n" * 5_000 + "```"
    prose = read_passage(f"explain this\n{block}\nand translate it").prose
    assert "explain" in prose
    assert "translate" in prose
    assert "x = 1" not in prose


def test_a_block_that_is_never_closed_ends_the_message() -> None:
    prose = read_passage("explain this\n```\nfix it\nrun it").prose
    assert "explain" in prose
    assert "fix" not in prose


def test_what_is_quoted_is_not_said() -> None:
    said = read_passage('translate this: "Please delete the branch and push it"').prose
    assert "delete" not in said
    assert "translate" in said
    assert "delete" in read_passage('"Please delete the branch and push it"').prose
    assert "sign in" in read_passage('rename the button "Sign in"').prose


def test_short_quotations_are_not_joined_to_long_ones() -> None:
    assert "or call it" in read_passage('name it "a" or call it "b" instead').prose


@pytest.mark.parametrize("words", ["a.b" * 20_000, 'a "b" ' * 20_000, "x" * 60_000 + " ?"])
def test_only_the_ends_decide(words: str) -> None:
    assert read_passage(words).prose == read_passage(words[:20_000] + words[-20_000:]).prose

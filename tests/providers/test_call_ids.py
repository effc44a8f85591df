"""Ids of calls there and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.call_ids import CallIds, from_messages, to_messages, to_openai


@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=1) | st.from_regex(r"(toolu_|toolu_gw[01])?[A-Za-z0-9_-]{1,9}", fullmatch=True)
)
def test_any_id_survives_a_messages_client(call_id: str) -> None:
    coded = to_messages(call_id)

    assert re.fullmatch(r"toolu_[A-Za-z0-9_-]+|srvtoolu_[A-Za-z0-9_-]+", coded)
    assert from_messages(coded) == call_id


@pytest.mark.parametrize(
    ("given_id", "coded"),
    [
        ("toolu_01Ab-_", "toolu_01Ab-_"),
        ("call_9", "toolu_gw0call_9"),
        ("functions.f:0", "toolu_gw1ZnVuY3Rpb25zLmY6MA"),
        ("toolu_gw0x", "toolu_gw0toolu_gw0x"),
    ],
)
def test_the_form_of_ids(given_id: str, coded: str) -> None:
    assert to_messages(given_id) == coded


@pytest.mark.parametrize(
    "odd", ["", "call_1", "toolu_gw0", "toolu_gw1", "toolu_gw1!!", "toolu_gw1_w", "toolu_gw"]
)
def test_ids_that_are_not_ours_stay(odd: str) -> None:
    assert from_messages(odd) == odd


def test_openai_takes_64_characters() -> None:
    assert to_openai("a" * 64) == "a" * 64
    assert to_openai("functions.f:0") == "functions.f:0"
    long = to_openai("a" * 65)
    assert re.fullmatch(r"call_[0-9a-f]{32}", long)
    assert to_openai("a" * 65) == long
    assert len({long, to_openai("b" * 65), to_openai(""), to_openai("a\nb")}) == 4


@given(st.lists(st.sampled_from(["", "a", "a_2", "b"]), max_size=8))
def test_no_id_is_given_twice(wanted: list[str]) -> None:
    ids = CallIds(frozenset({"a", "call_x"}), lambda: "x")
    found = [ids.take(each or None) for each in wanted]

    assert len({"a", "call_x", *found}) == len(found) + 2

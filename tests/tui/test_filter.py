from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from tui import filter as filters
from tui.rows import TurnRow, row_from


def row(**fields: Any) -> TurnRow:
    made = row_from(
        {
            "id": "gw_1",
            "at": 1000.0,
            "status": "completed",
            "phase": "done",
            "client": "claude-code",
            "kind": "title",
            "route": "summary",
            "session": "5e55-1",
            "model_asked": "claude-opus-5-5",
            "model_served": "claude-opus-5-5",
            "provider": "anthropic",
            "project": "/home/user/src/Shop",
            "payer": "login",
            "http_status": 200,
            "ttft_s": 0.8,
            "duration_s": 2.5,
            "input_tokens": 1204,
            "output_tokens": 640,
            "cache_read_tokens": 81_200,
            "cost_usd": 0.0754,
            "proposal": {"provider": "groq", "model": "openai/gpt-oss-120b", "state": "would_move"},
            "saving": {"state": "settled", "usd": -0.0116},
            **fields,
        },
        1,
    )
    assert made is not None
    return made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "SHOP title",
        "groq/gpt",
        "kind:title",
        "Kind:TIT",
        "model:opus",
        "status:ok",
        "status:200",
        "session:5e55",
        "project:shop",
        "client:claude",
        "provider:anthropic",
        "payer:login",
        "route:summary",
        "to:groq",
        "cost>0.05",
        "cost>=0.0754",
        "cost<$1",
        "saved<0",
        "saved>-1",
        "in>1000 out<1000",
        "cache>80000",
        "time<3 ttft>0.5",
        "!kind:tool_step",
        "!!!"[:1],
        '"home/user"',
        'project:"src/shop"',
        "kind: cost> shop",
    ],
)
def test_it_matches(text: str) -> None:
    found = filters.parse(text)
    assert found.problem is None
    assert found.matches(row())


@pytest.mark.parametrize(
    "text",
    [
        "blog",
        "shop blog",
        "kind:tool",
        "!kind:title",
        "!shop",
        "status:open",
        "status:error",
        "cost>0.08",
        "!cost>0.05",
        "saved>0",
        "in<1000",
        '"shop title"',
    ],
)
def test_it_does_not_match(text: str) -> None:
    found = filters.parse(text)
    assert found.problem is None
    assert found.is_on
    assert not found.matches(row())


def test_open_means_in_flight() -> None:
    running = row(status="open", phase="streaming")
    assert filters.parse("status:open").matches(running)
    assert filters.parse("status:streaming").matches(running)
    assert not filters.parse("status:waiting").matches(running)


@pytest.mark.parametrize("text", ["cost>0", "cost<1", "cost=0", "saved<1", "saved>-1"])
def test_what_is_unknown_matches_no_comparison(text: str) -> None:
    unknown = row(cost_usd=None, saving={"state": "unpriced", "usd": None})
    assert not filters.parse(text).matches(unknown)
    assert filters.parse(f"!{text}").matches(unknown)


def test_what_waits_for_a_key_has_saved_nothing() -> None:
    proposal = {"provider": "groq", "model": None, "state": "needs_key"}
    waiting = row(proposal=proposal, saving={"state": "settled", "usd": 1.0})
    assert not filters.parse("saved>0").matches(waiting)


def test_an_unknown_field_names_the_known_ones_and_the_rest_still_works() -> None:
    found = filters.parse("knd:title blog")
    assert found.problem is not None
    assert "knd" in found.problem
    for name in (*filters.TEXTS, *filters.NUMBERS):
        assert name in found.problem
    assert not found.matches(row())
    assert filters.parse("knd:title shop").matches(row())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cost:5", "cost>5"),
        ("kind>5", "kind:5"),
        ("cost>abc", "not a number"),
        ("cost>0.0.5", "not a number"),
    ],
)
def test_a_wrong_comparison_says_what_to_write(text: str, said: str) -> None:
    found = filters.parse(text)
    assert said in (found.problem or "")
    assert not found.is_on


@pytest.mark.parametrize("text", ["", "   ", "!", "kind:", "cost>", "cost>-", "!kind:", '"'])
def test_an_unfinished_filter_hides_nothing(text: str) -> None:
    found = filters.parse(text)
    assert (found.is_on, found.problem) == (False, None)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='kindcostaved:><=!"0.5 \t$-é日', max_size=30))
def test_nothing_one_types_breaks_it(text: str) -> None:
    found = filters.parse(text)
    assert found.matches(row()) in (True, False)
    assert not found.is_on or found.tests


def test_hostile_text_can_be_looked_for() -> None:
    for text in HOSTILE:
        made = row(model_asked=text, error_message=text)
        assert len(made.words) < 2_000
        filters.parse(text).matches(made)

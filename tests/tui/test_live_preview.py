from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE, assert_safe
from hypothesis import given
from hypothesis import strategies as st

from tui.lines import Line, plain, width_of
from tui.live_preview import (
    Preview,
    company,
    effect,
    going_live,
    net_of,
    preview_from,
)

PROVIDERS: dict[str, dict[str, Any]] = {
    "groq": {"base_url": "https://api.groq.com/openai/v1"},
    "cerebras": {"base_url": "https://api.cerebras.ai/v1"},
    "mine": {"base_url": "http://127.0.0.1:11434/v1", "key_env": "MY_KEY"},
}


def move(state: str = "would_move", **fields: Any) -> dict[str, Any]:
    return {
        "route": "planning",
        "kind": "user_turn",
        "provider": "groq",
        "model": "openai/gpt-oss-120b",
        "state": state,
        "turns": 12,
        "input_tokens": 81_234,
        "usd": 0.41,
        "low_usd": -0.10,
        "high_usd": 0.52,
        "unpriced": 0,
    } | fields


def preview(*moves: dict[str, Any], turns: int = 100, stays: int = 80) -> Preview:
    return preview_from({"turns": turns, "moves": list(moves), "stays": stays})


def text(lines: list[Line]) -> str:
    return " ".join(" ".join(plain(one).split()) for one in lines)


def question(*moves: dict[str, Any], width: int = 100, **counts: int) -> str:
    return text(going_live(preview(*moves, **counts), PROVIDERS, width))


def test_every_company_that_would_read_text_is_named_with_its_address() -> None:
    said = question(move(), move(provider="cerebras", turns=3), move(provider="mine", turns=1))
    assert "Text of these turns would go to Groq (api.groq.com): 12 turns." in said
    assert "would go to Cerebras (api.cerebras.ai): 3 turns." in said
    assert "would go to mine (127.0.0.1:11434, on this machine): 1 turn." in said


def test_one_company_needs_no_count() -> None:
    assert "Text of these turns would go to Groq (api.groq.com). " in question(move())


def test_only_turns_that_would_really_move_send_text() -> None:
    said = question(move(), move("needs_key", provider="cerebras", model="gpt-oss-120b"))
    assert "go to Cerebras (" not in said
    assert "12 turns more would go to cerebras/gpt-oss-120b once CEREBRAS_API_KEY is set." in said


@pytest.mark.parametrize("width", [30, 52, 75, 76, 103, 104, 160])
def test_the_table_says_where_how_many_and_what_for_at_every_width(width: int) -> None:
    lines = going_live(preview(move(), move(usd=-0.24, kind="title")), PROVIDERS, width)
    said = text(lines)
    assert "planning user_turn" in said
    assert "+$0.4100" in said
    assert "-$0.2400" in said
    assert "81.2k" in said
    assert all(width_of(one) <= width for one in lines)
    losses = [role for one in lines for span, role in one if "-$0.2400" in span]
    assert losses == ["bad"]


def test_the_sum_has_its_range_and_a_loss_is_called_one() -> None:
    assert "Together they would have saved $0.4100 (a loss of $0.1000 to a gain of $0.5200)." in (
        question(move())
    )
    lost = question(move(usd=-2.5, low_usd=-3, high_usd=-2))
    assert "Together they would have lost $2.50 (a loss of $2.00 to $3.00)." in lost


def test_unpriced_turns_are_counted_and_never_free() -> None:
    partly = question(move(), move(turns=3, unpriced=3, usd=0.0))
    assert "3 of 15 turns could not be priced." in partly
    assert "?" in partly
    none = question(move(unpriced=12, usd=0.0))
    assert "What that would have saved or lost is not known" in none
    assert "$0" not in none


def test_when_nothing_would_change_it_says_so_and_why() -> None:
    said = question(
        move("needs_key"), move("observed", turns=1), move("unsupported", turns=2), turns=95
    )
    assert said.startswith("Nothing would change so far. Of the last 95 turns, none would have")
    assert "12 turns more would go to groq/openai/gpt-oss-120b once GROQ_API_KEY is set." in said
    assert (
        "1 turn would go to groq/openai/gpt-oss-120b if the mode did not only observe: it st"
        in (said)
    )
    assert "2 turns would go to groq/openai/gpt-oss-120b if this gateway could carry them" in said
    assert "80 turns stay where they are: no route sends such a turn elsewhere." in said
    assert "Text of these turns" not in said


def test_without_any_turn_nothing_is_claimed() -> None:
    said = question(turns=0, stays=0)
    assert said.startswith("No turn has been seen yet, so it is not known what would change.")


def test_one_turn_is_spoken_of_in_the_singular() -> None:
    assert question(move(turns=1), turns=1, stays=0).startswith("The only turn so far would have")
    assert "The only turn would have stayed where it was." in question(turns=1, stays=1)


def test_an_address_that_is_not_known_is_said_to_be() -> None:
    assert company("mine", {}) == "mine (address not known)"
    assert company("mine", {"base_url": "http://[::1:bad"}) == "mine (address not known)"
    assert company("x", {"base_url": "http://[::1]:9/v1"}) == "x (::1:9, on this machine)"
    assert company("x", {"base_url": "https://user:secret@h.example/v1"}) == "x (h.example)"


def test_sums_add_up_over_moves_with_a_price() -> None:
    net = net_of(preview(move(), move(usd=-0.5, low_usd=None, high_usd=None)).moved)
    assert net.usd == pytest.approx(-0.09)
    assert (net.low_usd, net.high_usd) == pytest.approx((-0.6, 0.02))
    assert (net.turns, net.unpriced) == (24, 0)


def test_the_effect_of_a_list_is_shown_before_and_after() -> None:
    before = preview(move(), turns=43)
    after = preview(move(), move(provider="cerebras", usd=-0.61, turns=21), turns=43)
    said = text(effect(before, after, PROVIDERS, 100))
    assert "Its last 43 turns" in said
    assert "before 12 moved +$0.4100" in said
    assert "after 33 moved -$0.2000" in said
    assert "Text of these turns would go to Cerebras (api.cerebras.ai)." in said
    assert "Groq (" not in said, "it gets that text already"


def test_the_effect_is_not_known_without_turns() -> None:
    said = text(effect(Preview(), Preview(), PROVIDERS, 60))
    assert said == "No such turn has been seen yet, so the effect is not known."


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(HOSTILE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*move(), "moves", "turns", "stays"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(JUNK, st.integers(20, 160))
def test_nothing_that_an_engine_sends_breaks_it(value: object, width: int) -> None:
    found = preview_from(value)
    for one in [*going_live(found, {}, width), *effect(found, found, {}, width)]:
        assert width_of(one) <= width
        assert_safe(plain(one))

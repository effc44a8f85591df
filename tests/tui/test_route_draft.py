from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.route_draft import BASELINE, Draft, offers

LIST = Draft(("groq", "cerebras", BASELINE))


def test_choosing_is_held_to_the_list() -> None:
    assert LIST.choose(1).chosen == "cerebras"
    assert LIST.choose(9).chosen == BASELINE
    assert LIST.choose(-1).chosen == "groq"
    assert Draft(()).choose(1).chosen is None


def test_an_entry_moves_and_stays_chosen() -> None:
    moved = LIST.shift(1)
    assert moved.entries == ("cerebras", "groq", BASELINE)
    assert moved.chosen == "groq"
    assert LIST.shift(-1) == LIST
    assert moved.shift(-1) == LIST
    assert Draft(()).shift(1) == Draft(())


def test_adding_puts_it_below_the_chosen_one_and_only_once() -> None:
    added = LIST.add("mine/m")
    assert added.entries == ("groq", "mine/m", "cerebras", BASELINE)
    assert added.chosen == "mine/m"
    assert LIST.add(BASELINE) == Draft(LIST.entries, 2)
    assert Draft(()).add("x") == Draft(("x",))


def test_removing_chooses_the_next_one() -> None:
    assert LIST.remove() == Draft(("cerebras", BASELINE))
    assert LIST.choose(2).remove() == Draft(("groq", "cerebras"), 1)
    assert Draft(("x",)).remove() == Draft(())
    assert Draft(()).remove() == Draft(())


def test_the_baseline_goes_in_at_the_end_and_out_again() -> None:
    without = LIST.toggle_baseline()
    assert without.entries == ("groq", "cerebras")
    assert without.toggle_baseline().entries == LIST.entries
    assert without.toggle_baseline().chosen == BASELINE


def test_offers_hold_what_was_typed_and_those_with_a_key_come_first() -> None:
    providers = {
        "cloudflare": {"configured": False, "status": "needs_key"},
        "groq": {"configured": True, "status": "ok"},
        "anthropic": {"configured": True, "status": "unused"},
    }
    assert offers("", Draft(("groq",)), providers) == ["anthropic", "cloudflare", BASELINE]
    assert offers(" CLOUD ", Draft(()), providers) == ["cloudflare"]
    assert offers("groq/x", Draft(()), providers) == []


DEEDS = st.lists(
    st.sampled_from(["up", "down", "raise", "lower", "remove", "baseline", "add"]), max_size=30
)


@given(DEEDS)
def test_whatever_one_does_the_chosen_entry_is_in_the_list(deeds: list[str]) -> None:
    draft = LIST
    for number, deed in enumerate(deeds):
        draft = {
            "up": draft.choose(-1),
            "down": draft.choose(1),
            "raise": draft.shift(-1),
            "lower": draft.shift(1),
            "remove": draft.remove(),
            "baseline": draft.toggle_baseline(),
            "add": draft.add(f"p{number}"),
        }[deed]
        assert len(set(draft.entries)) == len(draft.entries)
        assert (draft.chosen is None) == (not draft.entries)
        assert 0 <= draft.at < max(1, len(draft.entries))

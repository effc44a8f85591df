"""Orders and time windows of the list."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tui import filter as filters
from tui.order import KEYS, WORDS, Sort, SortedBook
from tui.rows import TurnRow, row_from
from tui.state import LiveState

COSTS = [0.2, 0.5, None, 0.1, 0.5]


def summary(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"gw_{number}", "at": 1000.0 + number, "status": "completed", "duration_s": 1.0,
        "cost_usd": COSTS[number % len(COSTS)], **fields,
    }  # fmt: skip


def row(number: int, **fields: Any) -> TurnRow:
    made = row_from(summary(number, **fields), number + 1)
    assert made is not None
    return made


def state_of(count: int, **fields: Any) -> LiveState:
    state = LiveState()
    turns = [summary(number, **fields) for number in range(count)]
    state.load({"seq": 1, "turns": turns})
    return state


def shown(state: LiveState) -> list[str]:
    return [state.at(index).id for index in range(len(state))]


def event(state: LiveState, turn: dict[str, Any]) -> None:
    state.apply({"type": "turn.updated", "seq": state.seq + 1, "turn": turn})


def test_every_order_has_words_and_a_key() -> None:
    assert set(WORDS) == set(KEYS) == set(Sort)


def test_by_cost_the_dearest_first_and_the_unknown_last() -> None:
    state = state_of(5)
    state.set_sort(Sort.COST)
    assert shown(state) == ["gw_4", "gw_1", "gw_0", "gw_3", "gw_2"]
    assert state.selected == "gw_4"
    assert not state.follow
    state.set_follow(True)
    assert shown(state)[0] == "gw_4"
    assert state.sort is Sort.AGE


def test_what_still_runs_is_the_longest() -> None:
    state = state_of(3)
    event(state, summary(3, status="open", phase="waiting", duration_s=None))
    event(state, summary(4, duration_s=9.0))
    state.set_sort(Sort.TIME)
    assert shown(state)[:2] == ["gw_3", "gw_4"]
    event(state, summary(3, duration_s=2.0))
    assert shown(state)[:2] == ["gw_4", "gw_3"]


def test_burn_is_cost_over_time() -> None:
    assert KEYS[Sort.BURN](row(0, cost_usd=1.0, duration_s=4.0)) == 0.25
    assert KEYS[Sort.BURN](row(0, duration_s=0.0)) == float("-inf")


def test_savings_that_wait_for_a_key_are_not_sorted() -> None:
    proposal = {"provider": "groq", "state": "needs_key"}
    waits = row(0, proposal=proposal, saving={"state": "settled", "usd": 5.0})
    moves = row(1, proposal=proposal | {"state": "moved"}, saving={"state": "settled", "usd": -1.0})
    assert KEYS[Sort.SAVED](waits) == float("-inf")
    assert KEYS[Sort.SAVED](moves) == -1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_sorted_book_agrees_with_sorting(seed: int) -> None:
    chance = random.Random(seed)
    book, known = SortedBook(key=KEYS[Sort.COST]), dict[str, TurnRow]()
    for _ in range(300):
        number = chance.randrange(40)
        if chance.random() < 0.2:
            book.remove(f"gw_{number}")
            known.pop(f"gw_{number}", None)
        else:
            changed = row(number, cost_usd=chance.choice([None, 0.1, 0.2, 0.3]))
            assert book.put(changed) is (changed.id not in known)
            known[changed.id] = changed
    wanted = sorted((KEYS[Sort.COST](r), r.id) for r in known.values())
    assert book.order == wanted
    assert book.rows == known
    for place, (_, name) in enumerate(reversed(wanted)):
        assert book.index(name) == place


def test_a_window_lets_turns_go_as_they_grow_old() -> None:
    state = LiveState()
    first = summary(0, status="open", phase="waiting")
    state.load({"seq": 1, "turns": [first, *(summary(number) for number in range(1, 10))]})
    state.set_window(5.0, 1009.0)
    assert shown(state) == ["gw_9", "gw_8", "gw_7", "gw_6", "gw_5", "gw_4", "gw_0"]
    state.pass_time(1012.0)
    assert shown(state) == ["gw_9", "gw_8", "gw_7", "gw_0"], "what runs is always shown"
    event(state, summary(0))
    assert shown(state) == ["gw_9", "gw_8", "gw_7"]
    state.toggle_freeze(1012.0)
    state.pass_time(1100.0)
    assert len(state) == 3, "a still picture does not grow old"
    state.toggle_freeze(1100.0)
    assert len(state) == 0
    state.set_window(None, 1100.0)
    assert len(state) == 10


def test_window_order_and_filter_work_together() -> None:
    state = state_of(10)
    state.set_filter(filters.parse("cost>0.15"))
    state.set_window(6.0, 1009.0)
    state.set_sort(Sort.COST)
    assert shown(state) == ["gw_9", "gw_6", "gw_4", "gw_5"]
    event(state, summary(11, cost_usd=0.3))
    assert shown(state) == ["gw_9", "gw_6", "gw_4", "gw_11", "gw_5"]


def test_requests_are_counted_by_when_they_began() -> None:
    state = state_of(10)
    assert state.requests_in(1000.0, 1005.0) == 5
    assert state.requests_in(2000.0, 2005.0) == 0

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine, saved
from hypothesis import given, settings
from hypothesis import strategies as st

from server import events
from server.record import Status
from tui.filter import OFF, parse
from tui.rows import Shown, row_from
from tui.state import REJECT_SHOWN_S, LiveState


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    return FakeEngine(clock)


def fold(state: LiveState, engine: FakeEngine) -> None:
    for event in engine.subscriptions[0].drain():
        state.apply(event)


def watched(engine: FakeEngine, **arguments: Any) -> LiveState:
    engine.subscribe()
    state = LiveState(**arguments)
    state.load(asyncio.run(engine.snapshot()))
    return state


def ids(state: LiveState) -> list[str]:
    return [state.at(index).id for index in range(len(state))]


def tick(clock: FakeClock, seconds: float = 1.0) -> None:
    asyncio.run(clock.advance(seconds))


# -- folding ---------------------------------------------------------------------------------


def test_a_turn_from_opening_to_its_end(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    turn = engine.open()
    fold(state, engine)
    assert state.at(0).shown is Shown.WAITING
    tick(clock)
    engine.stream(turn, 3)
    engine.progress(turn, 40)
    fold(state, engine)
    row = state.at(0)
    assert (row.shown, row.output_estimate, row.ttft_s) == (Shown.STREAMING, 40, 1.0)
    engine.finish(turn)
    fold(state, engine)
    row = state.at(0)
    assert (row.shown, row.output_tokens, row.cost_usd) == (Shown.OK, 640, turn.cost_usd)
    assert len(state) == 1


def test_newest_first_whatever_order_events_come_in(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    turns = []
    for _ in range(4):
        turns.append(engine.open())
        tick(clock)
    queued = engine.subscriptions[0].drain()
    for event in (queued[2], queued[0], queued[3], queued[1]):
        state.apply(event)
    assert ids(state) == [turn.id for turn in reversed(turns)]


def test_a_late_update_does_not_reopen_a_finished_turn(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.stream(turn)
    engine.finish(turn)
    opened, updated, finished = engine.subscriptions[0].drain()
    for event in (finished, updated, opened):
        state.apply(event)
    assert state.at(0).shown is Shown.OK


def test_a_summary_with_a_higher_number_cannot_reopen_either(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.finish(turn)
    fold(state, engine)
    still_open = {**turn.summary(), "status": "open", "phase": "streaming"}
    state.apply({"seq": 99, "type": events.TURN_UPDATED, "turn": still_open})
    assert state.at(0).shown is Shown.OK


def test_events_that_the_snapshot_holds_are_not_folded_twice(engine: FakeEngine) -> None:
    engine.subscribe()
    turn = engine.open()
    engine.finish(turn)
    state = LiveState()
    state.load(asyncio.run(engine.snapshot()))
    fold(state, engine)
    assert (len(state), state.totals.in_flight) == (1, 0)


def test_in_flight_is_exact_between_snapshots(engine: FakeEngine) -> None:
    first = engine.open()
    state = watched(engine)
    second, _ = engine.open(), engine.open()
    fold(state, engine)
    assert state.totals.in_flight == 3
    engine.finish(first)
    engine.finish(second)
    fold(state, engine)
    assert state.totals.in_flight == 1
    state.load_totals(asyncio.run(engine.snapshot()))
    assert state.totals.in_flight == 1


def test_a_turn_whose_opening_was_missed_counts_as_closed(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.finish(turn)
    _opened, finished = engine.subscriptions[0].drain()
    state.apply(finished)
    assert (len(state), state.totals.in_flight) == (1, 0)


def test_progress_of_unknown_or_finished_turns_is_ignored(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.finish(turn)
    fold(state, engine)
    before = state.at(0)
    engine.progress(turn, 999)
    state.apply({"seq": 50, "type": events.TURN_PROGRESS, "turn_id": "gw_no", "output_estimate": 1})
    state.apply({"seq": 51, "type": events.TURN_PROGRESS})
    fold(state, engine)
    assert state.at(0) is before
    assert len(state) == 1


def test_older_progress_does_not_win(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.progress(turn, 10)
    engine.progress(turn, 20)
    opened, ten, twenty = engine.subscriptions[0].drain()
    for event in (opened, twenty, ten):
        state.apply(event)
    assert state.at(0).output_estimate == 20


def test_unknown_events_fields_and_types_are_ignored(engine: FakeEngine) -> None:
    state = watched(engine)
    engine.open()
    fold(state, engine)
    state.take_changes()
    before = state.at(0)
    odd: list[dict[str, Any]] = [
        {"seq": 90, "type": "turn.teleported", "turn": {"id": "x"}},
        {"seq": 91, "type": events.TURN_OPENED},
        {"seq": 92, "type": events.TURN_OPENED, "turn": "not a mapping"},
        {"seq": 93, "type": events.TURN_OPENED, "turn": {"id": 7}},
        {"seq": 94, "type": events.PROVIDER_CHANGED, "provider": None},
        {"seq": 95, "type": events.MODE_CHANGED, "shadow": "yes"},
        {"type": None},
        {},
    ]
    for event in odd:
        state.apply(event)
    assert (len(state), state.at(0), state.gateway.shadow) == (1, before, True)


def test_values_of_the_wrong_type_are_missing() -> None:
    row = row_from(
        {
            "id": "gw_1",
            "at": "yesterday",
            "status": "open",
            "phase": "waiting",
            "model_asked": 12,
            "attempts": True,
            "cost_usd": float("nan"),
            "input_tokens": -5,
            "output_tokens": 10**400,
            "ttft_s": float("inf"),
            "duration_s": None,
            "kind": ["x"],
            "later_field": object(),
        },
        1,
    )
    assert row is not None
    assert (row.at, row.model_asked, row.attempts, row.cost_usd) == (0.0, None, 0, None)
    assert (row.input_tokens, row.output_tokens, row.ttft_s, row.kind) == (None, None, None, None)


def test_a_negative_cost_is_unknown_not_a_gain() -> None:
    row = row_from({"id": "gw_1", "status": "completed", "cost_usd": -1.0}, 1)
    assert row is not None
    assert row.cost_usd is None


def test_a_status_of_a_newer_engine_is_unknown() -> None:
    row = row_from({"id": "gw_1", "status": "paused"}, 1)
    assert row is not None
    assert row.shown is Shown.UNKNOWN


def test_every_status_has_its_own_state() -> None:
    rows = [row_from({"id": "gw_1", "status": status.value}, 1) for status in Status]
    shown = {row.shown for row in rows if row is not None}
    assert len(shown) == len(Status)
    assert Shown.UNKNOWN not in shown


# -- snapshots -------------------------------------------------------------------------------


def test_a_resync_keeps_older_rows_and_asks_about_lost_ones(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = watched(engine)
    old, lost = engine.open(), engine.open()
    engine.finish(old)
    fold(state, engine)
    for _ in range(250):
        tick(clock)
        engine.finish(engine.open())
    engine.finish(lost)
    engine.subscriptions[0].drain()
    stale = state.load(asyncio.run(engine.snapshot()))
    assert stale == (lost.id,)
    assert state.row(old.id) is not None
    state.settle(lost.id, lost.detail())
    row = state.row(lost.id)
    assert row is not None
    assert row.shown is Shown.OK
    assert len(state) == 202


def test_a_lost_row_nobody_knows_is_forgotten(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    fold(state, engine)
    engine.turns.clear()
    assert state.load(asyncio.run(engine.snapshot())) == (turn.id,)
    state.settle(turn.id, None)
    assert (len(state), state.selected) == (0, None)


def test_an_answer_about_a_lost_row_does_not_undo_a_newer_event(engine: FakeEngine) -> None:
    state = watched(engine)
    turn = engine.open()
    fold(state, engine)
    snapshot = {**asyncio.run(engine.snapshot()), "turns": []}
    state.load(snapshot)
    answer = turn.detail()
    engine.finish(turn)
    fold(state, engine)
    state.settle(turn.id, answer)
    assert state.at(0).shown is Shown.OK


def test_another_instance_starts_afresh(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    engine.open()
    fold(state, engine)
    other = FakeEngine(clock)
    other.gateway["instance"] = "inst-2"
    turn = other.open(id="gw_other")
    state.load(asyncio.run(other.snapshot()))
    assert ids(state) == [turn.id]
    other.subscribe()
    other.finish(turn)
    for event in other.subscriptions[0].drain():
        state.apply(event)
    assert state.at(0).shown is Shown.OK


def test_a_snapshot_without_anything_is_survived() -> None:
    state = LiveState()
    assert state.load({}) == ()
    assert state.load({"turns": [1, None, {}], "gateway": [], "money": "x", "providers": {}}) == ()
    assert len(state) == 0


# -- the cap ---------------------------------------------------------------------------------


def test_the_oldest_finished_rows_go_first(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine, max_rows=5)
    running = engine.open()
    for _ in range(8):
        tick(clock)
        engine.finish(engine.open())
    fold(state, engine)
    assert len(state) == 5
    assert state.row(running.id) is not None
    assert ids(state)[-1] == running.id


def test_the_selection_keeps_its_place_when_its_row_goes(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = watched(engine, max_rows=4)
    for _ in range(4):
        tick(clock)
        engine.finish(engine.open())
    fold(state, engine)
    state.select(3)
    tick(clock)
    engine.finish(engine.open())
    fold(state, engine)
    assert state.selected in ids(state)
    assert state.selected_index == 3


# -- what the user does ----------------------------------------------------------------------


def filled(engine: FakeEngine, clock: FakeClock, count: int = 5) -> LiveState:
    state = watched(engine)
    for _ in range(count):
        engine.open()
        tick(clock)
    fold(state, engine)
    return state


def test_following_selects_the_newest(engine: FakeEngine, clock: FakeClock) -> None:
    state = filled(engine, clock)
    assert state.selected_index == 0
    newest = engine.open()
    fold(state, engine)
    assert state.selected == newest.id


def test_a_selected_row_stays_selected_while_others_arrive(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = filled(engine, clock)
    state.move(2)
    chosen = state.selected
    for _ in range(3):
        engine.open()
    fold(state, engine)
    assert (state.selected, state.selected_index, state.follow) == (chosen, 5, False)


def test_moving_stays_inside_the_list(engine: FakeEngine, clock: FakeClock) -> None:
    state = filled(engine, clock)
    state.move(-3)
    assert (state.selected_index, state.follow) == (0, True)
    state.move(100)
    assert state.selected_index == 4


def test_moving_in_an_empty_list_does_nothing() -> None:
    state = LiveState()
    state.move(1)
    state.toggle_freeze(0.0)
    state.set_follow(True)
    assert (len(state), state.selected) == (0, None)


def test_a_frozen_view_is_a_still_picture(engine: FakeEngine, clock: FakeClock) -> None:
    state = filled(engine, clock, 2)
    state.toggle_freeze(clock.time())
    picture = ids(state)
    first = state.at(0)
    turn = engine.turns[first.id]
    engine.finish(turn)
    engine.open()
    engine.open()
    fold(state, engine)
    assert (ids(state), state.at(0), state.pending) == (picture, first, 2)
    newest = state.row(first.id)
    assert newest is not None
    assert newest.shown is Shown.OK
    assert state.totals.in_flight == 3
    state.toggle_freeze(clock.time())
    assert (len(state), state.pending, state.frozen_at) == (4, 0, None)
    assert state.selected_index == 0


def test_one_can_move_in_a_frozen_view_and_keep_following(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = filled(engine, clock)
    state.toggle_freeze(clock.time())
    state.move(3)
    engine.open()
    fold(state, engine)
    assert (state.selected_index, state.follow) == (3, True)
    state.set_follow(True)
    assert (state.is_frozen, state.selected_index) == (False, 0)


def test_a_row_that_goes_behind_a_frozen_view_is_not_selected_after_it(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = watched(engine, max_rows=3)
    for _ in range(3):
        tick(clock)
        engine.finish(engine.open())
    fold(state, engine)
    state.set_follow(False)
    state.select(2)
    state.toggle_freeze(clock.time())
    for _ in range(3):
        tick(clock)
        engine.finish(engine.open())
    fold(state, engine)
    assert state.selected_index == 2
    state.toggle_freeze(clock.time())
    assert state.selected in ids(state)


def test_changes_are_reported_once(engine: FakeEngine) -> None:
    state = watched(engine)
    assert state.take_changes()
    assert not state.take_changes()
    turn = engine.open()
    fold(state, engine)
    assert state.take_changes().rows
    engine.emit(events.MODE_CHANGED, shadow=False, source="tui")
    fold(state, engine)
    changes = state.take_changes()
    assert (changes.rows, changes.header) == (False, True)
    engine.progress(turn, 0)
    fold(state, engine)
    assert not state.take_changes()


# -- the header ------------------------------------------------------------------------------


def test_mode_drain_ledger_and_providers_follow_their_events(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = watched(engine)
    engine.emit(events.MODE_CHANGED, shadow=False, source="http")
    engine.emit(events.GATEWAY_CHANGED, state="draining", in_flight=4)
    engine.emit(events.LEDGER_CHANGED, ledger={"status": "degraded", "detail": "disk", "lost": 2})
    engine.provider("anthropic", "failing", "connection refused")
    engine.provider("groq", "ok")
    fold(state, engine)
    assert (state.gateway.shadow, state.gateway.draining) == (False, True)
    assert state.totals.in_flight == 4
    found = [(trouble.what, trouble.detail) for trouble in state.troubles(clock.time())]
    assert found == [
        ("ledger degraded", "disk, 2 lost"),
        ("anthropic failing", "connection refused"),
    ]
    engine.provider("anthropic", "ok")
    engine.emit(events.LEDGER_CHANGED, ledger={"status": "ok"})
    fold(state, engine)
    assert not state.troubles(clock.time())


def test_refused_requests_are_shown_for_a_while(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    engine.emit(events.REJECTED, reason="wrong key", http_status=401, count=3)
    fold(state, engine)
    trouble = state.troubles(clock.time())[0]
    assert (trouble.what, trouble.detail) == ("request refused (401) ×3", "wrong key")
    assert not state.troubles(clock.time() + REJECT_SHOWN_S)


def test_a_silent_engine_is_the_first_trouble(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    engine.provider("anthropic", "offline", "no route")
    fold(state, engine)
    state.mark_unreachable("ConnectError: refused")
    assert [t.what for t in state.troubles(clock.time())] == [
        "gateway does not answer",
        "anthropic offline",
    ]
    state.load_totals(asyncio.run(engine.snapshot()))
    assert [t.what for t in state.troubles(clock.time())] == ["anthropic offline"]


# -- any order at all ------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["open", "stream", "finish", "progress"]), st.integers(0, 5)),
        st.tuples(st.sampled_from(["move"]), st.integers(-4, 4)),
        st.tuples(st.sampled_from(["freeze", "follow", "load"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_the_view_is_sorted_unique_and_its_selection_is_in_it(
    actions: list[tuple[str, int]], random: Any
) -> None:
    clock = FakeClock()
    engine = FakeEngine(clock)
    state = watched(engine, max_rows=4)
    for name, value in actions:
        turns = [turn for turn in engine.turns.values() if turn.status is Status.OPEN]
        if name == "open":
            engine.open(at=clock.time() + value)
        elif name in ("stream", "finish", "progress") and turns:
            arguments = (turns[value % len(turns)], value) if name == "progress" else (
                turns[value % len(turns)],
            )  # fmt: skip
            getattr(engine, name)(*arguments)
        elif name == "move":
            state.move(value)
        elif name == "freeze":
            state.toggle_freeze(clock.time())
        elif name == "follow":
            state.set_follow(not state.follow)
        elif name == "load":
            state.load(asyncio.run(engine.snapshot()))
        queued = engine.subscriptions[0].drain()
        random.shuffle(queued)
        for event in queued:
            state.apply(event)
        rows = [state.at(index) for index in range(len(state))]
        assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
        assert len({row.id for row in rows}) == len(rows) <= 4
        assert (state.selected is None) == (not rows)
        assert state.selected is None or state.selected_index is not None
        assert state.totals.in_flight >= 0


# -- proposals, sums, routes and the log -----------------------------------------------------


def test_a_saving_that_settles_changes_its_row(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine)
    turn = engine.open()
    engine.propose(turn, "groq", "openai/gpt-oss-120b")
    fold(state, engine)
    found = state.at(0).projected
    assert found is not None
    assert (found.target, found.state, found.saving) == ("groq/gpt-oss-120b", "would_move", None)
    engine.finish(turn)
    engine.settle(turn, 0.0012, "open")
    engine.settle(turn, -0.0116)
    fold(state, engine)
    found = state.at(0).projected
    assert found is not None
    assert (found.saving, found.usd) == ("settled", -0.0116)
    assert state.take_changes().rows


def test_a_saving_of_an_unknown_turn_is_nothing(engine: FakeEngine) -> None:
    state = watched(engine)
    engine.emit(events.SAVING_SETTLED, turn_id="gw_nobody", saving={"usd": 1.0})
    engine.open()
    engine.emit(events.SAVING_SETTLED, turn_id="gw_000000000000000000000001", saving={"usd": 1.0})
    fold(state, engine)
    assert state.at(0).projected is None


def test_sums_and_routes_are_new_objects_only_when_they_differ(engine: FakeEngine) -> None:
    engine.savings["today"] = saved(3, 0.5)
    state = watched(engine)
    assert state.savings.today.usd == 0.5
    before = state.savings, state.routing, state.providers
    state.load_totals(asyncio.run(engine.snapshot()))
    assert all(
        old is new
        for old, new in zip(before, (state.savings, state.routing, state.providers), strict=True)
    )
    engine.savings["today"] = saved(4, -0.5)
    state.load_totals(asyncio.run(engine.snapshot()))
    assert state.savings.today.usd == -0.5


def test_routing_and_mode_follow_their_events(engine: FakeEngine) -> None:
    state = watched(engine)
    engine.set_shadow(False)
    fold(state, engine)
    assert (state.gateway.shadow, state.routing["shadow"]) == (False, False)
    engine.routing["routes"] = {"planning": ["baseline"]}
    engine.emit(events.ROUTING_CHANGED, routing=engine.routing, source="test")
    fold(state, engine)
    assert state.routing["routes"] == {"planning": ["baseline"]}


def test_the_log_goes_on_where_the_snapshot_ended(engine: FakeEngine) -> None:
    engine.log("before")
    state = watched(engine)
    engine.log("after", "warning")
    fold(state, engine)
    state.load_totals(asyncio.run(engine.snapshot()))
    assert [entry.message for entry in state.log.at_least("debug")] == ["before", "after"]
    state.load(asyncio.run(engine.snapshot()))
    assert [entry.message for entry in state.log.at_least("debug")] == ["before", "after"]


# -- the filter ------------------------------------------------------------------------------


def mixed(engine: FakeEngine, clock: FakeClock, count: int = 6) -> LiveState:
    state = watched(engine)
    for number in range(count):
        turn = engine.open(kind="title" if number % 2 else "tool_step")
        tick(clock)
        engine.finish(turn)
    fold(state, engine)
    return state


def test_a_filter_hides_what_does_not_match(engine: FakeEngine, clock: FakeClock) -> None:
    state = mixed(engine, clock)
    state.set_filter(parse("kind:title"))
    assert (len(state), state.total) == (3, 6)
    assert {state.at(index).kind for index in range(3)} == {"title"}
    assert state.selected == state.at(0).id
    state.set_filter(OFF)
    assert (len(state), state.total) == (6, 6)


def test_new_turns_pass_the_filter_and_following_goes_on(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = mixed(engine, clock)
    state.set_filter(parse("kind:title"))
    engine.open(kind="tool_step")
    newest = engine.open(kind="title")
    fold(state, engine)
    assert (len(state), state.total) == (4, 8)
    assert state.selected == newest.id


def test_a_turn_that_no_longer_matches_leaves_and_the_selection_stays_in_place(
    engine: FakeEngine, clock: FakeClock
) -> None:
    state = mixed(engine, clock)
    opened = []
    for _ in range(3):
        opened.append(engine.open())
        tick(clock)
    fold(state, engine)
    state.set_filter(parse("status:open"))
    state.select(1)
    assert state.selected == opened[1].id
    engine.finish(opened[1])
    fold(state, engine)
    assert len(state) == 2
    assert state.selected == opened[0].id
    assert state.selected_index == 1


def test_a_filter_works_on_a_still_picture(engine: FakeEngine, clock: FakeClock) -> None:
    state = mixed(engine, clock)
    state.toggle_freeze(clock.time())
    state.set_filter(parse("kind:title"))
    engine.open(kind="title")
    engine.open(kind="tool_step")
    fold(state, engine)
    assert (len(state), state.pending) == (3, 1)
    state.toggle_freeze(clock.time())
    assert (len(state), state.pending) == (4, 0)
    state.set_filter(parse("kind:nothing"))
    assert (len(state), state.selected, state.selected_index) == (0, None, None)


def test_forgotten_turns_leave_the_filtered_list_too(engine: FakeEngine, clock: FakeClock) -> None:
    state = watched(engine, max_rows=4)
    state.set_filter(parse("kind:title"))
    for _ in range(9):
        engine.finish(engine.open(kind="title"))
        tick(clock)
    fold(state, engine)
    assert (len(state), state.total) == (4, 4)
    assert ids(state) == [turn.id for turn in reversed(list(engine.turns.values())[-4:])]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["open", "finish", "filter", "off", "freeze", "down"]), max_size=40)
)
def test_the_filtered_list_is_always_what_a_fresh_look_gives(steps: list[str]) -> None:
    clock = FakeClock()
    engine = FakeEngine(clock)
    state = watched(engine, max_rows=5)
    for number, step in enumerate(steps):
        match step:
            case "open":
                engine.open(kind="title" if number % 2 else "tool_step")
            case "finish" if engine.turns:
                engine.finish(list(engine.turns.values())[number % len(engine.turns)])
            case "filter":
                state.set_filter(parse("kind:title !ok" if number % 3 else "status:ok"))
            case "off":
                state.set_filter(OFF)
            case "freeze":
                state.toggle_freeze(clock.time())
            case "down":
                state.move(1)
        tick(clock)
        fold(state, engine)
        shown = ids(state)
        state._sift()
        assert ids(state) == shown
        assert all(state.filter.matches(state.at(i)) for i in range(len(state)))
        assert (state.selected is None) == (len(state) == 0)
        assert state.selected is None or state.selected in shown

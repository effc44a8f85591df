from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine

from server import events
from tui import bridge as bridging
from tui.bridge import Bridge, coalesce
from tui.rows import Shown
from tui.state import LiveState


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    return FakeEngine(clock)


async def started(engine: FakeEngine, clock: FakeClock) -> tuple[Bridge, LiveState]:
    state = LiveState()
    bridge = Bridge(engine, state, clock)
    bridge.start()
    await bridge.settled()
    return bridge, state


async def test_it_starts_from_a_snapshot_and_goes_on_with_events(
    engine: FakeEngine, clock: FakeClock
) -> None:
    before = engine.open()
    bridge, state = await started(engine, clock)
    assert state.at(0).id == before.id
    after = engine.open()
    assert len(state) == 1, "an event alone changes nothing"
    bridge.tick()
    assert {state.at(0).id, state.at(1).id} == {before.id, after.id}
    await bridge.close()
    assert engine.subscriptions[0].is_closed


async def test_events_wait_for_the_first_snapshot(engine: FakeEngine, clock: FakeClock) -> None:
    state = LiveState()
    bridge = Bridge(engine, state, clock)
    bridge.start()
    engine.open()
    bridge.tick()
    assert not state.is_loaded
    await bridge.settled()
    engine.open()
    bridge.tick()
    assert len(state) == 2
    await bridge.close()


async def test_lost_events_are_made_up_by_a_snapshot(clock: FakeClock) -> None:
    engine = FakeEngine(clock, queue_limit=3)
    bridge, state = await started(engine, clock)
    turns = [engine.open() for _ in range(5)]
    lost = engine.open()
    assert engine.subscriptions[0].resync
    engine.finish(lost)
    await clock.advance(bridging.TOTALS_BUSY_S)
    bridge.tick()
    await bridge.settled()
    assert not engine.subscriptions[0].resync
    assert len(state) == len(turns) + 1
    row = state.row(lost.id)
    assert row is not None
    assert row.shown is Shown.OK
    await bridge.close()


async def test_a_row_that_a_snapshot_no_longer_mentions_is_asked_for(
    engine: FakeEngine, clock: FakeClock
) -> None:
    bridge, state = await started(engine, clock)
    old = engine.open()
    bridge.tick()
    for _ in range(200):
        await clock.advance(0.01)
        engine.finish(engine.open())
    engine.finish(old)
    engine.subscriptions[0].drain()
    engine.subscriptions[0].resync = True
    await clock.advance(bridging.TOTALS_BUSY_S)
    bridge.tick()
    await bridge.settled()
    assert engine.turns_read == [old.id]
    row = state.row(old.id)
    assert row is not None
    assert row.shown is Shown.OK
    await bridge.close()


async def test_totals_are_read_soon_after_turns_and_seldom_otherwise(
    engine: FakeEngine, clock: FakeClock
) -> None:
    bridge, state = await started(engine, clock)

    async def reads_within(seconds: float, *, busy: bool) -> int:
        before = engine.snapshots_read
        for _ in range(int(seconds * 4)):
            await clock.advance(0.25)
            if busy:
                engine.finish(engine.open())
            bridge.tick()
            await bridge.settled()
        return engine.snapshots_read - before

    assert await reads_within(10, busy=False) == 2
    assert await reads_within(5, busy=True) == 5
    engine.money["today_usd"] = 7.5
    await reads_within(6, busy=False)
    assert state.totals.today_usd == 7.5
    await bridge.close()


async def test_a_tick_folds_a_bounded_number_of_events(
    engine: FakeEngine, clock: FakeClock
) -> None:
    bridge, state = await started(engine, clock)
    for _ in range(bridging.EVENTS_PER_TICK + 5):
        engine.open()
    bridge.tick()
    assert len(state) == bridging.EVENTS_PER_TICK
    bridge.tick()
    assert len(state) == bridging.EVENTS_PER_TICK + 5
    await bridge.close()


async def test_between_two_ticks_the_rest_of_a_flood_is_folded_in_small_pieces(
    engine: FakeEngine, clock: FakeClock
) -> None:
    bridge, state = await started(engine, clock)
    flood = bridging.EVENTS_PER_TICK + 3 * bridging.CATCH_UP_EVENTS - 1
    for _ in range(flood):
        engine.open()
    bridge.tick()
    seen = [len(state)]
    for _ in range(4):
        await clock.advance(bridging.CATCH_UP_S)
        seen.append(len(state))
    piece = bridging.CATCH_UP_EVENTS
    first = bridging.EVENTS_PER_TICK
    assert seen == [first, first + piece, first + 2 * piece, flood, flood]
    await bridge.close()


async def test_closing_ends_the_catching_up(engine: FakeEngine, clock: FakeClock) -> None:
    bridge, state = await started(engine, clock)
    for _ in range(2 * bridging.EVENTS_PER_TICK):
        engine.open()
    bridge.tick()
    await bridge.close()
    await clock.advance(10 * bridging.CATCH_UP_S)
    assert len(state) == bridging.EVENTS_PER_TICK


async def test_a_huge_backlog_is_replaced_by_a_snapshot(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridging, "BACKLOG_LIMIT", 20)
    engine = FakeEngine(clock)
    bridge, state = await started(engine, clock)
    for _ in range(30):
        engine.open()
    await clock.advance(bridging.TOTALS_BUSY_S)
    bridge.tick()
    assert len(state) == 0
    await bridge.settled()
    assert len(state) == 30
    await bridge.close()


async def test_an_engine_that_does_not_answer_is_told_and_asked_again(
    engine: FakeEngine, clock: FakeClock
) -> None:
    bridge, state = await started(engine, clock)
    engine.open()
    bridge.tick()
    engine.fail_with = ConnectionError("refused")
    await clock.advance(bridging.TOTALS_IDLE_S)
    bridge.tick()
    await bridge.settled()
    assert state.unreachable == "ConnectionError: refused"
    assert len(state) == 1
    engine.fail_with = None
    await clock.advance(bridging.TOTALS_IDLE_S)
    bridge.tick()
    await bridge.settled()
    assert state.unreachable is None
    await bridge.close()


async def test_a_failed_first_snapshot_is_read_again(engine: FakeEngine, clock: FakeClock) -> None:
    engine.fail_with = ConnectionError("starting")
    bridge, state = await started(engine, clock)
    assert not state.is_loaded
    engine.fail_with = None
    engine.open()
    await clock.advance(bridging.TOTALS_BUSY_S)
    bridge.tick()
    await bridge.settled()
    assert (state.is_loaded, len(state)) == (True, 1)
    await bridge.close()


async def test_closing_ends_a_read_that_never_ends(engine: FakeEngine, clock: FakeClock) -> None:
    stuck = asyncio.Event()

    class Stuck(FakeEngine):
        async def snapshot(self) -> dict[str, Any]:
            await stuck.wait()
            return {}

    bridge = Bridge(Stuck(clock), LiveState(), clock)
    bridge.start()
    await asyncio.sleep(0)
    await bridge.close()
    await bridge.settled()
    bridge.tick()


def test_coalescing_keeps_the_newest_word_on_each_turn(engine: FakeEngine) -> None:
    engine.subscribe()
    first, second = engine.open(), engine.open()
    engine.progress(first, 1)
    engine.progress(second, 1)
    engine.progress(first, 2)
    engine.emit(events.MODE_CHANGED, shadow=False)
    engine.finish(second)
    engine.progress(first, 3)
    kept = coalesce(engine.subscriptions[0].drain())
    assert [(event["type"], bridging.turn_of(event)) for event in kept] == [
        (events.TURN_OPENED, first.id),
        (events.MODE_CHANGED, None),
        (events.TURN_FINISHED, second.id),
        (events.TURN_PROGRESS, first.id),
    ]
    assert kept[-1]["output_estimate"] == 3


def test_coalescing_leaves_odd_events_alone() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"type": events.TURN_PROGRESS, "turn_id": ["x"]},
        {"type": events.TURN_OPENED, "turn": None},
        {"type": events.TURN_OPENED, "turn": {"id": 5}},
    ]
    assert coalesce(odd) == odd


@pytest.mark.parametrize("coalesced", [False, True])
def test_coalescing_does_not_change_what_is_folded(engine: FakeEngine, coalesced: bool) -> None:
    engine.subscribe()
    for number in range(6):
        turn = engine.open()
        engine.stream(turn)
        engine.progress(turn, number)
        if number % 2:
            engine.finish(turn)
    queued = engine.subscriptions[0].drain()
    state = LiveState()
    for event in coalesce(queued) if coalesced else queued:
        state.apply(event)
    rows = [state.at(index) for index in range(len(state))]
    assert [row.shown for row in rows].count(Shown.OK) == 3
    assert [row.output_estimate for row in rows] == [5, 4, 3, 2, 1, 0]
    assert state.totals.in_flight == 3

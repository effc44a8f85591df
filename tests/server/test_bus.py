"""The bus: numbered without gaps, never in the publisher's way, honest about losses."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_factory import NOON

from server.bus import QUEUE_EVENTS, Bus, BusSubscription
from server.engine import Subscription
from server.events import LOG, TURN_FINISHED, TURN_OPENED, TURN_PROGRESS, Event


@pytest.fixture
def bus() -> Bus:
    return Bus(FakeClock(NOON))


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events]


def test_events_are_numbered_from_one_and_dated(bus: Bus) -> None:
    first = bus.publish(TURN_OPENED, turn={"id": "gw_1"})
    second = bus.publish(LOG, level="info", message="hello")
    assert first == {"v": 1, "seq": 1, "at": NOON, "type": TURN_OPENED, "turn": {"id": "gw_1"}}
    assert second["seq"] == bus.seq == 2


def test_fields_cannot_forge_the_envelope(bus: Bus) -> None:
    event = bus.publish(LOG, seq=99, v=2, at=0.0, type="other", self="x", event_type="y")
    assert (event["v"], event["seq"], event["at"], event["type"]) == (1, 1, NOON, LOG)
    assert (event["self"], event["event_type"]) == ("x", "y")


def test_a_subscription_is_what_front_ends_expect(bus: Bus) -> None:
    subscription: Subscription = bus.subscribe()
    bus.publish(LOG)
    assert seqs(subscription.drain()) == [1]
    assert (subscription.resync, subscription.dropped) == (False, 0)


async def test_every_subscription_gets_every_event_in_order(bus: Bus) -> None:
    one, two = bus.subscribe(), bus.subscribe()
    for _ in range(3):
        bus.publish(LOG)
    assert [(await one.get())["seq"] for _ in range(3)] == [1, 2, 3]
    assert seqs(two.drain()) == [1, 2, 3]
    assert two.drain() == []


async def test_get_waits_for_the_next_event(bus: Bus) -> None:
    subscription = bus.subscribe()
    waiting = asyncio.ensure_future(subscription.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.publish(LOG)
    assert (await waiting)["seq"] == 1


async def test_two_that_wait_get_one_event_each(bus: Bus) -> None:
    subscription = bus.subscribe()
    waiting = [asyncio.ensure_future(subscription.get()) for _ in range(2)]
    await asyncio.sleep(0)
    bus.publish(LOG)
    bus.publish(LOG)
    assert seqs(await asyncio.gather(*waiting)) == [1, 2]


async def test_a_cancelled_get_takes_no_event_with_it(bus: Bus) -> None:
    subscription = bus.subscribe()
    waiting = asyncio.ensure_future(subscription.get())
    await asyncio.sleep(0)
    bus.publish(LOG)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert seqs(subscription.drain()) == [1]


async def test_closing_ends_iteration_and_waiting_at_once(bus: Bus) -> None:
    subscription, seen = bus.subscribe(), []

    async def watch() -> None:
        async for event in subscription:
            seen.append(event["seq"])

    watcher = asyncio.ensure_future(watch())
    bus.publish(LOG)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bus.publish(LOG)
    subscription.close()
    subscription.close()
    await watcher
    bus.publish(LOG)

    assert seen == [1]
    assert subscription.drain() == []
    with pytest.raises(StopAsyncIteration):
        await subscription.get()


async def test_closing_the_bus_ends_every_watcher(bus: Bus) -> None:
    subscription = bus.subscribe()
    waiting = asyncio.ensure_future(anext(aiter(subscription), None))
    await asyncio.sleep(0)
    bus.close()
    assert await waiting is None
    assert bus.publish(LOG)["seq"] == 1
    assert [event async for event in bus.subscribe(after_seq=0)] == []


def test_progress_of_a_turn_is_kept_once_newest_last(bus: Bus) -> None:
    subscription = bus.subscribe()
    bus.publish(TURN_PROGRESS, turn_id="a", bytes_down=1)
    bus.publish(TURN_PROGRESS, turn_id="b", bytes_down=1)
    bus.publish(LOG)
    bus.publish(TURN_PROGRESS, turn_id="a", bytes_down=2)
    events = subscription.drain()
    assert [(e["type"], e.get("turn_id"), e.get("bytes_down")) for e in events] == [
        (TURN_PROGRESS, "b", 1),
        (LOG, None, None),
        (TURN_PROGRESS, "a", 2),
    ]


async def test_progress_taken_before_does_not_confuse_what_comes_after(bus: Bus) -> None:
    subscription = bus.subscribe()
    bus.publish(TURN_PROGRESS, turn_id="a", bytes_down=1)
    await subscription.get()
    bus.publish(TURN_PROGRESS, turn_id="a", bytes_down=2)
    bus.publish(TURN_PROGRESS, turn_id="a", bytes_down=3)
    assert [event["bytes_down"] for event in subscription.drain()] == [3]


def test_a_full_queue_gives_up_progress_before_anything_else(bus: Bus) -> None:
    subscription = bus.subscribe()
    bus.publish(TURN_PROGRESS, turn_id="a")
    bus.publish(TURN_PROGRESS, turn_id="b")
    for _ in range(QUEUE_EVENTS):
        bus.publish(LOG)
    assert (subscription.resync, subscription.dropped) == (False, 0)
    bus.publish(TURN_PROGRESS, turn_id="c")
    assert (subscription.resync, subscription.dropped) == (False, 0)

    for _ in range(3):
        bus.publish(TURN_FINISHED, turn={})
    assert (subscription.resync, subscription.dropped) == (True, 3)
    assert seqs(subscription.drain()) == list(range(3, 3 + QUEUE_EVENTS))

    subscription.resync = False
    assert subscription.dropped == 0
    bus.publish(LOG)
    assert len(subscription.drain()) == 1


def test_a_slow_watcher_costs_the_others_nothing(bus: Bus) -> None:
    slow, quick = bus.subscribe(), bus.subscribe()
    got = []
    for _ in range(QUEUE_EVENTS + 10):
        bus.publish(LOG)
        got += quick.drain()
    assert slow.resync
    assert not quick.resync
    assert seqs(got) == list(range(1, QUEUE_EVENTS + 11))


@pytest.mark.parametrize(
    ("after", "expected", "resync"),
    [
        (None, [], False),
        (8, [], False),
        (6, [7, 8], False),
        (4, [5, 6, 7, 8], False),
        (3, [5, 6, 7, 8], True),
        (0, [5, 6, 7, 8], True),
        (9, [], True),
    ],
)
def test_a_watcher_that_comes_back_gets_what_is_still_kept(
    after: int | None, expected: list[int], resync: bool
) -> None:
    bus = Bus(FakeClock(NOON), history=4)
    for _ in range(8):
        bus.publish(LOG)
    subscription = bus.subscribe(after_seq=after)
    assert seqs(subscription.drain()) == expected
    assert subscription.resync is resync


def test_progress_does_not_push_others_out_of_the_history() -> None:
    bus = Bus(FakeClock(NOON), history=2)
    bus.publish(LOG)
    for number in range(50):
        bus.publish(TURN_PROGRESS, turn_id=str(number))
    bus.publish(LOG)
    subscription = bus.subscribe(after_seq=0)
    assert seqs(subscription.drain()) == [1, 52]
    assert not subscription.resync


async def test_another_thread_may_publish(bus: Bus) -> None:
    subscription, loop = bus.subscribe(), asyncio.get_running_loop()
    thread = threading.Thread(target=bus.publish_threadsafe, args=(loop, LOG))
    thread.start()
    assert (await subscription.get())["type"] == LOG
    thread.join()


def test_publishing_to_a_loop_that_ended_is_harmless(bus: Bus) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    bus.publish_threadsafe(loop, LOG)
    assert bus.seq == 0


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.none()),
        st.tuples(st.just("progress"), st.sampled_from("abc")),
        st.tuples(st.just("drain"), st.none()),
        st.tuples(st.just("return"), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=_steps, limit=st.integers(1, 8), history=st.integers(1, 8))
def test_whatever_happens_nothing_is_lost_without_a_resync(
    steps: list[tuple[str, Any]], limit: int, history: int
) -> None:
    """A watcher that drains, leaves and comes back sees all, in order, or is told."""
    bus = Bus(FakeClock(NOON), history)
    subscription = BusSubscription(lambda _: None, limit)
    bus._subscriptions.append(subscription)
    kept: list[int] = []
    latest: dict[str, int] = {}
    seen: list[int] = []
    was_told = False
    for step, turn in steps:
        if step == "keep":
            kept.append(bus.publish(LOG)["seq"])
        elif step == "progress":
            latest[turn] = bus.publish(TURN_PROGRESS, turn_id=turn)["seq"]
        else:
            was_told |= subscription.resync
            seen += seqs(subscription.drain())
        if step == "return":
            subscription.close()
            bus._subscriptions.clear()
            subscription = bus.subscribe(after_seq=max(seen, default=0))
            subscription._limit = limit
    was_told |= subscription.resync
    seen += seqs(subscription.drain())

    assert bus.seq == len([step for step, _ in steps if step in ("keep", "progress")])
    assert seen == sorted(set(seen))
    assert set(kept) <= set(seen) or was_told
    assert len(seen) <= bus.seq

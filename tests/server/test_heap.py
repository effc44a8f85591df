"""When the collector runs: young objects in small portions, the whole when nobody waits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from fake_clock import FakeClock

from server import heap


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_there_is_at_settling_is_never_looked_through_again() -> None:
    kept = [[n] for n in range(1000)]
    heap.settle()
    assert gc.get_freeze_count() > len(kept)
    assert not any(one is kept for generation in range(3) for one in gc.get_objects(generation))


@pytest.mark.usefixtures("collector")
def test_after_settling_only_portions_are_looked_through_by_themselves() -> None:
    heap.settle()
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    try:
        kept = [[n] for n in range(20 * heap.YOUNG * (heap.MIDDLE + 1))]
    finally:
        gc.callbacks.remove(note)
    assert len(kept) == 20 * heap.YOUNG * (heap.MIDDLE + 1)
    assert {0, 1} == set(seen)


async def _sweeps(clock: FakeClock, is_busy: bool, seconds: float) -> int:
    swept = 0

    def collect() -> None:
        nonlocal swept
        swept += 1

    task = asyncio.ensure_future(heap.keep(lambda: is_busy, clock, collect))
    for _ in range(int(seconds / heap.LOOK_S)):
        await clock.advance(heap.LOOK_S)
    task.cancel()
    await asyncio.wait({task})
    return swept


async def test_the_whole_is_looked_through_every_minute_without_work() -> None:
    assert await _sweeps(FakeClock(), False, 600) == 10


async def test_work_puts_the_whole_off_but_not_for_ever() -> None:
    clock = FakeClock()
    assert await _sweeps(clock, True, heap.SWEEP_AT_LATEST_S - heap.LOOK_S) == 0
    assert await _sweeps(clock, True, 2 * heap.SWEEP_AT_LATEST_S) == 2

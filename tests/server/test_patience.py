"""How long a request waits for its rows."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from server import patience
from server.patience import LONG_S, SHORT_S, Patience


def done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait was allowed to take; none takes any time."""
    asked: list[float] = []

    async def wait(_: Future[None], seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(patience, "_wait", wait)
    return asked


async def test_one_row_that_does_not_come_shortens_the_waits_until_one_does(
    waits: list[float],
) -> None:
    shared = Patience()
    for row in (done(), Future(), Future(), done(), done()):
        await shared.wait(row)
    assert waits == [LONG_S, LONG_S, SHORT_S, SHORT_S, LONG_S]


async def test_the_first_chance_of_a_row_is_short_and_judges_nothing(waits: list[float]) -> None:
    shared = Patience()
    await shared.briefly(Future())
    await shared.wait(done())
    assert waits == [SHORT_S, LONG_S]


async def test_a_wait_ends_with_its_row_and_leaves_the_row_alone() -> None:
    shared, row, other = Patience(), Future[None](), Future[None]()
    waiting = asyncio.get_running_loop().create_task(shared.wait(row))
    await asyncio.sleep(0)
    assert not waiting.done()
    row.set_result(None)
    await waiting

    interrupted = asyncio.get_running_loop().create_task(shared.wait(other))
    await asyncio.sleep(0)
    interrupted.cancel()
    await asyncio.wait({interrupted})
    assert not other.cancelled()

"""Ending a scope from outside, with the reason kept."""

from __future__ import annotations

import asyncio

import pytest

from server.interrupt import ClientGone, Interrupt
from server.tasks import spawn


async def test_the_reason_is_raised_where_the_task_waits() -> None:
    interrupt = Interrupt()

    async def work() -> None:
        with interrupt:
            await asyncio.Event().wait()

    task = spawn("work", work())
    await asyncio.sleep(0)
    interrupt.fire(ClientGone())
    interrupt.fire(ValueError("a second reason is ignored"))
    done, _ = await asyncio.wait({task})
    error = done.pop().exception()
    assert isinstance(error, ClientGone)


async def test_a_real_cancellation_stays_one() -> None:
    interrupt = Interrupt()

    async def work() -> None:
        with interrupt:
            await asyncio.Event().wait()

    task = spawn("work", work())
    await asyncio.sleep(0)
    task.cancel()
    interrupt.fire(ClientGone())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nested_scopes_keep_their_own_reasons() -> None:
    outer, inner = Interrupt(), Interrupt()
    seen: list[str] = []

    async def work() -> None:
        with outer:
            try:
                with inner:
                    await asyncio.Event().wait()
            except KeyError:
                seen.append("inner")
            await asyncio.Event().wait()

    task = spawn("work", work())
    await asyncio.sleep(0)
    inner.fire(KeyError())
    await asyncio.sleep(0)
    outer.fire(ClientGone())
    await asyncio.wait({task})
    assert seen == ["inner"]
    assert isinstance(task.exception(), ClientGone)


async def test_both_fired_at_once_leaves_by_the_outer_reason() -> None:
    outer, inner = Interrupt(), Interrupt()

    async def work() -> None:
        with outer, inner:
            await asyncio.Event().wait()

    task = spawn("work", work())
    await asyncio.sleep(0)
    inner.fire(KeyError())
    outer.fire(ClientGone())
    await asyncio.wait({task})
    assert isinstance(task.exception(), ClientGone)


async def test_firing_after_the_end_does_nothing() -> None:
    interrupt = Interrupt()
    with interrupt:
        pass
    interrupt.fire(ClientGone())
    await asyncio.sleep(0)


async def test_firing_before_the_start_is_not_lost() -> None:
    interrupt = Interrupt()
    interrupt.fire(ClientGone())
    with pytest.raises(ClientGone), interrupt:
        await asyncio.sleep(0)

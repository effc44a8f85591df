"""The demo: real relay, ledger and prices in front of the simulated vendor."""

from __future__ import annotations

import asyncio
import random

from live_gateway import LiveGateway

from server.clock import SystemClock
from server.demo.run import demo_home, traffic
from server.demo.script import session
from server.demo.traffic import Traffic
from server.gateway import Gateway
from server.listen import bind
from server.settings_file import Flags


class FastClock(SystemClock):
    """Sleeps a hundredth of the time, so that a scripted minute passes quickly."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


async def test_scripted_sessions_run_through_the_real_engine() -> None:
    clock = FastClock()
    async with demo_home(Flags(), clock) as loaded:
        gateway = Gateway(loaded, env={}, secret=b"d" * 32, instance="demo", is_demo=True)
        await gateway.start(bind("127.0.0.1", 0))
        try:
            player = Traffic(gateway.url, "local-dev-key", clock)
            for index in range(4):
                await player.play(session(random.Random(index), index))
            await player.stop()
            turns = await LiveGateway(gateway).turns(20)
            home = loaded.paths.settings_dir
        finally:
            await gateway.stop()
        assert home.exists()
    assert not home.exists()
    assert all(turn["demo"] for turn in turns)
    kinds = {turn["kind"] for turn in turns}
    assert {"title", "user_turn", "tool_step", "subagent", "count_tokens"} <= kinds
    statuses = {turn["status"] for turn in turns}
    assert {"completed", "error", "partial", "cancelled"} <= statuses
    for turn in turns:
        if turn["status"] == "completed":
            assert turn["cost_usd"] is not None
            assert turn["cost_is_estimate"] is False
    assert any(turn["cache_read_tokens"] for turn in turns)


async def test_the_traffic_stops_when_it_is_told_to() -> None:
    async with demo_home(Flags()) as loaded:
        gateway = Gateway(loaded, env={}, secret=b"d" * 32, instance="demo", is_demo=True)
        await gateway.start(bind("127.0.0.1", 0))
        try:
            async with traffic(gateway):
                while not gateway.stats.counters()["requests"]:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            while gateway.services.active:
                await asyncio.sleep(0.01)
        finally:
            await gateway.stop()

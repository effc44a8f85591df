"""How long the front end holds the event loop: ``python tests/benchmarks/bench_tui_lag.py``.

2,000 rows at 160x48, 50 turns streaming with 50 progress events a second each, and 4 turns opened
and closed every second, for 10 seconds. Prints how late a 5 ms probe woke up (what a relayed
chunk would wait), and how long folding and repainting took. ``--idle`` runs the probe alone.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from fake_engine import FakeEngine  # noqa: E402

from server.clock import SystemClock  # noqa: E402
from server.record import Turn  # noqa: E402
from tui.app import GatewayApp  # noqa: E402

SECONDS = 10.0
ROWS = 2_000
STREAMS = 50


async def probe(lags: list[float], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append((time.perf_counter() - start - 0.005) * 1000)


async def traffic(engine: FakeEngine, open_turns: list[Turn], seconds: float) -> None:
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        await asyncio.sleep(0.02)
        count += 1
        for turn in open_turns:
            engine.progress(turn, turn.output_estimate + 3)
        if count % 12 == 0:
            engine.finish(open_turns.pop(0))
            open_turns.append(engine.open())
            engine.stream(open_turns[-1])


def timed(function: Callable[[], None], spent: list[float]) -> Callable[[], None]:
    def run() -> None:
        start = time.perf_counter()
        function()
        spent.append((time.perf_counter() - start) * 1000)

    return run


def report(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(
        f"{name:24} p50 {statistics.median(ordered):6.2f}  p99 {p99:6.2f}  max {ordered[-1]:6.2f} ms"
    )


async def main(idle: bool) -> None:
    engine = FakeEngine(SystemClock())
    lags: list[float] = []
    if idle:
        await probe(lags, SECONDS)
        report("probe alone", lags)
        return
    app = GatewayApp(engine)
    ticks: list[float] = []
    app.tick = timed(app.tick, ticks)  # type: ignore[method-assign]
    async with app.run_test(size=(160, 48)):
        for number in range(ROWS):
            engine.finish(engine.open())
            if number % 100 == 0:
                app.bridge.tick()
                await asyncio.sleep(0.02)
        open_turns = [engine.open() for _ in range(STREAMS)]
        for turn in open_turns:
            engine.stream(turn)
        await asyncio.sleep(3)
        ticks.clear()
        cpu = time.process_time()
        await asyncio.gather(probe(lags, SECONDS), traffic(engine, open_turns, SECONDS))
        cpu = time.process_time() - cpu
        report("loop lag", lags)
        report("fold and mark dirty", ticks)
        print(f"{'rows':24} {len(app.state)}   cpu {cpu / SECONDS:.0%} (fake engine included)")


if __name__ == "__main__":
    asyncio.run(main("--idle" in sys.argv))

"""How long the screen holds the event loop: ``python tests/benchmarks/bench_tui_lag.py``.

Fifty turns stream and 100 events arrive a second, turns among them that end and begin, with 2,000
turns in the list. A probe of 5 ms tells how late it woke up, which is what a relayed chunk would
wait: without a screen and with one of 120x40, in turns, so that both see the same machine. The
processor time between two looks at the sockets tells the same of a machine that others use too.
``--quick``: one short round.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from fake_engine import FakeEngine  # noqa: E402

from server.clock import SystemClock  # noqa: E402
from server.record import Turn  # noqa: E402
from tui.app import GatewayApp  # noqa: E402

SIZE = (120, 40)
ROWS, STREAMS, EVENTS_PER_S = 2_000, 50, 100
SECONDS, ROUNDS = 10.0, 5
QUICK_SECONDS, QUICK_ROUNDS = 3.0, 1
SETTLE_S = 3.0
"""How long the screen is up before anything counts: it draws all of itself first."""
GOAL_MS = 8.0
"""How much later the 99th percentile of the probe may be with a screen."""


@dataclass(slots=True)
class Figures:
    """Milliseconds; CPU in seconds, the engine that stands in for the real one included."""

    lags: list[float] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    """Processor time of each turn of the event loop."""
    cpu_s: float = 0.0
    seconds: float = 0.0


async def probe(lags: list[float], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append((time.perf_counter() - start - 0.005) * 1000)


async def traffic(engine: FakeEngine, open_turns: list[Turn], seconds: float) -> None:
    """So many events a second: progress, and every twentieth the end of a turn and a new one."""
    begin = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) < begin + seconds:
        while count < (now - begin) * EVENTS_PER_S:
            count += 1
            if count % 20 == 0:
                engine.finish(open_turns.pop(0))
                open_turns.append(engine.open())
                engine.stream(open_turns[-1])
                count += 2
            else:
                turn = open_turns[count % len(open_turns)]
                engine.progress(turn, turn.output_estimate + 3)
        await asyncio.sleep(0.005)


def timed(function: Callable[[], None], spent: list[float]) -> Callable[[], None]:
    def run() -> None:
        start = time.perf_counter()
        function()
        spent.append((time.perf_counter() - start) * 1000)

    return run


async def fill(engine: FakeEngine, app: GatewayApp | None) -> list[Turn]:
    """A list that has been in use for a while, and the turns that stream."""
    for number in range(ROWS):
        engine.finish(engine.open())
        if number % 100 == 0:
            if app is not None:
                app.bridge.tick()
            await asyncio.sleep(0.02)
    open_turns = [engine.open() for _ in range(STREAMS)]
    for turn in open_turns:
        engine.stream(turn)
    return open_turns


@contextmanager
def held(found: Figures) -> Iterator[None]:
    """Note the processor time that passes from one look at the sockets to the next."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    look, since = selector.select, time.thread_time()

    def select(timeout: float | None = None) -> object:
        nonlocal since
        found.holds.append((time.thread_time() - since) * 1000)
        ready = look(timeout)
        since = time.thread_time()
        return ready

    selector.select = select
    try:
        yield
    finally:
        selector.select = look


async def measure(engine: FakeEngine, turns: list[Turn], seconds: float, found: Figures) -> None:
    cpu = time.process_time()
    with held(found):
        await asyncio.gather(probe(found.lags, seconds), traffic(engine, turns, seconds))
    found.cpu_s += time.process_time() - cpu
    found.seconds += seconds


async def one_round(seconds: float, bare: Figures, drawn: Figures) -> None:
    engine = FakeEngine(SystemClock())
    await measure(engine, await fill(engine, None), seconds, bare)
    engine = FakeEngine(SystemClock())
    app = GatewayApp(engine)
    ticks: list[float] = []
    app.tick = timed(app.tick, ticks)  # type: ignore[method-assign]
    async with app.run_test(size=SIZE):
        turns = await fill(engine, app)
        await asyncio.sleep(SETTLE_S)
        ticks.clear()
        await measure(engine, turns, seconds, drawn)
    drawn.ticks += ticks


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def report(name: str, found: Figures) -> None:
    values = found.lags
    print(
        f"{name:12} lag p50 {statistics.median(values):6.2f}  p99 {percentile(values, 0.99):6.2f}"
        f"  max {max(values):6.2f} ms   held p99 {percentile(found.holds, 0.99):5.2f}"
        f"  max {max(found.holds):5.2f} ms   CPU {found.cpu_s / found.seconds:5.1%}"
    )


def main() -> int:
    is_quick = "--quick" in sys.argv
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if is_quick else (SECONDS, ROUNDS)
    bare, drawn = Figures(), Figures()
    for _ in range(rounds):
        asyncio.run(one_round(seconds, bare, drawn))
    report("no screen", bare)
    report("screen", drawn)
    ticks = drawn.ticks
    print(f"fold and draw p50 {statistics.median(ticks):.2f}  p99 {percentile(ticks, 0.99):.2f} ms")
    added = percentile(drawn.lags, 0.99) - percentile(bare.lags, 0.99)
    held_more = percentile(drawn.holds, 0.99) - percentile(bare.holds, 0.99)
    for what, ms in (("lag", added), ("processor time of a turn of the loop", held_more)):
        verdict = "within" if ms <= GOAL_MS else "BEYOND"
        print(f"the screen adds {ms:.2f} ms to the p99 of the {what} ({verdict} {GOAL_MS:.0f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The whole gateway beside what it is compared with, in one run.

    python tests/benchmarks/bench_gateway.py [--quick] [--rounds 3] [--only direct,headless]

Four targets in front of one upstream, all on loopback, plain HTTP: ``direct`` is the upstream
itself, ``minimal`` a bare pass-through on the same server and on httpx, ``headless`` the gateway
with ``--no-ui``, ``screen`` the gateway drawing Live on a terminal of 120x40. Every round visits
every target once, in rotating order; a cell is the median over the rounds. Only ratios within one
table mean anything. Bodies look like a coding agent's, so classifying, recording and digesting
are part of every figure; CPU is the target's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from tests.benchmarks._load import (
    BenchError,
    Client,
    Streams,
    agent_body,
    closed_loop,
    percentile,
    sequential,
    streams,
)
from tests.benchmarks._targets import Process, Screen, Targets

NAMES = ("direct", "minimal", "headless", "screen")
RATIOS = (("headless", "direct"), ("headless", "minimal"), ("screen", "headless"))
GOAL_ROW = "50 streams: chunk p99 ms"
GOAL = 1.5
"""Most that drawing may cost the streams: the screen's 99th percentile over the headless one."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything one visit measures."""

    rounds: int
    small: int
    agent: int
    loop_s: float
    widths: tuple[int, ...]
    """Clients of a closed loop."""
    streams: tuple[Streams, ...]
    bodies: tuple[tuple[str, int], ...]
    """Names of ``BODIES``, and how many of each."""


# Paced so that a target that keeps up has at most 5,000 chunks a second to forward.
_STREAMS = (
    Streams(1, 60, 20),
    Streams(10, 60, 20),
    Streams(50, 130, 20),
    Streams(200, 60, 40),
    Streams(500, 40, 100),
)
FULL = Size(3, 150, 100, 0.6, (1, 8, 32, 128), _STREAMS, (("20 kB", 40), ("1 MB", 12), ("4 MB", 6)))
QUICK = Size(1, 60, 40, 0.4, (8, 32), (Streams(50, 60, 20),), (("20 kB", 15), ("1 MB", 5)))
SCREEN_STREAMS = 50
"""Up to this many are drawn: what more of them cost is what they cost without a screen."""

SMALL_BODY = agent_body(1_000, stream=False)
AGENT_BODY = agent_body(50_000)
BODIES = {
    "20 kB": agent_body(20_000),
    "1 MB": agent_body(1_000_000),
    "4 MB": agent_body(4_000_000),
}


async def measure(client: Client, process: Process | None, size: Size) -> Figures:
    """One visit to one target; milliseconds unless the name says otherwise."""
    out: Figures = {}
    for plan, body in (("whole", SMALL_BODY), ("burst", AGENT_BODY)):
        await sequential(client, plan, body, 10)
    small = await sequential(client, "whole", SMALL_BODY, size.small)
    out["small: p50 ms"], out["small: p99 ms"] = _middle_and_tail(small)
    meter = _Meter(process)
    agent = await sequential(client, "burst", AGENT_BODY, size.agent)
    out["50 kB: p50 ms"], out["50 kB: p99 ms"] = _middle_and_tail(agent)
    out |= meter.per("50 kB: CPU ms", size.agent)
    for kind, plan, body in (("small", "whole", SMALL_BODY), ("50 kB", "burst", AGENT_BODY)):
        for width in size.widths:
            meter = _Meter(process)
            done, seconds = await closed_loop(client, plan, body, width, size.loop_s)
            out[f"{kind} c={width}: req/s"] = done / seconds
            out |= meter.per(f"{kind} c={width}: CPU ms", done)
    for name, count in size.bodies:
        meter = _Meter(process)
        times = await sequential(client, "burst", BODIES[name], count)
        out[f"{name}: p50 ms"] = percentile(times, 50)
        out |= meter.per(f"{name}: CPU ms", count)
    for load in size.streams:
        if load.count <= SCREEN_STREAMS or not isinstance(process, Screen):
            out |= await _streams(client, process, load)
    if process is not None and (now := process.resident_mib()) is not None:
        out["loaded MiB"] = now
    return out


async def _streams(client: Client, process: Process | None, load: Streams) -> Figures:
    meter = _Meter(process)
    if isinstance(process, Screen):
        process.look_for("streaming")
    got = await streams(client, load, AGENT_BODY)
    if isinstance(process, Screen) and not process.has_shown:
        raise BenchError(f"the screen does not show Live; it drew: {process.said()!r}")
    name = f"{load.count} streams"
    p50, p99 = _middle_and_tail(got.late)
    return {
        f"{name}: first ms": percentile(got.first, 50),
        f"{name}: chunk p50 ms": p50,
        f"{name}: chunk p99 ms": p99,
        f"{name}: chunks/s": got.chunks / got.seconds,
        **meter.per(f"{name}: CPU ms/chunk", got.chunks),
    }


def _middle_and_tail(values: list[float]) -> tuple[float, float]:
    return percentile(values, 50), percentile(values, 99)


class _Meter:
    """CPU a process used since now; nothing where that cannot be told."""

    def __init__(self, process: Process | None) -> None:
        self._process = process
        self._before = process.cpu_s() if process else None

    def per(self, name: str, count: int) -> Figures:
        after = self._process.cpu_s() if self._process else None
        if after is None or self._before is None or not count:
            return {}
        return {name: (after - self._before) * 1e3 / count}


async def run(targets: Targets, size: Size) -> dict[str, list[Figures]]:
    """All rounds; the figures of every visit, by target."""
    names = list(targets.names)
    results: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(size.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            client = Client(targets.port(name))
            try:
                figures = await measure(client, targets.processes.get(name), size)
            finally:
                client.close()
            results[name].append(figures)
            gc.collect()
    return results


def tabulate(targets: Targets, results: dict[str, list[Figures]]) -> dict[str, Figures]:
    """Medians over the rounds, what each target adds to ``direct``, and what it costs to have."""
    table: dict[str, Figures] = {}
    for name, visits in results.items():
        table[name] = {key: statistics.median(v[key] for v in visits) for key in visits[0]}
        process = targets.processes.get(name)
        if process is not None and process.start_s is not None:
            table[name]["start to first 200 s"] = process.start_s
        if process is not None and process.idle_mib is not None:
            table[name]["idle MiB"] = process.idle_mib
    if "direct" in table:
        base = table["direct"]
        for figures in (f for name, f in table.items() if name != "direct"):
            added = {
                key.replace(": ", ": added ", 1): value - base[key]
                for key, value in figures.items()
                if key.endswith("p50 ms") and key in base
            }
            figures |= added
    return table


def show(table: dict[str, Figures], results: dict[str, list[Figures]]) -> None:
    """Print the table, the ratios beside it, and the line that decides."""
    names = list(table)
    ratios = [pair for pair in RATIOS if set(pair) <= set(names)]
    keys = list(dict.fromkeys(key for name in names for key in table[name]))
    keys.sort(key=lambda key: key.partition(":")[0] if ":" in key else "~")
    head = "".join(f"{name:>11}" for name in names)
    print(f"{'':28}{head}" + "".join(f"{a + '/' + b:>18}" for a, b in ratios) + f"{'spread':>9}")
    for key in keys:
        cells = "".join(_cell(table[name].get(key), 11) for name in names)
        cells += "".join(_cell(_ratio(table, key, a, b), 18, 2) for a, b in ratios)
        print(f"{key:28}{cells}{_cell(_spread(results, key), 9, 2)}")
    ratio = _ratio(table, GOAL_ROW, "screen", "headless")
    if ratio is not None:
        verdict = "within" if ratio <= GOAL else "BEYOND"
        print(f"\n{GOAL_ROW}, screen / headless: {ratio:.2f} ({verdict} the goal of {GOAL})")


def _cell(value: float | None, width: int, digits: int = 3) -> str:
    if value is None:
        return f"{'-':>{width}}"
    return f"{value:>{width}.{digits if abs(value) < 1000 else 0}f}"


def _ratio(table: dict[str, Figures], key: str, above: str, below: str) -> float | None:
    values = [table.get(name, {}).get(key) for name in (above, below)]
    if values[0] is None or values[1] is None or values[1] <= 0:
        return None
    return values[0] / values[1]


def _spread(results: dict[str, list[Figures]], key: str) -> float | None:
    """The widest (largest - smallest) / median of any target over the rounds."""
    spreads = []
    for visits in results.values():
        values = [visit[key] for visit in visits if key in visit]
        middle = statistics.median(values) if values else 0.0
        if len(values) > 1 and middle > 0:
            spreads.append((max(values) - min(values)) / middle)
    return max(spreads, default=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", default=",".join(NAMES), help="comma-separated targets")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if options.rounds:
        size = replace(size, rounds=options.rounds)
    names = tuple(name for name in options.only.split(",") if name)
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory
    gc.freeze()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Targets(Path(folder), names) as targets,
        asyncio.Runner(loop_factory=factory) as loop,
    ):
        results = loop.run(run(targets, size))
        table = tabulate(targets, results)
    show(table, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

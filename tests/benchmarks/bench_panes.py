"""What a stream notices of a flood in a pane: ``python tests/benchmarks/bench_panes.py``.

The program runs with its screen of 120x40 and a pane in which a script stands in for an agent. Ten
answers stream through the gateway while the pane is quiet, and while it prints ``seq 1 200000``
over and over; taken in turns, so that both see the same machine. ``--quick``: one short round.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from tests.benchmarks._load import BenchError, Client, Streams, agent_body, percentile, streams  # noqa: E402
from tests.benchmarks._targets import Screen, Targets  # noqa: E402

BODY = agent_body(20_000)
LOAD = Streams(count=10, chunks=150, interval_ms=30)
QUICK = Streams(count=10, chunks=40, interval_ms=30)
ROUNDS = 5
GOAL_MS = 20.0
"""How much later the 99th percentile of the chunks may be while the pane is flooded."""

_AGENT = """#!/bin/sh
echo READY
while read -r line; do
    rm -f "$0.stop"
    while [ ! -e "$0.stop" ]; do seq 1 200000; date +%s%N >> "$0.runs"; done
    echo QUIET
done
"""


class Flood:
    """The script in the pane."""

    def __init__(self, screen: Screen, agent: Path) -> None:
        self._screen, self._agent = screen, agent

    def begin(self) -> None:
        """Make it print."""
        os.write(self._screen._master, b"go\r")

    def end(self) -> None:
        """Have it stop after what it prints."""
        self._agent.with_name(f"{self._agent.name}.stop").touch()

    @property
    def runs_s(self) -> list[float]:
        """How long each ``seq 1 200000`` took, but the first."""
        file = self._agent.with_name(f"{self._agent.name}.runs")
        ends = [int(line) / 1e9 for line in file.read_text().split()] if file.exists() else []
        return [after - before for before, after in itertools.pairwise(ends)]


def wait(is_so: Callable[[], bool], what: str) -> None:
    """Wait for the screen."""
    begin = time.monotonic()
    while not is_so():
        if time.monotonic() - begin > 30:
            raise BenchError(what)
        time.sleep(0.05)


def open_pane(screen: Screen) -> None:
    """Start the script in a pane."""
    os.write(screen._master, b"c")
    wait(lambda: screen.shows("Start (enter)"), f"no question; it drew: {screen.said()!r}")
    os.write(screen._master, b"\r")
    wait(lambda: screen.shows("READY"), f"no pane; it drew: {screen.said()!r}")


async def run(port: int, flood: Flood, load: Streams, rounds: int) -> dict[str, list[float]]:
    """Lateness of every chunk in milliseconds, with a quiet pane and with a flooded one."""
    late: dict[str, list[float]] = {"quiet": [], "flooded": []}
    client = Client(port)
    try:
        for _ in range(rounds):
            late["quiet"] += (await streams(client, load, BODY)).late
            flood.begin()
            await asyncio.sleep(0.5)
            late["flooded"] += (await streams(client, load, BODY)).late
            flood.end()
            await asyncio.sleep(2.0)
    finally:
        client.close()
    return late


def main() -> int:
    load, rounds = (QUICK, 1) if "--quick" in sys.argv else (LOAD, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        agent = Path(folder) / "bin" / "claude"
        agent.parent.mkdir()
        agent.write_text(_AGENT)
        agent.chmod(0o755)
        os.environ["PATH"] = f"{agent.parent}:{os.environ['PATH']}"
        with Targets(Path(folder), ("direct", "screen")) as targets:
            screen = targets.processes["screen"]
            assert isinstance(screen, Screen)
            open_pane(screen)
            flood = Flood(screen, agent)
            before = screen.cpu_s() or 0.0
            late = asyncio.run(run(screen.port, flood, load, rounds))
            used = (screen.cpu_s() or 0.0) - before
            runs = flood.runs_s
    tails = {name: percentile(values, 99) for name, values in late.items()}
    for name, values in late.items():
        middle = percentile(values, 50)
        print(
            f"{name:8} chunk p50 {middle:7.2f}  p99 {tails[name]:7.2f}  max {max(values):7.2f} ms"
        )
    if runs:
        print(f"seq 1 200000 in the pane: {statistics.median(runs):.2f} s, median of {len(runs)}")
    print(f"CPU of the program: {used:.1f} s")
    added = tails["flooded"] - tails["quiet"]
    verdict = "within" if added <= GOAL_MS else "BEYOND"
    print(f"the flood adds {added:.2f} ms to the p99 ({verdict} the goal of {GOAL_MS:.0f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

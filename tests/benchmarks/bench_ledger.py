"""What a ledger that has grown costs: start-up, sums, the list, one turn, and the growth itself.

    python tests/benchmarks/bench_ledger.py [--quick]

Two ledgers, one small and one of a million turns (``--quick``: fifty thousand), are opened by a
real gateway each. Seconds and milliseconds of this machine; what counts is the large one over the
small one. The rows are made by the same code that writes those of real turns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from turn_factory import NOON, finish, opened

from providers.types import Delivery
from server import ledger_schema
from server.ledger_boots import this_boot
from server.ledger_rows import close_row
from server.ledger_store import open_store
from server.paths import find_paths
from tests.benchmarks._load import percentile
from tests.benchmarks._targets import ROOT as SOURCE
from tests.benchmarks._targets import Process, environment, free_port

SMALL = 1_000
LARGE, QUICK_LARGE = 1_000_000, 50_000
_BATCH = 5_000
_SECONDS_APART = 2.0
_KEY = {"x-sbgw-key": "local-dev-key"}

Figures = dict[str, float]


def fill(path: Path, count: int) -> float:
    """Write ``count`` turns of the last weeks; microseconds of work for each."""
    boot = this_boot("bench", NOON)
    store, _ = open_store(
        path,
        boot,
        now=lambda: NOON,
        durability="normal",
        connect=ledger_schema.connect,
        busy_ms=1000,
    )
    begin = time.perf_counter()
    last = time.time()
    for first in range(0, count, _BATCH):
        rows = []
        for number in range(first, min(first + _BATCH, count)):
            at = last - (count - number) * _SECONDS_APART
            turn = opened(at=at, session=f"session-{number // 40}")
            rows.append(close_row(finish(turn, delivery=Delivery.FULL), boot.boot_id))
        store.apply(rows)
    took = time.perf_counter() - begin
    store.end(NOON)
    store.checkpoint()
    store.close()
    return took / count * 1e6


def measure(folder: Path, count: int) -> Figures:
    """Fill a home and ask a gateway in it for everything a front end asks."""
    home = folder / f"home-{count}"
    port = free_port()
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(f"[server]\nport = {port}\n")
    (home / "config.toml").chmod(0o600)
    ledger = _ledger_of(home)
    ledger.parent.mkdir(mode=0o700, exist_ok=True)
    out = {"µs a turn written": fill(ledger, count)}
    out["bytes a turn"] = ledger.stat().st_size / count
    command = [sys.executable, str(SOURCE / "sbgw.py"), "--no-ui"]
    env = environment(SBGW_HOME=str(home))
    process = Process(folder / f"{count}.log", port, command, env)
    try:
        process.start()
        out["start to first 200 s"] = process.start_s or 0.0
        out["resident MiB"] = process.resident_mib() or 0.0
        out |= _asked(port)
    finally:
        process.stop()
    return out


def _ledger_of(home: Path) -> Path:
    return find_paths({"SBGW_HOME": str(home)}, home).ledger_file


def _asked(port: int) -> Figures:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(path: str) -> bytes:
        client.request("GET", path, headers=_KEY)
        answer = client.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {body[:200]!r}")
        return body

    newest = json.loads(get("/events/recent?limit=1"))["events"][0]["id"]
    asked = {
        "/shadow/stats ms": lambda: get("/shadow/stats"),
        "Live: snapshot ms": lambda: get("/snapshot"),
        "Live: 5000 turns ms": lambda: get("/events/recent?limit=5000"),
        "one turn ms": lambda: get(f"/events/{newest}"),
    }
    return {name: _median(ask) for name, ask in asked.items()}


def _median(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        ask()
        times.append((time.perf_counter() - begin) * 1e3)
    return percentile(times, 50)


def main() -> int:
    """Measure both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a large one of fifty thousand")
    large = QUICK_LARGE if parser.parse_args().quick else LARGE
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        few, many = (measure(Path(folder), count) for count in (SMALL, large))
    print(f"{'':24}{SMALL:>12,}{large:>12,}{'ratio':>9}")
    for name, value in many.items():
        ratio = value / few[name] if few[name] else float("nan")
        print(f"{name:24}{few[name]:>12.2f}{value:>12.2f}{ratio:>9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How long backtests and reports take: turns written to a ledger, read back and replayed.

    python tests/benchmarks/bench_backtest.py [TURNS]

Sessions of forty turns over a week, six in ten of them steps of a tool loop; the table moves the
rest.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from turn_factory import NOON, finished  # noqa: E402

from providers.pricing import Prices  # noqa: E402
from providers.types import Usage  # noqa: E402
from server.backtest import backtest  # noqa: E402
from server.backtest_plan import Replan  # noqa: E402
from server.backtest_prices import PriceBook  # noqa: E402
from server.config import Settings  # noqa: E402
from server.ledger_history import history  # noqa: E402
from server.ledger_rows import close_row  # noqa: E402
from server.ledger_schema import create_private, migrate  # noqa: E402
from server.limits import PlanLimits  # noqa: E402
from server.record import Turn  # noqa: E402
from server.report_make import make_report  # noqa: E402
from server.savings_assumptions import Assumptions  # noqa: E402

WEEK_S = 7 * 86_400.0
PER_SESSION = 40
ROUTES = ("tool_loop", "tool_loop", "tool_loop", "planning", "summary")
TABLE = {
    "routes": {"planning": ["groq"], "summary": ["cerebras", "groq"]},
    "modes": {"planning": "live", "summary": "live"},
}


def turn(number: int, count: int) -> Turn:
    """One of ``count`` turns."""
    session, step = divmod(number, PER_SESSION)
    route = ROUTES[number % len(ROUTES)]
    made = finished(
        id=f"gw_{number}",
        at=NOON + session * PER_SESSION * WEEK_S / count + step * 20.0,
        session=f"session-{session}",
        route=route,
        kind="tool_step" if route == "tool_loop" else "user_turn",
        offload=route != "tool_loop",
        model_asked="claude-sonnet-5-5",
        model_served="claude-sonnet-5-5",
        usage=Usage(10, 300, 20_000 + 1000 * step, 1000),
        features={"n_tools": 20, "answered_before": step > 0},
        cache_ttl="5m",
    )
    return made


def fill(path: Path, count: int) -> None:
    """Write the rows as the ledger would."""
    create_private(path)
    conn = sqlite3.connect(path, isolation_level=None)
    migrate(conn, path)
    conn.execute("BEGIN")
    for number in range(count):
        row = close_row(turn(number, count), "bench").values
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        conn.execute(f"INSERT INTO turns ({names}) VALUES ({marks})", row)
    conn.execute("COMMIT")
    conn.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    settings = Settings.model_validate({"routing": TABLE})
    limits = {"cerebras": PlanLimits(requests_per_minute=30, tokens_per_minute=1_000_000)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite3"
        fill(path, count)
        prices = PriceBook(Prices(), Assumptions())
        times = [_now()]
        turns = list(history(path))
        times.append(_now())
        found = backtest(turns, Replan(settings), prices, limits)
        times.append(_now())
        del turns
        made = _now()
        report = make_report(path, settings, PriceBook(Prices(), Assumptions()))
        reported = _now()
    print(f"{found.total.turns} turns, {found.total.moved} moved; {report['turns']} reported")
    _tell("read", times[0], times[1])
    _tell("replay", times[1], times[2])
    _tell("backtest", times[0], times[2])
    _tell("report", made, reported)


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _tell(what: str, begin: tuple[float, float], end: tuple[float, float]) -> None:
    print(f"{what:9} CPU {end[0] - begin[0]:5.2f} s, wall {end[1] - begin[1]:5.2f} s")


if __name__ == "__main__":
    main()

"""A backtest from the ledger's file, of the newest turns up to a bound.

Blocks on the disk and on the interpreter; ``pause`` is called again and again, so that a thread
beside running streams can stand back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from server.backtest import backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import history, time_of_newest
from server.ledger_read import LedgerReader
from server.limits import plans

MOST_TURNS: Final = 100_000
WEEK_S: Final = 7 * 86_400.0


PAUSE_S: Final = 0.001


def stand_back() -> None:
    """Leave the interpreter to the running streams for a moment."""
    time.sleep(PAUSE_S)


def make_backtest(
    path: Path,
    settings: Settings,
    prices: PriceBook,
    *,
    since: float = 0.0,
    most: int = MOST_TURNS,
    demo: bool = False,
    pause: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """``Backtest.as_json``, ``since`` and ``learned`` (``PastRates.as_json``): of the ``most`` newest turns accepted at ``since`` or
    later (epoch seconds), under the routing table in ``settings`` with shadow off.

    ``before`` is what is on record, ``after`` what it would have cost. Raises ``LedgerError`` or
    ``sqlite3.Error`` for a file that cannot be read.
    """
    prices.learn(LedgerReader(path).scores(demo=demo))
    since = max(since, time_of_newest(path, most, demo=demo))
    turns = history(path, since, demo=demo)
    found = backtest(turns, Replan(settings), prices, plans(settings.providers), pause)
    return found.as_json() | {"since": since, "learned": prices.learned.as_json()}

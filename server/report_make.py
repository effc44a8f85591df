"""A report from the ledger's file: reads it once, and hands what it finds to the pure parts.

Blocks on the disk and on the interpreter; ``pause`` is called every ``TURNS_AT_ONCE`` turns, so
that a thread beside running streams can stand back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from server.backtest_prices import PriceBook
from server.cold import Cold, ColdFinder, summary
from server.config import Settings
from server.ledger_history import Past, history
from server.ledger_read import LedgerReader
from server.report import Folding
from server.report_advice import Ground, advice_on, prefix_of
from server.savings_assumptions import assumptions

TURNS_AT_ONCE: Final = 64


def make_report(
    path: Path,
    settings: Settings,
    prices: PriceBook,
    *,
    since: float = 0.0,
    demo: bool = False,
    pause: Callable[[], None] = lambda: None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The report (``server.report``) on turns accepted at ``since`` (epoch seconds) or later.

    ``comparisons_usd`` is what comparisons cost since then, beside what the turns did; ``learned``
    are the shares of failures they measured (``PastRates.as_json``). ``done`` is called every ``TURNS_AT_ONCE`` turns that were read.

    Raises ``LedgerError`` or ``sqlite3.Error`` for a file that cannot be read.
    """
    prices.learn(LedgerReader(path).scores(demo=demo))
    finder = ColdFinder(prices.rates_here)
    colds: list[Cold] = []
    latest: dict[str, Past] = {}
    ground = Ground()
    folding = Folding()
    for number, turn in enumerate(history(path, since, with_blocks=True, demo=demo)):
        if number % TURNS_AT_ONCE == 0:
            pause()
            done()
        cold = finder.add(turn)
        if cold is not None:
            colds.append(cold)
        if turn.blocks and turn.session:
            latest[turn.session] = turn
        ground.add(turn)
        folding.add(turn)
    prefix = prefix_of(latest.values(), prices, pause)
    report = folding.as_json(
        prefix=prefix,
        cold=summary(colds) if colds else None,
        advice=advice_on(ground, prefix, settings, prices, pause),
        assumptions=assumptions(),
    )
    spent = LedgerReader(path).verification_nusd(since, demo=demo)
    return report | {"comparisons_usd": spent / 1e9, "learned": prices.learned.as_json()}

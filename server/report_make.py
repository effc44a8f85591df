"""A report from the ledger's file: reads it once, and hands what it finds to the pure parts.

Blocks on the disk and on the interpreter; ``pause`` is called every ``TURNS_AT_ONCE`` turns, so
that a thread beside running streams can stand back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, overload

from server.backtest_prices import PriceBook
from server.cold import Cold, ColdFinder, summary
from server.config import Settings
from server.ledger_history import Past, history
from server.ledger_read import LedgerReader
from server.report import build
from server.report_advice import advice_on, prefix_of
from server.savings_assumptions import assumptions

TURNS_AT_ONCE: Final = 64


class _Turns(Sequence[Past]):
    """Many turns as plain tuples: the garbage collector soon stops looking at those, which would
    otherwise hold every stream for a tenth of a second."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._pause = pause

    def append(self, turn: Past) -> None:
        """Add one at the end."""
        if len(self._rows) % TURNS_AT_ONCE == 0:
            self._pause()
        self._rows.append(tuple(turn))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Past]:
        for at, row in enumerate(self._rows):
            if at % TURNS_AT_ONCE == 0:
                self._pause()
            yield Past._make(row)

    def let_go(self) -> None:
        """Forget them little by little; all at once would hold every stream too."""
        while self._rows:
            del self._rows[-TURNS_AT_ONCE:]
            self._pause()

    @overload
    def __getitem__(self, index: int) -> Past: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Past]: ...
    def __getitem__(self, index: int | slice) -> Past | Sequence[Past]:
        if isinstance(index, slice):
            return [Past._make(row) for row in self._rows[index]]
        return Past._make(self._rows[index])


def make_report(
    path: Path,
    settings: Settings,
    prices: PriceBook,
    *,
    since: float = 0.0,
    demo: bool = False,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The report (``server.report``) on turns accepted at ``since`` (epoch seconds) or later.

    ``comparisons_usd`` is what comparisons cost since then, beside what the turns did.

    Raises ``LedgerError`` or ``sqlite3.Error`` for a file that cannot be read.
    """
    finder = ColdFinder(prices.rates_here)
    colds: list[Cold] = []
    turns = _Turns(pause)
    latest: dict[str, Past] = {}
    for turn in history(path, since, with_blocks=True, demo=demo):
        cold = finder.add(turn)
        if cold is not None:
            colds.append(cold)
        if turn.blocks and turn.session:
            latest[turn.session] = turn
        # Digests of a week of turns would not fit into memory.
        turns.append(turn._replace(blocks=None))
    prefix = prefix_of(latest.values(), prices)
    report = build(
        turns,
        prefix=prefix,
        cold=summary(colds) if colds else None,
        advice=advice_on(turns, prefix, settings, prices),
        assumptions=assumptions(),
    )
    turns.let_go()
    spent = LedgerReader(path).verification_nusd(since, demo=demo)
    return report | {"comparisons_usd": spent / 1e9}

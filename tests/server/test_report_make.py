"""A report made beside running streams stands back again and again, and is the same report."""

from __future__ import annotations

from pathlib import Path

import pytest
from past_ledger import write_ledger
from turn_factory import NOON, finished

from providers.pricing import Prices
from server.backtest_prices import PriceBook
from server.config import Settings
from server.report_make import TURNS_AT_ONCE, make_report
from server.savings_assumptions import Assumptions


def test_it_stands_back_while_it_reads_and_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    count = 3 * TURNS_AT_ONCE + 5
    write_ledger(path, [finished(at=NOON + n, session=f"s{n % 7}") for n in range(count)])
    book = PriceBook(Prices(), Assumptions())
    pauses: list[int] = []
    plain = make_report(path, Settings(), book)
    beside = make_report(path, Settings(), book, pause=lambda: pauses.append(1))
    assert beside == plain
    assert plain["turns"] == count
    assert plain["total"]["cost_usd"] == pytest.approx(0.0123 * count)
    assert len(pauses) >= 4
    assert make_report(path, Settings(), book, since=NOON + count - 2)["turns"] == 2
    assert make_report(path, Settings(), book, demo=True)["turns"] == 0

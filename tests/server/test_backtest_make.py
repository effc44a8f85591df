"""A backtest straight from the ledger's file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_session import PRICES, SONNET
from past_ledger import write_ledger
from turn_factory import NOON, finished

from providers.pricing import Prices
from providers.types import Usage
from server.backtest_make import make_backtest, stand_back
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import time_of_newest
from server.savings_assumptions import Assumptions

TITLES = Settings.model_validate({"routing": {"kinds": {"title": ["groq"]}}})
BOOK = PriceBook(Prices(PRICES), Assumptions())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.sqlite3"
    turns = [
        finished(
            at=NOON + at,
            kind="title",
            route="summary",
            offload=True,
            model_asked=SONNET,
            model_served=SONNET,
            usage=Usage(1000, 20),
            cost_usd=0.0022,
            demo=at == 5,
        )
        for at in range(6)
    ]
    write_ledger(made, turns)
    return made


def test_the_newest_turns_are_replayed(path: Path) -> None:
    found = make_backtest(path, TITLES, BOOK, most=3)
    assert (found["since"], found["total"]["turns"], found["total"]["moved"]) == (NOON + 2, 3, 3)
    assert found["routes"]["summary"]["before_usd"] == pytest.approx(0.0066)
    assert make_backtest(path, TITLES, BOOK, since=NOON + 4)["total"]["turns"] == 1
    assert make_backtest(path, TITLES, BOOK, demo=True)["total"]["turns"] == 1


def test_it_stands_back_before_and_after_it_has_read(path: Path) -> None:
    calls: list[int] = []

    def pause() -> None:
        calls.append(1)
        stand_back()

    make_backtest(path, TITLES, BOOK, pause=pause)
    assert len(calls) == 2


def test_when_the_newest_turns_began(path: Path, tmp_path: Path) -> None:
    assert time_of_newest(path, 5) == NOON
    assert time_of_newest(path, 6) == 0.0
    assert time_of_newest(tmp_path / "none", 1) == 0.0
    empty = make_backtest(tmp_path / "none", TITLES, BOOK)
    assert empty["total"]["turns"] == 0

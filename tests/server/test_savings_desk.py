"""Savings reach ledger, sums and watchers in the right order."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_clock import FakeClock
from hand_session import DEFAULT_MODELS, PRICES, SESSION, turn_of
from ledger_faults import Faults
from turn_factory import NOON

from providers.pricing import Prices
from server.bus import Bus
from server.ledger import Ledger, LedgerReader
from server.record import Turn
from server.savings_assumptions import Assumptions
from server.savings_book import SavingsBook
from server.savings_desk import SavingsDesk
from server.savings_tracker import SavingsTracker
from server.stats import Stats

PATIENCE_S = 10
_T1, QUESTION, STEP, *_ = SESSION


class Office:
    """A desk with its surroundings, used as the dispatcher uses it."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock(NOON)
        self.prices = Prices(PRICES)
        self.path = path
        connect = Faults(flushes=False).connect
        self.ledger = Ledger(path, clock=self.clock, boot_id="b", connect=connect)
        self.ledger.start()
        self.stats, self.bus = Stats(self.clock), Bus(self.clock)
        self.watcher = self.bus.subscribe()
        self.book = SavingsBook(self.clock)
        tracker = SavingsTracker(
            self.prices, Assumptions(), self.clock, default_models=DEFAULT_MODELS
        )
        self.desk = SavingsDesk(
            tracker,
            self.book,
            self.clock,
            ledger=self.ledger,
            stats=self.stats,
            bus=self.bus,
        )

    def record(self, turn: Turn) -> None:
        self.desk.ended(turn)
        self.ledger.close_turn(turn)

    def announce(self, turn: Turn) -> None:
        self.desk.announced(turn)
        self.stats.turn_finished(turn)
        self.bus.publish("turn.finished", turn=turn.summary())

    def close(self) -> None:
        self.bus.close()
        assert self.ledger.flush(PATIENCE_S)
        self.ledger.close(PATIENCE_S)

    def events(self) -> list[tuple[str, str, str | None]]:
        """Type, turn and state of the saving."""
        told = []
        for event in self.watcher.drain():
            turn_id = event.get("turn_id") or event["turn"]["id"]
            saving = event["saving"] if "saving" in event else event["turn"]["saving"]
            told.append((event["type"], turn_id, saving and saving["state"]))
        return told


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "ledger.sqlite3")


async def test_the_next_call_settles_what_was_announced_as_open(office: Office) -> None:
    first, second = turn_of(QUESTION, office.prices), turn_of(STEP, office.prices)
    for turn in (first, second):
        office.record(turn)
        office.announce(turn)
    events = office.events()
    office.close()

    assert events == [
        ("turn.finished", first.id, "open"),
        ("saving.settled", first.id, "settled"),
        ("turn.finished", second.id, None),
    ]
    stored = {row["id"]: row for row in LedgerReader(office.path).recent(5)}
    recent = {row["id"]: row for row in office.stats.recent_turns()}
    assert stored == recent
    assert stored[first.id]["saving"]["state"] == "settled"
    assert office.book.snapshot()["all"]["open"] == 0


async def test_a_turn_settled_before_it_was_announced_is_announced_as_settled(
    office: Office,
) -> None:
    first, second = turn_of(QUESTION, office.prices), turn_of(STEP, office.prices)
    office.record(first)
    office.record(second)
    office.announce(first)
    office.announce(second)
    events = office.events()
    office.close()

    assert events == [
        ("turn.finished", first.id, "settled"),
        ("turn.finished", second.id, None),
    ]
    sums = office.book.snapshot()["all"]
    assert (sums["turns"], sums["open"], sums["usd"]) == (1, 0, 0.00345)
    stored = {row["id"]: row["saving"] for row in LedgerReader(office.path).recent(5)}
    assert stored[first.id] == first.summary()["saving"]


async def test_what_nothing_follows_is_settled_by_the_clock(office: Office) -> None:
    turn = turn_of(QUESTION, office.prices)
    office.record(turn)
    office.announce(turn)
    running = turn_of(STEP, office.prices)
    await office.clock.advance(500)

    office.desk.tick([running])
    assert office.events() == [("turn.finished", turn.id, "open")]
    office.desk.tick([])

    assert office.events() == [("saving.settled", turn.id, "settled")]
    assert office.book.snapshot()["all"]["usd"] > 0.05
    office.close()

"""Digests are costly, so they follow the terminal row instead of holding it up."""

from __future__ import annotations

import threading
from pathlib import Path

from fake_clock import FakeClock
from ledger_faults import WriterHarness, rows, statuses
from turn_factory import NOON, finished

from server.ledger import Ledger
from server.ledger_boots import Boot
from server.ledger_rows import Item, close_row, digest_row
from server.ledger_spill import Spill, load

PATIENCE_S = 20


def test_the_terminal_row_does_not_wait_for_the_digests(tmp_path: Path) -> None:
    path, gate = tmp_path / "ledger.sqlite3", threading.Event()
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    turn = finished(blocks=None, body_hash=None)

    def digest() -> None:
        assert gate.wait(PATIENCE_S)
        turn.blocks, turn.body_hash = b"\x00digest", "hash"

    try:
        ledger.close_turn(turn, digest).result(PATIENCE_S)
        assert statuses(path) == {turn.id: "completed"}
        assert rows(path, "SELECT blocks, body_hash FROM turns") == [(None, None)]
    finally:
        gate.set()
        ledger.close(PATIENCE_S)
    assert rows(path, "SELECT blocks, body_hash FROM turns") == [(b"\x00digest", "hash")]


def test_digests_survive_the_spill(tmp_path: Path) -> None:
    path, dead = tmp_path / "ledger.sqlite3", Boot("dead", 2**22 + 1, "never", NOON)
    turn = finished(blocks=None, body_hash=None)
    closed = close_row(turn, "dead")
    turn.blocks, turn.body_hash = b"\x00\xffdigest", "hash"
    items: list[Item] = [closed, digest_row(turn)]
    spill = Spill(path, dead)
    spill.append(items)
    spill.close()
    assert list(load(spill.path)[1]) == items

    harness = WriterHarness(path, "after")
    assert harness.writer.start().replayed == 2
    harness.writer.close()
    assert rows(path, "SELECT blocks, body_hash FROM turns") == [(b"\x00\xffdigest", "hash")]

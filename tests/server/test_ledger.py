"""The ledger as its callers see it: write-ahead, one terminal state, nothing in the way."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from ledger_faults import Faults, is_sound, rows, statuses
from turn_factory import NOON, finish, finished, opened

from server.ledger import Ledger, LedgerReader, LedgerState
from server.record import Status

PATIENCE_S = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    connect = Faults(flushes=False).connect
    made = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1", connect=connect)
    made.start()
    yield made
    made.close(PATIENCE_S)


def test_a_turn_is_on_disk_as_open_before_its_future_is_done(ledger: Ledger, path: Path) -> None:
    turn = opened()

    ledger.open_turn(turn).result(PATIENCE_S)

    assert statuses(path) == {turn.id: "open"}


def test_the_write_ahead_row_is_the_turn_as_it_stood_at_the_call(
    ledger: Ledger, path: Path
) -> None:
    turn = opened(model_asked="asked")
    future = ledger.open_turn(turn)
    turn.model_asked = "changed later"

    future.result(PATIENCE_S)

    assert rows(path, "SELECT model_asked FROM turns") == [("asked",)]


def test_a_rejected_turn_is_opened_and_closed_like_any_other(ledger: Ledger, path: Path) -> None:
    turn = opened(status=Status.REJECTED, provider=None)
    ledger.open_turn(turn).result(PATIENCE_S)
    assert statuses(path) == {turn.id: "open"}

    ledger.close_turn(turn)

    assert ledger.flush(PATIENCE_S)
    assert statuses(path) == {turn.id: "rejected"}
    assert ledger.state.duplicates == 0


def test_closing_stores_everything_the_turn_knows(ledger: Ledger, path: Path) -> None:
    turn = opened()
    ledger.open_turn(turn)
    ledger.close_turn(finish(turn))
    assert ledger.flush(PATIENCE_S)

    reader = LedgerReader(path)

    assert reader.turn(turn.id) == turn.detail()
    assert reader.recent(5) == [turn.summary()]


def test_a_terminal_state_is_on_disk_before_its_future_is_done(ledger: Ledger, path: Path) -> None:
    turn = finished()
    ledger.close_turn(turn, lambda: None).result(PATIENCE_S)
    assert statuses(path) == {turn.id: "completed"}
    ledger.close_turn(turn).result(PATIENCE_S)
    assert ledger.state.duplicates == 1


def test_the_terminal_state_is_written_once(ledger: Ledger, path: Path) -> None:
    turn = opened()
    ledger.open_turn(turn)
    ledger.close_turn(finish(turn))
    assert ledger.flush(PATIENCE_S)

    turn.status, turn.cost_usd = Status.FAILED, 99.0
    ledger.close_turn(turn)
    assert ledger.flush(PATIENCE_S)

    assert statuses(path) == {turn.id: "completed"}
    assert ledger.state.duplicates == 1
    assert is_sound(path)


def test_two_terminal_states_in_one_batch_are_one_state(ledger: Ledger, path: Path) -> None:
    turn, gate = finished(), threading.Event()
    ledger.close_turn(finished(), lambda: _wait(gate))
    ledger.close_turn(turn)
    ledger.close_turn(turn)
    gate.set()

    assert ledger.flush(PATIENCE_S)

    assert rows(path, "SELECT count(*) FROM turns WHERE id = ?", turn.id) == [(1,)]
    assert ledger.state.duplicates == 1


def test_a_turn_that_was_never_opened_is_still_recorded(ledger: Ledger, path: Path) -> None:
    turn = finished()
    ledger.close_turn(turn)
    assert ledger.flush(PATIENCE_S)
    assert statuses(path) == {turn.id: "completed"}


def test_an_open_that_comes_after_the_close_changes_nothing(ledger: Ledger, path: Path) -> None:
    turn = finished()
    ledger.close_turn(turn)
    assert ledger.flush(PATIENCE_S)
    ledger.open_turn(turn).result(PATIENCE_S)
    assert statuses(path) == {turn.id: "completed"}


def test_extra_fills_in_the_digests(ledger: Ledger, path: Path) -> None:
    turn = finished()

    def digest() -> None:
        turn.blocks, turn.body_hash = b"\x00\xffdigest", "hash"

    ledger.close_turn(turn, digest)
    assert ledger.flush(PATIENCE_S)

    assert rows(path, "SELECT blocks, body_hash FROM turns") == [(b"\x00\xffdigest", "hash")]


def test_a_turn_whose_extra_fails_is_recorded_without_it(ledger: Ledger, path: Path) -> None:
    turn = finished()

    def fail() -> None:
        raise ValueError("cannot be digested")

    ledger.close_turn(turn, fail)
    assert ledger.flush(PATIENCE_S)

    assert statuses(path) == {turn.id: "completed"}


def test_a_new_turn_waits_for_one_digest_at_most(ledger: Ledger) -> None:
    """Two closed turns wait for digests; a turn opened meanwhile goes between them."""
    gate, entered, saw_it_done = threading.Event(), threading.Event(), threading.Event()
    waiting: list[Future[None]] = []

    def first() -> None:
        entered.set()
        _wait(gate)

    def second() -> None:
        if waiting[0].done():
            saw_it_done.set()

    ledger.close_turn(finished(), first)
    ledger.close_turn(finished(), second)
    assert entered.wait(PATIENCE_S)
    waiting.append(ledger.open_turn(opened()))
    gate.set()

    assert ledger.flush(PATIENCE_S)
    assert saw_it_done.is_set()


def test_everything_queued_goes_into_one_transaction(path: Path) -> None:
    faults, gate, entered = Faults(), threading.Event(), threading.Event()
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1", connect=faults.connect)
    ledger.start()

    def hold() -> None:
        entered.set()
        _wait(gate)

    ledger.close_turn(finished(), hold)
    assert entered.wait(PATIENCE_S)
    before = faults.statements.count("COMMIT")
    futures = [ledger.open_turn(opened()) for _ in range(500)]
    gate.set()
    for future in futures:
        future.result(PATIENCE_S)
    commits = faults.statements.count("COMMIT") - before
    ledger.close(PATIENCE_S)

    assert commits <= 3
    assert len(statuses(path)) == 501


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_the_connection_is_set_up_as_promised(path: Path, durability: str, level: int) -> None:
    faults, seen = Faults(), dict[str, Any]()
    ledger = Ledger(
        path, clock=FakeClock(NOON), boot_id="b", durability=durability, connect=faults.connect
    )
    ledger.start()

    def look() -> None:
        for name in ("synchronous", "journal_mode", "foreign_keys", "wal_autocheckpoint"):
            seen[name] = faults.connections[-1].execute(f"PRAGMA {name}").fetchone()[0]

    ledger.close_turn(finished(), look)
    assert ledger.flush(PATIENCE_S)
    ledger.close(PATIENCE_S)

    assert seen == {
        "synchronous": level,
        "journal_mode": "wal",
        "foreign_keys": 1,
        "wal_autocheckpoint": 1000,
    }


def test_an_unknown_durability_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="durability"):
        Ledger(path, clock=FakeClock(), boot_id="b", durability="maybe")


def test_files_are_private_and_strict(ledger: Ledger, path: Path) -> None:
    ledger.open_turn(opened()).result(PATIENCE_S)

    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(path.parent)}

    assert modes == {f"{path.name}{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    loose = rows(path, "SELECT name FROM pragma_table_list WHERE strict = 0 AND schema = 'main'")
    assert [name for (name,) in loose if not name.startswith("sqlite_")] == []


def test_a_world_readable_file_is_made_private(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    ledger = Ledger(path, clock=FakeClock(), boot_id="b")
    ledger.start()
    ledger.close(PATIENCE_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_rejects_are_one_row_a_second_and_reason(path: Path) -> None:
    clock = FakeClock(NOON)
    ledger = Ledger(path, clock=clock, boot_id="boot-1")
    ledger.start()
    for _ in range(50):
        ledger.record_reject("bad key", 401)
    ledger.record_reject("bad host", 403)
    await clock.advance(1)
    ledger.record_reject("bad key", 401)
    assert ledger.flush(PATIENCE_S)
    ledger.close(PATIENCE_S)

    second = int(NOON)
    assert rows(path, "SELECT second, reason, http_status, count FROM rejects ORDER BY 1, 2") == [
        (second, "bad host", 403, 1),
        (second, "bad key", 401, 50),
        (second + 1, "bad key", 401, 1),
    ]
    assert LedgerReader(path).rejects() == {"bad key": 51, "bad host": 1}


def test_close_writes_what_is_queued_and_merges_the_log(path: Path) -> None:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    turns = [finished() for _ in range(20)]
    for turn in turns:
        ledger.close_turn(turn, lambda: None)
    ledger.record_reject("bad key", 401)

    ledger.close(PATIENCE_S)
    ledger.close(PATIENCE_S)

    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert set(statuses(path)) == {turn.id for turn in turns}
    assert rows(path, "SELECT clean, ended_at IS NOT NULL FROM boots") == [(1, 1)]
    assert rows(path, "SELECT sum(count) FROM rejects") == [(1,)]


def test_a_closed_ledger_refuses_quietly(path: Path) -> None:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    ledger.close(PATIENCE_S)

    future = ledger.open_turn(opened())
    ledger.close_turn(finished())

    assert not future.done()
    assert not ledger.flush(PATIENCE_S)
    assert statuses(path) == {}


def test_a_listener_hears_of_the_state_and_may_fail(path: Path) -> None:
    heard: list[LedgerState] = []

    def listen(state: LedgerState) -> None:
        heard.append(state)
        raise RuntimeError("a listener's own trouble")

    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="b", on_change=listen)
    report = ledger.start()
    ledger.open_turn(opened()).result(PATIENCE_S)
    ledger.close(PATIENCE_S)

    assert heard[0] == report.state
    assert report.state.status == "ok"
    assert report.state.path == str(path)


def test_a_queue_without_end_is_bounded_and_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger.QUEUE_ROWS", 3)
    ledger, gate, entered = (
        Ledger(path, clock=FakeClock(NOON), boot_id="b"),
        threading.Event(),
        threading.Event(),
    )
    ledger.start()

    def hold() -> None:
        entered.set()
        _wait(gate)

    ledger.close_turn(finished(), hold)
    assert entered.wait(PATIENCE_S)
    for _ in range(5):
        ledger.close_turn(finished())
    gate.set()
    assert ledger.flush(PATIENCE_S)
    assert ledger.state.lost == 2
    ledger.close(PATIENCE_S)

    assert len(statuses(path)) == 4
    assert rows(path, "SELECT lost FROM boots") == [(2,)]


def test_digests_that_pile_up_are_left_out_not_the_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger.QUEUE_EXTRAS", 2)
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="b")
    ran: list[int] = []
    for number in range(5):
        ledger.close_turn(finished(), lambda number=number: ran.append(number))  # type: ignore[misc]
    ledger.start()
    assert ledger.flush(PATIENCE_S)
    ledger.close(PATIENCE_S)

    assert ran == [0, 1]
    assert len(statuses(path)) == 5


def _wait(gate: threading.Event) -> None:
    assert gate.wait(PATIENCE_S)

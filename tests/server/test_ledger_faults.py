"""A database that cannot be written: rows are kept, the state says so, and they all come back."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from fake_clock import FakeClock
from ledger_faults import (
    Faults,
    WriterHarness,
    dead_boot,
    files_limited_to,
    is_sound,
    locked_by_another_process,
    rows,
    statuses,
)
from turn_factory import NOON, finish, finished, opened

from server.ledger import Ledger
from server.ledger_rows import (
    CloseRow,
    Item,
    LostRow,
    RejectRow,
    close_row,
    digest_row,
    open_row,
)
from server.ledger_spill import Spill, load
from server.ledger_writer import Writer

PATIENCE_S = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def test_a_lock_held_elsewhere_sends_rows_to_the_spill_and_back(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    turn, other = opened(), opened()
    harness.open(turn)
    harness.writer.work()

    with locked_by_another_process(path):
        harness.close(finish(turn))
        future = harness.open(other)
        harness.writer.work()

        state = harness.writer.state()
        assert state.status == "degraded"
        assert state.detail == (
            f"another process has locked the database; turns are kept in {harness.spill.name}"
        )
        assert (state.spilled, state.lost) == (2, 0)
        assert future.done(), "a spilled row is durable"
        assert stat.S_IMODE(harness.spill.stat().st_mode) == 0o600

        harness.writer.work(retry=True)
        assert harness.writer.is_degraded

    harness.settle()
    harness.writer.close()

    assert statuses(path) == {turn.id: "completed", other.id: "open"}
    assert not harness.spill.exists()
    assert (harness.told[-1].status, harness.told[-1].spilled) == ("ok", 0)
    assert is_sound(path)


def test_the_ledger_recovers_by_itself_once_the_lock_is_gone(path: Path) -> None:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    turn = opened()
    with locked_by_another_process(path):
        ledger.open_turn(turn).result(PATIENCE_S)
        assert not ledger.flush(PATIENCE_S)
        assert ledger.state.status == "degraded"

    assert ledger.flush(PATIENCE_S)
    assert ledger.state.status == "ok"
    ledger.close(PATIENCE_S)
    assert statuses(path) == {turn.id: "open"}


def test_tries_come_at_growing_intervals(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.fails_at = faults.calls + 1
    harness.open(opened())
    pauses = []
    for _ in range(8):
        harness.writer.work(retry=True)
        pauses.append(harness.writer.wait_s())

    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]

    calls = faults.calls
    harness.writer.work()
    assert faults.calls == calls, "not before its time"


async def test_a_try_comes_when_its_time_has_come(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.fails_at, faults.fails_once = faults.calls + 1, True
    harness.open(opened())
    harness.writer.work()
    assert harness.writer.is_degraded

    await harness.clock.advance(harness.writer.wait_s() or 0)
    harness.writer.work()

    assert not harness.writer.is_degraded


def test_a_full_disk_keeps_every_row(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    harness.writer.close()
    pages = path.stat().st_size // 4096
    turns = [finished(features={"filler": "x" * 3000}) for _ in range(60)]

    faults.max_pages = pages + 20
    harness = WriterHarness(path, "boot-2", connector=faults.connect)
    harness.writer.start()
    for turn in turns:
        harness.close(turn)
        harness.writer.work()
    state = harness.writer.state()
    assert state.detail == f"the disk is full; turns are kept in {harness.spill.name}"
    assert 0 < len(statuses(path)) < 60
    assert state.spilled == 60 - len(statuses(path))
    for _ in range(5):
        harness.writer.work(retry=True)
    assert harness.writer.wait_s() == 5.0, "a database that opens but cannot grow is no success"
    assert caplog.text.count("cannot be written") == 1

    faults.heal()
    harness.settle()
    harness.writer.close()

    assert set(statuses(path)) == {turn.id for turn in turns}
    assert rows(path, "SELECT count(*) FROM attempts") == [(60,)]
    assert is_sound(path)


@pytest.mark.parametrize("fails_once", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_a_failure_at_any_call_loses_and_doubles_nothing(
    path: Path, fails_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One life of a writer, again and again, each time with a later call failing."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    failing_call, total = 0, 1
    while failing_call <= total:
        failing_call += 1
        home = path.with_name(str(failing_call)) / "ledger.sqlite3"
        faults = Faults(flushes=False)
        faults.fails_at, faults.fails_once = failing_call, fails_once
        harness = WriterHarness(home, connector=faults.connect)
        harness.writer.start()
        one, two = opened(), opened()
        futures = [harness.open(one)]
        harness.writer.work()
        futures.append(harness.open(two))
        harness.close(finish(one))
        harness.writer.work()
        harness.close(finish(two))
        harness.writer.work()
        assert all(future.done() for future in futures)

        total = faults.calls
        faults.heal()
        harness.settle()
        harness.writer.close()

        assert statuses(home) == {one.id: "completed", two.id: "completed"}
        assert rows(home, "SELECT count(*) FROM attempts") == [(2,)]
        assert harness.writer.state().lost == 0
        assert harness.writer.state().duplicates == 0
        assert not harness.spill.exists()
        assert is_sound(home)
        shutil.rmtree(home.parent)
    assert total > 30, "the life above makes that many calls"


def test_a_removed_folder_is_noticed_and_made_again(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    before = opened()
    harness.open(before)
    harness.writer.work()
    shutil.rmtree(path.parent)

    turn = opened()
    future = harness.open(turn)
    harness.writer.work()
    assert not future.done(), "SQLite wrote into a file that has no name any more"
    assert harness.writer.state().detail == (
        "its folder or file was removed; turns are kept in memory only"
    )

    harness.close(finish(before))
    harness.settle()
    harness.writer.close()

    assert future.done()
    assert statuses(path) == {turn.id: "open", before.id: "completed"}
    assert is_sound(path)


def test_a_spill_whose_folder_was_removed_is_written_again(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.fails_at = faults.calls + 1
    turns = [opened(), opened()]
    harness.open(turns[0])
    harness.writer.work()
    assert harness.spill.exists()
    shutil.rmtree(path.parent)
    path.parent.mkdir()

    harness.open(turns[1])
    harness.writer.work()
    assert harness.writer.state().spilled == 2
    faults.heal()
    harness.settle()
    harness.writer.close()

    assert set(statuses(path)) == {turn.id for turn in turns}


def test_a_spill_removed_for_good_is_counted_as_lost(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.fails_at = faults.calls + 1
    harness.open(opened())
    harness.writer.work()
    harness.writer.close()
    assert harness.spill.exists()

    faults.heal()
    again = WriterHarness(path, connector=faults.connect)
    harness.spill.unlink()
    again.writer.start()
    again.settle()
    again.writer.close()

    assert again.writer.state().lost == 1
    assert rows(path, "SELECT lost FROM boots") == [(1,)]


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_removed_file_is_noticed(path: Path, suffix: str) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    first = opened()
    harness.open(first)
    harness.writer.work()
    Path(f"{path}{suffix}").unlink()

    turn = opened()
    harness.open(turn)
    harness.writer.work()
    assert harness.writer.is_degraded
    harness.settle()
    harness.writer.close()

    expected = {turn.id: "open"} if suffix == "" else {first.id: "open", turn.id: "open"}
    assert statuses(path) == expected
    assert harness.writer.state().duplicates == 0
    assert is_sound(path)


def test_without_database_and_spill_the_newest_rows_stay_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger_writer.RING_ROWS", 5)
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    harness.spill.mkdir()
    faults.fails_at = faults.calls + 1
    turns = [opened() for _ in range(8)]
    futures = []
    for turn in turns:
        futures.append(harness.open(turn))
        harness.writer.work()

    state = harness.writer.state()
    assert (state.status, state.spilled, state.lost) == ("degraded", 0, 3)
    assert state.detail is not None
    assert state.detail.endswith("turns are kept in memory only")
    assert not any(future.done() for future in futures)

    faults.heal()
    harness.settle()
    harness.spill.rmdir()
    harness.writer.close()

    assert set(statuses(path)) == {turn.id for turn in turns[3:]}
    assert [future.done() for future in futures] == [False] * 3 + [True] * 5
    after = WriterHarness(path, "boot-2")
    assert after.writer.start().state.lost == 3, "the count outlives the process"
    after.writer.close()


def test_a_close_takes_the_place_of_its_open_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger_writer.RING_ROWS", 2)
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    harness.spill.mkdir()
    faults.fails_at = faults.calls + 1
    turns = [opened(), opened()]
    for turn in turns:
        harness.open(turn)
    harness.writer.work()
    for turn in turns:
        harness.close(finish(turn))
    harness.writer.work()

    assert harness.writer.state().lost == 0
    faults.heal()
    harness.settle()
    harness.spill.rmdir()
    harness.writer.close()
    assert statuses(path) == {turn.id: "completed" for turn in turns}


def test_lost_rows_are_remembered_through_the_spill(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger_writer.RING_ROWS", 1)
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    harness.spill.mkdir()
    faults.fails_at = faults.calls + 1
    for _ in range(4):
        harness.open(opened())
    harness.writer.work()
    harness.spill.rmdir()
    harness.writer.close()
    assert harness.spill.exists()

    faults.heal()
    after = WriterHarness(path, "boot-2", connector=faults.connect)
    report = after.writer.start()
    after.writer.close()

    assert report.state.lost == 3
    assert report.replayed == 2, "one turn and the count"


def test_rows_that_fit_nowhere_at_the_end_are_counted_and_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    harness.spill.mkdir()
    faults.fails_at = faults.calls + 1
    harness.open(opened())
    harness.writer.close()

    assert harness.writer.state().lost == 1
    assert "1 ledger rows could not be written anywhere" in caplog.text


def test_a_start_that_cannot_write_is_degraded_and_recovers(path: Path) -> None:
    path.parent.parent.joinpath("state").write_text("a file where the folder should be")
    harness = WriterHarness(path)

    report = harness.writer.start()

    assert report.state.status == "degraded"
    turn = opened()
    future = harness.open(turn)
    harness.writer.work(retry=True)
    assert not future.done()
    path.parent.unlink()
    harness.settle()
    harness.writer.close()
    assert statuses(path) == {turn.id: "open"}


@pytest.mark.parametrize(
    "damage",
    [b"not a database at all, but some text" * 100, b"SQLite format 3\x00" + b"\xff" * 5000],
)
def test_a_file_that_is_no_database_is_moved_aside(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    harness = WriterHarness(path)

    report = harness.writer.start()
    turn = opened()
    harness.open(turn)
    harness.settle()
    harness.writer.close()

    assert report.moved_aside is not None
    assert report.moved_aside.read_bytes() == damage
    assert report.state.status == "ok"
    assert str(report.moved_aside) in (report.state.detail or "")
    assert "moved to" in caplog.text
    assert statuses(path) == {turn.id: "open"}


def test_a_damaged_page_is_found_at_start(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    for _ in range(50):
        harness.close(finished())
    harness.settle()
    harness.writer.close()
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xa5" * 4096)
    damaged = path.read_bytes()

    after = WriterHarness(path, "boot-2")
    report = after.writer.start()
    after.writer.close()

    assert report.moved_aside is not None
    assert report.moved_aside.read_bytes() == damaged
    assert statuses(path) == {}


def test_damage_met_while_running_is_moved_aside_too(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    first, second = opened(), opened()
    harness.open(first)
    harness.writer.work()
    faults.code, faults.fails_once = sqlite3.SQLITE_CORRUPT, True
    faults.fails_at = faults.calls + 2
    harness.open(second)
    harness.writer.work()
    assert harness.writer.is_degraded
    harness.close(finish(first))
    harness.settle()
    harness.writer.close()

    aside = [entry for entry in path.parent.iterdir() if ".corrupt-" in entry.name]
    assert statuses(aside[0]) == {first.id: "open"}
    assert statuses(path) == {first.id: "completed", second.id: "open"}


def test_a_disk_that_damages_everything_is_not_filled_with_copies(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.code = sqlite3.SQLITE_CORRUPT
    faults.fails_at = faults.calls + 1
    harness.open(opened())
    for _ in range(10):
        harness.writer.work(retry=True)

    asides = [entry for entry in path.parent.iterdir() if ".corrupt-" in entry.name]
    assert len([entry for entry in asides if not entry.name.endswith(("-wal", "-shm"))]) == 3
    assert harness.writer.state().spilled == 1


def test_one_row_the_database_refuses_does_not_stop_the_others(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    bad, good = close_row(finished(), "boot-1"), finished()
    harness.writer.add(CloseRow(bad.values | {"protocol": None}, bad.attempts, bad.limits))
    harness.close(good)
    harness.writer.work()

    assert harness.writer.is_settled
    assert harness.writer.state().lost == 1
    assert statuses(path) == {good.id: "completed"}
    harness.writer.close()
    assert rows(path, "SELECT lost FROM boots") == [(1,)]


def test_the_log_is_cut_after_a_quiet_while(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    harness.open(opened())
    harness.writer.work()
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 0
    assert harness.writer.wait_s() == 5.0

    harness.writer.idle()

    assert log.stat().st_size == 0
    assert harness.writer.wait_s() is None
    harness.writer.close()


def test_counts_alone_are_announced_once_a_second(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    faults.fails_at = faults.calls + 1
    for _ in range(20):
        harness.open(opened())
        harness.writer.work()

    assert [state.status for state in harness.told] == ["ok", "degraded"]
    assert harness.writer.state().spilled == 20


def test_a_disk_that_is_full_for_every_file_keeps_rows_in_memory(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    first, second = opened(), opened()
    harness.open(first)
    harness.writer.work()
    with files_limited_to(1):
        harness.close(finish(first))
        future = harness.open(second)
        harness.writer.work()
        harness.writer.work(retry=True)
        state = harness.writer.state()
        assert state.status == "degraded"
        assert state.detail is not None
        assert state.detail.endswith("turns are kept in memory only")
        assert not future.done()

    harness.settle()
    harness.writer.close()

    assert statuses(path) == {first.id: "completed", second.id: "open"}
    assert harness.writer.state().lost == 0
    assert is_sound(path)


def test_a_torn_append_leaves_the_spill_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    spill = Spill(path, dead_boot("dead"))
    turns = [finished() for _ in range(3)]
    spill.append([close_row(turns[0], "dead")])
    whole = spill.path.read_bytes()

    with files_limited_to(len(whole) + 100), pytest.raises(OSError, match="large"):
        spill.append([close_row(turns[1], "dead")])

    assert spill.path.read_bytes() == whole
    spill.append([close_row(turns[2], "dead")])
    assert spill.rows == 2
    spill.close()
    owner, items = load(spill.path)
    assert owner == dead_boot("dead")
    assert [item.key for item in items] == [("turn", turns[0].id), ("turn", turns[2].id)]


def test_every_kind_of_row_survives_the_spill(path: Path) -> None:
    path.parent.mkdir()
    turn = finished(blocks=None)
    items: list[Item] = [
        open_row(opened(blocks=b"\x00\xff"), "dead"),
        close_row(turn, "dead"),
        digest_row(finish(turn, blocks=b"\xff\x00", body_hash="hash")),
        RejectRow(int(NOON), "bad key", "dead", 401, 3),
        LostRow("dead", 5),
    ]
    spill = Spill(path, dead_boot("dead"))
    spill.append(items)
    spill.close()

    assert list(load(spill.path)[1]) == items

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    harness.writer.close()
    assert (report.replayed, report.state.lost) == (5, 5)
    assert rows(path, "SELECT reason, count FROM rejects") == [("bad key", 3)]
    digests = rows(path, "SELECT blocks, body_hash FROM turns WHERE id = ?", turn.id)
    assert digests == [(b"\xff\x00", "hash")]
    assert is_sound(path)


def test_the_thread_outlives_a_defect(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    work, calls = Writer.work, []

    def defective(self: Writer, *, retry: bool = False) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("a defect")
        work(self, retry=retry)

    monkeypatch.setattr(Writer, "work", defective)
    turn = opened()
    ledger.open_turn(turn)
    assert ledger.flush(PATIENCE_S)
    ledger.close(PATIENCE_S)

    assert statuses(path) == {turn.id: "open"}
    assert "unexpected error" in caplog.text

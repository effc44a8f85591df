"""Starting on what an earlier process left: open turns, spilled rows, other schemas."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_clock import FakeClock
from ledger_faults import Faults, WriterHarness, dead_boot, is_sound, rows, statuses
from turn_factory import NOON, finish, finished, opened

from server.ledger import Ledger, LedgerReader, LedgerTooNewError, NotALedgerError
from server.ledger_boots import Boot, is_alive, process_start
from server.ledger_rows import Item, close_row, open_row
from server.ledger_spill import Spill
from server.ledger_tables import MIGRATIONS
from server.record import Status, Turn

PATIENCE_S = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def died_with(path: Path, *turns: Turn, boot: str = "dead") -> WriterHarness:
    """A writer that recorded the turns as open and stopped without a word."""
    harness = WriterHarness(path, dead_boot(boot))
    harness.writer.start()
    for turn in turns:
        harness.open(turn)
    harness.settle()
    return harness


def test_open_turns_of_a_dead_process_become_interrupted_once(path: Path) -> None:
    turns = [opened(), opened(kind="count_tokens")]
    died_with(path, *turns)

    first = WriterHarness(path, "first")
    report = first.writer.start()
    assert (report.interrupted, report.state.recovered_interrupted) == (2, 2)
    second = WriterHarness(path, "second")
    assert second.writer.start().interrupted == 0
    first.writer.close()
    second.writer.close()

    assert statuses(path) == {turn.id: "interrupted" for turn in turns}
    unpriced = dict(rows(path, "SELECT id, unpriced FROM turns"))
    assert unpriced == {turns[0].id: 1, turns[1].id: 0}
    assert rows(path, "SELECT clean FROM boots WHERE boot_id = 'dead'") == [(0,)]
    assert is_sound(path)


def test_turns_left_open_by_a_clean_end_become_interrupted(path: Path) -> None:
    turn = opened()
    harness = died_with(path, turn)
    harness.writer.close()
    assert statuses(path) == {turn.id: "open"}

    after = WriterHarness(path, "after")
    assert after.writer.start().interrupted == 1
    after.writer.close()


def test_what_really_happened_replaces_interrupted(path: Path) -> None:
    turn = opened()
    died_with(path, turn)
    after = WriterHarness(path, "after")
    after.writer.start()
    assert statuses(path) == {turn.id: "interrupted"}

    after.close(finish(turn))
    after.settle()
    after.writer.close()

    assert statuses(path) == {turn.id: "completed"}
    assert after.writer.state().duplicates == 0
    assert is_sound(path)


def test_rows_spilled_by_a_dead_process_are_taken_over(path: Path) -> None:
    before, during = opened(), opened()
    died_with(path, before, during)
    spill = Spill(path, dead_boot("dead"))
    spill.append(_items(finish(before, blocks=b"\x00\x01digest")))
    spill.close()

    after = WriterHarness(path, "after")
    report = after.writer.start()
    after.writer.close()

    assert (report.replayed, report.interrupted) == (1, 1)
    assert statuses(path) == {before.id: "completed", during.id: "interrupted"}
    assert rows(path, "SELECT blocks FROM turns WHERE id = ?", before.id) == [(b"\x00\x01digest",)]
    assert not spill.path.exists()
    assert LedgerReader(path).turn(before.id) == before.detail()


def test_replaying_a_spill_twice_changes_nothing(path: Path, tmp_path: Path) -> None:
    turns = [finished() for _ in range(3)]
    spill = Spill(path, dead_boot("dead"))
    for turn in turns:
        spill.append(_items(turn))
    spill.close()
    kept = tmp_path / "kept"
    shutil.copy(spill.path, kept)

    for boot in ("one", "two"):
        harness = WriterHarness(path, boot)
        assert harness.writer.start().replayed == 3
        harness.writer.close()
        shutil.copy(kept, spill.path)

    assert rows(path, "SELECT count(*) FROM turns") == [(3,)]
    assert rows(path, "SELECT count(*) FROM attempts") == [(3,)]
    assert rows(path, "SELECT sum(turns) FROM rollup WHERE bucket = -1") == [(3,)]
    assert is_sound(path)


def test_a_torn_or_foreign_line_costs_that_line_only(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turns = [finished(), finished()]
    spill = Spill(path, dead_boot("dead"))
    spill.append(_items(turns[0]))
    spill.close()
    with spill.path.open("ab") as file:
        file.write(b'not json\n{"k":"of a later version"}\n{"k":"open"}\n[1]\n')
    Spill(path, dead_boot("dead")).append(_items(turns[1]))
    with spill.path.open("ab") as file:
        file.write(b'{"k":"close","turn":{"id":"gw_torn')

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    harness.writer.close()

    assert report.replayed == 2
    assert set(statuses(path)) == {turn.id for turn in turns}
    assert caplog.text.count("cannot be read") == 4


def test_the_spill_of_a_living_process_is_not_touched(path: Path) -> None:
    alive = Boot("other", os.getppid(), process_start(os.getppid()), NOON)
    spill = Spill(path, alive)
    spill.append(_items(finished()))
    spill.close()

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    harness.writer.close()

    assert report.replayed == 0
    assert spill.path.exists()


def test_an_unreadable_spill_does_not_stop_the_start(path: Path) -> None:
    Spill(path, dead_boot("dead")).path.mkdir()
    harness = WriterHarness(path, "after")
    assert harness.writer.start().state.status == "ok"
    harness.writer.close()


def test_a_process_is_told_from_another_with_its_pid() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        boot = Boot("child", child.pid, process_start(child.pid), NOON)
        assert boot.process_start != ""
        assert is_alive(boot)
        assert not is_alive(Boot("earlier", child.pid, "another start", NOON))
        child.kill()
        child.wait()
    assert not is_alive(boot)
    assert not is_alive(Boot("replaced", os.getpid(), process_start(os.getpid()), NOON))


def _write(path: Path) -> None:
    Ledger(path, clock=FakeClock(NOON), boot_id="b").start()


def _read(path: Path) -> None:
    LedgerReader(path).recent(10)


@pytest.mark.parametrize("use", [_write, _read])
def test_a_newer_schema_is_refused_and_left_as_it_is(
    path: Path, use: Callable[[Path], None]
) -> None:
    died_with(path, opened()).writer.close()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version = 999")
    conn.close()
    before = path.read_bytes()

    with pytest.raises(LedgerTooNewError, match="newer version"):
        use(path)

    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE theirs (x)")
    conn.close()
    before = path.read_bytes()

    with pytest.raises(NotALedgerError, match="another program"):
        _write(path)

    assert path.read_bytes() == before


NEWEST = len(MIGRATIONS)
NEXT_STEP = (
    "ALTER TABLE turns ADD COLUMN invented TEXT",
    "CREATE TABLE invented (x INTEGER) STRICT",
    "UPDATE turns SET invented = 'yes'",
)


def _teach_next_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.ledger_schema.MIGRATIONS", (*MIGRATIONS, NEXT_STEP))
    monkeypatch.setattr("server.ledger_schema.NEWEST", len(MIGRATIONS) + 1)


def test_a_migration_keeps_the_rows_and_a_verified_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = opened()
    died_with(path, turn).writer.close()
    _teach_next_schema(monkeypatch)

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    harness.writer.close()

    assert report.migrated_from == NEWEST
    assert rows(path, "SELECT id, invented FROM turns") == [(turn.id, "yes")]
    backup = path.with_name(f"{path.name}.backup-v{NEWEST}")
    assert rows(backup, "SELECT id, status FROM turns") == [(turn.id, "open")]
    assert rows(backup, "PRAGMA user_version") == [(NEWEST,)]
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_stops_anywhere_leaves_one_schema_or_the_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = opened()
    died_with(path, turn).writer.close()
    original = path.read_bytes()
    _teach_next_schema(monkeypatch)
    failing_call, total, seen = 0, 1, set()
    while failing_call <= total:
        failing_call += 1
        path.write_bytes(original)
        faults = Faults(flushes=False)
        faults.fails_at = failing_call
        harness = WriterHarness(path, "after", connector=faults.connect)
        harness.writer.start()
        total = faults.calls
        harness.writer.close()

        version = rows(path, "PRAGMA user_version")[0][0]
        tables = {name for (name,) in rows(path, "SELECT name FROM sqlite_master")}
        columns = {name for (name,) in rows(path, "SELECT name FROM pragma_table_info('turns')")}
        assert ("invented" in tables, "invented" in columns) == (version == NEWEST + 1,) * 2
        assert turn.id in statuses(path)
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        seen.add(version)

    assert seen == {NEWEST, NEWEST + 1}, "both sides of the commit were tried"


def test_a_boot_is_on_record_with_its_process(path: Path) -> None:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1")
    ledger.start()
    recorded = rows(path, "SELECT boot_id, pid, process_start, started_at, ended_at FROM boots")
    ledger.close(PATIENCE_S)
    assert recorded == [("boot-1", os.getpid(), process_start(os.getpid()), NOON, None)]


def _items(turn: Turn) -> list[Item]:
    return [open_row(turn, "dead") if turn.status is Status.OPEN else close_row(turn, "dead")]

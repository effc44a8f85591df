"""Rows that are safe before they are in the database."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_clock import FakeClock
from ledger_faults import is_sound, locked_by_another_process, statuses
from turn_factory import NOON, finish, opened

from server.ledger import GATHER_ROWS, Ledger
from server.ledger_boots import Boot
from server.ledger_journal import Journal
from server.ledger_spill import read
from server.record import Proposal, Saving

PATIENCE_S = 20
BOOT = Boot("boot-1", os.getpid(), "x", NOON)


@contextlib.contextmanager
def a_ledger(path: Path, boot_id: str = "boot-1") -> Iterator[Ledger]:
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id=boot_id, has_journal=True)
    ledger.start()
    try:
        yield ledger
    finally:
        ledger.close(PATIENCE_S)


def journals(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.ahead-*"))


def test_a_row_is_safe_when_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with a_ledger(path) as ledger, locked_by_another_process(path):
        turn = opened()
        assert ledger.open_turn(turn).done()
        assert ledger.close_turn(finish(turn)).done()
        kinds = [type(entry).__name__ for file in journals(path) for entry in read(file)]
        assert sorted(kinds) == ["Boot", "Boot", "CloseRow", "OpenRow"]
    assert statuses(path) == {turn.id: "completed"}


def test_the_files_are_cut_after_the_commit_and_go_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with a_ledger(path) as ledger:
        for _ in range(3):
            turn = opened()
            ledger.open_turn(turn)
            ledger.close_turn(finish(turn))
            assert ledger.flush(PATIENCE_S)
        assert ledger.flush(PATIENCE_S), "the cut comes after the answer to the one before"
        assert [len(list(read(file))) for file in journals(path)] == [1, 1]
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in journals(path))
        assert len(statuses(path)) == 3
    assert journals(path) == []


def test_many_rows_do_not_wait_for_more(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with a_ledger(path) as ledger:
        for _ in range(GATHER_ROWS * 2):
            ledger.open_turn(opened())
        assert ledger.flush(PATIENCE_S)
        assert len(statuses(path)) == GATHER_ROWS * 2


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with a_ledger(path, "before"):
        pass
    journal = Journal(path, BOOT)
    saving = Saving("open", 0.01, 0.25, -1.0, 1.0, 0.25, baseline_usd=0.5)
    done, open_one = (opened(proposal=Proposal("groq", "m", "would_move", "w")) for _ in range(2))
    journal.opened(done)
    journal.closed(finish(done, saving=saving))
    journal.turn_over()
    journal.opened(open_one)
    journal.remove(is_safe=False)
    with journals(path)[0].open("ab") as file:
        file.write(b'{"k": "close", "turn": {"id": "torn')

    with a_ledger(path, "after"):
        pass

    assert statuses(path) == {done.id: "completed", open_one.id: "interrupted"}
    assert journals(path) == []
    assert is_sound(path)


def test_rows_of_the_other_file_are_kept_until_they_are_safe(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    journal = Journal(path, BOOT)
    for _ in range(2):
        journal.opened(opened())
        journal.turn_over()
    journal.opened(opened())
    assert [len(list(read(file))) for file in journals(path)] == [2, 3], "none was free to turn to"
    journal.forget()
    assert [len(list(read(file))) for file in journals(path)] == [1, 3]
    journal.remove(is_safe=True)
    assert journals(path) == []


def test_a_disk_that_takes_no_line_leaves_the_row_to_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite3"
    with a_ledger(path) as ledger:
        ledger.open_turn(opened()).result(PATIENCE_S)
        assert ledger.flush(PATIENCE_S)
        with monkeypatch.context() as patched:
            # A full disk takes the beginning of a line.
            patched.setattr("server.ledger_journal.os.write", lambda fd, data: len(data) - 1)
            turn = opened()
            ledger.open_turn(turn).result(PATIENCE_S)
        assert statuses(path)[turn.id] == "open"


def test_a_removed_folder_is_found_out_and_made_good(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.sqlite3"
    path.parent.mkdir()
    with a_ledger(path) as ledger:
        ledger.open_turn(opened())
        assert ledger.flush(PATIENCE_S)
        shutil.rmtree(path.parent)
        ledger.open_turn(opened())
        ledger.flush(PATIENCE_S)
        assert ledger.state.status == "degraded"
        path.parent.mkdir()
        assert ledger.flush(PATIENCE_S)
        turn = opened()
        ledger.open_turn(turn)
        assert ledger.flush(PATIENCE_S)
        assert turn.id in statuses(path)


def test_a_power_loss_is_no_matter_for_a_journal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="power loss"):
        Ledger(tmp_path / "l", clock=FakeClock(), boot_id="b", durability="full", has_journal=True)

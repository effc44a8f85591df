from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from fake_clock import FakeClock
from gateway_process import until
from turn_factory import NOON, finished, opened

from server.ledger import Ledger, LedgerReader, NotALedgerError
from server.ledger_retention import (
    EVERY_S,
    FIRST_S,
    Choice,
    copies,
    count,
    keep_small,
    prune,
    purge,
    sessions_like,
)

DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def filled(path: Path, *, days: int = 10, each: int = 3, note: str = "") -> Ledger:
    """A ledger with ``each`` finished turns a day, the newest at ``NOON``; one is still open."""
    ledger = Ledger(path, clock=FakeClock(), boot_id="boot-1")
    ledger.start()
    for day in range(days):
        for number in range(each):
            at = NOON - day * DAY - number
            ledger.close_turn(
                finished(at=at, session=f"s-{day}", project=f"~/p{number}", label=note)
            )
    ledger.open_turn(opened(at=NOON - 400 * DAY)).result(timeout=10)
    assert ledger.flush(10)
    return ledger


def turns(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return int(conn.execute("SELECT count(*) FROM turns").fetchone()[0])


def test_only_finished_turns_that_are_old_enough_go_and_sums_stay(path: Path) -> None:
    ledger = filled(path)
    before = LedgerReader(path).totals()
    assert prune(path, keep_days=4.5, max_mb=0, now=NOON) == 15
    assert turns(path) == 16
    assert LedgerReader(path).totals() == before
    assert prune(path, keep_days=4.5, max_mb=0, now=NOON) == 0
    ledger.close(10)


def test_the_oldest_go_until_the_rest_fits(path: Path) -> None:
    ledger = filled(path, each=300, note="x" * 900)
    ledger.close(10)
    size = path.stat().st_size
    wanted = size / 2 / 1024 / 1024
    gone = prune(path, keep_days=0, max_mb=wanted, now=NOON)
    assert 1000 <= gone < 3000
    newest = LedgerReader(path).recent(1)
    assert newest[0]["at"] == NOON
    assert prune(path, keep_days=0, max_mb=wanted, now=NOON) == 0


def test_nothing_goes_without_a_limit_or_a_ledger(path: Path) -> None:
    assert prune(path, keep_days=1, max_mb=1, now=NOON) == 0
    assert not path.exists()
    filled(path).close(10)
    assert prune(path, keep_days=0, max_mb=0, now=NOON) == 0


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE turns (at REAL, status TEXT)")
    with pytest.raises(NotALedgerError):
        prune(path, keep_days=1, max_mb=0, now=NOON)
    with pytest.raises(NotALedgerError):
        purge(path, Choice())


@pytest.mark.parametrize(
    ("choice", "gone"),
    [(Choice(session="s-3"), 3), (Choice(project="~/p1"), 10), (Choice(session="s-none"), 0)],
)
def test_a_purge_takes_what_was_chosen_from_the_file_too(
    path: Path, choice: Choice, gone: int
) -> None:
    filled(path).close(10)
    name = (choice.session or choice.project or "").encode()
    assert count(path, choice) == gone
    assert purge(path, choice) == gone
    assert count(path, choice) == 0
    assert turns(path) == 31 - gone
    assert name not in path.read_bytes()


def test_a_purge_of_everything_beside_a_gateway_leaves_it_writing(path: Path) -> None:
    ledger = filled(path)
    assert purge(path, Choice()) == 31
    assert LedgerReader(path).totals() == []
    ledger.close_turn(finished())
    assert ledger.flush(10)
    assert (turns(path), ledger.state.status) == (1, "ok")
    ledger.close(10)


def test_sessions_are_found_by_how_they_begin(path: Path) -> None:
    assert sessions_like(path, "s") == []
    filled(path, days=12).close(10)
    assert sorted(sessions_like(path, "s-1")) == ["s-1", "s-10", "s-11"]
    assert sessions_like(path, "s-_") == []


def test_copies_beside_it_are_found(path: Path) -> None:
    for name in ("backup-v1", "corrupt-2026", "spill-x.jsonl", "other"):
        path.with_name(f"{path.name}.{name}").touch()
    assert [p.suffix for p in copies(path)] == [".backup-v1", ".corrupt-2026", ".jsonl"]


async def test_a_gateway_looks_now_and_then(path: Path) -> None:
    filled(path).close(10)
    clock = FakeClock(NOON)
    looks: list[float] = []

    def limits() -> tuple[float, float]:
        looks.append(clock.time())
        return (0, 0) if len(looks) == 1 else (4.5, 0)

    task = asyncio.get_running_loop().create_task(keep_small(path, limits, clock))
    await clock.advance(FIRST_S - 1)
    assert looks == []
    await clock.advance(1)
    assert (len(looks), turns(path)) == (1, 31)
    await clock.advance(EVERY_S)
    assert len(looks) == 2
    await until(lambda: turns(path) == 16, "nothing was removed")
    task.cancel()
    await asyncio.wait({task})

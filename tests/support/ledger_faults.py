"""Ways to make a ledger's database fail, and ways to look at it from outside."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fake_clock import FakeClock
from turn_factory import NOON

from server.ledger_boots import Boot, this_boot
from server.ledger_rows import close_row, open_row
from server.ledger_schema import Connect
from server.ledger_state import LedgerState
from server.ledger_writer import Writer
from server.record import Turn


class Faults:
    """Decides for all connections of one ledger which call fails."""

    def __init__(self, *, flushes: bool = True) -> None:
        self.flushes = flushes
        """Without, SQLite leaves flushing to the system: quicker, and the same until a power loss."""
        self.calls = 0
        self.fails_at: int | None = None
        """Number of the call that fails, and all after it."""
        self.fails_once = False
        self.code = sqlite3.SQLITE_IOERR
        self.statements: list[str] = []
        self.connections: list[sqlite3.Connection] = []
        self.max_pages = 0

    def connect(self, path: Path) -> sqlite3.Connection:
        """Pass this to the ledger."""
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                faults.before(sql)
                if not faults.flushes and "synchronous" in sql:
                    sql = "PRAGMA synchronous = OFF"
                return super().execute(sql, *args)

        conn = sqlite3.connect(path, isolation_level=None, timeout=0.05, factory=Connection)
        self.connections.append(conn)
        if self.max_pages:
            conn.execute(f"PRAGMA max_page_count = {self.max_pages}")
        return conn

    def before(self, sql: str) -> None:
        """Count a call and fail it when its turn has come."""
        self.calls += 1
        self.statements.append(sql)
        if self.fails_at is None or self.calls < self.fails_at or "ROLLBACK" in sql:
            return
        if self.fails_once:
            self.fails_at = None
        kind = sqlite3.OperationalError
        if self.code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            kind = sqlite3.DatabaseError  # type: ignore[assignment]
        error = kind("injected")
        error.sqlite_errorcode = self.code
        raise error

    def heal(self) -> None:
        """No further call fails."""
        self.fails_at = None
        self.max_pages = 0


class WriterHarness:
    """A writer without its thread: every step happens when the test says so."""

    def __init__(
        self, path: Path, boot: str | Boot = "boot-1", *, connector: Connect | None = None
    ) -> None:
        self.path = path
        self.clock = FakeClock(NOON)
        self.boot = this_boot(boot, NOON) if isinstance(boot, str) else boot
        self.told: list[LedgerState] = []
        self.writer = Writer(
            path,
            self.boot,
            clock=self.clock,
            durability="normal",
            connect=connector or Faults(flushes=False).connect,
            announce=self.told.append,
        )

    def open(self, turn: Turn) -> Future[None]:
        """Add the turn's write-ahead row."""
        future: Future[None] = Future()
        self.writer.add(open_row(turn, self.boot.boot_id), future)
        return future

    def close(self, turn: Turn) -> None:
        """Add the turn's terminal row."""
        self.writer.add(close_row(turn, self.boot.boot_id))

    def settle(self) -> None:
        """Work until every row is in the database, at most a hundred rounds."""
        for _ in range(100):
            self.writer.work(retry=True)
            if self.writer.is_settled:
                return
        raise AssertionError(f"not settled: {self.writer.state()}")

    @property
    def spill(self) -> Path:
        """The writer's spill file."""
        return self.path.with_name(f"{self.path.name}.spill-{self.boot.boot_id}.jsonl")


def rows(path: Path, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """What another program sees."""
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as conn:
        return conn.execute(sql, arguments).fetchall()


def statuses(path: Path) -> dict[str, str]:
    """Every turn's status by id."""
    return dict(rows(path, "SELECT id, status FROM turns"))


def is_sound(path: Path) -> bool:
    """SQLite's own verdict, and whether the rollups agree with the rows they sum up."""
    by_savings, by_group = (
        rows(path, f"SELECT coalesce(sum({count}), 0), coalesce(sum(usd_nusd), 0) FROM {table}")
        for count, table in (("ended", "savings"), ("proposals", "savings_rollup"))
    )
    from_turns = rows(
        path,
        "SELECT count(*), coalesce(sum(cost_nusd), 0), coalesce(sum(unpriced), 0)"
        " FROM turns WHERE status <> 'open'",
    )
    sums = "coalesce(sum(turns), 0), coalesce(sum(cost_nusd), 0), coalesce(sum(unpriced), 0)"
    by_time = rows(path, f"SELECT {sums} FROM rollup WHERE bucket >= 0")
    for_ever = rows(path, f"SELECT {sums} FROM rollup WHERE bucket = -1")
    intact = rows(path, "PRAGMA integrity_check") == [("ok",)]
    return (
        intact
        and rows(path, "PRAGMA foreign_key_check") == []
        and from_turns == by_time == for_ever
        and by_savings == by_group
    )


def dead_boot(boot_id: str) -> Boot:
    """A boot of a process that cannot be alive."""
    return Boot(boot_id, 2**22 + 1, "no such process", NOON - 100)


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes inside the block, as on a full disk.

    A write across the bound is cut short first and refused next, which is what makes torn lines.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


_HOLDER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
conn.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
conn.execute("ROLLBACK")
conn.close()
"""


@contextlib.contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    """Another process holds the database's write lock inside the block."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.stdin.write("\n")
            holder.stdin.close()
            holder.wait(10)

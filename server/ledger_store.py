"""The writing side of the database: one connection, owned by one thread.

Every method raises ``sqlite3.Error`` or ``OSError`` when the database cannot be used; the store is
then to be closed and opened again. Nothing here waits, retries or keeps rows.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Final

from server import ledger_savings as savings
from server import ledger_schema as schema
from server import ledger_scores as scores
from server import ledger_spill as spill
from server.ledger_boots import Boot, is_alive
from server.ledger_rows import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    CloseRow,
    DigestRow,
    Item,
    LostRow,
    OpenRow,
    RejectRow,
)
from server.ledger_savings import SavingRow
from server.ledger_scores import RungRow, ScoreRow

_log = logging.getLogger("sbgw.ledger")

BUSY_MS: Final = 250
"""How long a commit waits for another process. Short, because rows that cannot be committed are
safe in the spill file at once, while a waiting writer holds them in memory only."""

REPLAY_ROWS: Final = 500
"""Rows of a spill file that go into one transaction."""

_ROW_ERRORS: Final = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
)


def is_about_one_row(error: Exception) -> bool:
    """Whether an error says something about one row, not about the database."""
    if isinstance(error, sqlite3.Error):
        return isinstance(error, _ROW_ERRORS)
    return not isinstance(error, OSError)


def _insert(table: str, columns: Iterable[str]) -> str:
    names = tuple(columns)
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - constants


def _insert_in_order(table: str, columns: Iterable[str]) -> str:
    """The same with nameless parameters: SQLite's binding looks a name up for every value."""
    names = tuple(columns)
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - constants


_turn_of = itemgetter(*COLUMNS)
_attempt_of = itemgetter(*ATTEMPT_COLUMNS)
_LIMIT_COLUMNS: Final = ("provider", "name", "fields")
_limit_of = itemgetter(*_LIMIT_COLUMNS)

_KEPT_ON_CLOSE: Final = ("id", "at", "boot_id")
_OPEN_TURN: Final = _insert_in_order("turns", COLUMNS) + " ON CONFLICT (id) DO NOTHING"
_CLOSE_TURN: Final = (
    _insert_in_order("turns", COLUMNS)
    + " ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _KEPT_ON_CLOSE)
    # ``interrupted`` is a presumption; what really happened replaces it.
    + " WHERE turns.status IN ('open', 'interrupted')"
)
_DIGEST: Final = "UPDATE turns SET blocks = :blocks, body_hash = :body_hash WHERE id = :id"
_ATTEMPT: Final = (
    _insert_in_order("attempts", ("turn_id", *ATTEMPT_COLUMNS)) + " ON CONFLICT DO NOTHING"
)
_LIMIT: Final = (
    _insert_in_order("rate_limits", ("turn_id", "position", *_LIMIT_COLUMNS))
    + " ON CONFLICT DO NOTHING"
)
_LATEST_LIMIT: Final = (
    _insert("rate_limits_latest", ("provider", "name", "fields", "at"))
    + " ON CONFLICT DO UPDATE SET fields = excluded.fields, at = excluded.at"
    " WHERE excluded.at >= rate_limits_latest.at"
)
_REJECT: Final = (
    _insert("rejects", ("second", "reason", "boot_id", "http_status", "count"))
    + " ON CONFLICT DO UPDATE SET count = max(count, excluded.count)"
)
_BOOT: Final = (
    _insert("boots", ("boot_id", "pid", "process_start", "started_at")) + " ON CONFLICT DO NOTHING"
)
_LOST: Final = "UPDATE boots SET lost = max(lost, :count) WHERE boot_id = :boot_id"
_RUNNING_BOOTS: Final = (
    "SELECT boot_id, pid, process_start, started_at FROM boots"
    " WHERE ended_at IS NULL AND boot_id <> ?"
)
_DIED: Final = "UPDATE boots SET ended_at = ? WHERE boot_id = ?"
_INTERRUPT: Final = (
    "UPDATE turns SET status = 'interrupted', unpriced = (kind <> 'count_tokens')"
    " WHERE status = 'open' AND boot_id = ?"
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening the database found and repaired."""

    migrated_from: int | None
    """Schema version of an existing ledger that was brought up to date."""
    interrupted: int
    replayed: int
    others_alive: tuple[Boot, ...]
    lost: int
    """Rows that other processes could not keep, ever."""


class Store:
    """An open database."""

    def __init__(self, conn: sqlite3.Connection, path: Path, boot: Boot) -> None:
        self._conn = conn
        self._path = path
        self._boot = boot
        self._file = os.stat(path)
        mode = conn.execute("PRAGMA journal_mode").fetchone()[0]
        self._has_log = mode == "wal"
        self._log_file: os.stat_result | None = None

    def apply(self, items: Sequence[Item]) -> int:
        """Write all items in one transaction; returns how many terminal states were already set.

        Nothing is written when it raises; see ``is_about_one_row``.
        """
        with self._transaction():
            ignored = sum(self._apply_one(item) for item in items)
        self._check_in_place()
        return ignored

    def apply_each(self, items: Sequence[Item]) -> tuple[int, list[tuple[Item, Exception]]]:
        """Like ``apply``, but leaves out, and returns, the rows that cannot be written."""
        refused: list[tuple[Item, Exception]] = []
        ignored = 0
        with self._transaction():
            for item in items:
                self._conn.execute("SAVEPOINT one_row")
                try:
                    ignored += self._apply_one(item)
                except Exception as error:
                    if not is_about_one_row(error):
                        raise
                    self._conn.execute("ROLLBACK TO one_row")
                    refused.append((item, error))
                self._conn.execute("RELEASE one_row")
        self._check_in_place()
        return ignored, refused

    def recover(self, now: float) -> Recovery:
        """Register this boot, take over what dead processes left behind; idempotent."""
        with self._transaction():
            self._register(self._boot)
        replayed = self._replay_left_behind()
        running = [Boot(*row) for row in self._conn.execute(_RUNNING_BOOTS, (self._boot.boot_id,))]
        alive = tuple(boot for boot in running if is_alive(boot))
        with self._transaction():
            interrupted = self._interrupt_all_but({self._boot, *alive})
            for boot in set(running).difference(alive):
                self._conn.execute(_DIED, (now, boot.boot_id))
        lost = self._conn.execute(
            "SELECT coalesce(sum(lost), 0) FROM boots WHERE boot_id <> ?", (self._boot.boot_id,)
        ).fetchone()[0]
        return Recovery(None, interrupted, replayed, alive, int(lost))

    def make_durable(self) -> None:
        """Bring everything committed so far to the disk, also against a power loss."""
        self.checkpoint()
        for name in (f"{self._path}-wal", str(self._path)):
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database and cut it, unless a reader is in the way."""
        self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def end(self, now: float) -> None:
        """Note a clean end of this boot."""
        with self._transaction():
            self._conn.execute(
                "UPDATE boots SET ended_at = ?, clean = 1 WHERE boot_id = ?",
                (now, self._boot.boot_id),
            )

    def close(self) -> None:
        """Close the connection; never raises."""
        try:
            self._conn.close()
        except sqlite3.Error as error:
            _log.warning("the ledger did not close cleanly: %s", error)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._conn)

    def _apply_one(self, item: Item) -> int:
        match item:
            case OpenRow(values, saving):
                is_new = self._conn.execute(_OPEN_TURN, _turn_of(values)).rowcount > 0
                if saving is not None and is_new:
                    self._conn.execute(savings.UPSERT, saving)
            case CloseRow():
                return self._close_turn(item)
            case DigestRow(values):
                self._conn.execute(_DIGEST, values)
            case SavingRow(values):
                self._conn.execute(savings.SETTLE, values)
            case ScoreRow(values):
                self._conn.execute(scores.ADD_SCORE, values)
            case RungRow(values):
                self._conn.execute(scores.ADD_RUNG, values)
            case RejectRow():
                self._conn.execute(
                    _REJECT, {name: getattr(item, name) for name in RejectRow.__slots__}
                )
            case LostRow(boot_id, count):
                self._conn.execute(_LOST, {"boot_id": boot_id, "count": count})
        return 0

    def _close_turn(self, item: CloseRow) -> int:
        if self._conn.execute(_CLOSE_TURN, _turn_of(item.values)).rowcount == 0:
            return 1
        turn_id = item.values["id"]
        for attempt in item.attempts:
            self._conn.execute(_ATTEMPT, (turn_id, *_attempt_of(attempt)))
        for position, limit in enumerate(item.limits):
            self._conn.execute(_LIMIT, (turn_id, position, *_limit_of(limit)))
            self._conn.execute(_LATEST_LIMIT, limit)
        if item.saving is not None:
            self._conn.execute(savings.UPSERT, item.saving)
        return 0

    def _register(self, boot: Boot) -> None:
        self._conn.execute(_BOOT, asdict(boot))

    def _interrupt_all_but(self, alive: Iterable[Boot]) -> int:
        running = {boot.boot_id for boot in alive}
        owners = self._conn.execute("SELECT DISTINCT boot_id FROM turns WHERE status = 'open'")
        dead = [owner for (owner,) in owners.fetchall() if owner not in running]
        interrupted = sum(self._conn.execute(_INTERRUPT, (owner,)).rowcount for owner in dead)
        self._conn.execute(savings.INTERRUPT)
        for (owner,) in self._conn.execute(savings.OWNERS).fetchall():
            if owner not in running:
                orphan = {"note": savings.RESTARTED, "boot_id": owner}
                self._conn.execute(savings.ABANDON, orphan)
        return interrupted

    def _replay_left_behind(self) -> int:
        """Write what dead processes had spilled, then remove their files."""
        replayed = 0
        for path in spill.left_behind(self._path, self._boot):
            try:
                owner, items = spill.load(path)
            except OSError as error:
                _log.error("rows waiting in %s cannot be read: %s", path, error)
                continue
            if owner is not None:
                if is_alive(owner):
                    continue
                with self._transaction():
                    self._register(owner)
            replayed += self._replay(items)
            self.make_durable()
            with contextlib.suppress(OSError):
                path.unlink()
        return replayed

    def _replay(self, items: Iterable[Item]) -> int:
        remaining, count = iter(items), 0
        while chunk := list(itertools.islice(remaining, REPLAY_ROWS)):
            count += len(chunk)
            try:
                self.apply(chunk)
            except Exception as problem:
                if not is_about_one_row(problem):
                    raise
                for item, error in self.apply_each(chunk)[1]:
                    _log.error("a spilled row of turn %s is unusable: %s", item.key, error)
        return count

    def _check_in_place(self) -> None:
        """Raise when the files were removed or replaced: SQLite would write into nothing."""
        try:
            if not os.path.samestat(os.stat(self._path), self._file):
                raise FileNotFoundError(f"{self._path} was replaced by another file")
            if not self._has_log:
                return
            log_file = os.stat(f"{self._path}-wal")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self._path} was removed") from error
        if self._log_file is not None and not os.path.samestat(log_file, self._log_file):
            raise FileNotFoundError(f"{self._path}-wal was replaced")
        self._log_file = log_file


class _Transaction:
    """``BEGIN IMMEDIATE`` ... ``COMMIT``, or ``ROLLBACK`` on any exception."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def __enter__(self) -> None:
        self._conn.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._conn.execute("COMMIT")
                return
        except BaseException:
            self._rollback()
            raise
        self._rollback()

    def _rollback(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")


def open_store(
    path: Path,
    boot: Boot,
    *,
    now: Callable[[], float],
    durability: str,
    connect: schema.Connect,
    busy_ms: int,
) -> tuple[Store, Recovery]:
    """Open, check, migrate and recover.

    Raises ``LedgerError`` for a file that is not ours to write, ``sqlite3.Error`` and ``OSError``
    (see ``ledger_schema.is_corruption``) for one that cannot be used now.
    """
    schema.create_private(path)
    schema.refuse_foreign(path, busy_ms=busy_ms)
    conn = connect(path)
    try:
        schema.configure(conn, durability, busy_ms)
        schema.check_pages(conn, path)
        found = schema.migrate(conn, path)
        store = Store(conn, path, boot)
        recovery = store.recover(now())
        conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            conn.close()
        raise
    was_migrated = 0 < found < schema.NEWEST
    return store, replace(recovery, migrated_from=found if was_migrated else None)

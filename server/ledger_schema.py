"""How the ledger's file is opened, judged, brought up to date and moved out of the way."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from server.ledger_tables import MIGRATIONS

APPLICATION_ID: Final = 0x53424757
"""``SBGW``; tells our file from any other SQLite database."""

NEWEST: Final = len(MIGRATIONS)
"""The schema version this program writes."""

BUSY_AT_START_MS: Final = 5000
"""How long opening and migrating waits for another process."""

QUICK_CHECK_LIMIT: Final = 32 * 1024 * 1024
"""Files up to this many bytes are checked page by page at start; larger ones when a page is met."""

Connect = Callable[[Path], sqlite3.Connection]
"""Opens a writing connection; tests pass one that fails on demand."""


class LedgerError(Exception):
    """The ledger cannot be used as asked; ``str()`` is safe to show to a user."""


class LedgerTooNewError(LedgerError):
    """The file was written by a newer version; it has not been touched."""


class NotALedgerError(LedgerError):
    """The file is another program's SQLite database; it has not been touched."""


def connect(path: Path) -> sqlite3.Connection:
    """A writing connection in autocommit mode, bound to the calling thread."""
    return sqlite3.connect(path, isolation_level=None, timeout=BUSY_AT_START_MS / 1000)


def connect_read_only(path: Path, timeout_s: float = 1.0) -> sqlite3.Connection:
    """A connection that cannot write.

    A database whose folder is not writable can only be read as immutable, which is right as long
    as no write-ahead log lies beside it.
    """
    uri = path.absolute().as_uri()
    for query in ("?mode=ro", "?mode=ro&immutable=1"):
        conn = sqlite3.connect(uri + query, uri=True, isolation_level=None, timeout=timeout_s)
        try:
            conn.execute("PRAGMA query_only = 1")
            conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            conn.close()
            cannot_open = primary_code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if query.endswith("ro") and cannot_open and not _has_log(path):
                continue
            raise
        except BaseException:
            conn.close()
            raise
        return conn
    raise AssertionError  # pragma: no cover


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code of an error, ``None`` when it is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def is_corruption(error: BaseException) -> bool:
    """Whether the error says that the file's content is not a sound database."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def create_private(path: Path) -> None:
    """Make sure the file exists with mode 0600, and its folder (0700 when made here)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def refuse_foreign(path: Path, *, busy_ms: int = BUSY_AT_START_MS) -> None:
    """Look at an existing file without changing it.

    Raises ``LedgerTooNewError`` or ``NotALedgerError``; ``sqlite3.DatabaseError`` when it is not a
    sound database.
    """
    with contextlib.closing(connect_read_only(path, busy_ms / 1000)) as conn:
        check_identity(conn, path)


def check_identity(conn: sqlite3.Connection, path: Path) -> int:
    """The schema version of a file; raises like ``refuse_foreign``."""
    application, version = _identity(conn)
    tables = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (application or version or tables):
        raise NotALedgerError(f"{path} is another program's database; it was left as it is")
    if version > NEWEST:
        raise LedgerTooNewError(
            f"{path} was written by a newer version (schema {version}, this one knows {NEWEST}); "
            "it was left as it is: upgrade, or name another state folder"
        )
    return version


def check_pages(conn: sqlite3.Connection, path: Path) -> None:
    """Raise ``sqlite3.DatabaseError`` when a small file holds a damaged page."""
    if path.stat().st_size > QUICK_CHECK_LIMIT:
        return
    verdict = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        error = sqlite3.DatabaseError(f"damaged: {verdict}")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def configure(conn: sqlite3.Connection, durability: str, busy_ms: int) -> None:
    """Set what SQLite keeps per connection, and WAL, which it keeps per file."""
    conn.execute(f"PRAGMA busy_timeout = {busy_ms}")
    if durability == "full":
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute("PRAGMA fullfsync = ON")
    else:
        conn.execute("PRAGMA synchronous = NORMAL")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA wal_autocheckpoint = 1000")


def migrate(
    conn: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] | None = None
) -> int:
    """Bring the schema up to date in one transaction; returns the version found.

    An existing ledger is copied to ``<path>.backup-v<old>`` first and the copy verified. A crash
    at any point leaves the old schema or the new one. Raises ``sqlite3.Error`` or ``OSError``.
    """
    steps = MIGRATIONS if migrations is None else migrations
    found = _identity(conn)[1]
    if found >= len(steps):
        return found
    if found > 0:
        _backup(conn, path.with_name(f"{path.name}.backup-v{found}"))
    conn.execute("BEGIN EXCLUSIVE")
    try:
        for statements in steps[_identity(conn)[1] :]:
            for statement in statements:
                conn.execute(statement)
        conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        conn.execute(f"PRAGMA user_version = {max(len(steps), _identity(conn)[1])}")
        conn.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            conn.execute("ROLLBACK")
        raise
    return found


def move_aside(path: Path, stamp: str) -> Path:
    """Rename a damaged database with its log files; nothing is deleted."""
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    os.rename(path, target)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{target}{suffix}")
    return target


def _backup(conn: sqlite3.Connection, target: Path) -> None:
    """Copy the database, flush the copy to disk and check it before anyone relies on it."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    create_private(partial)
    with contextlib.closing(connect(partial)) as copy:
        conn.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok" or _identity(copy) != _identity(conn):
            raise sqlite3.DatabaseError(f"the backup {partial} does not verify: {verdict}")
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, target)


def _identity(conn: sqlite3.Connection) -> tuple[int, int]:
    application = conn.execute("PRAGMA application_id").fetchone()[0]
    return int(application), int(conn.execute("PRAGMA user_version").fetchone()[0])


def _has_log(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0

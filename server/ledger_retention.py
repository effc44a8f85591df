"""Forgetting: turns that are older than wanted or more than fit, and those a user asks to purge.

Works beside a running gateway, on a connection of its own, in transactions that are too short to
hold up its writer. The sums by quarter of an hour (``rollup``) name no session or project and
stay, so money that was spent or saved is not lost with the rows; ``purge`` of everything takes
them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.clock import Clock
from server.ledger_schema import LedgerError, check_identity, connect

_log = logging.getLogger("sbgw.ledger")

FIRST_S: Final = 60.0
"""How long after its start a gateway first looks: a start has other things to do."""
EVERY_S: Final = 6 * 3600.0

_BATCH: Final = 500
_DAY_S: Final = 86_400.0
_MIB: Final = 1024 * 1024
_AGED: Final = (
    "DELETE FROM turns WHERE seq IN"
    " (SELECT seq FROM turns WHERE at < ? AND status <> 'open' ORDER BY at LIMIT ?)"
)
_OLDEST: Final = (
    "DELETE FROM turns WHERE seq IN"
    " (SELECT seq FROM turns WHERE status <> 'open' ORDER BY at LIMIT ?)"
)
_CHOSEN: Final = (
    "(:session IS NULL OR session = :session) AND (:project IS NULL OR project = :project)"
)
_COUNT: Final = f"SELECT count(*) FROM turns WHERE {_CHOSEN}"  # noqa: S608 - constants
_PURGE: Final = (
    "DELETE FROM turns WHERE seq IN"  # noqa: S608 - constants
    f" (SELECT seq FROM turns WHERE {_CHOSEN} LIMIT :most)"
)
_EMPTY: Final = (
    "DELETE FROM turns",
    "DELETE FROM rejects",
    "DELETE FROM rollup",
    "DELETE FROM rate_limits_latest",
)
_LATER: Final = {
    "savings_rollup": "DELETE FROM savings_rollup",
    "rungs": "DELETE FROM rungs",
}
"""Tables that older ledgers lack; the rest goes with its turns."""
_HAS: Final = "SELECT count(*) FROM sqlite_master WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to purge: the turns of one ``session`` or ``project``, or with neither everything."""

    session: str | None = None
    project: str | None = None

    @property
    def values(self) -> dict[str, str | None]:
        """For the conditions below."""
        return {"session": self.session, "project": self.project}

    @property
    def is_everything(self) -> bool:
        """Whether nothing is to be left."""
        return self.session is None and self.project is None


def prune(path: Path, *, keep_days: float, max_mb: float, now: float) -> int:
    """Delete the oldest finished turns; how many. 0 for either limit is none.

    ``max_mb`` is about what the file holds; its size on disk stays, and is used again. Raises
    ``LedgerError``, ``sqlite3.Error`` or ``OSError``.
    """
    if not path.exists():
        return 0
    with _opened(path) as conn:
        count = 0
        if keep_days > 0:
            edge = now - keep_days * _DAY_S
            while done := conn.execute(_AGED, (edge, _BATCH)).rowcount:
                count += done
            conn.execute("DELETE FROM rejects WHERE second < ?", (int(edge),))
        while max_mb > 0 and _held(conn) > max_mb * _MIB:
            done = conn.execute(_OLDEST, (_BATCH,)).rowcount
            if not done:
                break
            count += done
        return count


def count(path: Path, choice: Choice) -> int:
    """How many turns ``purge`` would take."""
    if not path.exists():
        return 0
    with _opened(path) as conn:
        return int(conn.execute(_COUNT, choice.values).fetchone()[0])


def purge(path: Path, choice: Choice) -> int:
    """Delete the chosen turns and overwrite where they stood; how many.

    Raises as ``prune``; ``sqlite3.OperationalError`` when a reader keeps the file from being
    rewritten, and the rows are gone then but may still be found in it.
    """
    if not path.exists():
        return 0
    with _opened(path) as conn:
        conn.execute("PRAGMA secure_delete = ON")
        total = 0
        if choice.is_everything:
            total = _empty(conn)
        else:
            while done := conn.execute(_PURGE, choice.values | {"most": _BATCH}).rowcount:
                total += done
        conn.execute("VACUUM")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return total


def _empty(conn: sqlite3.Connection) -> int:
    """Delete every row about requests, sums included; how many turns."""
    total = int(conn.execute("SELECT count(*) FROM turns").fetchone()[0])
    later = [sql for name, sql in _LATER.items() if conn.execute(_HAS, (name,)).fetchone()[0]]
    conn.execute("BEGIN IMMEDIATE")
    for sql in _EMPTY:
        conn.execute(sql)
    for sql in later:
        conn.execute(sql)
    conn.execute("COMMIT")
    return total


def copies(path: Path) -> list[Path]:
    """Older copies and waiting rows beside the ledger, which a purge of rows does not reach."""
    patterns = ("backup-v*", "corrupt-*", "spill-*.jsonl", "ahead-*.jsonl")
    return sorted(found for p in patterns for found in path.parent.glob(f"{path.name}.{p}"))


def sessions_like(path: Path, start: str) -> list[str]:
    """The ids of recorded sessions that begin with ``start``."""
    if not path.exists():
        return []
    with _opened(path) as conn:
        sql = "SELECT DISTINCT session FROM turns WHERE substr(session, 1, ?) = ?"
        return [name for (name,) in conn.execute(sql, (len(start), start)).fetchall()]


async def keep_small(path: Path, limits: Callable[[], tuple[float, float]], clock: Clock) -> None:
    """``prune`` now and then for as long as the gateway runs; ``limits``: days, MiB."""
    await clock.sleep(FIRST_S)
    while True:
        days, size = limits()
        if days > 0 or size > 0:
            try:
                gone = await asyncio.to_thread(
                    prune, path, keep_days=days, max_mb=size, now=clock.time()
                )
                if gone:
                    _log.info("%d old turns were removed from the ledger", gone)
            except (LedgerError, sqlite3.Error, OSError) as error:
                _log.warning("old turns stay in the ledger for now: %s", error)
        await clock.sleep(EVERY_S)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(path)) as conn:
        check_identity(conn, path)
        conn.execute("PRAGMA foreign_keys = ON")
        yield conn


def _held(conn: sqlite3.Connection) -> int:
    """Bytes in use."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(conn.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size

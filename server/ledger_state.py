"""How the ledger is doing, in data and in words."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.ledger_boots import Boot
from server.ledger_schema import primary_code

_SQLITE_CAUSES: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another process has locked the database",
    sqlite3.SQLITE_LOCKED: "another process has locked the database",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "the database is damaged",
}
_OS_CAUSES: Final = {
    errno.ENOSPC: "the disk is full",
    errno.ENOENT: "its folder or file was removed",
    errno.ENOTDIR: "its folder was removed",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "its folder cannot be written",
}


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How the ledger is doing; ``as_json`` is ``snapshot["ledger"]``."""

    status: str
    """``ok`` or ``degraded``."""
    path: str
    detail: str | None = None
    """One sentence for the user; may be set while ``ok``, e.g. after a damaged file was replaced."""
    spilled: int = 0
    """Rows waiting in the spill file."""
    lost: int = 0
    """Rows that could not be kept, ever."""
    recovered_interrupted: int = 0
    """Turns of dead processes that this start found open."""
    duplicates: int = 0
    """Second terminal states of one turn, which were ignored."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class StartReport:
    """What starting the ledger found and did."""

    state: LedgerState
    interrupted: int = 0
    """Open turns of dead processes that are now ``interrupted``."""
    replayed: int = 0
    """Rows taken from spill files of dead processes."""
    migrated_from: int | None = None
    """Schema version found, when an existing ledger was brought up to date."""
    moved_aside: Path | None = None
    """Where a damaged database went."""
    others_alive: tuple[Boot, ...] = ()
    """Other processes that have this ledger open."""


def cause_of(error: BaseException) -> str:
    """Why the ledger cannot be written, in plain words."""
    if (code := primary_code(error)) is not None:
        return _SQLITE_CAUSES.get(code, f"the database reports: {error}")
    if isinstance(error, OSError) and error.errno in _OS_CAUSES:
        return _OS_CAUSES[error.errno]
    if isinstance(error, FileNotFoundError):
        return _OS_CAUSES[errno.ENOENT]
    return str(error)

"""A ledger file with given turns, as a gateway would leave it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from server.ledger_rows import close_row
from server.ledger_savings import UPSERT
from server.ledger_schema import create_private, migrate
from server.record import Turn


def write_ledger(path: Path, turns: Iterable[Turn]) -> None:
    """Write ended turns, with their proposals, to a new ledger."""
    create_private(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        migrate(conn, path)
        conn.execute("BEGIN")
        for turn in turns:
            row = close_row(turn, "boot")
            names, marks = ", ".join(row.values), ", ".join(f":{name}" for name in row.values)
            conn.execute(f"INSERT INTO turns ({names}) VALUES ({marks})", row.values)
            if row.saving is not None:
                conn.execute(UPSERT, row.saving)
        conn.execute("COMMIT")

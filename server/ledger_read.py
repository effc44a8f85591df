"""Reading the ledger: for the HTTP surface, the front ends, and other processes.

Every call opens its own read-only connection, so it sees the current file, holds nothing open
between calls and never delays the writer. Calls block on the disk: use a thread on the loop.
A ledger that does not exist yet reads as empty.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from server import ledger_savings as savings
from server import ledger_scores as scores
from server.ledger_rows import SUMMARY_COLUMNS, detail_of, summary_of
from server.ledger_savings import SavingTotal
from server.ledger_schema import check_identity, connect_read_only
from server.ledger_scores import Moved, PastScore
from server.ledger_tables import BUCKET_S, LIFETIME_BUCKET

_SUMMARY: Final = ", ".join(f"turns.{name}" for name in SUMMARY_COLUMNS)
_RECENT: Final = (
    f"SELECT {_SUMMARY}, {savings.SELECTED} FROM turns {savings.JOIN}"  # noqa: S608 - constants
    "WHERE turns.at < ? OR (turns.at = ? AND seq < ?) ORDER BY turns.at DESC, seq DESC LIMIT ?"
)
_PROPOSALS: Final = (
    f"SELECT {_SUMMARY}, {savings.SELECTED} FROM savings JOIN turns ON turns.id = turn_id "  # noqa: S608
    "WHERE ended AND savings.demo = 0 ORDER BY savings.at DESC LIMIT ?"
)
_POSITION: Final = "SELECT at, seq FROM turns WHERE id = ?"
_TURN: Final = f"SELECT turns.*, {savings.SELECTED} FROM turns {savings.JOIN}WHERE id = ?"  # noqa: S608
_HAS_SAVINGS: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'savings_rollup'"
_ATTEMPTS: Final = "SELECT * FROM attempts WHERE turn_id = ? ORDER BY number"
_LIMITS: Final = "SELECT * FROM rate_limits WHERE turn_id = ? ORDER BY position"
_TOTALS: Final = """
SELECT provider, route, kind, payer, status, sum(turns), sum(fallback), sum(timed),
  sum(duration_us), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
  sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(cost_nusd), sum(estimated_nusd),
  sum(unpriced)
FROM (
  SELECT provider, route, kind, payer, status, turns, fallback, timed, duration_us, input_tokens,
    output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cost_nusd,
    estimated_nusd, unpriced
  FROM rollup WHERE bucket BETWEEN :bucket AND :last AND demo = :demo
  UNION ALL
  SELECT coalesce(provider, ''), route, kind, coalesce(payer, ''), status, 1, fallback,
    duration_s IS NOT NULL, CAST(round(coalesce(duration_s, 0) * 1000000) AS INTEGER),
    coalesce(input_tokens, 0), coalesce(output_tokens, 0), coalesce(cache_read_tokens, 0),
    coalesce(cache_write_5m_tokens, 0), coalesce(cache_write_1h_tokens, 0),
    coalesce(cost_nusd, 0), iif(cost_is_estimate, coalesce(cost_nusd, 0), 0), unpriced
  FROM turns
  WHERE at >= :since AND at < :edge AND status <> 'open' AND demo = :demo
)
GROUP BY provider, route, kind, payer, status HAVING sum(turns) > 0
"""


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the terminal turns that agree in the first five fields; ``""`` is unknown."""

    provider: str
    route: str
    kind: str
    payer: str
    status: str
    turns: int
    fallback: int
    """Successes after another provider had failed."""
    timed: int
    """Turns with a known duration, the divisor of ``duration_us``."""
    duration_us: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cost_nusd: int
    """Nano-dollars of the turns whose cost is known."""
    estimated_nusd: int
    """The part of ``cost_nusd`` that rests on estimates."""
    unpriced: int
    """Turns that cost an unknown amount."""


class LedgerReader:
    """Questions to a ledger; never writes, works while a gateway runs and when none does.

    Methods raise ``LedgerTooNewError`` or ``NotALedgerError`` for a file that cannot be
    understood, ``sqlite3.Error`` for one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def close(self) -> None:
        """Nothing stays open between calls, so this does nothing; it may be called at any time."""

    def recent(self, limit: int, before: str | float | None = None) -> list[dict[str, Any]]:
        """Summaries (``Turn.summary``), newest first by time of acceptance.

        ``before``: only older ones than this turn (its id) or instant (seconds since the epoch).
        """
        with self._connection() as conn:
            if conn is None:
                return []
            at, seq = math.inf, 0
            if isinstance(before, str):
                position = conn.execute(_POSITION, (before,)).fetchone()
                if position is None:
                    return []
                at, seq = position
            elif before is not None:
                at = float(before)
            found = conn.execute(_with_savings(conn, _RECENT), (at, at, seq, limit))
            return [summary_of(row) for row in found]

    def turn(self, turn_id: str) -> dict[str, Any] | None:
        """One turn in full (``Turn.detail``)."""
        with self._connection() as conn:
            if conn is None:
                return None
            row = conn.execute(_with_savings(conn, _TURN), (turn_id,)).fetchone()
            if row is None:
                return None
            attempts = conn.execute(_ATTEMPTS, (turn_id,)).fetchall()
            limits = conn.execute(_LIMITS, (turn_id,)).fetchall()
            return detail_of(row, attempts, limits)

    def totals(self, since: float | None = None, *, demo: bool = False) -> list[Total]:
        """Sums over terminal turns accepted at ``since`` (seconds since the epoch) or later."""
        if since is None:
            bounds = {"since": math.inf, "edge": 0.0}
            buckets = {"bucket": LIFETIME_BUCKET, "last": LIFETIME_BUCKET}
        else:
            first = max(0, math.ceil(since / BUCKET_S))
            bounds = {"since": since, "edge": float(first * BUCKET_S)}
            buckets = {"bucket": first, "last": 2**62}
        arguments = {"demo": demo, **bounds, **buckets}
        with self._connection() as conn:
            return [] if conn is None else [Total(*row) for row in conn.execute(_TOTALS, arguments)]

    def saving_totals(
        self, since: float | None = None, until: float = math.inf, *, demo: bool = False
    ) -> list[SavingTotal]:
        """Sums over ended turns with a proposal; without ``since`` over all there ever were.

        ``since`` and ``until`` are times of acceptance, seconds since the epoch.
        """
        arguments: dict[str, float | None] = {"demo": demo, "since": since, "until": until}
        with self._connection() as conn:
            if conn is None or not _knows_savings(conn):
                return []
            lifetime = savings.LIFETIME if _tells_moved(conn) else savings.LIFETIME_OF_2
            query = lifetime if since is None else savings.BETWEEN
            return [SavingTotal(*row) for row in conn.execute(query, arguments)]

    def recent_proposals(self, limit: int) -> list[dict[str, Any]]:
        """Summaries of ended turns with a proposal, newest first."""
        with self._connection() as conn:
            if conn is None or not _knows_savings(conn):
                return []
            return [summary_of(row) for row in conn.execute(_PROPOSALS, (limit,))]

    def scores(self, *, demo: bool = False) -> list[PastScore]:
        """The latest scores of every kind and candidate, oldest first."""
        with self._connection() as conn:
            if conn is None or not scores.is_known(conn):
                return []
            return scores.latest_scores(conn, demo=demo)

    def verification_nusd(self, since: float, *, demo: bool = False) -> int:
        """Nano-dollars that comparisons cost from ``since`` (seconds since the epoch) on."""
        with self._connection() as conn:
            if conn is None or not scores.is_known(conn):
                return 0
            return scores.spent_since(conn, since, demo=demo)

    def ladder_moves(self, limit: int | None = None) -> list[Moved]:
        """All moves on the ladder, oldest first, or the latest ones, newest first."""
        with self._connection() as conn:
            if conn is None or not scores.is_known(conn):
                return []
            return scores.moves(conn, limit)

    def counts_by_status(self) -> dict[str, int]:
        """How many turns are in each state, ``open`` included."""
        counts: dict[str, int] = {}
        with self._connection() as conn:
            if conn is None:
                return counts
            still_open = conn.execute("SELECT count(*) FROM turns WHERE status = 'open'")
            if number := still_open.fetchone()[0]:
                counts["open"] = number
            ended = conn.execute(
                "SELECT status, sum(turns) FROM rollup WHERE bucket = ? GROUP BY status",
                (LIFETIME_BUCKET,),
            )
            return counts | {status: number for status, number in ended if number}

    def rejects(self, since: float = 0.0) -> dict[str, int]:
        """Refused requests by reason."""
        query = "SELECT reason, sum(count) FROM rejects WHERE second >= ? GROUP BY reason"
        with self._connection() as conn:
            return {} if conn is None else dict(map(tuple, conn.execute(query, (since,))))

    def rate_limits(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The newest windows known: provider, then window name, then fields and ``at``."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        with self._connection() as conn:
            for row in conn.execute("SELECT * FROM rate_limits_latest") if conn else ():
                fields = msgspec.json.decode(row["fields"]) | {"at": row["at"]}
                found.setdefault(row["provider"], {})[row["name"]] = fields
        return found

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection | None]:
        """A read-only connection inside one read transaction, ``None`` for an empty ledger."""
        if not self._path.exists():
            yield None
            return
        with contextlib.closing(connect_read_only(self._path)) as conn:
            conn.row_factory = sqlite3.Row
            conn.execute("BEGIN")
            yield conn if check_identity(conn, self._path) else None


def _knows_savings(conn: sqlite3.Connection) -> bool:
    return bool(conn.execute(_HAS_SAVINGS).fetchone()[0])


def _tells_moved(conn: sqlite3.Connection) -> bool:
    columns = conn.execute(
        "SELECT count(*) FROM pragma_table_info('savings_rollup', 'main') WHERE name = 'moved'"
    )
    return bool(columns.fetchone()[0])


def _with_savings(conn: sqlite3.Connection, query: str) -> str:
    """``query``, made to run on a ledger that no newer gateway has brought up to date yet."""
    return query if _knows_savings(conn) else savings.MISSING + query

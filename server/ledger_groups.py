"""What is on record of a span by session and sub-agent, and what was sent to whom; read-only SQL.

The database adds up, so that a thread beside running streams hardly needs the interpreter. A
ledger that does not exist reads as empty. Raises ``LedgerError`` or ``sqlite3.Error`` for a file
that cannot be read.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from server import ledger_savings
from server.ledger_rows import SUMMARY_COLUMNS, summary_of
from server.ledger_schema import check_identity, connect_read_only
from server.settings_types import MAIN_KINDS

HOUR_S: Final = 3_600.0
MOST_LINES: Final = 2_000
"""Sessions and sub-agents that are told of, those used last."""

_PROMPT: Final = (
    "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0)"
    " + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0)"
)
_USES_CACHE: Final = (
    "coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0)"
    " + coalesce(cache_write_1h_tokens, 0) > 0"
)
_LIFETIME: Final = "iif(coalesce(cache_write_1h_tokens, 0) > 0 OR cache_ttl = '1h', 3600, 300)"
_PLACE: Final = "iif(session IS NULL, coalesce(project, label), NULL)"
"""What keeps turns apart whose client names no session."""

_ENDED: Final = (
    "status NOT IN ('open', 'rejected') AND demo = :demo AND at >= :since AND at < :until"
)
_SUMS: Final = f"""
SELECT session, agent, {_PLACE} AS place, max(at) AS last_at, min(at) AS first_at,
  max(coalesce(project, label)) AS project, max(client) AS client,
  group_concat(DISTINCT payer) AS payers, count(*) AS turns,
  sum(coalesce(cost_nusd, 0)) / 1e9 AS cost_usd,
  sum(iif(payer = 'login', coalesce(cost_nusd, 0), 0)) / 1e9 AS list_usd,
  sum(iif(cost_is_estimate, coalesce(cost_nusd, 0), 0)) / 1e9 AS estimated_usd,
  sum(unpriced) AS unpriced,
  sum(status IN ('error', 'failed', 'partial', 'interrupted')) AS errors,
  sum(iif(at >= :hour, coalesce(cost_nusd, 0), 0)) / 1e9 AS hour_usd,
  min(iif(at >= :hour, at, NULL)) AS hour_since,
  max(iif({_USES_CACHE}, at + coalesce(duration_s, 0) + {_LIFETIME}, NULL)) AS cache_until
FROM turns WHERE {_ENDED}
GROUP BY session, agent, place ORDER BY last_at DESC LIMIT :most
"""  # noqa: S608 - constants
_CONTEXT: Final = f"""
SELECT session, agent, {_PLACE} AS place, max(at), {_PROMPT} AS context,
  provider AS context_provider, coalesce(model_served, model_asked) AS context_model
FROM turns WHERE {_ENDED} AND {_PROMPT} > 0
  AND (agent IS NOT NULL OR kind IN ({", ".join(f"'{kind}'" for kind in MAIN_KINDS)}))
GROUP BY session, agent, place
"""  # noqa: S608 - constants
_COUNT: Final = f"SELECT count(*) FROM turns WHERE {_ENDED}"  # noqa: S608 - constants
_SENT: Final = """
SELECT attempts.provider AS provider, turns.kind AS kind, count(DISTINCT turns.id) AS turns,
  sum(attempts.bytes_up) AS bytes_up, sum(attempts.bytes_down) AS bytes_down
FROM turns JOIN attempts ON attempts.turn_id = turns.id
WHERE turns.at >= :since AND turns.demo = :demo AND attempts.bytes_up > 0
GROUP BY 1, 2 ORDER BY bytes_up DESC
"""
_SUMMARY: Final = ", ".join(f"turns.{name}" for name in SUMMARY_COLUMNS)
_OF_SESSION: Final = (
    f"SELECT {_SUMMARY}, {ledger_savings.SELECTED} FROM turns {ledger_savings.JOIN}"  # noqa: S608
    "WHERE session = :session AND status <> 'open' ORDER BY turns.at DESC, seq DESC LIMIT :most"
)


def session_sums(
    path: Path, *, now: float, since: float = 0.0, until: float = 1e12, demo: bool = False
) -> dict[str, Any]:
    """``{"at", "since", "turns", "lines": [LINE]}``: ended turns accepted in the span.

    ``LINE`` is one session without its sub-agents, or one sub-agent: ``session agent project
    client payers[] turns first_at last_at cost_usd list_usd estimated_usd unpriced errors``,
    ``hour_usd hour_since`` (what of it fell in the last hour, and from when on), ``cache_until``
    (when its prompt cache runs out), ``context context_provider context_model`` (tokens that its
    latest turn of the conversation read). Times are epoch seconds; the line used last comes first.
    """
    arguments = {"since": since, "until": until, "hour": now - HOUR_S, "demo": demo}
    answer: dict[str, Any] = {"at": now, "since": since, "turns": 0, "lines": []}
    with _reading(path) as conn:
        if conn is None:
            return answer
        answer["turns"] = conn.execute(_COUNT, arguments).fetchone()[0]
        known = {_key(row): row for row in conn.execute(_CONTEXT, arguments)}
        for row in conn.execute(_SUMS, arguments | {"most": MOST_LINES}):
            answer["lines"].append(_line(row, known.get(_key(row))))
    return answer


def sent(path: Path, since: float = 0.0, *, demo: bool = False) -> list[dict[str, Any]]:
    """``[{"provider", "kind", "turns", "bytes_up", "bytes_down"}]``: what left, and came back.

    A turn that was tried at two providers was sent to both.
    """
    with _reading(path) as conn:
        found = conn.execute(_SENT, {"since": since, "demo": demo}) if conn else ()
        return [dict(row) for row in found]


def session_turns(path: Path, session: str, most: int) -> list[dict[str, Any]]:
    """Summaries (``Turn.summary``) of a session's latest ended turns, newest first."""
    with _reading(path) as conn:
        if conn is None:
            return []
        found = conn.execute(_with_savings(conn), {"session": session, "most": most})
        return [summary_of(row) for row in found]


def _key(row: sqlite3.Row) -> tuple[Any, ...]:
    return row["session"], row["agent"], row["place"]


def _line(row: sqlite3.Row, context: Mapping[str, Any] | sqlite3.Row | None) -> dict[str, Any]:
    line = dict(row)
    del line["place"]
    line["payers"] = sorted(filter(None, (line.pop("payers") or "").split(",")))
    for name in ("context", "context_provider", "context_model"):
        line[name] = context[name] if context is not None else None
    return line


def _with_savings(conn: sqlite3.Connection) -> str:
    known = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'savings'").fetchone()
    return _OF_SESSION if known else ledger_savings.MISSING + _OF_SESSION


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    if not path.exists():
        yield None
        return
    with contextlib.closing(connect_read_only(path)) as conn:
        conn.row_factory = sqlite3.Row
        conn.execute("BEGIN")
        yield conn if check_identity(conn, path) else None

"""Many recorded turns at once, for reports and backtests: only the columns those need.

Reads like ``server.ledger_read``: read-only, on a connection of its own, and a ledger that does
not exist reads as empty.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from server import ledger_savings
from server.ledger_schema import check_identity, connect_read_only
from server.savings import Tokens


class Seen(msgspec.Struct, frozen=True, gc=False):
    """The features that hard limits and the policy look at; see ``server.classify.intent``."""

    n_tools: Any = 0
    server_tools: Any = 0
    images: Any = 0
    documents: Any = 0
    answered_before: Any = False


class Past(msgspec.Struct, frozen=True, gc=False):
    """One ended turn; fields as in ``Turn``, those of its proposal and saving prefixed.

    A hundred thousand may be held at once, so the garbage collector does not look at them.
    """

    id: str
    at: float
    status: str
    http_status: int | None
    protocol: str
    kind: str
    route: str
    offload: int
    pinned_by: str | None
    session: str | None
    agent: str | None
    project: str | None
    payer: str | None
    provider: str | None
    model_asked: str | None
    model_served: str | None
    max_tokens: int | None
    cache_ttl: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    cost_usd: float | None
    unpriced: int
    duration_s: float | None
    features: Seen
    blocks: bytes | None
    """``None`` also where they were not asked for."""
    proposal_provider: str | None
    proposal_model: str | None
    proposal_state: str | None
    saving_state: str | None
    naive_usd: float | None
    saved_usd: float | None
    saved_low_usd: float | None
    saved_high_usd: float | None
    saved_quota_usd: float | None
    baseline_usd: float | None

    @property
    def is_moved(self) -> bool:
        """Whether live mode meant to move it, and its saving is realised."""
        return self.proposal_state == "moved"

    @property
    def prompt_tokens(self) -> int:
        """Everything the model read."""
        return (
            (self.input_tokens or 0)
            + (self.cache_read_tokens or 0)
            + (self.cache_write_5m_tokens or 0)
            + (self.cache_write_1h_tokens or 0)
        )

    def tokens(self) -> Tokens | None:
        """What it was billed for; ``None`` when the provider did not report the input."""
        if self.input_tokens is None:
            return None
        return Tokens(
            self.input_tokens,
            self.cache_write_5m_tokens or 0,
            self.cache_write_1h_tokens or 0,
            self.cache_read_tokens or 0,
            self.output_tokens or 0,
            self.cache_ttl == "1h",
        )


_OWN: Final = Past.__struct_fields__[:26]
_OF_SAVING: Final = {
    "proposal_provider": "provider",
    "proposal_model": "model",
    "proposal_state": "proposal_state",
    "saving_state": "state",
    "naive_usd": "naive_usd",
    "saved_usd": "usd",
    "saved_low_usd": "low_usd",
    "saved_high_usd": "high_usd",
    "saved_quota_usd": "quota_usd",
    "baseline_usd": "baseline_usd",
}
_COUNT: Final = (
    "SELECT count(*) FROM turns "
    "WHERE at >= :since AND status NOT IN ('open', 'rejected') AND demo = :demo"
)
NEAR: Final = 40
"""Calls of a conversation that tell what its latest one found in the cache."""

_UP_TO: Final = (
    "turns.seq IN (SELECT near.seq FROM turns AS near JOIN turns AS last ON last.id = :id "
    "WHERE near.session = last.session AND near.agent IS last.agent AND "
    "(near.at, near.seq) <= (last.at, last.seq) "
    "ORDER BY near.at DESC, near.seq DESC LIMIT :most) AND "
)
_QUERY: Final = (
    "SELECT {own}, turns.features, {blocks}, {saving} FROM turns {join}"
    "WHERE {chosen}turns.at >= :since AND turns.status NOT IN ('open', 'rejected') "
    "AND turns.demo = :demo "
    "ORDER BY turns.at, turns.seq"
)


def history(
    path: Path,
    since: float = 0.0,
    *,
    up_to: str | None = None,
    with_blocks: bool = False,
    demo: bool = False,
) -> Iterator[Past]:
    """Ended turns accepted at ``since`` (seconds since the epoch) or later, oldest first.

    With ``up_to``, the id of a turn: that one and the ``NEAR`` before it in its conversation.
    Raises ``LedgerError`` or ``sqlite3.Error`` for a file that cannot be read.
    """
    if not path.exists():
        return
    decode = msgspec.json.Decoder(Seen).decode
    place = len(_OWN)
    with contextlib.closing(connect_read_only(path)) as conn:
        if not check_identity(conn, path):
            return
        arguments = {"since": since, "demo": demo, "id": up_to, "most": NEAR + 1}
        for row in conn.execute(_query(conn, with_blocks, up_to is not None), arguments):
            values = list(row)
            values[place] = decode(values[place])
            yield Past(*values)


def how_many(path: Path, since: float = 0.0, *, demo: bool = False) -> int:
    """How many turns ``history`` gives; raises like it."""
    if not path.exists():
        return 0
    with contextlib.closing(connect_read_only(path)) as conn:
        if not check_identity(conn, path):
            return 0
        row = conn.execute(_COUNT, {"since": since, "demo": demo}).fetchone()
    return int(row[0])


def time_of_newest(path: Path, count: int, *, demo: bool = False) -> float:
    """When the oldest of the ``count`` newest turns was accepted; 0.0 if there are fewer.

    Raises like ``history``.
    """
    if not path.exists():
        return 0.0
    query = "SELECT at FROM turns WHERE demo = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
    with contextlib.closing(connect_read_only(path)) as conn:
        if not check_identity(conn, path):
            return 0.0
        row = conn.execute(query, (demo, count - 1)).fetchone()
    return float(row[0]) if row else 0.0


def blocks_of(path: Path, turn_id: str) -> bytes | None:
    """The packed prefix blocks of one turn; raises like ``history``."""
    with contextlib.closing(connect_read_only(path)) as conn:
        row = conn.execute("SELECT blocks FROM turns WHERE id = ?", (turn_id,)).fetchone()
    return row[0] if row else None


def _query(conn: sqlite3.Connection, with_blocks: bool, is_near: bool) -> str:
    query = _QUERY.format(
        own=", ".join(f"turns.{name}" for name in _OWN),
        blocks="turns.blocks" if with_blocks else "NULL",
        saving=", ".join(f"savings.{name}" for name in _OF_SAVING.values()),
        join=ledger_savings.JOIN,
        chosen=_UP_TO if is_near else "",
    )
    has_savings = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'savings'").fetchone()
    return query if has_savings else ledger_savings.MISSING + query

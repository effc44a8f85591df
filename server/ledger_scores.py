"""The ledger's tables of verification: scores of compared answers, and moves on the ladder; pure.

A score hangs on its turn and goes with it; it holds names of checks and numbers, never text. A
move (``rungs``) is kept until everything is purged: it says why a kind is where it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from server.ledger_values import Row, as_json, as_real, as_text, names, nano_usd

SCORES: Final = names(
    "id turn_id at demo kind route provider model source passed hard checks figures note "
    "input_tokens output_tokens cost_usd cost_nusd duration_s"
)
RUNGS: Final = names("id at kind provider model from_rung to_rung reason source")

TABLES: Final = ("verifications", "rungs")
LATEST: Final = 400
"""Scores of one key that are read back at a start."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One compared answer."""

    values: Row

    @property
    def key(self) -> tuple[str, ...]:
        return ("score", str(self.values["id"]))


@dataclass(frozen=True, slots=True)
class RungRow:
    """One move on the ladder."""

    values: Row

    @property
    def key(self) -> tuple[str, ...]:
        return ("rung", str(self.values["id"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is recorded of one comparison."""

    turn_id: str
    at: float
    kind: str
    route: str
    provider: str
    model: str
    source: str
    """``shadow``: the candidate was asked after the real answer; ``reverse``: the other way."""
    passed: bool
    hard: bool
    checks: Mapping[str, bool]
    figures: Mapping[str, float]
    note: str = ""
    """Why there was no answer to compare, in short fixed words."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """``None`` is unknown."""
    duration_s: float | None = None
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """One move of a kind, or of one of its candidates, on the ladder."""

    id: str
    at: float
    kind: str
    provider: str
    """``""``: all candidates of the kind."""
    model: str
    from_rung: str
    to_rung: str
    reason: str
    source: str
    """Who moved it: ``evidence``, ``time``, ``the screen``, ``HTTP`` ..."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


def score_row(scored: Scored) -> ScoreRow:
    """The row of a comparison; one turn has one a source and candidate."""
    cost = scored.cost_usd
    values: Row = {
        "id": as_text(f"{scored.turn_id}/{scored.source}/{scored.provider}/{scored.model}"),
        "turn_id": as_text(scored.turn_id),
        "at": as_real(scored.at),
        "demo": int(scored.demo),
        "kind": as_text(scored.kind),
        "route": as_text(scored.route),
        "provider": as_text(scored.provider),
        "model": as_text(scored.model),
        "source": as_text(scored.source),
        "passed": int(scored.passed),
        "hard": int(scored.hard),
        "checks": as_json(dict(scored.checks)),
        "figures": as_json(dict(scored.figures)),
        "note": as_text(scored.note[:200]),
        "input_tokens": scored.input_tokens,
        "output_tokens": scored.output_tokens,
        "cost_usd": as_real(cost) if nano_usd(cost) is not None else None,
        "cost_nusd": nano_usd(cost),
        "duration_s": as_real(scored.duration_s),
    }
    return ScoreRow(values)


def rung_row(moved: Moved) -> RungRow:
    """The row of a move."""
    text = {name: as_text(getattr(moved, name)) for name in RUNGS if name != "at"}
    return RungRow({**text, "at": as_real(moved.at)})


def _insert(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{name}" for name in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - constants
        " ON CONFLICT (id) DO NOTHING"
    )


ADD_SCORE: Final = _insert("verifications", SCORES)
ADD_RUNG: Final = _insert("rungs", RUNGS)

_KNOWN: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'verifications'"
_LATEST: Final = (
    "SELECT kind, route, provider, model, at, passed, hard, checks FROM ("
    " SELECT *, row_number() OVER (PARTITION BY kind, provider, model ORDER BY at DESC) AS place"
    " FROM verifications WHERE demo = :demo) WHERE place <= :most ORDER BY at"
)
_SPENT: Final = (
    "SELECT coalesce(sum(cost_nusd), 0) FROM verifications WHERE at >= :since AND demo = :demo"
)
_MOVES: Final = f"SELECT {', '.join(RUNGS)} FROM rungs ORDER BY at DESC, rowid DESC LIMIT ?"  # noqa: S608
_STANDING_MOVES: Final = f"SELECT {', '.join(RUNGS)} FROM rungs ORDER BY at, rowid"  # noqa: S608 - constants


def is_known(conn: sqlite3.Connection) -> bool:
    """Whether the ledger has these tables yet."""
    return bool(conn.execute(_KNOWN).fetchone()[0])


@dataclass(frozen=True, slots=True)
class PastScore:
    """A score read back."""

    kind: str
    route: str
    provider: str
    model: str
    at: float
    passed: bool
    hard: bool
    checks: Mapping[str, bool]


def latest_scores(conn: sqlite3.Connection, *, demo: bool) -> list[PastScore]:
    """The latest scores of every key, oldest first."""
    rows = conn.execute(_LATEST, {"most": LATEST, "demo": int(demo)})
    return [
        PastScore(
            row["kind"],
            row["route"],
            row["provider"],
            row["model"],
            row["at"],
            bool(row["passed"]),
            bool(row["hard"]),
            msgspec.json.decode(row["checks"]),
        )
        for row in rows
    ]


def spent_since(conn: sqlite3.Connection, since: float, *, demo: bool) -> int:
    """Nano-dollars that comparisons cost from ``since`` (seconds since the epoch) on."""
    found = conn.execute(_SPENT, {"since": since, "demo": int(demo)}).fetchone()[0]
    return int(found)


def moves(conn: sqlite3.Connection, limit: int | None = None) -> list[Moved]:
    """All moves on the ladder, oldest first, or with ``limit`` the latest, newest first."""
    rows = conn.execute(_STANDING_MOVES) if limit is None else conn.execute(_MOVES, (limit,))
    return [Moved(*(row[name] for name in RUNGS)) for row in rows]


STEP: Final = (
    """
CREATE TABLE verifications (
  id TEXT NOT NULL PRIMARY KEY,
  turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  at REAL NOT NULL,
  demo INTEGER NOT NULL,
  kind TEXT NOT NULL,
  route TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  source TEXT NOT NULL,
  passed INTEGER NOT NULL,
  hard INTEGER NOT NULL,
  checks TEXT NOT NULL,
  figures TEXT NOT NULL,
  note TEXT NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost_usd REAL,
  cost_nusd INTEGER,
  duration_s REAL
) STRICT
""",
    "CREATE INDEX verifications_key ON verifications (kind, provider, model, at)",
    "CREATE INDEX verifications_turn ON verifications (turn_id)",
    "CREATE INDEX verifications_at ON verifications (at)",
    """
CREATE TABLE rungs (
  id TEXT NOT NULL PRIMARY KEY,
  at REAL NOT NULL,
  kind TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  from_rung TEXT NOT NULL,
  to_rung TEXT NOT NULL,
  reason TEXT NOT NULL,
  source TEXT NOT NULL
) STRICT
""",
)
"""The step from a ledger that keeps no evidence; it is released and must not change."""

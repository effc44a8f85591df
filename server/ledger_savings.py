"""The ledger's table of proposals and their savings: its columns, sums and statements; pure.

A proposal's row is written with its turn's and gets figures when the turn ends (``ended``);
``state`` stays NULL for proposals that are not projected. Money is kept twice, as in ``turns``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.ledger_values import Row, Value, as_real, as_text, names, nano_usd
from server.record import Proposal, Saving, Turn

RESTARTED: Final = "the gateway stopped before the session's next call; the range covers both cases"

_IDENTITY: Final = names(
    "turn_id at demo mode route kind confidence_level provider model proposal_state reason ended"
)
_REAL: Final = names(
    "naive_usd usd low_usd high_usd quota_usd baseline_usd target_usd penalty_write_usd "
    "penalty_ttl_usd redo_usd"
)
_NANO: Final = {
    "naive_nusd": "naive_usd",
    "usd_nusd": "usd",
    "low_nusd": "low_usd",
    "high_nusd": "high_usd",
    "quota_nusd": "quota_usd",
    "cost_nusd": "baseline_usd",
}
FIGURES: Final = ("state", *_REAL, *_NANO, "note")
"""The columns that settling a saving replaces."""

COLUMNS: Final = (*_IDENTITY, *FIGURES)

_PROPOSAL: Final = {
    "provider": "provider",
    "model": "model",
    "state": "proposal_state",
    "reason": "reason",
}
_SHOWN: Final = {
    **{f"proposal_{name}": column for name, column in _PROPOSAL.items()},
    **{f"saving_{name}": name for name in Saving.__slots__},
}
SELECTED: Final = ", ".join(f"savings.{column} AS {name}" for name, column in _SHOWN.items())
"""What ``shown`` needs of a row that was joined to its turn."""

JOIN: Final = "LEFT JOIN savings ON savings.turn_id = turns.id "

MISSING: Final = (
    f"WITH savings ({', '.join(COLUMNS)}) AS "
    f"(SELECT {', '.join('NULL' for _ in COLUMNS)} WHERE false) "
)
"""Stands before a query on a ledger that has no such table yet."""

UPSERT: Final = (
    f"INSERT INTO savings ({', '.join(COLUMNS)}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(':' + name for name in COLUMNS)}) ON CONFLICT (turn_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "turn_id")
)
SETTLE: Final = (
    "UPDATE savings SET "  # noqa: S608 - constants
    + ", ".join(f"{name} = :{name}" for name in FIGURES)
    + " WHERE turn_id = :turn_id"
)
OWNERS: Final = (
    "SELECT DISTINCT boot_id FROM savings JOIN turns ON turns.id = turn_id WHERE state = 'open'"
)
ABANDON: Final = (
    "UPDATE savings SET state = 'settled', note = iif(note IS NULL, :note, note || '; ' || :note)"
    " WHERE state = 'open' AND turn_id IN (SELECT id FROM turns WHERE boot_id = :boot_id)"
)
INTERRUPT: Final = (
    "UPDATE savings SET ended = 1, note = 'the gateway stopped before the answer ended',"
    " state = iif(proposal_state = 'unsupported', NULL, 'unpriced')"
    # Not ``IN (SELECT ...)``, which would read every turn there ever was, at every start.
    " WHERE ended = 0"
    " AND EXISTS (SELECT 1 FROM turns WHERE id = turn_id AND status <> 'open')"
)

_GROUP: Final = names("route kind provider model needs_key confidence_level")
_SUMS_OF_2: Final = {
    "proposals": "1",
    "shadowed": "ROW.mode = 'shadow'",
    "turns": "ROW.usd_nusd IS NOT NULL",
    "open": "ROW.usd_nusd IS NOT NULL AND ROW.state = 'open'",
    "unpriced": "ROW.usd_nusd IS NULL AND ROW.state IS NOT NULL",
    "losses": "coalesce(ROW.usd_nusd, 0) < 0",
    "naive_nusd": "iif(ROW.usd_nusd IS NULL, 0, coalesce(ROW.naive_nusd, 0))",
    "usd_nusd": "coalesce(ROW.usd_nusd, 0)",
    "low_nusd": "coalesce(ROW.low_nusd, 0)",
    "high_nusd": "coalesce(ROW.high_nusd, 0)",
    "quota_nusd": "coalesce(ROW.quota_nusd, 0)",
    "losses_nusd": "min(coalesce(ROW.usd_nusd, 0), 0)",
    "cost_nusd": "coalesce(ROW.cost_nusd, 0)",
}
"""The sums of schema 2; what they are computed from must not change either."""

_MOVED: Final = {
    "moved": "ROW.usd_nusd IS NOT NULL AND ROW.proposal_state = 'moved'",
    "moved_nusd": "iif(ROW.proposal_state = 'moved', coalesce(ROW.usd_nusd, 0), 0)",
}
_SUMS: Final = _SUMS_OF_2 | _MOVED
_KEYS_OF_ROW: Final = (
    "ROW.route, ROW.kind, ROW.provider, coalesce(ROW.model, ''),"
    " ROW.proposal_state = 'needs_key', ROW.confidence_level"
)
_SUMMED: Final = ", ".join(f"sum({name})" for name in _SUMS)

LIFETIME: Final = (
    f"SELECT {', '.join(_GROUP)}, {_SUMMED} FROM savings_rollup "  # noqa: S608 - constants
    f"WHERE demo = :demo GROUP BY {', '.join(_GROUP)} HAVING sum(proposals) > 0"
)
LIFETIME_OF_2: Final = LIFETIME.replace(
    _SUMMED, ", ".join(f"sum({name})" for name in _SUMS_OF_2) + ", 0" * len(_MOVED)
)
"""The same on a ledger of schema 2, where no turn that moved had a figure."""
BETWEEN: Final = (
    f"SELECT {_KEYS_OF_ROW}, {', '.join(f'sum({sql})' for sql in _SUMS.values())} "  # noqa: S608
    "FROM savings WHERE at >= :since AND at < :until AND ended AND demo = :demo "
    "GROUP BY 1, 2, 3, 4, 5, 6"
).replace("ROW.", "savings.")


@dataclass(frozen=True, slots=True)
class SavingTotal:
    """Sums over ended turns with a proposal that agree in the first six fields."""

    route: str
    kind: str
    provider: str
    """Of the proposal."""
    model: str
    """``""``: none was named."""
    needs_key: int
    """1 when the proposal's provider has no credential."""
    confidence_level: str
    proposals: int
    shadowed: int
    """Those of turns that ran in shadow mode."""
    turns: int
    """Those with a figure; only these are in the sums below, ``cost_nusd`` apart."""
    open: int
    unpriced: int
    losses: int
    naive_nusd: int
    usd_nusd: int
    low_nusd: int
    high_nusd: int
    quota_nusd: int
    losses_nusd: int
    cost_nusd: int
    """What all of them really cost, as far as it is known."""
    moved: int = 0
    """Those of ``turns`` that live mode did move: their figures are realised, not projected."""
    moved_nusd: int = 0


def total_of(turn: Turn, saving: Saving | None) -> SavingTotal | None:
    """What one ended turn adds to the sums, as the table's triggers see it."""
    proposal = turn.proposal
    if proposal is None:
        return None
    usd = None if saving is None else nano_usd(saving.usd)
    is_priced = saving is not None and usd is not None

    def nano(value: float | None) -> int:
        return nano_usd(value) or 0

    return SavingTotal(
        route=turn.route,
        kind=turn.kind,
        provider=proposal.provider,
        model=proposal.model or "",
        needs_key=int(proposal.state == "needs_key"),
        confidence_level=turn.confidence_level,
        proposals=1,
        shadowed=int(turn.mode == "shadow"),
        turns=int(is_priced),
        open=int(is_priced and saving is not None and saving.state == "open"),
        unpriced=int(saving is not None and not is_priced),
        losses=int((usd or 0) < 0),
        naive_nusd=nano(saving.naive_usd) if saving is not None and is_priced else 0,
        usd_nusd=usd or 0,
        low_nusd=nano(saving.low_usd) if saving is not None else 0,
        high_nusd=nano(saving.high_usd) if saving is not None else 0,
        quota_nusd=nano(saving.quota_usd) if saving is not None else 0,
        losses_nusd=min(usd or 0, 0),
        cost_nusd=nano(turn.cost_usd),
        moved=int(is_priced and proposal.state == "moved"),
        moved_nusd=(usd or 0) if proposal.state == "moved" else 0,
    )


@dataclass(frozen=True, slots=True)
class SavingRow:
    """The figures of a turn whose saving was settled after its terminal row."""

    values: Row

    @property
    def key(self) -> tuple[str, ...]:
        return ("saving", str(self.values["turn_id"]))


def proposal_row(turn: Turn, *, has_ended: bool) -> Row | None:
    """The turn's row in ``savings``, ``None`` when nothing was proposed."""
    proposal = turn.proposal
    if proposal is None:
        return None
    identity: Row = {
        "turn_id": as_text(turn.id),
        "at": as_real(turn.at),
        "demo": int(turn.demo),
        "mode": as_text(turn.mode),
        "route": as_text(turn.route),
        "kind": as_text(turn.kind),
        "confidence_level": as_text(turn.confidence_level),
        "provider": as_text(proposal.provider),
        "model": as_text(proposal.model),
        "proposal_state": as_text(proposal.state),
        "reason": as_text(proposal.reason),
        "ended": int(has_ended),
    }
    figures = _figures(turn.saving)
    if turn.saving is None:
        figures["cost_nusd"] = nano_usd(turn.cost_usd)
    return identity | figures


def saving_row(turn_id: str, saving: Saving) -> SavingRow:
    """The settled figures of a turn that is recorded already."""
    turn: Row = {"turn_id": as_text(turn_id)}
    return SavingRow(turn | _figures(saving))


def _figures(saving: Saving | None) -> Row:
    if saving is None:
        return dict.fromkeys(FIGURES)
    figures: Row = {name: _plausible(getattr(saving, name)) for name in _REAL}
    figures |= {nano: nano_usd(getattr(saving, name)) for nano, name in _NANO.items()}
    return figures | {"state": as_text(saving.state), "note": as_text(saving.note)}


def _plausible(usd: float | None) -> float | None:
    return None if nano_usd(usd) is None else as_real(usd)


def shown(row: Mapping[str, Value] | sqlite3.Row) -> dict[str, Any]:
    """``proposal`` and ``saving`` of ``Turn.summary`` from a row that has ``SELECTED``."""
    if row["proposal_provider"] is None:
        return {"proposal": None, "saving": None}
    proposal = {name: row[f"proposal_{name}"] for name in Proposal.__slots__}
    saving = None
    if row["saving_state"] is not None:
        saving = {name: row[f"saving_{name}"] for name in Saving.__slots__}
        for name in ("naive_usd", "penalty_write_usd", "penalty_ttl_usd", "redo_usd"):
            saving[name] = saving[name] or 0.0
    return {"proposal": proposal, "saving": saving}


# ------------------------------------------------------------------ the schema

TABLE: Final = """
CREATE TABLE savings (
  turn_id TEXT NOT NULL PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
  at REAL NOT NULL,
  demo INTEGER NOT NULL,
  mode TEXT NOT NULL,
  route TEXT NOT NULL,
  kind TEXT NOT NULL,
  confidence_level TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  proposal_state TEXT NOT NULL,
  reason TEXT NOT NULL,
  ended INTEGER NOT NULL,
  state TEXT,
  naive_usd REAL,
  usd REAL,
  low_usd REAL,
  high_usd REAL,
  quota_usd REAL,
  baseline_usd REAL,
  target_usd REAL,
  penalty_write_usd REAL,
  penalty_ttl_usd REAL,
  redo_usd REAL,
  naive_nusd INTEGER,
  usd_nusd INTEGER,
  low_nusd INTEGER,
  high_nusd INTEGER,
  quota_nusd INTEGER,
  cost_nusd INTEGER,
  note TEXT
) STRICT, WITHOUT ROWID
"""

ROLLUP: Final = """
CREATE TABLE savings_rollup (
  demo INTEGER NOT NULL,
  route TEXT NOT NULL,
  kind TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  needs_key INTEGER NOT NULL,
  confidence_level TEXT NOT NULL,
  proposals INTEGER NOT NULL,
  shadowed INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  open INTEGER NOT NULL,
  unpriced INTEGER NOT NULL,
  losses INTEGER NOT NULL,
  naive_nusd INTEGER NOT NULL,
  usd_nusd INTEGER NOT NULL,
  low_nusd INTEGER NOT NULL,
  high_nusd INTEGER NOT NULL,
  quota_nusd INTEGER NOT NULL,
  losses_nusd INTEGER NOT NULL,
  cost_nusd INTEGER NOT NULL,
  PRIMARY KEY (demo, route, kind, provider, model, needs_key, confidence_level)
) STRICT, WITHOUT ROWID
"""


def _trigger(name: str, event: str, row: str, sign: str, sums_of: Mapping[str, str]) -> str:
    sums = ", ".join(f"{sign} * ({sql})" for sql in sums_of.values())
    changed = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums_of)
    body = (
        f"INSERT INTO savings_rollup SELECT ROW.demo, {_KEYS_OF_ROW}, {sums} "
        f"WHERE true ON CONFLICT DO UPDATE SET {changed};"
    ).replace("ROW.", f"{row}.")
    return f"CREATE TRIGGER {name} AFTER {event} ON savings WHEN {row}.ended BEGIN {body} END"


STEP: Final = (
    TABLE,
    "CREATE INDEX savings_at ON savings (at)",
    "CREATE INDEX savings_open ON savings (turn_id) WHERE state = 'open'",
    "CREATE INDEX savings_running ON savings (turn_id) WHERE ended = 0",
    ROLLUP,
    _trigger("savings_insert", "INSERT", "NEW", "1", _SUMS_OF_2),
    _trigger("savings_update_out", "UPDATE", "OLD", "-1", _SUMS_OF_2),
    _trigger("savings_update_in", "UPDATE", "NEW", "1", _SUMS_OF_2),
)
"""The step from a ledger that knows turns only; it is released and must not change."""

STEP_MOVED: Final = (
    *(f"DROP TRIGGER savings_{name}" for name in ("insert", "update_out", "update_in")),
    *(
        f"ALTER TABLE savings_rollup ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
        for name in _MOVED
    ),
    _trigger("savings_insert", "INSERT", "NEW", "1", _SUMS),
    _trigger("savings_update_out", "UPDATE", "OLD", "-1", _SUMS),
    _trigger("savings_update_in", "UPDATE", "NEW", "1", _SUMS),
)
"""The step from there to one that tells realised figures from projected ones."""

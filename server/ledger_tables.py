"""The ledger's tables, as the steps that lead from one schema version to the next.

Money is kept twice: ``cost_usd`` (REAL, exactly what was computed, so a row reads back as it was
announced) and ``cost_nusd`` (whole nano-dollars, so sums are exact and do not depend on order).

``rollup`` holds sums of terminal turns per quarter of an hour; triggers on ``turns`` keep it, so
it cannot drift from the rows, whoever writes them. A quarter, because every time zone's midnight
falls on one.
"""

from __future__ import annotations

from typing import Final

from server import ledger_savings, ledger_scores

BUCKET_S: Final = 900
"""Width of one ``rollup`` bucket in seconds."""

LIFETIME_BUCKET: Final = -1
"""The ``rollup`` bucket that sums up all others, so that a start need not add up a year."""

_BOOTS = """
CREATE TABLE boots (
  boot_id TEXT NOT NULL PRIMARY KEY,
  pid INTEGER NOT NULL,
  process_start TEXT NOT NULL,
  started_at REAL NOT NULL,
  ended_at REAL,
  clean INTEGER NOT NULL DEFAULT 0,
  lost INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID
"""

_TURNS = """
CREATE TABLE turns (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  boot_id TEXT NOT NULL,
  at REAL NOT NULL,
  status TEXT NOT NULL,
  protocol TEXT NOT NULL,
  path TEXT NOT NULL,
  session TEXT,
  agent TEXT,
  project TEXT,
  branch TEXT,
  label TEXT,
  client TEXT NOT NULL,
  client_version TEXT,
  payer TEXT,
  model_asked TEXT,
  max_tokens INTEGER,
  stream INTEGER NOT NULL,
  tool_choice TEXT,
  body_bytes INTEGER NOT NULL,
  body_hash TEXT,
  cache_ttl TEXT,
  kind TEXT NOT NULL,
  route TEXT NOT NULL,
  offload INTEGER NOT NULL,
  confidence REAL NOT NULL,
  confidence_level TEXT NOT NULL,
  pinned_by TEXT,
  classifier_version TEXT NOT NULL,
  routing_version TEXT NOT NULL,
  mode TEXT NOT NULL,
  provider TEXT,
  model_served TEXT,
  attempt_count INTEGER NOT NULL,
  fallback INTEGER NOT NULL,
  http_status INTEGER,
  error_type TEXT,
  error_message TEXT,
  delivery TEXT NOT NULL,
  bytes_down INTEGER NOT NULL,
  stop_reason TEXT,
  answer_kind TEXT,
  tool_calls INTEGER NOT NULL,
  ttft_s REAL,
  duration_s REAL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_write_5m_tokens INTEGER,
  cache_write_1h_tokens INTEGER,
  reasoning_tokens INTEGER,
  web_searches INTEGER,
  service_tier TEXT,
  usage_source TEXT NOT NULL,
  output_estimate INTEGER NOT NULL,
  cost_usd REAL,
  cost_nusd INTEGER,
  cost_is_estimate INTEGER NOT NULL,
  unpriced INTEGER NOT NULL,
  price_version TEXT,
  price_note TEXT,
  redo_of TEXT,
  demo INTEGER NOT NULL,
  fallback_chain TEXT NOT NULL,
  cost_parts TEXT NOT NULL,
  estimates TEXT NOT NULL,
  reasons TEXT NOT NULL,
  candidates TEXT NOT NULL,
  features TEXT NOT NULL,
  usage_raw TEXT NOT NULL,
  blocks BLOB
) STRICT
"""

_ATTEMPTS = """
CREATE TABLE attempts (
  turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  started_s REAL NOT NULL,
  status INTEGER,
  outcome TEXT NOT NULL,
  error TEXT,
  ttft_s REAL,
  duration_s REAL,
  bytes_up INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL,
  request_id TEXT,
  PRIMARY KEY (turn_id, number)
) STRICT, WITHOUT ROWID
"""

_RATE_LIMITS = """
CREATE TABLE rate_limits (
  turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  provider TEXT NOT NULL,
  name TEXT NOT NULL,
  fields TEXT NOT NULL,
  PRIMARY KEY (turn_id, position)
) STRICT, WITHOUT ROWID
"""

_RATE_LIMITS_LATEST = """
CREATE TABLE rate_limits_latest (
  provider TEXT NOT NULL,
  name TEXT NOT NULL,
  fields TEXT NOT NULL,
  at REAL NOT NULL,
  PRIMARY KEY (provider, name)
) STRICT, WITHOUT ROWID
"""

_REJECTS = """
CREATE TABLE rejects (
  second INTEGER NOT NULL,
  reason TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  http_status INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (second, reason, boot_id)
) STRICT, WITHOUT ROWID
"""

_ROLLUP = """
CREATE TABLE rollup (
  bucket INTEGER NOT NULL,
  demo INTEGER NOT NULL,
  provider TEXT NOT NULL,
  route TEXT NOT NULL,
  kind TEXT NOT NULL,
  payer TEXT NOT NULL,
  status TEXT NOT NULL,
  turns INTEGER NOT NULL,
  fallback INTEGER NOT NULL,
  timed INTEGER NOT NULL,
  duration_us INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_5m_tokens INTEGER NOT NULL,
  cache_write_1h_tokens INTEGER NOT NULL,
  cost_nusd INTEGER NOT NULL,
  estimated_nusd INTEGER NOT NULL,
  unpriced INTEGER NOT NULL,
  PRIMARY KEY (bucket, demo, provider, route, kind, payer, status)
) STRICT, WITHOUT ROWID
"""

_ADD_TO_ROLLUP = """
  INSERT INTO rollup
  SELECT bucket, ROW.demo, coalesce(ROW.provider, ''), ROW.route, ROW.kind,
    coalesce(ROW.payer, ''), ROW.status,
    SIGN, SIGN * ROW.fallback,
    SIGN * (ROW.duration_s IS NOT NULL),
    SIGN * CAST(round(coalesce(ROW.duration_s, 0) * 1000000) AS INTEGER),
    SIGN * coalesce(ROW.input_tokens, 0), SIGN * coalesce(ROW.output_tokens, 0),
    SIGN * coalesce(ROW.cache_read_tokens, 0), SIGN * coalesce(ROW.cache_write_5m_tokens, 0),
    SIGN * coalesce(ROW.cache_write_1h_tokens, 0),
    SIGN * coalesce(ROW.cost_nusd, 0),
    SIGN * iif(ROW.cost_is_estimate, coalesce(ROW.cost_nusd, 0), 0),
    SIGN * ROW.unpriced
  FROM (SELECT CAST(ROW.at / 900 AS INTEGER) AS bucket UNION ALL SELECT -1)
  WHERE true ON CONFLICT DO UPDATE SET
    turns = turns + excluded.turns,
    fallback = fallback + excluded.fallback,
    timed = timed + excluded.timed,
    duration_us = duration_us + excluded.duration_us,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
    cache_write_5m_tokens = cache_write_5m_tokens + excluded.cache_write_5m_tokens,
    cache_write_1h_tokens = cache_write_1h_tokens + excluded.cache_write_1h_tokens,
    cost_nusd = cost_nusd + excluded.cost_nusd,
    estimated_nusd = estimated_nusd + excluded.estimated_nusd,
    unpriced = unpriced + excluded.unpriced;
"""


_COUNTED_UPDATE = (
    "UPDATE OF at, demo, provider, route, kind, payer, status, fallback, duration_s, input_tokens,"
    " output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cost_nusd,"
    " cost_is_estimate, unpriced"
)


def _rollup_trigger(name: str, event: str, row: str, sign: str) -> str:
    change = _ADD_TO_ROLLUP.replace("ROW.", f"{row}.").replace("SIGN", sign)
    return (
        f"CREATE TRIGGER {name} AFTER {event} ON turns WHEN {row}.status <> 'open'"
        f" BEGIN {change} END"
    )


MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        _BOOTS,
        "CREATE INDEX boots_running ON boots (boot_id) WHERE ended_at IS NULL",
        _TURNS,
        "CREATE INDEX turns_at ON turns (at)",
        "CREATE INDEX turns_session ON turns (session, at) WHERE session IS NOT NULL",
        "CREATE INDEX turns_open ON turns (boot_id) WHERE status = 'open'",
        _ATTEMPTS,
        _RATE_LIMITS,
        _RATE_LIMITS_LATEST,
        _REJECTS,
        _ROLLUP,
        _rollup_trigger("rollup_insert", "INSERT", "NEW", "1"),
        _rollup_trigger("rollup_update_out", _COUNTED_UPDATE, "OLD", "-1"),
        _rollup_trigger("rollup_update_in", _COUNTED_UPDATE, "NEW", "1"),
    ),
    ledger_savings.STEP,
    ledger_savings.STEP_MOVED,
    ("ALTER TABLE turns ADD COLUMN notes TEXT",),
    ledger_scores.STEP,
)
"""Statements that lead from one ``user_version`` to the next; a released step never changes."""

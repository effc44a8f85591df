"""Between a ``Turn`` and the ledger's rows, both ways; pure.

Values are made safe on the way in (text SQLite can store, integers of 64 bits, no NaN), so that
one odd turn cannot make a whole transaction fail.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec

from providers.types import Payer
from server import ledger_savings
from server.ledger_savings import SavingRow, proposal_row
from server.ledger_scores import RungRow, ScoreRow
from server.ledger_values import (
    Row,
    Value,
    as_integer,
    as_json,
    as_real,
    as_text,
    known_seconds,
    known_tokens,
    names,
    nano_usd,
)
from server.record import Attempt, RateLimit, Status, Turn

_TEXT: Final = names(
    "protocol path session agent project branch label client client_version payer model_asked "
    "tool_choice body_hash cache_ttl kind route confidence_level pinned_by classifier_version "
    "routing_version mode provider model_served error_type error_message delivery stop_reason "
    "answer_kind usage_source price_version price_note redo_of"
)
_INTEGER: Final = names(
    "max_tokens body_bytes http_status bytes_down tool_calls output_estimate "
    "stream offload cost_is_estimate demo"
)
_REAL: Final = names("at confidence cost_usd")
_SECONDS: Final = names("ttft_s duration_s")
_JSON: Final = names("cost_parts estimates reasons features notes")
_USAGE_INTEGER: Final = names(
    "input_tokens output_tokens cache_read_tokens cache_write_5m_tokens cache_write_1h_tokens "
    "reasoning_tokens web_searches"
)
_COMPUTED: Final = names(
    "id boot_id status attempt_count fallback cost_nusd unpriced fallback_chain candidates "
    "service_tier usage_raw blocks"
)

COLUMNS: Final = (*_TEXT, *_INTEGER, *_REAL, *_SECONDS, *_JSON, *_USAGE_INTEGER, *_COMPUTED)
"""The columns of ``turns`` that a row of ours fills, in its order."""

ATTEMPT_COLUMNS: Final = Attempt.__slots__

SUMMARY_COLUMNS: Final = names(
    "id at status protocol path session agent project branch label client client_version payer "
    "kind route offload confidence_level mode model_asked model_served provider stream "
    "attempt_count fallback_chain http_status error_type error_message delivery stop_reason "
    "tool_calls bytes_down ttft_s duration_s usage_source input_tokens output_tokens "
    "cache_read_tokens cache_write_5m_tokens cache_write_1h_tokens output_estimate cost_usd "
    "cost_is_estimate unpriced demo"
)
"""What a list row needs; none of the wide columns."""

_BOOLEANS: Final = ("offload", "stream", "cost_is_estimate", "unpriced", "demo")


@dataclass(frozen=True, slots=True)
class OpenRow:
    """The write-ahead row of a turn, and of its proposal."""

    values: Row
    saving: Row | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return ("turn", str(self.values["id"]))


@dataclass(frozen=True, slots=True)
class CloseRow:
    """A turn in its terminal state, with its attempts, rate-limit windows and proposal."""

    values: Row
    attempts: tuple[Row, ...]
    limits: tuple[Row, ...]
    saving: Row | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return ("turn", str(self.values["id"]))


@dataclass(frozen=True, slots=True)
class DigestRow:
    """What was computed from a turn's body after its terminal row was written."""

    values: Row

    @property
    def key(self) -> tuple[str, ...]:
        return ("digest", str(self.values["id"]))


@dataclass(frozen=True, slots=True)
class RejectRow:
    """How many requests were refused for one reason within one second, so far."""

    second: int
    reason: str
    boot_id: str
    http_status: int
    count: int

    @property
    def key(self) -> tuple[str, ...]:
        return ("reject", str(self.second), self.reason)


@dataclass(frozen=True, slots=True)
class LostRow:
    """How many rows one process could not keep, in total."""

    boot_id: str
    count: int

    @property
    def key(self) -> tuple[str, ...]:
        return ("lost", self.boot_id)


Item = OpenRow | CloseRow | DigestRow | SavingRow | ScoreRow | RungRow | RejectRow | LostRow
"""One thing to write; applying it twice changes nothing."""


def open_row(turn: Turn, boot_id: str) -> OpenRow:
    """The turn as it stands now; the row says ``open`` whatever the turn's status."""
    values = _turn_values(turn, boot_id, Status.OPEN)
    return OpenRow(values, proposal_row(turn, has_ended=False))


def close_row(turn: Turn, boot_id: str) -> CloseRow:
    """The turn in its terminal state; one that never got a state counts as interrupted."""
    status = Status.INTERRUPTED if turn.status is Status.OPEN else turn.status
    return CloseRow(
        _turn_values(turn, boot_id, status),
        tuple(_attempt_values(attempt) for attempt in turn.attempts),
        tuple(_limit_values(turn.at, limit) for limit in turn.rate_limits),
        proposal_row(turn, has_ended=True),
    )


def digest_row(turn: Turn) -> DigestRow:
    """The digests of the turn, which may be missing."""
    values: Row = {
        "id": as_text(turn.id),
        "blocks": turn.blocks,
        "body_hash": as_text(turn.body_hash),
    }
    return DigestRow(values)


def is_unpriced(turn: Turn, status: Status | None = None) -> bool:
    """Whether the turn has, or may have, cost money that is not known."""
    return nano_usd(turn.cost_usd) is None and turn.may_have_cost(status)


def is_fallback(turn: Turn) -> bool:
    """Whether the turn succeeded only after an earlier provider had failed."""
    tried = {attempt.provider for attempt in turn.attempts}
    return turn.status is Status.COMPLETED and len(tried) > 1


def summary_of(row: Mapping[str, Value] | sqlite3.Row) -> dict[str, Any]:
    """``Turn.summary()`` from a row with ``SUMMARY_COLUMNS`` and ``ledger_savings.SELECTED``."""
    summary: dict[str, Any] = {name: row[name] for name in SUMMARY_COLUMNS}
    for name in _BOOLEANS:
        summary[name] = bool(summary[name])
    summary["attempts"] = summary.pop("attempt_count")
    summary["fallback_chain"] = msgspec.json.decode(summary["fallback_chain"])
    summary["pane"] = None
    summary["phase"] = "waiting" if summary["status"] == Status.OPEN else "done"
    summary["list_price_equivalent"] = summary["payer"] == Payer.LOGIN
    return summary | ledger_savings.shown(row)


def detail_of(
    row: sqlite3.Row, attempts: Iterable[sqlite3.Row], limits: Iterable[sqlite3.Row]
) -> dict[str, Any]:
    """``Turn.detail()`` from a whole row and the rows that hang on it."""
    plain = names(
        "max_tokens tool_choice body_bytes cache_ttl confidence pinned_by classifier_version "
        "routing_version answer_kind price_version price_note redo_of"
    )
    decoded = ("estimates", "features", "reasons", "candidates", "usage_raw", "cost_parts")
    return (
        summary_of(row)
        | {name: row[name] for name in plain}
        | {name: msgspec.json.decode(row[name]) for name in decoded}
        | {"notes": _notes(row)}
        | {
            "attempts_detail": [{name: a[name] for name in ATTEMPT_COLUMNS} for a in attempts],
            "rate_limits": [
                {"provider": limit["provider"], "name": limit["name"]}
                | msgspec.json.decode(limit["fields"])
                for limit in limits
            ],
        }
    )


def _notes(row: sqlite3.Row) -> list[str]:
    """None in a ledger that nobody has brought up to date yet."""
    found = row["notes"] if "notes" in row.keys() else None  # noqa: SIM118 - a row is no mapping
    return [] if found is None else list(msgspec.json.decode(found))


def to_record(item: Item) -> dict[str, Any]:
    """The item as a JSON-able object; ``blocks`` becomes base64."""
    match item:
        case OpenRow(values, saving):
            return {"k": "open", "turn": _readable(values), "saving": saving}
        case CloseRow(values, attempts, limits, saving):
            record = {"k": "close", "turn": _readable(values), "saving": saving}
            return record | {"attempts": list(attempts), "limits": list(limits)}
        case SavingRow(values):
            return {"k": "saving", "saving": values}
        case ScoreRow(values):
            return {"k": "score", "score": values}
        case RungRow(values):
            return {"k": "rung", "rung": values}
        case DigestRow(values):
            return {"k": "digest", "turn": _readable(values)}
        case RejectRow():
            return {"k": "reject"} | {name: getattr(item, name) for name in item.__slots__}
        case LostRow(boot_id, count):
            return {"k": "lost", "boot_id": boot_id, "count": count}


def from_record(record: Mapping[str, Any]) -> Item | None:
    """The reverse; ``None`` for a kind of record that is not known here."""
    match record["k"]:
        case "opened":
            return open_row(msgspec.convert(record["turn"], Turn), record["boot"])
        case "closed":
            return close_row(msgspec.convert(record["turn"], Turn), record["boot"])
        case "open":
            return OpenRow(_stored(record["turn"]), record.get("saving"))
        case "close":
            return CloseRow(
                _stored(record["turn"]),
                tuple(record["attempts"]),
                tuple(record["limits"]),
                record.get("saving"),
            )
        case "saving":
            return SavingRow(record["saving"])
        case "score":
            return ScoreRow(record["score"])
        case "rung":
            return RungRow(record["rung"])
        case "digest":
            stored = _stored(record["turn"])
            return DigestRow({name: stored[name] for name in ("id", "blocks", "body_hash")})
        case "reject":
            return RejectRow(**{name: record[name] for name in RejectRow.__slots__})
        case "lost":
            return LostRow(record["boot_id"], record["count"])
        case _:
            return None


def _turn_values(turn: Turn, boot_id: str, status: Status) -> Row:
    usage = turn.usage
    values: Row = dict(zip(_TEXT, map(as_text, _texts_of(turn)), strict=True))
    values.update(zip(_INTEGER, map(as_integer, _integers_of(turn)), strict=True))
    values.update(zip(_REAL, map(as_real, _reals_of(turn)), strict=True))
    values.update(zip(_SECONDS, map(known_seconds, _seconds_of(turn)), strict=True))
    values.update(zip(_JSON, map(as_json, _objects_of(turn)), strict=True))
    values.update(zip(_USAGE_INTEGER, map(known_tokens, _tokens_of(usage)), strict=True))
    values["id"] = as_text(turn.id)
    values["boot_id"] = as_text(boot_id)
    values["status"] = status.value
    values["attempt_count"] = len(turn.attempts)
    values["fallback"] = int(is_fallback(turn))
    values["cost_nusd"] = nano_usd(turn.cost_usd)
    values["unpriced"] = int(is_unpriced(turn, status))
    values["fallback_chain"] = as_json([attempt.provider for attempt in turn.attempts])
    values["candidates"] = as_json([candidate.as_json() for candidate in turn.candidates])
    values["service_tier"] = as_text(usage.service_tier)
    values["usage_raw"] = as_json(usage.raw)
    values["blocks"] = turn.blocks
    return values


# Read in one call each: every request makes two rows of some eighty values.
_texts_of = attrgetter(*_TEXT)
_integers_of = attrgetter(*_INTEGER)
_reals_of = attrgetter(*_REAL)
_seconds_of = attrgetter(*_SECONDS)
_objects_of = attrgetter(*_JSON)
_tokens_of = attrgetter(*_USAGE_INTEGER)


def _attempt_values(attempt: Attempt) -> Row:
    values: Row = {}
    for name in ATTEMPT_COLUMNS:
        value = getattr(attempt, name)
        if isinstance(value, str):
            values[name] = as_text(value)
        elif isinstance(value, float):
            values[name] = as_real(value)
        else:
            values[name] = as_integer(value)
    return values


def _limit_values(at: float, limit: RateLimit) -> Row:
    return {
        "provider": as_text(limit.provider),
        "name": as_text(limit.name),
        "fields": as_json(limit.fields),
        "at": at,
    }


def _readable(values: Row) -> dict[str, Any]:
    blocks = values["blocks"]
    if not isinstance(blocks, bytes):
        return dict(values)
    return values | {"blocks": base64.b64encode(blocks).decode("ascii")}


def _stored(values: Mapping[str, Any]) -> Row:
    blocks = values.get("blocks")
    decoded = base64.b64decode(blocks) if isinstance(blocks, str) else None
    return {name: values.get(name) for name in COLUMNS} | {"blocks": decoded}

"""Between a ``Turn`` and the ledger's rows, both ways; pure.

Values are made safe on the way in (text SQLite can store, integers of 64 bits, no NaN), so that
one odd turn cannot make a whole transaction fail.
"""

from __future__ import annotations

import base64
import logging
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.types import Payer
from server.record import Attempt, RateLimit, Status, Turn

_log = logging.getLogger("sbgw.ledger")

Value = str | int | float | bytes | None
"""What SQLite can hold."""

TEXT_LIMIT: Final = 2000
"""Longest text kept in one column, in characters; header values come from outside."""

JSON_LIMIT: Final = 262_144
"""Longest JSON kept in one column, in bytes."""

TOKENS_MAX: Final = 10**9
COST_MAX_USD: Final = 100_000.0
SECONDS_MAX: Final = 10_000_000.0
"""Most that one turn can plausibly have; a figure beyond is a defect of whoever sent it, counts as
unknown, and must not be able to overflow the sums that later turns are added to."""

_INT_MAX: Final = 2**63 - 1


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TEXT: Final = _names(
    "protocol path session agent project branch label client client_version payer model_asked "
    "tool_choice body_hash cache_ttl kind route confidence_level pinned_by classifier_version "
    "routing_version mode provider model_served error_type error_message delivery stop_reason "
    "answer_kind usage_source price_version price_note redo_of"
)
_INTEGER: Final = _names(
    "max_tokens body_bytes http_status bytes_down tool_calls output_estimate "
    "stream offload cost_is_estimate demo"
)
_REAL: Final = _names("at confidence cost_usd")
_SECONDS: Final = _names("ttft_s duration_s")
_JSON: Final = _names("cost_parts estimates reasons features")
_USAGE_INTEGER: Final = _names(
    "input_tokens output_tokens cache_read_tokens cache_write_5m_tokens cache_write_1h_tokens "
    "reasoning_tokens web_searches"
)
_COMPUTED: Final = _names(
    "id boot_id status attempt_count fallback cost_nusd unpriced fallback_chain candidates "
    "service_tier usage_raw blocks"
)

COLUMNS: Final = (*_TEXT, *_INTEGER, *_REAL, *_SECONDS, *_JSON, *_USAGE_INTEGER, *_COMPUTED)
"""The columns of ``turns`` that a row of ours fills, in its order."""

ATTEMPT_COLUMNS: Final = Attempt.__slots__

SUMMARY_COLUMNS: Final = _names(
    "id at status protocol path session agent project branch label client client_version payer "
    "kind route offload confidence_level mode model_asked model_served provider stream "
    "attempt_count fallback_chain http_status error_type error_message delivery stop_reason "
    "tool_calls bytes_down ttft_s duration_s usage_source input_tokens output_tokens "
    "cache_read_tokens cache_write_5m_tokens cache_write_1h_tokens output_estimate cost_usd "
    "cost_is_estimate unpriced demo"
)
"""What a list row needs; none of the wide columns."""

_BOOLEANS: Final = ("offload", "stream", "cost_is_estimate", "unpriced", "demo")

Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class OpenRow:
    """The write-ahead row of a turn."""

    values: Row

    @property
    def key(self) -> tuple[str, ...]:
        return ("turn", str(self.values["id"]))


@dataclass(frozen=True, slots=True)
class CloseRow:
    """A turn in its terminal state, with its attempts and rate-limit windows."""

    values: Row
    attempts: tuple[Row, ...]
    limits: tuple[Row, ...]

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


Item = OpenRow | CloseRow | DigestRow | RejectRow | LostRow
"""One thing to write; applying it twice changes nothing."""


def open_row(turn: Turn, boot_id: str) -> OpenRow:
    """The turn as it stands now; the row says ``open`` whatever the turn's status."""
    return OpenRow(_turn_values(turn, boot_id, Status.OPEN))


def close_row(turn: Turn, boot_id: str) -> CloseRow:
    """The turn in its terminal state; one that never got a state counts as interrupted."""
    status = Status.INTERRUPTED if turn.status is Status.OPEN else turn.status
    return CloseRow(
        _turn_values(turn, boot_id, status),
        tuple(_attempt_values(attempt) for attempt in turn.attempts),
        tuple(_limit_values(turn.at, limit) for limit in turn.rate_limits),
    )


def digest_row(turn: Turn) -> DigestRow:
    """The digests of the turn, which may be missing."""
    values: Row = {"id": _text(turn.id), "blocks": turn.blocks, "body_hash": _text(turn.body_hash)}
    return DigestRow(values)


def nano_usd(usd: float | None) -> int | None:
    """Dollars as whole nano-dollars, ``None`` when unknown or not plausible."""
    if usd is None or not abs(usd) <= COST_MAX_USD:
        return None
    return round(usd * 1e9)


def known_tokens(count: int | None) -> int | None:
    """A token count, ``None`` when unknown or not plausible."""
    # What a provider sends as a count is not always whole, whatever its type should be.
    return int(count) if count is not None and 0 <= count <= TOKENS_MAX else None


def known_seconds(seconds: float | None) -> float | None:
    """A duration, ``None`` when unknown or not plausible."""
    return seconds if seconds is not None and 0 <= seconds <= SECONDS_MAX else None


def is_unpriced(turn: Turn, status: Status | None = None) -> bool:
    """Whether the turn has, or may have, cost money that is not known."""
    return nano_usd(turn.cost_usd) is None and turn.may_have_cost(status)


def is_fallback(turn: Turn) -> bool:
    """Whether the turn succeeded only after an earlier provider had failed."""
    tried = {attempt.provider for attempt in turn.attempts}
    return turn.status is Status.COMPLETED and len(tried) > 1


def summary_of(row: Mapping[str, Value] | sqlite3.Row) -> dict[str, Any]:
    """``Turn.summary()`` from a row that has the ``SUMMARY_COLUMNS``."""
    summary: dict[str, Any] = {name: row[name] for name in SUMMARY_COLUMNS}
    for name in _BOOLEANS:
        summary[name] = bool(summary[name])
    summary["attempts"] = summary.pop("attempt_count")
    summary["fallback_chain"] = msgspec.json.decode(summary["fallback_chain"])
    summary["phase"] = "waiting" if summary["status"] == Status.OPEN else "done"
    summary["list_price_equivalent"] = summary["payer"] == Payer.LOGIN
    return summary


def detail_of(
    row: sqlite3.Row, attempts: Iterable[sqlite3.Row], limits: Iterable[sqlite3.Row]
) -> dict[str, Any]:
    """``Turn.detail()`` from a whole row and the rows that hang on it."""
    plain = _names(
        "max_tokens tool_choice body_bytes cache_ttl confidence pinned_by classifier_version "
        "routing_version answer_kind price_version price_note redo_of"
    )
    decoded = ("estimates", "features", "reasons", "candidates", "usage_raw", "cost_parts")
    return (
        summary_of(row)
        | {name: row[name] for name in plain}
        | {name: msgspec.json.decode(row[name]) for name in decoded}
        | {
            "attempts_detail": [{name: a[name] for name in ATTEMPT_COLUMNS} for a in attempts],
            "rate_limits": [
                {"provider": limit["provider"], "name": limit["name"]}
                | msgspec.json.decode(limit["fields"])
                for limit in limits
            ],
        }
    )


def to_record(item: Item) -> dict[str, Any]:
    """The item as a JSON-able object; ``blocks`` becomes base64."""
    match item:
        case OpenRow(values):
            return {"k": "open", "turn": _readable(values)}
        case CloseRow(values, attempts, limits):
            record = {"k": "close", "turn": _readable(values)}
            return record | {"attempts": list(attempts), "limits": list(limits)}
        case DigestRow(values):
            return {"k": "digest", "turn": _readable(values)}
        case RejectRow():
            return {"k": "reject"} | {name: getattr(item, name) for name in item.__slots__}
        case LostRow(boot_id, count):
            return {"k": "lost", "boot_id": boot_id, "count": count}


def from_record(record: Mapping[str, Any]) -> Item | None:
    """The reverse; ``None`` for a kind of record that is not known here."""
    match record["k"]:
        case "open":
            return OpenRow(_stored(record["turn"]))
        case "close":
            return CloseRow(
                _stored(record["turn"]), tuple(record["attempts"]), tuple(record["limits"])
            )
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
    values: Row = {name: _text(getattr(turn, name)) for name in _TEXT}
    for name in _INTEGER:
        values[name] = _integer(getattr(turn, name))
    for name in _REAL:
        values[name] = _real(getattr(turn, name))
    for name in _SECONDS:
        values[name] = known_seconds(getattr(turn, name))
    for name in _JSON:
        values[name] = _json(getattr(turn, name))
    for name in _USAGE_INTEGER:
        values[name] = known_tokens(getattr(usage, name))
    values["id"] = _text(turn.id)
    values["boot_id"] = _text(boot_id)
    values["status"] = status.value
    values["attempt_count"] = len(turn.attempts)
    values["fallback"] = int(is_fallback(turn))
    values["cost_nusd"] = nano_usd(turn.cost_usd)
    values["unpriced"] = int(is_unpriced(turn, status))
    values["fallback_chain"] = _json([attempt.provider for attempt in turn.attempts])
    values["candidates"] = _json([candidate.as_json() for candidate in turn.candidates])
    values["service_tier"] = _text(usage.service_tier)
    values["usage_raw"] = _json(usage.raw)
    values["blocks"] = turn.blocks
    return values


def _attempt_values(attempt: Attempt) -> Row:
    values: Row = {}
    for name in ATTEMPT_COLUMNS:
        value = getattr(attempt, name)
        if isinstance(value, str):
            values[name] = _text(value)
        elif isinstance(value, float):
            values[name] = _real(value)
        else:
            values[name] = _integer(value)
    return values


def _limit_values(at: float, limit: RateLimit) -> Row:
    return {
        "provider": _text(limit.provider),
        "name": _text(limit.name),
        "fields": _json(limit.fields),
        "at": at,
    }


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if type(value) is str else str(value)
    if len(text) > TEXT_LIMIT:
        text = text[:TEXT_LIMIT]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _integer(value: Any) -> int | None:
    return None if value is None else max(-_INT_MAX, min(_INT_MAX, int(value)))


def _real(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _json(value: Any) -> str:
    """Compact JSON; what cannot be encoded, or is absurdly long, becomes an empty value."""
    empty = "[]" if isinstance(value, list | tuple) else "{}"
    if not value:
        return empty
    try:
        encoded = _encode(value if isinstance(value, list | dict) else dict(value))
    except (TypeError, ValueError, RecursionError) as error:
        _log.warning("a value could not be written to the ledger: %r", error)
        return empty
    if len(encoded) > JSON_LIMIT:
        _log.warning("a value of %d bytes is too long for the ledger", len(encoded))
        return empty
    return encoded.decode("utf-8")


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _readable(values: Row) -> dict[str, Any]:
    blocks = values["blocks"]
    if not isinstance(blocks, bytes):
        return dict(values)
    return values | {"blocks": base64.b64encode(blocks).decode("ascii")}


def _stored(values: Mapping[str, Any]) -> Row:
    blocks = values.get("blocks")
    decoded = base64.b64decode(blocks) if isinstance(blocks, str) else None
    return {name: values.get(name) for name in COLUMNS} | {"blocks": decoded}

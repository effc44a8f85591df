"""Outages of providers as one watched them: since, until, whom they touched, what recovered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tui.rows import Shown, TurnRow, text_of

SAME_OUTAGE_S = 60.0
"""Failing again this soon is the same outage going on."""

_FAILED = frozenset({Shown.ERROR, Shown.FAILED, Shown.PARTIAL})


@dataclass(frozen=True, slots=True)
class Incident:
    """One outage of one provider; times in seconds since the epoch."""

    provider: str
    since: float
    cause: str
    """Text of a provider or of the system; not neutralised."""
    until: float | None = None
    """``None`` while it goes on."""


@dataclass(frozen=True, slots=True)
class Toll:
    """What became of the turns that met an outage."""

    turns: int = 0
    sessions: int = 0
    elsewhere: int = 0
    """Served by another provider."""
    again: int = 0
    """Served by this one after all."""
    failed: int = 0
    running: int = 0
    cost_usd: float = 0.0
    """What they cost together, as far as it is known; list prices included."""
    elsewhere_usd: float = 0.0
    """The part that another provider was paid."""
    unpriced: int = 0
    """Those that cost an unknown amount."""


def is_out(provider: Mapping[str, Any]) -> bool:
    """Whether a provider fails now; a breaker on probation has not recovered yet."""
    return provider.get("status") in ("failing", "offline") or (
        text_of(provider.get("breaker")) in ("open", "half-open")
    )


def watched(
    known: Mapping[str, Incident], name: str, provider: Mapping[str, Any], now: float
) -> Mapping[str, Incident]:
    """The latest outage of each provider, after one entry was seen at ``now``.

    The same mapping when nothing began or ended.
    """
    last = known.get(name)
    if is_out(provider):
        if last is not None and last.until is None:
            return known
        if last is not None and last.until is not None and now - last.until < SAME_OUTAGE_S:
            return {**known, name: replace(last, until=None)}
        cause = text_of(provider.get("breaker_error")) or text_of(provider.get("last_error"))
        status = text_of(provider.get("status")) or "failing"
        return {**known, name: Incident(name, now, cause or status)}
    if last is None or last.until is not None:
        return known
    return {**known, name: replace(last, until=now)}


def toll(incident: Incident, rows: Iterable[TurnRow]) -> Toll:
    """Count the turns that tried the provider in vain while it was out."""
    counts = {"elsewhere": 0, "again": 0, "failed": 0, "running": 0}
    sessions: set[str] = set()
    turns = unpriced = 0
    cost = elsewhere = 0.0
    for row in rows:
        if (fate := _fate(incident, row)) is None:
            continue
        turns += 1
        counts[fate] += 1
        cost += row.cost_usd or 0.0
        elsewhere += (row.cost_usd or 0.0) if fate == "elsewhere" else 0.0
        unpriced += row.cost_usd is None and row.is_unpriced and not row.is_open
        if row.session is not None:
            sessions.add(row.session)
    return Toll(
        turns, len(sessions), **counts, cost_usd=cost, elsewhere_usd=elsewhere, unpriced=unpriced
    )


def _fate(incident: Incident, row: TurnRow) -> str | None:
    """What became of a turn, ``None`` when the outage did not touch it."""
    name = incident.provider
    ended = row.at + (row.duration_s or 0.0)
    is_during = ended >= incident.since or row.is_open
    if name not in row.chain or not is_during:
        return None
    if incident.until is not None and row.at > incident.until:
        return None
    if row.provider is not None and row.provider != name and row.shown is Shown.OK:
        return "elsewhere"
    if row.is_open:
        return "running" if row.attempts > 1 else None
    if row.shown is Shown.OK:
        return "again" if row.attempts > 1 else None
    is_refusal = row.http_status is not None and 400 <= row.http_status < 500
    return "failed" if row.shown in _FAILED and not is_refusal else None

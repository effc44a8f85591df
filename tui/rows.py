"""One turn as a row of the list, read from a summary without trusting it, and rows in order.

A client chooses its model name and a provider its error text, so a value of the wrong type is
treated as missing. Text stays raw here; it is neutralised where it is formatted.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from server.record import Phase, Status

FIVE_MINUTES_S, HOUR_S = 300.0, 3_600.0
"""The two lifetimes of Anthropic's prompt cache."""

_EXACT = 2**53
_LONGEST_CHAIN = 16
_WRITES = ("cache_write_5m_tokens", "cache_write_1h_tokens")
_LONGEST_WORD = 200
"""Characters of a field that a filter looks at."""


class Shown(StrEnum):
    """The state of a turn as a reader distinguishes it."""

    WAITING = "waiting"
    STREAMING = "streaming"
    OK = "ok"
    ERROR = "error"
    FAILED = "failed"
    PARTIAL = "partial"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


_TERMINAL = {
    Status.COMPLETED: Shown.OK,
    Status.ERROR: Shown.ERROR,
    Status.FAILED: Shown.FAILED,
    Status.PARTIAL: Shown.PARTIAL,
    Status.CANCELLED: Shown.CANCELLED,
    Status.REJECTED: Shown.REJECTED,
    Status.INTERRUPTED: Shown.INTERRUPTED,
}


def text_of(value: object) -> str | None:
    """A non-empty string, or ``None``."""
    return value if isinstance(value, str) and value else None


def number_of(value: object) -> float | None:
    """A finite number, or ``None``; a bool is not a number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def count_of(value: object) -> int | None:
    """A count of zero or more, or ``None``."""
    if type(value) is int and 0 <= value < _EXACT:  # nearly every value there is
        return value
    result = number_of(value)
    return int(result) if result is not None and result >= 0 else None


def amount_of(value: object) -> float | None:
    """Dollars of zero or more, or ``None``: a negative cost is a fault, not a gain."""
    result = number_of(value)
    return result if result is not None and result >= 0 else None


def mapping_of(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Projected:
    """Where live mode would have sent a turn, and what that would have saved; USD."""

    provider: str
    model: str | None
    state: str
    """``would_move``, ``needs_key``, ``observed``, ``unsupported`` or ``moved``."""
    usd: float | None = None
    """The cache-aware net; negative is a loss, ``None`` unknown."""
    low_usd: float | None = None
    high_usd: float | None = None
    saving: str | None = None
    """``open``, ``settled``, ``unpriced``; ``None`` until the turn has ended."""

    @property
    def target(self) -> str:
        """``provider/model``, without the vendor prefix a model id may have."""
        model = (self.model or "").rpartition("/")[2]
        return f"{self.provider}/{model}" if model else self.provider

    @property
    def is_counted(self) -> bool:
        """Whether its figure is among the sums: what waits for a key is outside them."""
        return self.state != "needs_key"


@dataclass(frozen=True, slots=True)
class Chill:
    """Why a turn found its prompt cache cold; from ``server.cold.Cold.as_json``."""

    cause: str
    text: str
    """A sentence."""
    tokens: int
    usd: float | None
    """``None`` unknown."""


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One turn as the list shows it; from ``server.record.Turn.summary``. Times in seconds."""

    id: str
    at: float
    seq: int
    shown: Shown
    status: str
    client: str | None
    kind: str | None
    route: str | None
    model_asked: str | None
    model_served: str | None
    provider: str | None
    project: str | None
    session: str | None
    label: str | None
    payer: str | None
    attempts: int
    http_status: int | None
    error_type: str | None
    error_message: str | None
    ttft_s: float | None
    duration_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    output_estimate: int
    cost_usd: float | None
    cost_is_estimate: bool
    is_unpriced: bool
    """Whether it may have cost money that is not known."""
    list_price: bool
    projected: Projected | None
    """``None``: it would have stayed where it is."""
    agent: str | None
    """The sub-agent that asked, ``None`` for the session itself."""
    chain: tuple[str, ...]
    """The providers that were tried, in order."""
    context_tokens: int | None
    """What the model read: input, cache reads and cache writes."""
    cache_ttl_s: float | None
    """How long what it wrote or read is cached at the least, ``None`` when nothing was."""
    words: str
    """Everything a filter may look for, in lower case, a line each."""
    pane: str | None = None
    """The pane of the screen its agent runs in."""
    cold: Chill | None = None
    """``None``: it was not cold, or nobody knows."""

    @property
    def is_open(self) -> bool:
        """Whether the turn is still in flight."""
        return self.shown in (Shown.WAITING, Shown.STREAMING)


def row_from(summary: Mapping[str, Any], seq: int) -> TurnRow | None:
    """A row of a summary, or ``None`` when it has no id."""
    turn_id = text_of(summary.get("id"))
    if turn_id is None:
        return None
    status = text_of(summary.get("status")) or ""
    shown = _shown(status, summary.get("phase"))
    projected = projected_from(summary)
    return TurnRow(
        id=turn_id,
        at=number_of(summary.get("at")) or 0.0,
        seq=seq,
        shown=shown,
        status=status,
        client=text_of(summary.get("client")),
        kind=text_of(summary.get("kind")),
        route=text_of(summary.get("route")),
        model_asked=text_of(summary.get("model_asked")),
        model_served=text_of(summary.get("model_served")),
        provider=text_of(summary.get("provider")),
        project=text_of(summary.get("project")),
        session=text_of(summary.get("session")),
        label=text_of(summary.get("label")),
        payer=text_of(summary.get("payer")),
        attempts=count_of(summary.get("attempts")) or 0,
        http_status=count_of(summary.get("http_status")),
        error_type=text_of(summary.get("error_type")),
        error_message=text_of(summary.get("error_message")),
        ttft_s=number_of(summary.get("ttft_s")),
        duration_s=number_of(summary.get("duration_s")),
        input_tokens=count_of(summary.get("input_tokens")),
        output_tokens=count_of(summary.get("output_tokens")),
        cache_read_tokens=count_of(summary.get("cache_read_tokens")),
        output_estimate=count_of(summary.get("output_estimate")) or 0,
        cost_usd=amount_of(summary.get("cost_usd")),
        cost_is_estimate=summary.get("cost_is_estimate") is True,
        is_unpriced=summary.get("unpriced") is not False,
        list_price=summary.get("list_price_equivalent") is True,
        projected=projected,
        agent=text_of(summary.get("agent")),
        chain=_chain(summary.get("fallback_chain")),
        context_tokens=_context(summary),
        cache_ttl_s=_cache_ttl(summary),
        words=_words(summary, shown, projected),
        pane=text_of(summary.get("pane")),
        cold=cold_from(summary.get("cold")),
    )


def _chain(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(text for item in value[:_LONGEST_CHAIN] if (text := text_of(item)) is not None)


def _context(summary: Mapping[str, Any]) -> int | None:
    names = ("input_tokens", "cache_read_tokens", *_WRITES)
    known = [count for name in names if (count := count_of(summary.get(name))) is not None]
    return sum(known) if known else None


def _cache_ttl(summary: Mapping[str, Any]) -> float | None:
    if count_of(summary.get("cache_write_1h_tokens")):
        return HOUR_S
    if count_of(summary.get("cache_write_5m_tokens")) or count_of(summary.get("cache_read_tokens")):
        return FIVE_MINUTES_S
    return None


_SEARCHED = (
    "id",
    "status",
    "client",
    "kind",
    "route",
    "model_asked",
    "model_served",
    "provider",
    "project",
    "branch",
    "session",
    "label",
    "payer",
    "error_type",
    "error_message",
)


def _words(summary: Mapping[str, Any], shown: Shown, projected: Projected | None) -> str:
    parts = [str(shown), projected.target[:_LONGEST_WORD] if projected else ""]
    if (cold := text_of(mapping_of(summary.get("cold")).get("cause"))) is not None:
        parts.append(f"cold cache: {cold[:40]}")
    for name in _SEARCHED:
        if (value := text_of(summary.get(name))) is not None:
            parts.append(value[:_LONGEST_WORD])
    return "\n".join(parts).lower()


def cold_from(value: object) -> Chill | None:
    """``turn["cold"]``, without trusting it."""
    found = mapping_of(value)
    if (cause := text_of(found.get("cause"))) is None:
        return None
    return Chill(
        cause,
        text_of(found.get("text")) or "",
        count_of(found.get("tokens")) or 0,
        amount_of(found.get("usd")),
    )


def with_cold(row: TurnRow, cold: Chill) -> TurnRow:
    """The same turn, of which it is known now why its cache was cold."""
    return replace(row, cold=cold, words=f"{row.words}\ncold cache: {cold.cause[:40]}".lower())


def projected_from(summary: Mapping[str, Any]) -> Projected | None:
    """The proposal of a turn with its saving; from ``Proposal.as_json`` and ``Saving.as_json``."""
    proposal = mapping_of(summary.get("proposal"))
    provider = text_of(proposal.get("provider"))
    if provider is None:
        return None
    made = Projected(
        provider, text_of(proposal.get("model")), text_of(proposal.get("state")) or "unknown"
    )
    return with_saving(made, mapping_of(summary.get("saving")))


def with_saving(projected: Projected, saving: Mapping[str, Any]) -> Projected:
    """The same proposal with what is known now of its saving."""
    if not saving:
        return projected
    return replace(
        projected,
        usd=number_of(saving.get("usd")),
        low_usd=number_of(saving.get("low_usd")),
        high_usd=number_of(saving.get("high_usd")),
        saving=text_of(saving.get("state")),
    )


def _shown(status: str, phase: object) -> Shown:
    if status == Status.OPEN:
        return Shown.WAITING if phase == Phase.WAITING else Shown.STREAMING
    try:
        return _TERMINAL[Status(status)]
    except ValueError:
        return Shown.UNKNOWN


def mappings_in(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list; anything else is left out."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


@dataclass(slots=True)
class Book:
    """Rows by id and their order, oldest first."""

    rows: dict[str, TurnRow] = field(default_factory=dict)
    order: list[tuple[float, str]] = field(default_factory=list)

    def put(self, row: TurnRow) -> bool:
        """Add or replace a row; whether it was added."""
        known = self.rows.get(row.id)
        if known is not None:
            self.rows[row.id] = row if row.at == known.at else replace(row, at=known.at)
            return False
        self.rows[row.id] = row
        bisect.insort(self.order, (row.at, row.id))
        return True

    def remove(self, turn_id: str) -> None:
        """Forget a row, if it is there."""
        row = self.rows.pop(turn_id, None)
        if row is not None:
            del self.order[bisect.bisect_left(self.order, (row.at, turn_id))]

    def trim(self, most: int) -> list[str]:
        """Forget the oldest rows over ``most``, those still in flight last; the ids that went."""
        gone: list[str] = []
        while len(self.order) > most:
            oldest = next((i for _, i in self.order if not self.rows[i].is_open), self.order[0][1])
            self.remove(oldest)
            gone.append(oldest)
        return gone

    def index(self, turn_id: str) -> int | None:
        """Position counted from the newest."""
        row = self.rows.get(turn_id)
        if row is None:
            return None
        return len(self.order) - 1 - bisect.bisect_left(self.order, (row.at, turn_id))

    def copy(self) -> Book:
        return Book(dict(self.rows), list(self.order))

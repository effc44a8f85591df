"""What is known about one turn, from acceptance to its terminal state.

A *turn* is one accepted client request. The relay fills a ``Turn`` while it runs; the ledger
stores it (``open`` before dispatch, one terminal state afterwards), the bus announces it, and
every front end shows it through ``summary()`` and ``detail()``, which are JSON-able and hold
metadata only: never prompt text, never a credential.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from providers.types import Delivery, Payer, Protocol, Usage, UsageSource


class Status(StrEnum):
    """Where a turn stands. ``OPEN`` is the only state that is not terminal."""

    OPEN = "open"
    COMPLETED = "completed"
    """The upstream answered with success and its protocol's own terminator."""
    ERROR = "error"
    """An upstream error answer (any status >= 400, or an error event) reached the client."""
    FAILED = "failed"
    """No upstream answer; the client got an error made by the gateway."""
    PARTIAL = "partial"
    """The answer broke off after its first byte had been delivered."""
    CANCELLED = "cancelled"
    """The client went away."""
    REJECTED = "rejected"
    """Refused before dispatch: bad body, unknown route, draining."""
    INTERRUPTED = "interrupted"
    """The gateway died; set at the next start."""


class Phase(StrEnum):
    """The live phase of an open turn, for display."""

    WAITING = "waiting"
    """Sent upstream, no semantic byte yet (HELD)."""
    STREAMING = "streaming"
    """Bytes are flowing to the client (COMMITTED)."""
    DONE = "done"


@dataclass(slots=True)
class Attempt:
    """One request to one upstream."""

    number: int
    provider: str
    model: str | None
    started_s: float
    """Seconds after the turn was accepted."""
    status: int | None = None
    """HTTP status of the upstream, ``None`` when no response arrived."""
    outcome: str = "open"
    """``success``, an ``UpstreamError.code``, ``http_<status>``, ``cancelled`` ..."""
    error: str | None = None
    ttft_s: float | None = None
    duration_s: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    request_id: str | None = None
    """The upstream's own request id."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


class Candidate(msgspec.Struct, frozen=True):
    """One entry that the plan considered, whether it was taken or not."""

    provider: str
    model: str | None
    state: str
    """``chosen`` (tried first), ``spare`` (next in line), ``baseline``, ``needs_key``, ``observed``,
    ``unsupported``, ``gated`` (the turn may not leave)."""
    reason: str = ""
    cost_usd: float | None = None
    """What the turn cost here, or would have; filled when its usage is known, ``None`` unknown."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Where live mode would have sent a turn that its baseline served (or did send it)."""

    provider: str
    model: str | None
    state: str
    """``would_move`` (a credential is there), ``needs_key``, ``observed`` (its mode, its
    evidence or ``server.switching`` keeps it home even when shadow is off), ``unsupported`` (this
    gateway cannot carry it there), ``moved``."""
    reason: str = ""
    """One sentence for the user."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Saving:
    """What a proposal would have saved (or saved), in USD; negative figures are losses.

    ``usd`` is the cache-aware net and ``None`` when a price or the usage is unknown. It is
    ``open`` until the session's next call shows whether the cache was needed again.
    """

    state: str
    """``open``, ``settled`` or ``unpriced``."""
    naive_usd: float
    """The seed's projection, for comparison only."""
    usd: float | None = None
    low_usd: float | None = None
    high_usd: float | None = None
    quota_usd: float | None = None
    """The net when the provider's own limits are kept; 0 when they would have refused it."""
    baseline_usd: float | None = None
    """What the answer cost where it was made."""
    target_usd: float | None = None
    """What it would have cost at the proposal's target."""
    penalty_write_usd: float = 0.0
    """The cache write that would only have been postponed."""
    penalty_ttl_usd: float = 0.0
    """The cached prefix that would have been left to expire."""
    redo_usd: float = 0.0
    """What answers that have to be made again are expected to cost; ``usd`` is ``baseline_usd``
    minus ``target_usd``, both penalties and this."""
    note: str | None = None
    """Why it is unpriced or wide, in words."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


class RateLimit(msgspec.Struct, frozen=True):
    """One rate-limit window as a response header reported it."""

    provider: str
    name: str
    """Header family without limit/remaining/reset, e.g. ``anthropic-ratelimit-tokens``."""
    fields: Mapping[str, str]


_ID_BYTES: Final = 12
_IDS_AT_ONCE: Final = 256
_ids: list[str] = []


def new_turn_id() -> str:
    """A fresh opaque turn id; also the value of ``x-gateway-request-id``."""
    try:
        return _ids.pop()
    except IndexError:
        # One call of the system for many: alone it costs as much as planning a turn.
        drawn = secrets.token_bytes(_ID_BYTES * _IDS_AT_ONCE)
        starts = range(_ID_BYTES, len(drawn), _ID_BYTES)
        _ids.extend("gw_" + drawn[start : start + _ID_BYTES].hex() for start in starts)
        return "gw_" + drawn[:_ID_BYTES].hex()


_NO_USAGE: Final = Usage()


class Turn(msgspec.Struct, omit_defaults=True):
    """Everything the ledger keeps of a turn; units are in the names, times in seconds.

    A struct rather than a dataclass: every request makes one and writes it down twice, and most
    of its fields say nothing.
    """

    id: str
    at: float
    """Wall time of acceptance, seconds since the epoch."""
    protocol: Protocol
    path: str
    # who asked
    session: str | None = None
    agent: str | None = None
    """Sub-agent id, when the client names one."""
    project: str | None = None
    branch: str | None = None
    label: str | None = None
    pane: str | None = None
    """The pane of the screen its agent runs in; not on record."""
    client: str = "unknown"
    """``claude-code``, ``codex``, ``anthropic-sdk`` ..."""
    client_version: str | None = None
    payer: Payer | None = None
    # what was asked
    model_asked: str | None = None
    max_tokens: int | None = None
    stream: bool = False
    tool_choice: str | None = None
    body_bytes: int = 0
    body_hash: str | None = None
    """Keyed digest of the normalised body."""
    blocks: bytes | None = None
    """Packed keyed digest and token estimate per prefix block (server.prefix)."""
    estimates: dict[str, int] = msgspec.field(default_factory=dict)
    """Token estimates ``system tools history turn``."""
    features: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the classifier looked at: flags and counts, never text."""
    cache_ttl: str | None = None
    # what was decided
    kind: str = "unknown"
    route: str = "fallback_safe"
    offload: bool = False
    confidence: float = 0.0
    confidence_level: str = "low"
    reasons: list[str] = msgspec.field(default_factory=list)
    pinned_by: str | None = None
    classifier_version: str = ""
    routing_version: str = ""
    mode: str = "shadow"
    """``shadow`` or ``live``."""
    candidates: list[Candidate] = msgspec.field(default_factory=list)
    proposal: Proposal | None = None
    """``None``: it would have stayed where it is in live mode too."""
    # what happened
    provider: str | None = None
    model_served: str | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    phase: Phase = Phase.WAITING
    status: Status = Status.OPEN
    http_status: int | None = None
    """Status the client got."""
    error_type: str | None = None
    error_message: str | None = None
    """Neutral one-line text, at most 300 characters, no credential."""
    delivery: Delivery = Delivery.NONE
    bytes_down: int = 0
    stop_reason: str | None = None
    answer_kind: str | None = None
    """``text``, ``tool_use``, ``thinking``, ``mixed`` ..."""
    tool_calls: int = 0
    ttft_s: float | None = None
    """Seconds until the first semantic byte."""
    duration_s: float | None = None
    usage: Usage = _NO_USAGE
    usage_source: UsageSource = UsageSource.NONE
    output_estimate: int = 0
    """Tokens streamed so far, counted from characters; only for the live display."""
    rate_limits: list[RateLimit] = msgspec.field(default_factory=list)
    # what it cost
    cost_usd: float | None = None
    """``None`` means unknown, never free."""
    cost_parts: dict[str, float] = msgspec.field(default_factory=dict)
    """``input output cache_read cache_write_5m cache_write_1h ...`` in USD."""
    cost_is_estimate: bool = False
    price_version: str | None = None
    price_note: str | None = None
    """Why the price is unknown or uncertain."""
    saving: Saving | None = None
    """``None`` without a proposal, and until the turn has ended."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What was left out or changed on the way to the provider that served it, and other things the
    user should know of; short stable words such as ``changed: effort``, no text of the client's."""
    # links
    redo_of: str | None = None
    demo: bool = False

    @property
    def is_list_price_equivalent(self) -> bool:
        """Whether the dollars were not really billed (subscription login)."""
        return self.payer is Payer.LOGIN

    def may_have_cost(self, status: Status | None = None) -> bool:
        """Whether the vendor may bill the turn once it is in ``status`` (default: its own).

        An upstream's refusal and a request that never reached one cost nothing; token counting
        is free; a client that left after the request was sent leaves an unknown amount behind.
        """
        if self.kind == "count_tokens":
            return False
        match status or self.status:
            case Status.COMPLETED | Status.PARTIAL | Status.INTERRUPTED:
                return True
            case Status.CANCELLED:
                return bool(self.attempts)
            case Status.ERROR:
                return self.http_status is not None and self.http_status < 400
            case _:
                return False

    def summary(self) -> dict[str, Any]:
        """One row of a list; the unit of every event and of ``/snapshot``."""
        usage = self.usage
        # ``_value_`` is what ``value`` gives, without a call; three rows are made of every turn.
        return {
            "id": self.id,
            "at": self.at,
            "protocol": self.protocol._value_,
            "path": self.path,
            "session": self.session,
            "agent": self.agent,
            "project": self.project,
            "branch": self.branch,
            "label": self.label,
            "pane": self.pane,
            "client": self.client,
            "client_version": self.client_version,
            "payer": self.payer._value_ if self.payer else None,
            "kind": self.kind,
            "route": self.route,
            "offload": self.offload,
            "confidence_level": self.confidence_level,
            "mode": self.mode,
            "model_asked": self.model_asked,
            "model_served": self.model_served,
            "provider": self.provider,
            "stream": self.stream,
            "attempts": len(self.attempts),
            "fallback_chain": [attempt.provider for attempt in self.attempts],
            "phase": self.phase._value_,
            "status": self.status._value_,
            "http_status": self.http_status,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "delivery": self.delivery._value_,
            "stop_reason": self.stop_reason,
            "tool_calls": self.tool_calls,
            "bytes_down": self.bytes_down,
            "ttft_s": self.ttft_s,
            "duration_s": self.duration_s,
            "usage_source": self.usage_source._value_,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_5m_tokens": usage.cache_write_5m_tokens,
            "cache_write_1h_tokens": usage.cache_write_1h_tokens,
            "output_estimate": self.output_estimate,
            "cost_usd": self.cost_usd,
            "cost_is_estimate": self.cost_is_estimate,
            "unpriced": self.cost_usd is None and self.may_have_cost(),
            "list_price_equivalent": self.is_list_price_equivalent,
            "proposal": self.proposal.as_json() if self.proposal else None,
            "saving": self.saving.as_json() if self.saving else None,
            "demo": self.demo,
        }

    def detail(self) -> dict[str, Any]:
        """Everything recorded about the turn; what ``GET /events/{id}`` answers."""
        return self.summary() | {
            "max_tokens": self.max_tokens,
            "tool_choice": self.tool_choice,
            "body_bytes": self.body_bytes,
            "estimates": self.estimates,
            "features": self.features,
            "cache_ttl": self.cache_ttl,
            "confidence": self.confidence,
            "reasons": self.reasons,
            "pinned_by": self.pinned_by,
            "classifier_version": self.classifier_version,
            "routing_version": self.routing_version,
            "candidates": [c.as_json() for c in self.candidates],
            "attempts_detail": [a.as_json() for a in self.attempts],
            "answer_kind": self.answer_kind,
            "usage_raw": dict(self.usage.raw),
            "rate_limits": [
                {"provider": r.provider, "name": r.name, **r.fields} for r in self.rate_limits
            ],
            "cost_parts": self.cost_parts,
            "price_version": self.price_version,
            "price_note": self.price_note,
            "notes": list(self.notes),
            "redo_of": self.redo_of,
        }

"""The one interface between the engine and its front ends; everything that crosses is JSON-able.

``Gateway`` implements it in process. Snapshot shape::

    {"seq": int,                      # newest event folded into this snapshot
     "gateway": {"version", "instance", "pid", "url", "host", "port", "started_at", "uptime_s",
                 "state": "serving"|"draining", "shadow": bool, "demo": bool, "home": str,
                 "protocols": [str],      # that clients may speak
                 "key_hint": str|None,    # the gateway key when it is the public default
                 "load": {"in_flight", "waiting", "limit", "buffered_bytes", "most_buffered_bytes",
                          "shed": {"foreground", "background", "memory"}},
                 "capture": {"enabled", "keep_s", "max_bytes", "files", "bytes", "dropped",
                             "problem": str|None, "path"}},   # kept request bodies
     "counters": {"requests", "success", "errors", "cancelled", "rejected", "in_flight",
                  "requests_per_min"},
     "money": {"today_usd", "today_list_usd", "today_unpriced", "today_estimated_usd"},
     "providers": [{"name", "protocol", "base_url", "configured": bool, "credential": str,
                    "key_env": str|None,
                    "status": "ok"|"failing"|"offline"|"unused"|"needs_key", "since": float|None,
                    "last_error": str|None, "requests", "errors", "ttft_p50_s", "ttft_p95_s",
                    "rate_limits": {name: {field: value}}, "in_flight", "waiting",
                    "learned": {model: [what it does not take, in words]}, "probe": PROBE|None}],
     "ledger": {"status": "ok"|"degraded", "detail": str|None, "spilled": int, "lost": int,
                "recovered_interrupted": int, "path": str},
     "savings": {"today": SAVED, "all": SAVED, "by_route": {route: SAVED},
                 "by_kind": {kind: SAVED}, "by_target": {"provider/model": SAVED},
                 "assumptions": [sentence]},
     "routing": {"shadow": bool, "cross_vendor_failover": bool, "routes": {class: [entry]},
                 "kinds": {kind: [entry]}, "modes": {name: mode}, "baseline": {protocol: [entry]},
                 "sources": {dotted key: where its value came from}, "unsaved": [dotted key],
                 "hits": {class: turns}, "kind_hits": {kind: turns}, "version": str},
     "verification": [{"kind", "route", "provider", "model", "samples", "passed", "low", "high",
                       "rung", "reason", "hard_failures", "failed": {check: times},
                       "suggestion": rung|None, "demoted": bool, "until": float|None,
                       "last_at": float|None}],      # server.verification.book.RungEntry
     "verifier": {"consent": bool, "sample_percent", "live_percent", "quota_share",
                  "daily_budget_usd", "spent_today_usd", "waiting", "skipped": {reason: turns},
                  "leases": [{"name", "until": float|None, "source"}]},
     "log": [{"at", "level", "logger", "message"}],   # newest last, at most 500
     "loop_lag_ms": float,
     "turns": [summary, ...]}         # newest first, at most 200

``SAVED`` adds up turns with a proposal: ``turns`` (projected, ``needs_key`` not among them),
``naive_usd usd low_usd high_usd quota_usd`` (cache-aware net ``usd``; losses count negative),
``losses`` and ``losses_usd`` (turns with a negative net, and their sum), ``open`` (not settled),
``unpriced`` (counted, in no sum), ``needs_key`` and ``needs_key_usd`` (outside every other sum),
``observed_turns`` (every turn that ended, with or without a proposal) and ``cost_usd`` (what those
turns really cost, list-price equivalents included). ``moved_turns`` and ``moved_usd`` are the part
of ``turns`` and ``usd`` that live mode did move: realised, where the rest is projected.

Commands (``command(name, **arguments)``; ``data`` in brackets):
``set_shadow(enabled, remember=False, source)`` [shadow, persisted, reason];
``preview_live()`` what would change if shadow went off [turns, moves: [{route, kind, provider,
model, state, turns, input_tokens, usd, low_usd, high_usd, unpriced}], stays: turns];
``set_route(name, entries, source)`` a class's or kind's preference list, kept in the user's file
with its comments [applied, persisted, reason, source, routing]; ``check_route(name, entries)`` the
same without changing anything [before, after: as ``preview_live``];
``set_mode(name, mode, source)`` how far a class or kind may go, ``None`` takes its own mode away
[as ``set_route``]; ``change_routing(change, dry_run=False, remember=True, source)`` any part of the
table but shadow [as ``set_route``, and effect: {before, after}; a dry run also
``backtest``: ``server.backtest_make``, or ``None``];
``reset pause resume(provider, source)`` [provider: its new entry];
``probe(provider, source)`` a live check with our own key; ok only if every model that the settings
name is still served [provider, probe: PROBE].

``sessions session_turns report sent request``: questions to the record, see ``server.views``.

``set_rung(name, rung, for_s=None, source)`` how far a kind or class goes, kept; ``live`` is live at
once, in spite of shadow, and with ``for_s`` seconds it comes back by itself [name, rung, until,
persisted, reason, targets, without_key: targets that cannot take anything, verification];
``set_consent(consent, remember=True, source)`` whether answers are compared [verifier, persisted,
reason]; ``ladder()`` [verifier, shadow, verification, moves: newest first].

``PROBE`` is the latest check: ``ok outcome message at latency_s models[{model served
replacement}]``, ``outcome`` being ``ok no_list no_key refused failing unreachable offline``.

Money: ``today_usd`` is billed spend since local midnight (keys), ``today_list_usd`` the list-price
equivalent of subscription logins; both exclude unpriced turns, which are counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.events import Event

Snapshot = dict[str, Any]
"""See the module docstring."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command did, in words a front end can show."""

    ok: bool
    message: str
    data: dict[str, Any] = field(default_factory=dict)


class EngineUnreachable(Exception):
    """The engine is not in this process and did not answer; ``str()`` is one line for the user."""


class Subscription(Protocol):
    """A bounded queue of events for one watcher."""

    dropped: int
    """KEEP events that could not be queued since the last resync."""
    resync: bool
    """Set when events were lost: read a fresh snapshot, then clear it."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def get(self) -> Event:
        """The next event, waiting for it."""

    def drain(self) -> list[Event]:
        """Every queued event, without waiting."""

    def close(self) -> None:
        """Stop receiving; iteration ends."""


class EngineClient(Protocol):
    """What a front end may ask of a gateway, wherever it runs."""

    async def snapshot(self) -> Snapshot:
        """The whole state a front end starts from."""

    async def totals(self) -> Snapshot:
        """The snapshot without turns and log: what a front end asks for again and again."""

    def subscribe(self, after_seq: int | None = None) -> Subscription:
        """Events from now on, or from ``after_seq`` as far as they are still kept."""

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        """One turn in full (``Turn.detail``), ``None`` when it is not known."""

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """Run a named command; an unknown name is a failed result, not an exception."""

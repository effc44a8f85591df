"""What the screens show, without a screen: a snapshot and events folded into rows and totals.

Unknown fields and event types are ignored, so that an older front end can watch a newer engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from server import events
from tui import incidents
from tui.incidents import Incident
from tui.log_book import Log
from tui.row_view import RowView
from tui.rows import (
    cold_from,
    count_of,
    mapping_of,
    mappings_in,
    number_of,
    row_from,
    text_of,
    with_cold,
    with_saving,
)
from tui.sums import Savings, savings_from

_T = TypeVar("_T")

MAX_ROWS = 2_000
REJECT_SHOWN_S = 60.0
"""How long a refused request stays in the header."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who and where the engine is; from ``snapshot["gateway"]``."""

    url: str | None = None
    instance: str | None = None
    version: str | None = None
    draining: bool = False
    shadow: bool | None = None
    """``None``: not known yet."""
    demo: bool = False
    key_hint: str | None = None
    home: str | None = None
    """The folder of its state."""
    captures: bool = False
    """Whether the bodies of requests are kept."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts and money of today; from ``snapshot["counters"]`` and ``snapshot["money"]``."""

    in_flight: int = 0
    requests_per_min: float | None = None
    today_usd: float | None = None
    today_list_usd: float | None = None
    today_estimated_usd: float | None = None
    today_unpriced: int = 0
    loop_lag_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now, most serious first when sorted."""

    weight: int
    """0 is the most serious."""
    what: str
    since: float | None = None
    detail: str | None = None
    """Text of a provider or of the system; not neutralised."""
    is_over: bool = False
    """Whether it happened once, at ``since``, and does not go on."""


class LiveState(RowView):
    """The folded state of one gateway, and what the user looks at in it.

    ``savings``, ``routing`` and ``providers`` are whole values: a new object means new figures.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        super().__init__(max_rows)
        self._loaded_seq = 0
        self._totals_seq = 0
        self._in_flight_delta = 0
        self._ledger: Mapping[str, Any] = {}
        self._rejected: tuple[float, int, str, int | None] | None = None
        self._totals = Totals()
        self.gateway = Gateway()
        self.savings = Savings()
        self.verification: list[Mapping[str, Any]] = []
        """``snapshot["verification"]``: how often each candidate would have done."""
        self.verifier: Mapping[str, Any] = {}
        self.routing: Mapping[str, Any] = {}
        """``snapshot["routing"]``, as it came."""
        self.providers: Mapping[str, Mapping[str, Any]] = {}
        """``snapshot["providers"]`` by name, in their order."""
        self.incidents: Mapping[str, Incident] = {}
        """The latest outage of each provider that was seen to have one."""
        self.log = Log()
        self.seq = 0
        self.is_loaded = False
        self.unreachable: str | None = None
        self.is_attached = False
        """Whether the engine runs in another process, which goes on without this screen."""

    # -- folding -----------------------------------------------------------------------------

    def load(self, snapshot: Mapping[str, Any]) -> tuple[str, ...]:
        """Take over a whole snapshot; the ids of open rows that it no longer mentions.

        Rows older than the snapshot reaches are kept, because it holds only the newest turns;
        rows of another gateway instance are dropped.
        """
        seq = count_of(snapshot.get("seq")) or 0
        instance = text_of(mapping_of(snapshot.get("gateway")).get("instance"))
        if self.is_loaded and instance != self.gateway.instance:
            self._forget_all()
            self.seq = 0
        self._loaded_seq, self.is_loaded = seq, True
        self.seq = max(self.seq, seq)
        named: set[str] = set()
        for summary in mappings_in(snapshot.get("turns")):
            if (row := row_from(summary, seq)) is not None:
                named.add(row.id)
                self._put(row)
        self.load_totals(snapshot)
        if "log" in snapshot:
            self.log.load(mappings_in(snapshot["log"]))
        self._touch(rows=True, header=True)
        return tuple(turn_id for turn_id in self._open_rows() if turn_id not in named)

    def load_totals(self, snapshot: Mapping[str, Any]) -> None:
        """Take over everything but the turns."""
        self._totals_seq = count_of(snapshot.get("seq")) or 0
        self._in_flight_delta = 0
        self.unreachable = None
        self.gateway = _gateway(mapping_of(snapshot.get("gateway")))
        counters, sums = mapping_of(snapshot.get("counters")), mapping_of(snapshot.get("money"))
        self._totals = Totals(
            in_flight=count_of(counters.get("in_flight")) or 0,
            requests_per_min=number_of(counters.get("requests_per_min")),
            today_usd=number_of(sums.get("today_usd")),
            today_list_usd=number_of(sums.get("today_list_usd")),
            today_estimated_usd=number_of(sums.get("today_estimated_usd")),
            today_unpriced=count_of(sums.get("today_unpriced")) or 0,
            loop_lag_ms=number_of(snapshot.get("loop_lag_ms")),
        )
        self._ledger = mapping_of(snapshot.get("ledger"))
        listed = mappings_in(snapshot.get("providers"))
        providers = {n: p for p in listed if (n := text_of(p.get("name"))) is not None}
        self.providers = _renewed(self.providers, providers)
        for name, provider in providers.items():
            self._watch_outage(name, provider, number_of(snapshot.get("at")))
        self.routing = _renewed(self.routing, mapping_of(snapshot.get("routing")))
        found = mappings_in(snapshot.get("verification"))
        self.verification = _renewed(self.verification, found)
        self.verifier = _renewed(self.verifier, mapping_of(snapshot.get("verifier")))
        self.savings = _renewed(self.savings, savings_from(mapping_of(snapshot.get("savings"))))
        self._touch(header=True)

    def settle(self, turn_id: str, detail: Mapping[str, Any] | None) -> None:
        """What became of a row that a snapshot no longer mentioned; ``None`` forgets it."""
        row = None if detail is None else row_from(detail, self._loaded_seq)
        known = self._book.rows.get(turn_id)
        if known is None or known.seq > self._loaded_seq:
            return
        if row is None or row.id != turn_id:
            self._remove(turn_id)
        else:
            self._put(row)
        self._touch(rows=True)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Fold one event; events that a snapshot already holds change nothing."""
        seq = count_of(event.get("seq")) or 0
        self.seq = max(self.seq, seq)
        match event.get("type"):
            case events.TURN_OPENED | events.TURN_UPDATED | events.TURN_FINISHED:
                self._apply_turn(mapping_of(event.get("turn")), seq)
            case events.TURN_PROGRESS:
                self._apply_progress(event, seq)
            case events.SAVING_SETTLED:
                self._apply_saving(event, seq)
            case events.COLD_FOUND:
                self._apply_cold(event, seq)
            case events.LOG if seq > self._loaded_seq:
                self.log.add(event)
                self._touch(header=True)
            case _ if seq > self._totals_seq:
                self._apply_header(event)

    def _apply_turn(self, summary: Mapping[str, Any], seq: int) -> None:
        row = row_from(summary, seq)
        if row is None or seq <= self._loaded_seq:
            return
        known = self._book.rows.get(row.id)
        if known is not None and (seq < known.seq or (row.is_open and not known.is_open)):
            return
        was_open = known is not None and known.is_open
        if seq > self._totals_seq:
            self._in_flight_delta += int(row.is_open) - int(was_open)
        self._put(row)
        self._touch(rows=True, header=True)

    def _apply_progress(self, event: Mapping[str, Any], seq: int) -> None:
        known = self._book.rows.get(text_of(event.get("turn_id")) or "")
        if known is None or not known.is_open or seq < known.seq:
            return
        estimate = count_of(event.get("output_estimate"))
        if estimate is not None and estimate != known.output_estimate:
            self._renew(replace(known, output_estimate=estimate, seq=seq))
            self._touch(rows=True)

    def _apply_saving(self, event: Mapping[str, Any], seq: int) -> None:
        known = self._book.rows.get(text_of(event.get("turn_id")) or "")
        if known is None or known.projected is None or seq < known.seq:
            return
        settled = with_saving(known.projected, mapping_of(event.get("saving")))
        self._put(replace(known, projected=settled, seq=seq))
        self._touch(rows=True)

    def _apply_cold(self, event: Mapping[str, Any], seq: int) -> None:
        known = self._book.rows.get(text_of(event.get("turn_id")) or "")
        cold = cold_from(event.get("cold"))
        if known is None or cold is None or known.cold == cold:
            return
        self._put(replace(with_cold(known, cold), seq=max(seq, known.seq)))
        self._touch(rows=True)

    def _apply_header(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case events.PROVIDER_CHANGED:
                provider = mapping_of(event.get("provider"))
                if (name := text_of(provider.get("name"))) is not None:
                    self.providers = {**self.providers, name: provider}
                    self._watch_outage(name, provider, number_of(event.get("at")))
            case events.LEDGER_CHANGED:
                self._ledger = mapping_of(event.get("ledger"))
            case events.MODE_CHANGED if isinstance(event.get("shadow"), bool):
                self.gateway = replace(self.gateway, shadow=event["shadow"])
                self.routing = {**self.routing, "shadow": event["shadow"]}
            case events.ROUTING_CHANGED:
                self.routing = mapping_of(event.get("routing"))
            case events.GATEWAY_CHANGED:
                self.gateway = replace(self.gateway, draining=event.get("state") == "draining")
                if (in_flight := count_of(event.get("in_flight"))) is not None:
                    self._totals = replace(self._totals, in_flight=in_flight)
                    self._in_flight_delta = 0
            case events.REJECTED:
                self._rejected = (
                    number_of(event.get("at")) or 0.0,
                    count_of(event.get("count")) or 1,
                    text_of(event.get("reason")) or "refused",
                    count_of(event.get("http_status")),
                )
            case _:
                return
        self._touch(header=True)

    def _watch_outage(self, name: str, provider: Mapping[str, Any], now: float | None) -> None:
        """Follow the outages of one provider; ``since`` is more exact than when it was heard."""
        is_out = incidents.is_out(provider)
        since = number_of(provider.get("since"))
        is_known = (provider.get("status") == "ok") != is_out
        at = since if since is not None and is_known else now
        if at is not None:
            self.incidents = incidents.watched(self.incidents, name, provider, at)

    def mark_unreachable(self, reason: str) -> None:
        """The engine did not answer; the last known rows stay."""
        if self.unreachable != reason:
            self.unreachable = reason
            self._touch(header=True)

    @property
    def totals(self) -> Totals:
        """Totals with the turns opened and closed since the last snapshot."""
        in_flight = max(0, self._totals.in_flight + self._in_flight_delta)
        return replace(self._totals, in_flight=in_flight)

    def troubles(self, now: float) -> Sequence[Trouble]:
        """What is wrong at ``now`` (wall time), most serious first."""
        found: list[Trouble] = []
        if self.unreachable is not None:
            found.append(Trouble(0, "gateway does not answer", detail=self.unreachable))
        if text_of(self._ledger.get("status")) == "degraded":
            found.append(Trouble(1, "ledger degraded", detail=_ledger_text(self._ledger)))
        for name, provider in self.providers.items():
            status = provider.get("status")
            if status in ("failing", "offline"):
                since = number_of(provider.get("since"))
                what = f"{name} {status}"
                found.append(Trouble(2, what, since, text_of(provider.get("last_error"))))
        if self._rejected is not None and 0 <= now - self._rejected[0] < REJECT_SHOWN_S:
            at, count, reason, http_status = self._rejected
            status_text = f" ({http_status})" if http_status else ""
            times = f" ×{count}" if count > 1 else ""
            what = f"request refused{status_text}{times}"
            found.append(Trouble(3, what, at, reason.replace("_", " "), is_over=True))
        return sorted(found, key=lambda trouble: trouble.weight)


def _renewed(old: _T, new: _T) -> _T:
    """``new``, or ``old`` itself when they are equal, so that screens see that nothing changed."""
    return old if old == new else new


def _gateway(value: Mapping[str, Any]) -> Gateway:
    shadow = value.get("shadow")
    return Gateway(
        url=text_of(value.get("url")),
        instance=text_of(value.get("instance")),
        version=text_of(value.get("version")),
        draining=value.get("state") == "draining",
        shadow=shadow if isinstance(shadow, bool) else None,
        demo=value.get("demo") is True,
        key_hint=text_of(value.get("key_hint")),
        home=text_of(value.get("home")),
        captures=mapping_of(value.get("capture")).get("enabled") is True,
    )


def _ledger_text(ledger: Mapping[str, Any]) -> str:
    parts = [text_of(ledger.get("detail")) or "turns are kept in memory only"]
    for name in ("spilled", "lost"):
        if count := count_of(ledger.get(name)):
            parts.append(f"{count} {name}")
    return ", ".join(parts)

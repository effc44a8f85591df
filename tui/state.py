"""What the screens show, without a screen: a snapshot and events folded into rows and totals.

Unknown fields and event types are ignored, so that an older front end can watch a newer engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server import events
from tui.rows import (
    Book,
    TurnRow,
    count_of,
    mapping_of,
    mappings_in,
    number_of,
    row_from,
    text_of,
)

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


@dataclass(frozen=True, slots=True)
class Changes:
    """What a screen has to look at again."""

    rows: bool = False
    header: bool = False

    def __bool__(self) -> bool:
        return self.rows or self.header


class LiveState:
    """The folded state of one gateway, and what the user looks at in it.

    Frozen means a still picture: rows keep the values they had, while folding goes on behind.
    Following means that the newest row is the selected one.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._book = Book()
        self._still: Book | None = None
        self._selected: str | None = None
        self._loaded_seq = 0
        self._totals_seq = 0
        self._in_flight_delta = 0
        self._changes = Changes(rows=True, header=True)
        self._providers: dict[str, Mapping[str, Any]] = {}
        self._ledger: Mapping[str, Any] = {}
        self._rejected: tuple[float, int, str, int | None] | None = None
        self._totals = Totals()
        self.gateway = Gateway()
        self.follow = True
        self.frozen_at: float | None = None
        self.seq = 0
        self.is_loaded = False
        self.unreachable: str | None = None

    # -- folding -----------------------------------------------------------------------------

    def load(self, snapshot: Mapping[str, Any]) -> tuple[str, ...]:
        """Take over a whole snapshot; the ids of open rows that it no longer mentions.

        Rows older than the snapshot reaches are kept, because it holds only the newest turns;
        rows of another gateway instance are dropped.
        """
        seq = count_of(snapshot.get("seq")) or 0
        instance = text_of(mapping_of(snapshot.get("gateway")).get("instance"))
        if self.is_loaded and instance != self.gateway.instance:
            self._book, self.seq = Book(), 0
        self._loaded_seq, self.is_loaded = seq, True
        self.seq = max(self.seq, seq)
        named: set[str] = set()
        for summary in mappings_in(snapshot.get("turns")):
            if (row := row_from(summary, seq)) is not None:
                named.add(row.id)
                self._put(row)
        self.load_totals(snapshot)
        self._changes = Changes(rows=True, header=True)
        return tuple(i for i, row in self._book.rows.items() if row.is_open and i not in named)

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
        self._providers = {n: p for p in listed if (n := text_of(p.get("name"))) is not None}
        self._touch(header=True)

    def settle(self, turn_id: str, detail: Mapping[str, Any] | None) -> None:
        """What became of a row that a snapshot no longer mentioned; ``None`` forgets it."""
        row = None if detail is None else row_from(detail, self._loaded_seq)
        known = self._book.rows.get(turn_id)
        if known is None or known.seq > self._loaded_seq:
            return
        if row is None or row.id != turn_id:
            self._book.remove(turn_id)
            self._reselect()
        else:
            self._book.put(row)
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
            self._book.rows[known.id] = replace(known, output_estimate=estimate, seq=seq)
            self._touch(rows=True)

    def _apply_header(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case events.PROVIDER_CHANGED:
                provider = mapping_of(event.get("provider"))
                if (name := text_of(provider.get("name"))) is not None:
                    self._providers[name] = provider
            case events.LEDGER_CHANGED:
                self._ledger = mapping_of(event.get("ledger"))
            case events.MODE_CHANGED if isinstance(event.get("shadow"), bool):
                self.gateway = replace(self.gateway, shadow=event["shadow"])
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

    def mark_unreachable(self, reason: str) -> None:
        """The engine did not answer; the last known rows stay."""
        if self.unreachable != reason:
            self.unreachable = reason
            self._touch(header=True)

    def _put(self, row: TurnRow) -> None:
        if self._book.put(row):
            before = self.selected_index
            self._book.trim(self._max_rows)
            self._reselect(before)

    def _touch(self, *, rows: bool = False, header: bool = False) -> None:
        old = self._changes
        self._changes = Changes(rows=old.rows or rows, header=old.header or header)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    # -- what is shown -----------------------------------------------------------------------

    @property
    def _view(self) -> Book:
        return self._book if self._still is None else self._still

    def __len__(self) -> int:
        return len(self._view.order)

    def at(self, index: int) -> TurnRow:
        """The row at a position counted from the newest, 0 first."""
        view = self._view
        return view.rows[view.order[len(view.order) - 1 - index][1]]

    def index_of(self, turn_id: str) -> int | None:
        """The position of a turn in the view, counted from the newest."""
        return self._view.index(turn_id)

    def row(self, turn_id: str) -> TurnRow | None:
        """The newest knowledge of a turn, frozen or not."""
        return self._book.rows.get(turn_id)

    @property
    def totals(self) -> Totals:
        """Totals with the turns opened and closed since the last snapshot."""
        in_flight = max(0, self._totals.in_flight + self._in_flight_delta)
        return replace(self._totals, in_flight=in_flight)

    @property
    def pending(self) -> int:
        """Turns that came in since the view was frozen."""
        if self._still is None:
            return 0
        return sum(1 for turn_id in self._book.rows if turn_id not in self._still.rows)

    def troubles(self, now: float) -> Sequence[Trouble]:
        """What is wrong at ``now`` (wall time), most serious first."""
        found: list[Trouble] = []
        if self.unreachable is not None:
            found.append(Trouble(0, "gateway does not answer", detail=self.unreachable))
        if text_of(self._ledger.get("status")) == "degraded":
            found.append(Trouble(1, "ledger degraded", detail=_ledger_text(self._ledger)))
        for name, provider in self._providers.items():
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

    # -- what the user does ------------------------------------------------------------------

    @property
    def selected(self) -> str | None:
        """The id of the selected row, ``None`` when the view is empty."""
        return self._selected

    @property
    def selected_index(self) -> int | None:
        """The position of the selected row in the view."""
        return None if self._selected is None else self._view.index(self._selected)

    @property
    def is_frozen(self) -> bool:
        """Whether the view is a still picture."""
        return self._still is not None

    def _reselect(self, before: int | None = None) -> None:
        """Keep the selection on its row, or on its place when the row is gone."""
        view = self._view
        if not view.order:
            self._selected = None
        elif self.follow and self._still is None:
            self._selected = view.order[-1][1]
        elif self._selected not in view.rows:
            index = min(before or 0, len(view.order) - 1)
            self._selected = view.order[len(view.order) - 1 - index][1]

    def select(self, index: int) -> None:
        """Select the row at ``index``, held to the view; leaving the newest stops following."""
        if not len(self):
            return
        index = max(0, min(index, len(self) - 1))
        self._selected = self.at(index).id
        if index > 0 and self._still is None:
            self.follow = False
        self._touch(rows=True)

    def move(self, delta: int) -> None:
        """Move the selection by rows, positive towards older ones."""
        self.select((self.selected_index or 0) + delta)

    def set_follow(self, on: bool) -> None:
        """Follow the newest row or not; following ends a freeze."""
        self.follow = on
        if on:
            self._still, self.frozen_at = None, None
        self._reselect()
        self._touch(rows=True, header=True)

    def toggle_freeze(self, now: float) -> None:
        """Freeze the view as it is at ``now``, or show the present again."""
        if self._still is None:
            self._still, self.frozen_at = self._book.copy(), now
        else:
            self._still, self.frozen_at = None, None
        self._reselect()
        self._touch(rows=True, header=True)


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
    )


def _ledger_text(ledger: Mapping[str, Any]) -> str:
    parts = [text_of(ledger.get("detail")) or "turns are kept in memory only"]
    for name in ("spilled", "lost"):
        if count := count_of(ledger.get(name)):
            parts.append(f"{count} {name}")
    return ", ".join(parts)

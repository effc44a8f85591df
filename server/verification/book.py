"""Every standing on the ladder, and the kinds that are live for a while; belongs to the loop.

The planner asks it (``table_for``, ``held``), the verifier tells it (``scored``, ``moved``), the
user overrides it (``lend``, ``take_back``, ``settle``). Every move is logged, announced and
recorded with its reason.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from server.clock import Clock
from server.config import RoutingSettings, Settings
from server.events import ANSWER_COMPARED, RUNG_CHANGED
from server.ledger_scores import Moved, PastScore, RungRow, rung_row
from server.policy import may_verify
from server.verification.ladder import (
    FLOOR,
    LIVE_PAIRS,
    RATED,
    Demotion,
    Key,
    Outcome,
    Rung,
    Standing,
    add,
    after,
    promoted,
    suggestion,
)

_log = logging.getLogger("sbgw.verification")

EVIDENCE: Final = "evidence"
"""The source of a demotion."""
TIME: Final = "time"
"""The source of a lease's end."""


@dataclass(frozen=True, slots=True)
class RungEntry:
    """What is known about one kind and one of its candidates: ``snapshot["verification"]``."""

    kind: str
    route: str
    """The class of its latest request."""
    provider: str
    model: str
    samples: int
    """Answers compared, of the latest 200."""
    passed: int
    """Those that would have done."""
    low: float
    """Wilson's 95 % bounds of the pass rate, 0 to 1; ``(0, 1)`` without a sample."""
    high: float
    rung: str
    """``observe verify canary live``: what it does now."""
    reason: str
    """Why it stands there, or what it lacks; one sentence."""
    hard_failures: int = 0
    """Answers that could not be used at all, among the samples."""
    failed: dict[str, int] = field(default_factory=dict)
    """How often each check failed, the most frequent first."""
    suggestion: str | None = None
    """The rung that the evidence would carry."""
    demoted: bool = False
    until: float | None = None
    """When it comes back by itself, seconds since the epoch."""
    last_at: float | None = None
    """When the latest sample was scored."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Lease:
    """A kind that is live although its settings do not say so."""

    name: str
    ends_at: float | None
    """Monotonic seconds; ``None``: until the gateway stops."""
    until: float | None
    """The same as wall time."""
    source: str

    def as_json(self) -> dict[str, Any]:
        """``name until source``."""
        return {"name": self.name, "until": self.until, "source": self.source}


@dataclass(slots=True)
class _Sheet:
    """One key's standing, and what is only shown."""

    standing: Standing = field(default_factory=Standing)
    route: str = ""
    failed: deque[tuple[str, ...]] = field(default_factory=lambda: deque(maxlen=RATED))


class Ladder:
    """All standings of one engine.

    ``saves(kind)``: whether the low end of what moving the kind saves is above zero.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        clock: Clock,
        *,
        record: Callable[[RungRow], None] = lambda row: None,
        publish: Callable[..., Any] = lambda event, **fields: None,
        saves: Callable[[str], bool] = lambda kind: True,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._record = record
        self._publish = publish
        self._saves = saves
        self._sheets: dict[Key, _Sheet] = {}
        self._leases: dict[str, Lease] = {}
        self._lent: tuple[RoutingSettings | None, dict[str, RoutingSettings]] = (None, {})

    def seed(self, scores: Iterable[PastScore], moves: Iterable[Moved]) -> None:
        """Go on from the ledger's evidence; once, before the first turn."""
        past: list[PastScore | Moved] = [*scores, *moves]
        for each in sorted(past, key=lambda each: each.at):
            if isinstance(each, PastScore):
                self._recall(each)
            elif each.source == EVIDENCE:
                sheet = self._sheet(Key(each.kind, each.provider, each.model))
                demotion = Demotion(each.at, each.reason, Rung(each.from_rung))
                sheet.standing = replace(sheet.standing, demotion=demotion)
            elif each.source != TIME and Rung(each.to_rung).moves:
                self._forgive(each.kind)

    def _recall(self, score: PastScore) -> None:
        sheet = self._sheet(Key(score.kind, score.provider, score.model), score.route)
        sheet.standing = add(sheet.standing, Outcome(score.at, score.passed, score.hard))
        sheet.failed.append(tuple(n for n, is_good in score.checks.items() if not is_good))

    # ------------------------------------------------------------------ for the planner

    def table_for(self, routing: RoutingSettings, route: str, kind: str) -> RoutingSettings:
        """``routing``, or the same with this one kind live while it is lent."""
        if not self._leases or self._lease_of(route, kind) is None:
            return routing
        if self._lent[0] is not routing:
            self._lent = (routing, {})
        tables = self._lent[1]
        if kind not in tables:
            modes = routing.modes.model_copy(update={kind: "live"})
            tables[kind] = routing.model_copy(update={"shadow": False, "modes": modes})
        return tables[kind]

    def held(self, kind: str, provider: str, model: str | None) -> str | None:
        """Why a kind is not sent to a candidate that failed it, in words."""
        sheet = self._sheets.get(Key(kind, provider, model or ""))
        demotion = sheet.standing.demotion if sheet else None
        return None if demotion is None else f"taken back: {demotion.reason}"

    # ------------------------------------------------------------------ for the verifier

    def standing(self, key: Key) -> Standing:
        """What is known about a key."""
        sheet = self._sheets.get(key)
        return sheet.standing if sheet else Standing()

    def scored(
        self, key: Key, route: str, outcome: Outcome, failed: Iterable[str], turn_id: str
    ) -> None:
        """Count a comparison."""
        sheet = self._sheet(key, route)
        names = tuple(failed)
        sheet.failed.append(names)
        self._count(key, sheet, outcome)
        self._publish(
            ANSWER_COMPARED,
            turn_id=turn_id,
            passed=bool(outcome.passed),
            failed=list(names),
            entry=self._entry(key, sheet).as_json(),
        )

    def moved(self, key: Key, route: str, *, at: float, hard: bool) -> None:
        """Count a real answer that the candidate gave, or failed to give."""
        self._count(key, self._sheet(key, route), Outcome(at, None, hard))

    def _count(self, key: Key, sheet: _Sheet, outcome: Outcome) -> None:
        before = sheet.standing.demotion
        rung = self._set_rung(key, sheet)
        sheet.standing = after(sheet.standing, rung, outcome)
        demotion = sheet.standing.demotion
        if demotion is not None and demotion is not before:
            again = f"sbgw-tui live {key.kind}"
            _log.warning(
                "%s no longer goes to %s/%s: %s; `%s` sends it there again",
                *(key.kind, key.provider, key.model, demotion.reason, again),
            )
            self._note(key, rung, self._fallback, demotion.reason, EVIDENCE)

    # ------------------------------------------------------------------ for the user

    def lend(self, name: str, for_s: float | None, source: str) -> Lease:
        """Make a kind or class live, in spite of shadow, for so many seconds or until the end."""
        now = self._clock.monotonic()
        ends_at, until = (
            (None, None) if for_s is None else (now + for_s, self._clock.time() + for_s)
        )
        before = self.rung_of(name)
        lease = self._leases[name] = Lease(name, ends_at, until, source)
        self._lent = (None, {})
        said = "until the gateway stops" if for_s is None else f"for {_span(for_s)}"
        self.settle(name, before, Rung.LIVE, f"made live {said}", source)
        return lease

    def take_back(self, name: str) -> bool:
        """End the lease of a kind or class, if it has one; whoever calls says what follows."""
        lease = self._leases.pop(name, None)
        self._lent = (None, {})
        return lease is not None

    def take_back_all(self, source: str, reason: str) -> None:
        """End every lease."""
        for name in list(self._leases):
            self._end(name, source, reason)

    def _end(self, name: str, source: str, reason: str) -> None:
        self.take_back(name)
        self._note(Key(name, "", ""), Rung.LIVE, self.rung_of(name), reason, source)

    def settle(self, name: str, before: Rung, rung: Rung, reason: str, source: str) -> None:
        """The user put a kind or class on ``rung``: up there, earlier evidence demotes no more."""
        if rung.moves:
            self._forgive(name)
        self._note(Key(name, "", ""), before, rung, reason, source)

    def tick(self) -> None:
        """End the leases whose time is over; every second or so."""
        if self._leases:
            now = self._clock.monotonic()
            for lease in list(self._leases.values()):
                if lease.ends_at is not None and now >= lease.ends_at:
                    self._end(lease.name, TIME, "its time is over")

    # ------------------------------------------------------------------ views

    @property
    def leases(self) -> list[Lease]:
        """The kinds that are live for a while."""
        return list(self._leases.values())

    def rung_of(self, name: str, route: str = "") -> Rung:
        """What a kind or class does now by its settings, whatever the evidence."""
        return self._set(route or name, name)

    def as_json(self) -> list[dict[str, Any]]:
        """``snapshot["verification"]``: by kind, then provider and model."""
        keys = sorted(self._sheets, key=lambda key: (key.kind, key.provider, key.model))
        return [self._entry(key, self._sheets[key]).as_json() for key in keys]

    # ------------------------------------------------------------------ inside

    def _sheet(self, key: Key, route: str = "") -> _Sheet:
        sheet = self._sheets.setdefault(key, _Sheet())
        sheet.route = route or sheet.route
        return sheet

    def _forgive(self, name: str) -> None:
        for key, sheet in self._sheets.items():
            if name in (key.kind, sheet.route):
                sheet.standing = promoted(sheet.standing)

    def _lease_of(self, route: str, kind: str) -> Lease | None:
        lease = self._leases.get(kind) or self._leases.get(route)
        if lease is None or lease.ends_at is None:
            return lease
        return lease if self._clock.monotonic() < lease.ends_at else None

    def _set(self, route: str, kind: str) -> Rung:
        settings = self._settings()
        routing = settings.routing
        if self._lease_of(route, kind) is not None:
            return Rung.LIVE
        mode = Rung(routing.modes.mode_of(route, kind))
        if mode.moves and not routing.shadow and may_verify(routing, route, kind):
            return mode
        is_verified = settings.verification.consent and may_verify(routing, route, kind)
        return Rung.VERIFY if is_verified else Rung.OBSERVE

    @property
    def _fallback(self) -> Rung:
        """Where a key goes that is taken back."""
        return Rung.VERIFY if self._settings().verification.consent else Rung.OBSERVE

    def _set_rung(self, key: Key, sheet: _Sheet) -> Rung:
        return self._set(sheet.route, key.kind)

    def _entry(self, key: Key, sheet: _Sheet) -> RungEntry:
        standing, rung = sheet.standing, self._set_rung(key, sheet)
        low, high = standing.range
        is_held = standing.demotion is not None and rung.moves
        next_rung = suggestion(standing, rung, self._saves(key.kind))
        lease = self._lease_of(sheet.route, key.kind)
        failed = Counter(name for names in sheet.failed for name in names)
        return RungEntry(
            kind=key.kind,
            route=sheet.route,
            provider=key.provider,
            model=key.model,
            samples=standing.samples,
            passed=standing.passed,
            low=round(low, 4),
            high=round(high, 4),
            rung=(self._fallback if is_held else rung).value,
            reason=self._reason(key, standing, rung, next_rung, lease),
            hard_failures=standing.hard_failures,
            failed=dict(failed.most_common()),
            suggestion=next_rung.value if next_rung else None,
            demoted=is_held,
            until=lease.until if lease else None,
            last_at=standing.outcomes[-1].at if standing.outcomes else None,
        )

    def _reason(
        self,
        key: Key,
        standing: Standing,
        rung: Rung,
        next_rung: Rung | None,
        lease: Lease | None,
    ) -> str:
        if standing.demotion is not None and rung.moves:
            return f"taken back: {standing.demotion.reason}"
        if lease is not None:
            return "live for a while" if lease.until else "live until the gateway stops"
        if next_rung is not None:
            word = "go live" if next_rung is Rung.LIVE else "go to a canary share"
            return f"at least {standing.range[0]:.0%} would have done: it could {word}"
        if rung is Rung.OBSERVE:
            return "not verified: no consent, or its mode is observe"
        return self._lacks(key, standing, rung)

    def _lacks(self, key: Key, standing: Standing, rung: Rung) -> str:
        if rung is Rung.LIVE:
            return "live by its settings"
        if standing.samples and not self._saves(key.kind):
            return "moving it might save nothing"
        if standing.passed == standing.samples < LIVE_PAIRS:
            return f"{LIVE_PAIRS - standing.samples} more good answers are needed to go live"
        if standing.range[0] < FLOOR:
            return f"only {standing.range[0]:.0%} is sure, {FLOOR:.0%} is needed to go live"
        return "too many of its answers could not be used"

    def _note(self, key: Key, before: Rung, rung: Rung, reason: str, source: str) -> None:
        moved = Moved(
            id=secrets.token_hex(8),
            at=self._clock.time(),
            kind=key.kind,
            provider=key.provider,
            model=key.model,
            from_rung=before.value,
            to_rung=rung.value,
            reason=reason,
            source=source,
        )
        if source != EVIDENCE:
            _log.info("%s: %s -> %s, %s (%s)", key.kind, before, rung, reason, source)
        self._record(rung_row(moved))
        self._publish(RUNG_CHANGED, **moved.as_json(), verification=self.as_json())


def _span(seconds: float) -> str:
    """``2 h``, ``90 min``, ``45 s``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

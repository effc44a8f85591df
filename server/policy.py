"""Where a request goes: the plan. Pure; health, credentials and settings are passed in.

Precedence: pins, then the gate (``offload`` for another vendor, an entry for the kind for a
cheaper model of the same one), then the kind's entries, then the class's, then the baseline. A
plan always ends with the baseline, and in shadow holds nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import msgspec

from providers.types import Protocol
from server.config import RoutingSettings
from server.record import Candidate, Proposal
from server.settings_types import NEVER_MOVED, RouteEntry


class Target(msgspec.Struct, frozen=True):
    """One entry of a route or baseline list, resolved: a provider and, when named, a model."""

    provider: str
    model: str | None = None


class Place(msgspec.Struct, frozen=True):
    """What the policy may know of a provider."""

    name: str
    protocols: tuple[Protocol, ...]
    has_credential: bool
    model: str | None = None
    """Used where an entry names only the provider."""
    translated_model: str | None = None
    """The same for clients of another protocol."""
    key_name: str | None = None
    """What its key is called; named when it is missing."""
    refuses: str | None = None
    """Why it takes nothing now (breaker, pause, quota), in words."""

    def model_for(self, protocol: Protocol) -> str | None:
        """The model that serves a client of ``protocol`` where no entry names one."""
        if protocol in self.protocols:
            return self.model
        return self.model or self.translated_model


class Question(msgspec.Struct, frozen=True):
    """What the policy may know of a request."""

    protocol: Protocol
    kind: str
    route: str
    offload: bool
    pinned_by: str | None = None
    lot: float = 0.0
    """0 to 100, the same for a session each time: who is in a canary's share."""
    stuck_to: Target | None = None
    """Where the first request of this sub-agent went."""
    is_under_way: bool = False
    """Whether the conversation has an answer already: a sub-agent then keeps its model."""
    held: Callable[[str, str | None], str | None] = lambda provider, model: None
    """Why a candidate that failed requests of this kind gets none now, in words."""


class Plan(msgspec.Struct, frozen=True):
    """What will be tried in order, and everything that was considered."""

    targets: tuple[Target, ...]
    candidates: tuple[Candidate, ...]
    mode: str
    """``shadow`` or ``live``."""
    proposal: Proposal | None = None
    """Where live mode would send it; ``None`` when nowhere else than its baseline."""
    stand_ins: int = 0
    """How many of ``targets``, from the first on, stand in for the baseline."""


class NoCandidate(Exception):
    """Nothing can serve the request; ``str()`` says what is missing."""


Places = Callable[[str], Place | None]
Carries = Callable[[Protocol, Place], bool]
"""Whether requests of a protocol can be brought to a place."""


def plan(routing: RoutingSettings, question: Question, places: Places, carries: Carries) -> Plan:
    """Decide; raises ``NoCandidate`` when not even the baseline can serve."""
    base, base_candidates = _baseline(routing, question, places, carries)
    away = list(_considered(routing, question, places, carries, base[0]))
    proposal = _proposal(away)
    chosen = [Target(c.provider, c.model) for c in away if c.state in ("chosen", "spare")]
    candidates = (*away, *base_candidates)
    if routing.shadow:
        return Plan((base[0],), candidates, "shadow", proposal)
    if chosen and proposal is not None:
        proposal = replace(proposal, state="moved")
    spare = base if routing.cross_vendor_failover else base[:1]
    return Plan((*chosen, *spare), candidates, "live", proposal, len(chosen))


def _baseline(
    routing: RoutingSettings, question: Question, places: Places, carries: Carries
) -> tuple[list[Target], list[Candidate]]:
    entries = routing.baseline_of(question.protocol)
    usable: list[Target] = []
    considered: list[Candidate] = []
    for entry in entries:
        place = places(entry.provider)
        model = entry.model
        if place is None:
            state, why = "unsupported", "not configured"
        elif not carries(question.protocol, place):
            spoken = " and ".join(place.protocols)
            state, why = "unsupported", f"speaks {spoken}, not {question.protocol}"
        elif not place.has_credential:
            state, why = "needs_key", _missing(place)
        else:
            state, why = ("spare" if usable else "baseline"), ""
            if question.protocol not in place.protocols:
                model = model or place.model_for(question.protocol)
            usable.append(Target(entry.provider, model))
        considered.append(Candidate(entry.provider, model, state, why))
    if not usable:
        keyless = [c.provider for c in considered if c.state == "needs_key"]
        if keyless:
            raise NoCandidate(keyless[0])
        names = ", ".join(map(str, entries)) or "nothing"
        raise NoCandidate(
            f"routing.baseline names {names}, none of which speaks {question.protocol}"
        )
    return usable, considered


def _considered(
    routing: RoutingSettings,
    question: Question,
    places: Places,
    carries: Carries,
    base: Target,
) -> Iterator[Candidate]:
    """The entries before ``baseline``, each with what becomes of it."""
    has_first = False
    for entry, is_of_kind in _entries(routing, question):
        if entry.is_baseline:
            return
        place = places(entry.provider)
        model = entry.model or (place.model_for(question.protocol) if place else None)
        is_same_vendor = entry.provider == base.provider
        if is_same_vendor and (model is None or model == base.model):
            return
        state, why = _verdict(
            routing, question, place, carries, is_downgrade=is_same_vendor and is_of_kind
        )
        if state == "chosen" and (failing := question.held(entry.provider, model)) is not None:
            state, why = "observed", failing
        if state == "chosen":
            state = "spare" if has_first else "chosen"
            has_first = True
        yield Candidate(entry.provider, model, state, why)


def _entries(routing: RoutingSettings, question: Question) -> Sequence[tuple[RouteEntry, bool]]:
    """The entries that apply, and whether they are those of the kind."""
    stuck = question.stuck_to
    if stuck is not None:
        return [(RouteEntry(stuck.provider, stuck.model), True)]
    entries = routing.entries_of(question.route, question.kind)
    is_of_kind = question.kind in routing.kinds
    return [(entry, is_of_kind) for entry in entries]


def _verdict(
    routing: RoutingSettings,
    question: Question,
    place: Place | None,
    carries: Carries,
    *,
    is_downgrade: bool,
) -> tuple[str, str]:
    if question.kind in NEVER_MOVED:
        return "gated", "requests of this kind never leave their vendor and model"
    if not is_downgrade and question.pinned_by is not None:
        return "gated", "something in it keeps it with its vendor"
    if not is_downgrade and not question.offload:
        return "gated", "its answer may need tools or context only the vendor has"
    is_late = question.kind == "subagent" and question.is_under_way
    if is_downgrade and is_late and question.stuck_to is None:
        return "gated", "a sub-agent keeps the model it began with"
    if place is None:
        return "unsupported", "not configured"
    if not carries(question.protocol, place):
        return "unsupported", f"it speaks {' and '.join(place.protocols)}"
    if not place.has_credential:
        return "needs_key", _missing(place)
    if place.refuses is not None:
        return "unavailable", place.refuses
    return _by_mode(routing, question, is_downgrade=is_downgrade)


LIVE_BY_DEFAULT = frozenset({"title", "rename", "web_digest", "recap"})
"""Kinds that leave the vendor once shadow is off; others do when their mode is set by name."""


def _may_default(routing: RoutingSettings, question: Question) -> bool:
    if question.kind in LIVE_BY_DEFAULT:
        return True
    return routing.modes.names(question.route, question.kind)


def may_verify(
    routing: RoutingSettings, route: str, kind: str, *, is_downgrade: bool = False
) -> bool:
    """Whether requests may be compared once the user consents: those that could also move."""
    mode = routing.modes.mode_of(route, kind)
    if mode == "live":
        is_default = kind in LIVE_BY_DEFAULT or is_downgrade
        return is_default or routing.modes.names(route, kind) or kind == "app"
    return mode != "observe"


def _by_mode(
    routing: RoutingSettings, question: Question, *, is_downgrade: bool
) -> tuple[str, str]:
    mode = routing.modes.mode_of(question.route, question.kind)
    if mode == "live" and not is_downgrade and not _may_default(routing, question):
        return "observed", f"it moves once routing.modes names {question.kind} or {question.route}"
    if mode == "live":
        return "chosen", ""
    if mode == "canary":
        share = routing.modes.canary_percent
        if question.lot < share:
            return "chosen", f"in the canary share of {share} %"
        return "observed", f"outside the canary share of {share} %"
    return "observed", f"its mode is {mode}"


_PROPOSED = {
    "chosen": "would_move",
    "needs_key": "needs_key",
    "observed": "observed",
    "unsupported": "unsupported",
}
"""What a candidate's state makes of it as a proposal, the best first."""


def _proposal(candidates: Sequence[Candidate]) -> Proposal | None:
    for state, proposed in _PROPOSED.items():
        for candidate in candidates:
            if candidate.state == state and candidate.model is not None:
                return Proposal(candidate.provider, candidate.model, proposed, candidate.reason)
    return None


def _missing(place: Place) -> str:
    return f"{place.key_name or 'its key'} is not set"


def routing_version(routing: RoutingSettings) -> str:
    """A short digest of everything that decides routes, shadow itself left out."""
    content = routing.model_dump(mode="json", exclude={"shadow"})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

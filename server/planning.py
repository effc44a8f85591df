"""From a request and the engine's state to the policy's question, and back to a plan."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from providers.profiles import ProviderSettings
from providers.types import Headers, Protocol
from providers.upstream import Upstream
from server.config import RoutingSettings, Settings
from server.credentials import Access, Credential, choose, may_pay
from server.policy import Carries, NoCandidate, Place, Plan, Question, Target, plan, routing_version
from server.record import Candidate, Turn
from server.switching import Advice, Ask, Switching
from server.switching_turns import ask_of, ended, place_of
from server.verification.book import Ladder

REMEMBERED_AGENTS = 2_000
"""Sub-agents whose model is remembered; of more, the oldest are taken for new ones."""


def carries_native(protocol: Protocol, place: Place) -> bool:
    """Whether a place speaks the client's own protocol."""
    return protocol in place.protocols


def carries_any(protocol: Protocol, place: Place) -> bool:
    """Whether a place could serve a protocol at all, translated or not."""
    return bool(place.protocols)


class Planner:
    """Plans turns under the settings in force, and remembers which model a sub-agent began with."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        upstreams: Mapping[str, Upstream],
        *,
        refuses: Callable[[str, str | None], str | None] = lambda provider, model: None,
        carries: Carries = carries_native,
        ladder: Ladder | None = None,
    ) -> None:
        self._ladder = ladder
        self._settings = settings
        self._upstreams = upstreams
        self._refuses = refuses
        self._carries = carries
        self._agents: OrderedDict[tuple[str, str], Target] = OrderedDict()
        self._switching = Switching()
        self._was_shadow: bool | None = None
        self._known: dict[str, tuple[Settings, ProviderSettings]] = {}
        self._version: tuple[RoutingSettings, str] | None = None

    @property
    def version(self) -> str:
        """A digest of the routing table in force."""
        routing = self._settings().routing
        if self._version is None or self._version[0] is not routing:
            self._version = (routing, routing_version(routing))
        return self._version[1]

    def plan(self, turn: Turn, access: Access, headers: Headers) -> Plan:
        """The plan of a classified turn; raises ``NoCandidate``."""
        routing = self._table(turn.route, turn.kind)

        def has_credential(name: str) -> bool:
            return self._may_pay(turn.protocol, access, name)

        named = None if routing.shadow else self.named(turn.model_asked)
        if named is not None and has_credential(named.provider):
            return asked_for(named)
        stuck_to = self._agents.get(_agent(turn)) if turn.agent else None
        ask = ask_of(turn)
        # A kind that is live for a while must not make the others forget.
        advice = self._switch(self._settings().routing, ask)
        made = plan(
            routing,
            Question(
                protocol=turn.protocol,
                kind=turn.kind,
                route=turn.route,
                offload=turn.offload,
                pinned_by=turn.pinned_by,
                lot=lot_of(turn.session or turn.id),
                stuck_to=stuck_to,
                is_under_way=bool(turn.features.get("answered_before")),
                held=_first(advice.held, self._held(turn.kind)),
            ),
            lambda name: self._place(name, has_credential(name)),
            carries_any if routing.shadow else self._carries,
        )
        self._remember(turn, made)
        self._switching.went(ask, place_of(made))
        return made

    def ended(self, turn: Turn) -> None:
        """Remember what a turn in its terminal state left behind; see ``server.switching``."""
        ended(self._switching, turn)

    def named(self, model: str | None) -> Target | None:
        """The target a client names itself, as ``GET /v1/models`` lists it: ``provider/model``.

        Only what the user's own routes name counts, so no client can reach further than they do.
        """
        if model is None or "/" not in model:
            return None
        routing = self._settings().routing
        lists = [entries for _, entries in routing.routes] + list(routing.kinds.values())
        for entry in (entry for entries in lists for entry in entries):
            if entry.is_baseline or entry.provider not in self._settings().providers:
                continue
            named = entry.model or self.provider(entry.provider).model
            if named is not None and f"{entry.provider}/{named}" == model:
                return Target(entry.provider, named)
        return None

    def decide(self, protocol: Protocol, route: str, kind: str, offload: bool) -> dict[str, Any]:
        """Where a request without a client would go: the decision part of an explanation."""
        routing, held = self._table(route, kind), self._held(kind)
        question = Question(protocol=protocol, kind=kind, route=route, offload=offload, held=held)
        try:
            made = plan(
                routing,
                question,
                lambda name: self._place(name, self._may_have_credential(protocol, name)),
                carries_any if routing.shadow else self._carries,
            )
        except NoCandidate:
            entry = routing.baseline_of(protocol)[0]
            return {"provider": entry.provider, "model": entry.model, "mode": "shadow"}
        target = made.targets[0]
        return {
            "provider": target.provider,
            "model": target.model,
            "mode": made.mode,
            "proposal": made.proposal.as_json() if made.proposal else None,
            "candidates": [candidate.as_json() for candidate in made.candidates],
        }

    def what_if(
        self,
        routing: RoutingSettings,
        row: Mapping[str, Any],
        *,
        can_all: bool = False,
        stuck_to: Target | None = None,
        is_under_way: bool = False,
    ) -> Plan | None:
        """What ``routing`` would do with a turn whose summary is ``row``.

        ``stuck_to`` and ``is_under_way`` are as in ``Question``: where the first step of the same
        sub-agent would have gone, and whether this is a later one.
        """
        question = Question(
            protocol=Protocol(row["protocol"]),
            kind=str(row["kind"]),
            route=str(row["route"]),
            offload=bool(row["offload"]),
            lot=lot_of(str(row.get("session") or row["id"])),
            stuck_to=stuck_to,
            is_under_way=is_under_way,
        )
        try:
            return plan(
                routing,
                question,
                lambda name: self._place(name, self._may_have_credential(question.protocol, name)),
                carries_any if can_all else self._carries,
            )
        except NoCandidate:
            return None

    def credential(
        self, protocol: Protocol, access: Access, headers: Headers, name: str
    ) -> Credential | None:
        """What a provider is paid with: a client's own credential only at its own vendor."""
        upstream = self._upstreams.get(name)
        if upstream is None:
            return None
        mode = self._mode_at(upstream, protocol, name)
        return choose(access, headers, mode=mode, own=upstream.own_credential)

    # ------------------------------------------------------------------ inside

    def _table(self, route: str, kind: str) -> RoutingSettings:
        """The settings' table, or that of a kind which is live for a while."""
        routing = self._settings().routing
        return routing if self._ladder is None else self._ladder.table_for(routing, route, kind)

    def _switch(self, routing: RoutingSettings, ask: Ask) -> Advice:
        """Whether the turn may move now, as far as its conversation is concerned."""
        if self._was_shadow is not routing.shadow:
            # What shadow only projected did not happen, and the other way round.
            self._switching.forget_questions()
            self._was_shadow = routing.shadow
        return self._switching.advise(ask)

    def _held(self, kind: str) -> Callable[[str, str | None], str | None]:
        if self._ladder is None:
            return lambda provider, model: None
        return partial(self._ladder.held, kind)

    def provider(self, name: str) -> ProviderSettings:
        """A provider as configured, worked out once for the settings in force."""
        settings = self._settings()
        known = self._known.get(name)
        if known is None or known[0] is not settings:
            known = self._known[name] = (settings, settings.provider(name))
        return known[1]

    def _may_pay(self, protocol: Protocol, access: Access, name: str) -> bool:
        upstream = self._upstreams.get(name)
        if upstream is None:
            return False
        mode = self._mode_at(upstream, protocol, name)
        return may_pay(access, mode=mode, own=upstream.own_credential)

    def _mode_at(self, upstream: Upstream, protocol: Protocol, name: str) -> str:
        """``credentials`` as it holds for clients of ``protocol``."""
        return upstream.credentials if protocol in self.provider(name).protocols else "key"

    def _may_have_credential(self, protocol: Protocol, name: str) -> bool:
        upstream = self._upstreams.get(name)
        if upstream is None:
            return False
        takes_clients = upstream.credentials != "key"
        is_own_vendor = takes_clients and protocol in self.provider(name).protocols
        return upstream.own_credential is not None or is_own_vendor

    def _place(self, name: str, has_credential: bool) -> Place | None:
        settings = self._settings()
        if name not in settings.providers:
            return None
        provider = self.provider(name)
        keys = [key for key in (provider.account_id_env, provider.api_key_env) if key]
        return Place(
            name=name,
            protocols=provider.protocols,
            has_credential=has_credential,
            model=provider.model,
            translated_model=provider.translated_model,
            key_name=" or ".join(keys) or None,
            refuses=self._refuses(name, provider.model),
        )

    def _remember(self, turn: Turn, made: Plan) -> None:
        """A sub-agent that began with a cheaper model keeps it until it ends."""
        if not turn.agent or made.mode != "live" or len(made.targets) < 2:
            return
        target, base = made.targets[0], made.targets[-1]
        if target.provider != base.provider:
            return
        self._agents[_agent(turn)] = target
        self._agents.move_to_end(_agent(turn))
        if len(self._agents) > REMEMBERED_AGENTS:
            self._agents.popitem(last=False)


def asked_for(target: Target) -> Plan:
    """The plan of a request whose client names a provider and model itself: there and nowhere else."""
    why = "the client asked for it by name"
    return Plan((target,), (Candidate(target.provider, target.model, "chosen", why),), "live")


_Held = Callable[[str, str | None], str | None]


def _first(one: _Held, other: _Held) -> _Held:
    return lambda provider, model: one(provider, model) or other(provider, model)


def lot_of(name: str) -> float:
    """A number from 0 up to 100 that is the same for the same name."""
    return zlib.crc32(name.encode("utf-8", "replace")) % 10_000 / 100


def _agent(turn: Turn) -> tuple[str, str]:
    return (turn.session or "", turn.agent or "")

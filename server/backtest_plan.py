"""The policy asked again for recorded turns, under another routing table; pure."""

from __future__ import annotations

from collections.abc import Sequence

from providers.types import Protocol
from server.cold import left_in_cache
from server.config import RoutingSettings, Settings
from server.ledger_history import Past
from server.planning import carries_any, lot_of
from server.policy import NoCandidate, Place, Question, Target, plan
from server.switching import Advice, Ask, Switching
from server.switching_turns import ask_of_past

_Shape = tuple[str, str, str, int, str | None]
"""What of a turn the table looks at, switching apart."""
_Key = tuple[str, str, str, int, str | None, float, Target | None, bool, bool, Target | None]


class Replan:
    """Says where recorded turns would have gone with shadow off, safe switching included.

    Turns are to come in ascending order of time, each to ``targets`` and next, with the place it
    would really have gone to, to ``went``. Every provider is taken to have its key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._routing = settings.routing.model_copy(update={"shadow": False})
        self._has_canary = _has_canary(self._routing)
        self._places: dict[str, Place | None] = {}
        self._known: dict[_Key, tuple[tuple[Target, ...], Target | None]] = {}
        self._stays: dict[_Shape, bool] = {}
        self._agents: dict[tuple[str, str], Target] = {}
        self._switching = Switching()
        self._ask: Ask | None = None
        """About the turn asked for last."""

    def targets(self, turn: Past) -> Sequence[Target]:
        """The places before home that it would have tried, best first; none: it stays."""
        self._ask = ask_of_past(turn)
        if not turn.agent and self._always_stays(turn):
            return ()
        agent = (turn.session or "", turn.agent or "")
        stuck_to = self._agents.get(agent) if turn.agent else None
        advice = self._switching.advise(self._ask)
        away, home = self._asked(turn, stuck_to, advice)
        if turn.agent and away and home is not None and away[0].provider == home.provider:
            self._agents[agent] = away[0]
        return away

    def went(self, turn: Past, target: Target | None) -> None:
        """Remember where a turn would have gone, ``None`` for home."""
        if self._ask is None or turn.session is None:
            return
        tokens = turn.tokens() if target is None and not turn.is_moved else None
        if tokens is None:
            self._switching.went(self._ask, target)
            return
        self._switching.stayed(self._ask, left_in_cache(turn.protocol, tokens), tokens.lifetime_s)

    def _always_stays(self, turn: Past) -> bool:
        """Whether no such turn moves, whatever switching says: advice only takes targets away."""
        shape = (turn.protocol, turn.kind, turn.route, turn.offload, turn.pinned_by)
        stays = self._stays.get(shape)
        if stays is None:
            freest = Question(
                protocol=Protocol(turn.protocol),
                kind=turn.kind,
                route=turn.route,
                offload=bool(turn.offload),
                pinned_by=turn.pinned_by,
            )
            stays = self._stays[shape] = not self._plan(freest)[0]
        return stays

    def _asked(
        self, turn: Past, stuck_to: Target | None, advice: Advice
    ) -> tuple[tuple[Target, ...], Target | None]:
        lot = lot_of(turn.session or turn.id) if self._has_canary else 0.0
        is_under_way = bool(turn.features.answered_before)
        key = (
            turn.protocol,
            turn.kind,
            turn.route,
            turn.offload,
            turn.pinned_by,
            lot,
            stuck_to,
            is_under_way,
            advice.keeps is not None,
            advice.only,
        )
        if key not in self._known:
            self._known[key] = self._plan(
                Question(
                    protocol=Protocol(turn.protocol),
                    kind=turn.kind,
                    route=turn.route,
                    offload=bool(turn.offload),
                    pinned_by=turn.pinned_by,
                    lot=lot,
                    stuck_to=stuck_to,
                    is_under_way=is_under_way,
                    held=advice.held,
                )
            )
        return self._known[key]

    def _plan(self, question: Question) -> tuple[tuple[Target, ...], Target | None]:
        try:
            made = plan(self._routing, question, self._place, carries_any)
        except NoCandidate:
            return (), None
        return made.targets[: made.stand_ins], made.targets[made.stand_ins]

    def _place(self, name: str) -> Place | None:
        if name not in self._places:
            self._places[name] = self._find(name)
        return self._places[name]

    def _find(self, name: str) -> Place | None:
        if name not in self._settings.providers:
            return None
        provider = self._settings.provider(name)
        return Place(
            name=name,
            protocols=provider.protocols,
            has_credential=True,
            model=provider.model,
            translated_model=provider.translated_model,
        )


def _has_canary(routing: RoutingSettings) -> bool:
    return "canary" in routing.modes.model_dump().values()

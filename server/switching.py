"""Whether a turn may leave its vendor now: safe switching, in one place; pure, time is passed in.

A turn may move only at a boundary: a new question, a sub-agent's first request, a call beside the
conversation. From there on the question stays where it went::

    (none) ──opens──> HOME            every later call of the question stays at home
           ──opens──> AWAY(target)    later calls go there or home, to no third place
    AWAY   ──a try elsewhere failed──> HOME, until the next question

And no move may let a large warm prefix expire: what a session left in its vendor's cache is
remembered with its size and lifetime, and a turn that would have kept it alive stays while its
life is running out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from server.cold import BESIDE
from server.policy import Target

LARGE_PREFIX: Final = 8_192
"""Tokens from which on a warm prefix is worth more than a turn saves elsewhere."""

SAFE_SHARE: Final = 0.5
"""Of a prefix's life: so much must be left, since nobody knows when the next call at home comes."""

ON_LINE_SHARE: Final = 0.5
"""A prompt estimated at less than this share of the prefix is not a continuation of it."""

MOST_CONVERSATIONS: Final = 2_000
"""Remembered at a time; one that is forgotten is taken for one from before the start."""

MOST_MODELS: Final = 8
"""Models whose prefixes are remembered in one conversation."""

RIDING: Final = frozenset({"recap", "prompt_suggestion", "compaction"})
"""Calls beside the conversation that use its prefix; they neither open nor continue a question."""

OPENING: Final = frozenset({"user_turn", "post_compaction", "review", "app"})
"""Kinds that begin a question; a sub-agent's first request does too."""

NOT_A_BOUNDARY: Final = "it goes on with a question that began earlier; only a new one may move"
ANSWERED_HOME: Final = "its question is answered at home, so the rest of it stays there"
FAILED_BEFORE: Final = "a try elsewhere failed, so the rest of its question stays at home"
UNKNOWN_CACHE: Final = "nothing is known yet of its session's cache, so its first call stays home"


class Ask(NamedTuple):
    """A request as far as switching is concerned."""

    session: str | None
    agent: str | None
    kind: str
    model: str | None
    """As asked for; each model has a cache of its own."""
    at: float
    """Wall time of acceptance, seconds since the epoch."""
    size: int
    """Estimated tokens of the whole prompt."""
    asks_cache: bool
    """Whether its prompt is cached at home."""
    is_under_way: bool
    """Whether the conversation has an answer already."""
    mark: object = None
    """Equal for a request that is sent again, another for every other one of the conversation."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What switching says about a turn."""

    keeps: str | None = None
    """Why it stays at home now, a short sentence; ``None``: it may move."""
    only: Target | None = None
    """The one place it may move to; ``None``: any."""

    def held(self, provider: str, model: str | None) -> str | None:
        """Why a turn does not move there now, in words; ``None`` where it may."""
        if self.only is not None and Target(provider, model) != self.only:
            return f"its question went to {self.only.provider}, and to no third place"
        return self.keeps


FREE: Final = Advice()
_BEGAN_EARLIER: Final = Advice(keeps=NOT_A_BOUNDARY)
_AT_HOME: Final = Advice(keeps=ANSWERED_HOME)
_AFTER_FAILURE: Final = Advice(keeps=FAILED_BEFORE)


class _Place(Enum):
    HOME = "home"
    AWAY = "away"
    FAILED = "failed"


class _Question(NamedTuple):
    mark: object
    place: _Place
    target: Target | None = None


class _Prefix(NamedTuple):
    """What the last call at home left in the cache."""

    tokens: int
    at: float
    lifetime_s: float


@dataclass(slots=True)
class _Conversation:
    question: _Question | None = None
    prefixes: OrderedDict[str, _Prefix] = field(default_factory=OrderedDict)


class Switching:
    """Remembers conversations; ``advise``, then ``went``, then (when it has ended) ``left``."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Conversation] = OrderedDict()

    def advise(self, ask: Ask) -> Advice:
        """Whether and where the turn may move; changes nothing."""
        if ask.session is None or ask.kind in BESIDE:
            return FREE
        known = self._known.get(_key(ask))
        if ask.kind not in RIDING:
            question = known.question if known else None
            if not _opens(ask, question):
                return _goes_on(question)
        kept = _expiry(ask, known)
        return FREE if kept is None else Advice(keeps=kept)

    def went(self, ask: Ask, target: Target | None) -> None:
        """Remember where a turn is sent, ``None`` for home; its question stays with that."""
        if ask.session is None or ask.kind in BESIDE or ask.kind in RIDING:
            return
        known = self._remember(ask)
        question = known.question
        if not _opens(ask, question):
            return
        place = _Place.HOME if target is None else _Place.AWAY
        known.question = _Question(ask.mark, place, target)

    def failed(self, ask: Ask) -> None:
        """A try elsewhere came to nothing: the rest of the question stays at home."""
        known = self._known.get(_key(ask))
        if known is not None and known.question is not None and ask.kind not in RIDING | BESIDE:
            known.question = _Question(known.question.mark, _Place.FAILED)

    def forget_questions(self) -> None:
        """Take every question for one that began earlier: what was decided no longer holds."""
        for known in self._known.values():
            known.question = None

    def left(self, ask: Ask, tokens: int, lifetime_s: float) -> None:
        """Remember what a call at home left in the vendor's cache."""
        if ask.session is None or ask.kind in BESIDE or not tokens:
            return
        prefixes = self._remember(ask).prefixes
        before = prefixes.get(ask.model or "")
        if before is not None and before.at > ask.at:
            return
        prefixes[ask.model or ""] = _Prefix(tokens, ask.at, lifetime_s)
        prefixes.move_to_end(ask.model or "")
        if len(prefixes) > MOST_MODELS:
            prefixes.popitem(last=False)

    def stayed(self, ask: Ask, tokens: int, lifetime_s: float) -> None:
        """``went`` to home and ``left`` in one, for many thousands of recorded turns."""
        if ask.session is None or ask.kind in BESIDE:
            return
        if ask.kind in OPENING or ask.kind == "subagent":
            self.went(ask, None)
        elif ask.kind not in RIDING and not tokens:
            self._remember(ask)
        self.left(ask, tokens, lifetime_s)

    def _remember(self, ask: Ask) -> _Conversation:
        key = _key(ask)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Conversation()
            if len(self._known) > MOST_CONVERSATIONS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def _key(ask: Ask) -> tuple[str, str]:
    return (ask.session or "", ask.agent or "")


def _opens(ask: Ask, question: _Question | None) -> bool:
    """Whether the request begins a question of its own."""
    if ask.kind == "subagent":
        return question is None and not ask.is_under_way
    if ask.kind not in OPENING:
        return False
    # A client that sends its request again does not ask something new.
    return question is None or question.mark is None or question.mark != ask.mark


def _goes_on(question: _Question | None) -> Advice:
    if question is None:
        return _BEGAN_EARLIER
    match question.place:
        case _Place.AWAY:
            return Advice(only=question.target)
        case _Place.FAILED:
            return _AFTER_FAILURE
        case _Place.HOME:
            return _AT_HOME


def _expiry(ask: Ask, known: _Conversation | None) -> str | None:
    """Why moving the turn could cost a warm prefix, in words; ``None`` where it could not."""
    if not ask.asks_cache:
        return None
    if known is None:
        return UNKNOWN_CACHE if ask.is_under_way and ask.size >= LARGE_PREFIX else None
    prefix = known.prefixes.get(ask.model or "")
    if prefix is None or prefix.tokens < LARGE_PREFIX:
        return None
    if ask.size < prefix.tokens * ON_LINE_SHARE:
        return None
    left = prefix.lifetime_s - max(0.0, ask.at - prefix.at)
    if left < 0 or left >= prefix.lifetime_s * SAFE_SHARE:
        return None
    return f"{prefix.tokens:,} tokens in its cache would expire in {left:.0f} s without this call"

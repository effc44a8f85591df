"""Turns and recorded turns as ``server.switching`` sees them."""

from __future__ import annotations

from typing import Final

from providers.types import Protocol
from server.accounting import billed_usage
from server.cold import left_in_cache
from server.ledger_history import Past
from server.policy import Plan, Target
from server.record import Status, Turn
from server.savings import tokens_of
from server.savings_quote import Unpriced
from server.savings_realised import base_of, is_away
from server.switching import Ask, Switching

_MESSAGES: Final = Protocol.MESSAGES.value
_BROKEN: Final = frozenset({Status.PARTIAL, Status.ERROR, Status.FAILED})


def ask_of(turn: Turn) -> Ask:
    """A classified turn, before or after it was answered."""
    return Ask(
        session=turn.session,
        agent=turn.agent,
        kind=turn.kind,
        model=turn.model_asked,
        at=turn.at,
        size=sum(turn.estimates.values()),
        asks_cache=turn.cache_ttl is not None or turn.protocol is not Protocol.MESSAGES,
        is_under_way=bool(turn.features.get("answered_before")),
        mark=tuple(sorted(turn.estimates.items())),
    )


def ask_of_past(turn: Past) -> Ask:
    """The same of a recorded turn, whose size is known; each question is taken for a new one."""
    return Ask(
        turn.session,
        turn.agent,
        turn.kind,
        turn.model_asked,
        turn.at,
        turn.prompt_tokens,
        turn.cache_ttl is not None or turn.protocol != _MESSAGES,
        bool(turn.features.answered_before),
    )


def place_of(made: Plan) -> Target | None:
    """Where a plan sends a turn, ``None`` for home; in shadow, where live mode would."""
    if made.mode == "live":
        return made.targets[0] if made.stand_ins else None
    proposal = made.proposal
    if proposal is None or proposal.state != "would_move":
        return None
    return Target(proposal.provider, proposal.model)


def ended(switching: Switching, turn: Turn) -> None:
    """Tell what became of a turn in its terminal state."""
    ask = ask_of(turn)
    was_moved = turn.proposal is not None and turn.proposal.state == "moved"
    try:
        away = was_moved and is_away(turn, base_of(turn))
    except Unpriced:
        away = was_moved
    gave_up = any(candidate.state == "failed" for candidate in turn.candidates)
    if was_moved and (gave_up or (away and turn.status in _BROKEN)):
        switching.failed(ask)
    tokens = tokens_of(billed_usage(turn), ttl=turn.cache_ttl)
    if not away and tokens is not None:
        switching.left(ask, left_in_cache(turn.protocol, tokens), tokens.lifetime_s)

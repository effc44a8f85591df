"""What an answer or error of ours needs to know of the turn it belongs to."""

from __future__ import annotations

import secrets

from providers.neutral import Notes
from providers.protocols.dialects import Front
from server.record import Turn


def new_id() -> str:
    """A new opaque id: letters and digits."""
    return secrets.token_hex(12)


def front_of(turn: Turn, answer_id: str = "") -> Front:
    """The front of one answer; with no ``answer_id``, a new one."""
    return Front(
        request_id=turn.id,
        answer_id=answer_id or new_id(),
        model=turn.model_asked or "",
        created=int(turn.at),
    )


LEFT_OUT, CHANGED = "left out: ", "changed: "
"""How the two sorts of ``Notes`` begin in a turn's record."""


def note_words(notes: Notes) -> tuple[str, ...]:
    """``notes`` for a turn's record; what changed the request comes first."""
    changed = (CHANGED + word for word in notes.degraded)
    return (*changed, *(LEFT_OUT + word for word in notes.dropped))

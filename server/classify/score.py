"""The seam between what structure decides and what is a matter of judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from server.classify.outline import Outline


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement on what the structure leaves open."""

    route: str
    offload: bool
    confidence: float
    """0 to 1, that the route is right."""
    reason: str
    """A sentence for the user: why this route. It quotes nothing of the request."""
    offload_reason: str = ""
    """Why the request may leave its vendor or must not; empty when ``reason`` says it all."""
    signals: Mapping[str, int] = field(default_factory=dict)
    """What was seen, by names of a fixed list; kept with the turn."""


class Scorer(Protocol):
    """Judges a turn by what it says."""

    def __call__(self, request: Outline) -> Score:
        """Never raises; must be quick, it runs before dispatch."""

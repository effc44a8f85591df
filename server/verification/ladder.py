"""How far a kind of request may go to one model, and what the evidence says about it; pure.

    observe -> verify -> canary -> live          up: by the user, when the evidence suggests it
                 ^         |        |
                 +---------+--------+            down: by the evidence alone, with its reason

A rung is set by kind (``routing.modes``); evidence and demotion are by kind, provider and model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from server.verification.wilson import bounds

KEPT: Final = 400
"""Latest outcomes of one standing that are remembered; more than a week's samples."""
RATED: Final = 200
"""Latest comparisons that the pass rate is made of."""

HARD_WINDOW: Final = 10
HARD_FAILURES: Final = 3
"""So many hard failures among the latest ``HARD_WINDOW`` outcomes end it."""
JUDGED: Final = 50
LEAST_JUDGED: Final = 10
"""Comparisons below which the upper bound would judge by one bad day."""
FLOOR: Final = 0.90
"""The pass rate that must still be possible, and that must be sure before going live."""
GATES: Final = 0.98
"""Share without a hard failure that going live asks for."""
LIVE_PAIRS: Final = 35
CANARY_PAIRS: Final = 20
CANARY_FLOOR: Final = 0.80


class Rung(StrEnum):
    """As ``routing.modes``."""

    OBSERVE = "observe"
    VERIFY = "verify"
    CANARY = "canary"
    LIVE = "live"

    @property
    def moves(self) -> bool:
        """Whether real answers come from the candidate."""
        return self in (Rung.CANARY, Rung.LIVE)


@dataclass(frozen=True, slots=True)
class Key:
    """What evidence is about."""

    kind: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial."""

    at: float
    """Wall time, seconds since the epoch."""
    passed: bool | None
    """``None``: a real answer that was not compared with another."""
    hard: bool = False
    """It could not be used at all: no answer, cut off, or arguments that do not fit the schema."""


@dataclass(frozen=True, slots=True)
class Demotion:
    """Why a key is not moved whatever its mode says."""

    at: float
    reason: str
    """One sentence for the user."""
    source: Rung = Rung.LIVE
    """Where it stood."""


@dataclass(frozen=True, slots=True)
class Standing:
    """All evidence about one key, oldest first."""

    outcomes: tuple[Outcome, ...] = ()
    fresh: int = 0
    """How many of the latest may demote; those before the user's last word only count for the
    rate."""
    demotion: Demotion | None = None

    @property
    def rated(self) -> tuple[Outcome, ...]:
        """The comparisons that the pass rate is made of."""
        return tuple(o for o in self.outcomes if o.passed is not None)[-RATED:]

    @property
    def samples(self) -> int:
        """How many comparisons."""
        return len(self.rated)

    @property
    def passed(self) -> int:
        """How many of them were good enough."""
        return sum(o.passed is True for o in self.rated)

    @property
    def hard_failures(self) -> int:
        """How many of them could not be used at all."""
        return sum(o.hard for o in self.rated)

    @property
    def range(self) -> tuple[float, float]:
        """Wilson's 95 % bounds of the pass rate."""
        return bounds(self.passed, self.samples)

    def compared_since(self, at: float) -> int:
        """Comparisons from ``at`` (seconds since the epoch) on."""
        return sum(o.passed is not None and o.at >= at for o in self.outcomes)


def add(standing: Standing, outcome: Outcome) -> Standing:
    """With one more trial."""
    outcomes = (*standing.outcomes, outcome)[-KEPT:]
    return replace(standing, outcomes=outcomes, fresh=min(standing.fresh + 1, KEPT))


def complaint(standing: Standing) -> str | None:
    """Why what is moved must come back, in words; ``None`` while nothing speaks against it."""
    recent = standing.outcomes[len(standing.outcomes) - standing.fresh :]
    hard = sum(o.hard for o in recent[-HARD_WINDOW:])
    if hard >= HARD_FAILURES:
        asked = min(HARD_WINDOW, len(recent))
        return f"{hard} of its last {asked} answers could not be used"
    judged = [o for o in recent if o.passed is not None][-JUDGED:]
    if len(judged) < LEAST_JUDGED:
        return None
    good = sum(o.passed is True for o in judged)
    high = bounds(good, len(judged))[1]
    if high < FLOOR:
        return (
            f"{good} of its last {len(judged)} answers passed: "
            f"at best {high:.0%}, and {FLOOR:.0%} is the least"
        )
    return None


def after(standing: Standing, rung: Rung, outcome: Outcome) -> Standing:
    """The standing after a trial on ``rung``: demoted when the evidence asks for it."""
    found = add(standing, outcome)
    if not rung.moves or found.demotion is not None:
        return found
    reason = complaint(found)
    if reason is None:
        return found
    return replace(found, demotion=Demotion(outcome.at, reason, rung))


def promoted(standing: Standing) -> Standing:
    """The user wants it back: the demotion is over, and only what comes from now on can demote."""
    return replace(standing, demotion=None, fresh=0)


def suggestion(standing: Standing, rung: Rung, saves: bool) -> Rung | None:
    """The next rung that the evidence would carry; ``None`` when it carries no further.

    ``saves``: whether the low end of what moving this kind saves is above zero.
    """
    pairs, low = standing.samples, standing.range[0]
    if rung is Rung.LIVE or not saves or not pairs or complaint(standing) is not None:
        return None
    gates = 1 - standing.hard_failures / pairs
    if pairs >= LIVE_PAIRS and low >= FLOOR and gates >= GATES:
        return Rung.LIVE
    may_canary = pairs >= CANARY_PAIRS and low >= CANARY_FLOOR
    return Rung.CANARY if may_canary and rung is not Rung.CANARY else None

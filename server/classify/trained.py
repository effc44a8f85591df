"""The default scorer: route, confidence and offload of one turn, by the trained model."""

from __future__ import annotations

from hashlib import blake2b

from server.classify.gate import may_leave
from server.classify.lexicon import lexicon
from server.classify.model import Estimate, model, row_of
from server.classify.outline import Outline
from server.classify.passage import near_of, split_near
from server.classify.reading import Reading, reading_of
from server.classify.score import Score
from server.classify.scorer import CODE, FALLBACK, PLANNING, ROUTES, SUMMARY

_COMMAND_CONFIDENCE = 0.9
_MOST_KNOWN = 256
_known: dict[bytes, tuple[Reading, Estimate]] = {}
_REASONS = {
    PLANNING: "The message asks for advice, a cause or a judgement.",
    CODE: "The message asks for something to be written or changed.",
    SUMMARY: "The message asks for an explanation or a summary.",
    FALLBACK: "The message asks for an action, or does not say clearly what it wants.",
}


def warm() -> None:
    """Read the lexicon and the model now (some 0.1 s), so that no request waits for them."""
    lexicon()
    model()


def judge(request: Outline) -> Score:
    """Route, confidence and offload of one turn by the user's own words."""
    reading, estimate = read(request.human, answered=request.answered_before)
    route, confidence, reason = judge_route(reading, estimate)
    verdict = may_leave(request, reading, route, estimate.complete)
    return Score(
        route,
        offload=verdict.may_leave,
        confidence=confidence,
        reason=reason,
        offload_reason=verdict.reason,
        signals=reading.signals,
    )


def read(text: str, *, answered: bool = False) -> tuple[Reading, Estimate]:
    """What a message holds and what the model makes of it; bounded work on any text.

    The same words come again with a count, a retry and the client's background calls. What was
    made of them is kept under their digest, so that no text outlives its request.
    """
    near = near_of(text)
    written = near.encode("utf-8", "surrogatepass")
    key = blake2b(written, digest_size=16, salt=b"\1" if answered else b"").digest()
    known = _known.get(key)
    if known is None:
        known = _known[key] = _look(near, answered=answered)
        if len(_known) > _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
    return known


def _look(near: str, *, answered: bool) -> tuple[Reading, Estimate]:
    passed = split_near(near)
    reading = reading_of(passed)
    return reading, model().estimate(row_of(passed, reading, answered=answered))


def judge_route(reading: Reading, estimate: Estimate) -> tuple[str, float, str]:
    """Route, confidence 0 to 1, and the reason."""
    if reading.is_command:
        return FALLBACK, _COMMAND_CONFIDENCE, "The message is a command of the client."
    confidence, route = max(zip(estimate.routes, ROUTES, strict=True))
    return route, round(confidence, 2), _REASONS[route]

"""The default scorer: which route a message asks for, from the cues in it.

A small linear model with weights set by hand after the labelling rules: an explicit change beats a
question, a question for reasons or choices is planning, a question for meaning is a summary, and
what is none of these stays with its vendor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from server.classify.gate import Verdict, may_leave
from server.classify.outline import Outline
from server.classify.reading import Reading, read_message
from server.classify.score import Score

PLANNING, CODE, SUMMARY, FALLBACK = "planning", "code_draft", "summary", "fallback_safe"
_ROUTES = (PLANNING, CODE, SUMMARY, FALLBACK)

_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    # A name with "~" is a verb that follows "to" or "should": said about, not asked for.
    "change": {CODE: 2.2},
    "change~": {CODE: 0.8},
    "convert": {CODE: 0.9},
    "make": {CODE: 1.3},
    "make~": {CODE: 0.5},
    "thing": {CODE: 0.3},
    "wish": {CODE: 0.85},
    "fault": {CODE: 0.4, PLANNING: 0.3},
    "design": {PLANNING: 1.7},
    "design~": {PLANNING: 0.8},
    "choose": {PLANNING: 1.3},
    "diagnose": {PLANNING: 1.7},
    "diagnose~": {PLANNING: 0.8},
    "review": {PLANNING: 1.4},
    "review~": {PLANNING: 0.5},
    "hold": {PLANNING: 1.0, CODE: -1.0},
    "explain": {SUMMARY: 1.6},
    "explain~": {SUMMARY: 0.6},
    "digest": {SUMMARY: 2.2},
    "digest~": {SUMMARY: 0.8},
    "operate": {FALLBACK: 2.0},
    "operate~": {FALLBACK: 0.4},
    "prime": {FALLBACK: 1.0},
    "look": {PLANNING: 0.4},
    "general": {SUMMARY: 0.5},
    "given_here": {SUMMARY: 0.4},
    "talk": {SUMMARY: 0.5, PLANNING: 0.2},
    "paste": {PLANNING: 0.4, CODE: 0.4},
}
_REPEATED = 0.25
"""What a signal adds when it is met a second and a third time."""
_TEMPERATURE = 0.65

_SURE_ENOUGH = 0.5
"""Confidence below which nothing leaves: the gate judges by the route."""

_REASONS = {
    PLANNING: "The message asks for advice, a cause or a judgement.",
    CODE: "The message asks for something to be written or changed.",
    SUMMARY: "The message asks for an explanation or a summary.",
    FALLBACK: "The message asks for an action, or does not say clearly what it wants.",
}


def judge(request: Outline) -> Score:
    """Route, confidence and offload of one turn by the user's own words."""
    reading = read_message(request.human)
    route, confidence, reason = judge_route(reading)
    verdict = may_leave(request, reading, route)
    if verdict.may_leave and confidence < _SURE_ENOUGH:
        verdict = Verdict(False, "It is not clear enough what it asks for.")
    return Score(
        route,
        offload=verdict.may_leave,
        confidence=confidence,
        reason=reason,
        offload_reason=verdict.reason,
        signals=reading.signals,
    )


def judge_route(reading: Reading) -> tuple[str, float, str]:
    """Route, confidence 0 to 1, and the reason, from a reading alone."""
    if reading.is_command:
        return FALLBACK, 0.9, "The message is a command of the client."
    scores = _scores(reading)
    route = max(_ROUTES, key=lambda name: scores[name])
    weights = {name: math.exp(score / _TEMPERATURE) for name, score in scores.items()}
    return route, round(weights[route] / sum(weights.values()), 2), _REASONS[route]


def _scores(reading: Reading) -> dict[str, float]:
    scores = _priors(reading)
    for name, weights in _WEIGHTS.items():
        count = reading.count(name)
        if count:
            strength = 1 + _REPEATED * min(count - 1, 2)
            for route, weight in weights.items():
                scores[route] += strength * weight
    if reading.has("make") and reading.has("thing"):
        scores[CODE] += 0.8
    if reading.has("change") and not reading.has("hold"):
        # Whoever asks for a change as well wants the change.
        scores[PLANNING] -= 0.7
        scores[SUMMARY] -= 0.9
    return scores


def _priors(reading: Reading) -> dict[str, float]:
    """Where a message without cues belongs, by its length and form."""
    words = reading.words
    scores = {PLANNING: 0.0, CODE: 0.0, SUMMARY: 0.0, FALLBACK: 1.0}
    if reading.has("paste") and words <= 4:
        # A bare error message asks to be dealt with.
        scores[CODE] += 1.2
    if words <= 12:
        brief = 1.0 if words <= 4 else 0.5
        scores[FALLBACK] += brief * (0.9 * reading.has("close") + 1.2 * reading.has("unclear"))
        scores[FALLBACK] += 0.3 * brief
    elif words > 25:
        scores[FALLBACK] -= 0.6
        scores[CODE] += 0.3
    if reading.asks:
        scores[PLANNING] += 0.4
        scores[SUMMARY] += 0.4
        scores[CODE] -= 0.3
        scores[FALLBACK] -= 0.3
    return scores

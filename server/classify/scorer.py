"""Scores by hand: which route the cues of a message speak for.

Weights set after the labelling rules: an explicit change beats a question, a question for reasons
or choices is planning, a question for meaning is a summary, and what is none of these stays with
its vendor. The trained model takes the sums as features, so they carry over to languages and
wordings that its training did not hold.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.classify.reading import Reading

PLANNING, CODE, SUMMARY, FALLBACK = "planning", "code_draft", "summary", "fallback_safe"
ROUTES = (PLANNING, CODE, SUMMARY, FALLBACK)

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


def cue_scores(reading: Reading) -> dict[str, float]:
    """How much speaks for each route, by the cues and the form of a message."""
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

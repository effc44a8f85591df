"""What a message was seen to hold: the features that the scorer and the offload gate share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.classify import passage
from server.classify.cues import find_cues

_NAMES = {
    passage.FENCE: "fence",
    passage.SPAN: "code_span",
    passage.NAME: "code_name",
    passage.PATH: "path",
    passage.MENTION: "mention",
    passage.URL: "url",
    passage.NUMBER: "number",
    passage.PASTE: "paste",
}
_STRUCTURE = frozenset({"lead", "join", "soft", "definite"})
_QUESTION_MARKS = "?？؟"


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a person, reduced to counts; holds no text."""

    signals: Mapping[str, int]
    """Cue group or shape -> how often it was met."""
    words: int
    """Words beyond courtesies."""
    asks: bool
    """There is a question mark in what the person says."""
    is_command: bool
    """A slash command."""

    def has(self, *names: str) -> bool:
        """Whether any of the signals was met."""
        return any(name in self.signals for name in names)

    def count(self, name: str) -> int:
        """How often a signal was met."""
        return self.signals.get(name, 0)


def read_message(text: str) -> Reading:
    """Read what a person wrote, client notes removed; bounded work on any text."""
    return reading_of(passage.read_passage(text))


def reading_of(passed: passage.Passage) -> Reading:
    """What a message holds that has been split into words and shown things."""
    found = find_cues(passed.prose)
    signals = {
        _NAMES.get(name, name): count
        for name, count in found.counts.items()
        if name not in _STRUCTURE
    }
    if found.given:
        signals["given_here"] = 1
    return Reading(
        signals=signals,
        words=found.words,
        asks=any(mark in passed.prose for mark in _QUESTION_MARKS),
        is_command=passed.is_command,
    )

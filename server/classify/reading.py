"""What a message was seen to hold: the features that the scorer and the offload gate share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
    passage.QUOTE: "quote",
}
_STRUCTURE = frozenset({"lead", "join", "soft", "definite"})
_QUESTION_MARKS = "?？؟"
_BETWEEN = re.compile(r"(?<=[.!?。！？؟;])\s+|(?<=[。！？])|\n+")
_QUESTION = re.compile(r"[?？؟]\s*$")
_MARKER_ONLY = re.compile(f"[{passage.FENCE}{passage.PASTE}\\s]*")
_MOST_SENTENCES = 6
_LONGEST_SENTENCE = 200


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
    ends: tuple[str, ...] = ()
    """What the first and the last sentence say, by names of a fixed list."""

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
        ends=tuple(_ends(passed.prose, found.hits)),
    )


def _ends(prose: str, hits: Sequence[tuple[int, Sequence[str]]]) -> Iterator[str]:
    """What the first and the last sentence say: a long message asks at one of its ends."""
    sentences = list(_sentences(prose))
    if not sentences:
        return
    asking = sum(_QUESTION.search(prose, *span) is not None for span in sentences)
    yield f"sentences {min(len(sentences), _MOST_SENTENCES)}"
    yield f"questions {min(asking, 3)} of {min(len(sentences), 3)}"
    ends = (("last", sentences[-1]), ("first", sentences[0]))
    for name, (start, end) in ends[: len(sentences)]:
        if _QUESTION.search(prose, start, end):
            yield f"{name} asks"
        end = min(end, start + _LONGEST_SENTENCE)
        said = {group for at, groups in hits if start <= at < end for group in groups}
        for group in sorted(said):
            yield f"{name} {group}"
        if not said:
            yield f"{name} says nothing"


def _sentences(prose: str) -> Iterator[tuple[int, int]]:
    """Where the sentences begin and end that are more than a marker."""
    start = 0
    for gap in _BETWEEN.finditer(prose):
        if not _MARKER_ONLY.fullmatch(prose, start, gap.start()):
            yield start, gap.start()
        start = gap.end()
    if not _MARKER_ONLY.fullmatch(prose, start):
        yield start, len(prose)

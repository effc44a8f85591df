"""The lexicon: words and phrases of many languages that tell what a message wants.

The cues are data, one file a language. A cue is one or more words; ``*`` ends a stem, ``..`` stands
for up to six words, ``.`` for up to two, ``^`` asks for the beginning of a clause. Cues in scripts without blanks are found
anywhere in a run of characters; all others keep to whole words.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from server.classify.passage import MARKERS, fold

GAPS = {"..": 6, ".": 2}
"""Words a gap may cover."""

CONTEXT = frozenset(
    [
        "repo",
        "look",
        "here",
        "given",
        "prose",
        "general",
        "talk",
        "alone",
        "snippet",
        "tech",
        "concept",
        "unclear",
        "either",
        "howto",
        "definite",
    ]
)
"""Groups that say what a message refers to; the others say what it wants."""

ORDERS = frozenset(["change", "convert", "make", "operate", "digest", "review", "look", "prime"])
"""Groups that order something done."""

STEM_HEAD = 2
"""Few words begin as a stem does."""

_DATA = Path(__file__).with_name("data")
_SHARED_FILE = "other"
_FUNCTION_WORDS = "words"
_UNSPACED = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_BETWEEN = re.compile(r"[|\n]")
_UNSPACED_START = re.compile(f"[{_UNSPACED}]")

TOKEN = re.compile(
    rf"(?:[^\W{_UNSPACED}{MARKERS}]|[\u0900-\u0dff\u0e00-\u0e7f])+"
    rf"(?:'[^\W{_UNSPACED}]+|\+\+|#(?!\w))?|[{MARKERS}]|[{_UNSPACED}]+|👍|&"
)
"""A word, a marker, or a run of an unspaced script."""


@dataclass(frozen=True, slots=True, eq=False)
class Cue:
    """One phrase of one language and the groups that list it."""

    words: tuple[str, ...]
    """Words; one that ends in ``*`` is a stem, ``..`` and ``.`` are gaps."""
    anchored: bool
    groups: tuple[str, ...]
    is_context: bool
    """Its groups tell what the message refers to, rather than what it wants."""
    language: str

    @property
    def solid(self) -> int:
        """Words before the first gap."""
        gaps = (at for at, word in enumerate(self.words) if word in GAPS)
        return next(gaps, len(self.words))


@dataclass(frozen=True, slots=True)
class Met:
    """What holds at one place of a message: the longest cues of either sort."""

    size: int
    """Words, or characters of an unspaced script."""
    groups: tuple[str, ...]
    is_verb: bool
    """One of the cues that tell what is wanted stands only where a clause begins."""
    orders: bool
    """Something is ordered, so that "and" goes on with another order."""


@dataclass(slots=True)
class _Meetings:
    """What sets of cues come to; the sets are of the lexicon, so what is kept is bounded."""

    known: dict[tuple[Cue, ...], Met] = field(default_factory=dict)

    def of(self, cues: tuple[Cue, ...]) -> Met:
        found = self.known.get(cues)
        if found is None:
            found = self.known[cues] = met(cues, max(cue.solid for cue in cues))
        return found


def met(cues: Sequence[Cue], size: int) -> Met:
    """What cues come to that hold at the same place."""
    groups = tuple(dict.fromkeys(group for cue in cues for group in cue.groups))
    return Met(
        size,
        groups,
        is_verb=any(cue.anchored and not cue.is_context for cue in cues),
        orders=not ORDERS.isdisjoint(groups),
    )


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All cues, by how they begin."""

    cues: tuple[Cue, ...]
    by_word: Mapping[str, tuple[Cue, ...]]
    """Cues whose second word is not fixed, or that have none."""
    by_pair: Mapping[str, Mapping[str, tuple[Cue, ...]]]
    """Cues that begin with two fixed words, by the first and then the second."""
    by_stem: Mapping[str, tuple[Cue, ...]]
    phrases: Mapping[str, Met]
    """Phrases of unspaced scripts."""
    sizes: Mapping[str, tuple[int, ...]]
    """Lengths of those phrases by their first character, the longest first."""
    stems: Mapping[str, tuple[int, ...]]
    """Lengths of first words that are stems, by their first ``STEM_HEAD`` characters;
    those of a single character are not among them."""
    function_words: Mapping[str, tuple[str, ...]]
    """Word -> the languages in which it is common; only languages in Latin letters."""
    guessed: frozenset[str]
    """Languages that are told by their function words."""
    meetings: _Meetings = field(default_factory=_Meetings)

    def alone(self, word: str) -> Sequence[Cue]:
        """Cues that may begin with ``word``, whatever follows; ``by_pair`` has the others."""
        found = self.by_word.get(word, ()) + self.by_stem.get(word[:1], ())
        for size in self.stems.get(word[:STEM_HEAD], ()):
            if size <= len(word):
                found += self.by_stem.get(word[:size], ())
        return found

    def foreign(self, words: Iterable[str]) -> frozenset[str]:
        """Languages a message is not written in, so that their look-alikes do not count.

        Without any common word every language is possible.
        """
        votes = dict.fromkeys(self.guessed, 0)
        for word in words:
            for language in self.function_words.get(word, ()):
                votes[language] += 1
        most = max(votes.values(), default=0)
        if most == 0:
            return frozenset()
        return frozenset(name for name, count in votes.items() if count * 2 < most)


@cache
def lexicon() -> Lexicon:
    """The cues of all languages; read once."""
    groups: dict[tuple[tuple[str, ...], bool, bool, str], list[str]] = {}
    common: dict[str, list[str]] = {}
    for language, table in _tables():
        for word in fold(table.get(_FUNCTION_WORDS, "")).split():
            common.setdefault(word, []).append(language)
        for group, text in table.items():
            if group == _FUNCTION_WORDS:
                continue
            for phrase in filter(None, map(str.strip, _BETWEEN.split(fold(text)))):
                words, anchored = _parse(phrase)
                names = groups.setdefault((words, anchored, group in CONTEXT, language), [])
                names.append(group)
    cues = [
        Cue(words, anchored, tuple(dict.fromkeys(names)), is_context, language)
        for (words, anchored, is_context, language), names in groups.items()
    ]
    return _index(cues, common)


def _tables() -> Iterator[tuple[str, Mapping[str, str]]]:
    for path in sorted(_DATA.glob("*.toml")):
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        if path.stem == _SHARED_FILE:
            yield from table.items()
        else:
            yield path.stem, table


def _parse(phrase: str) -> tuple[tuple[str, ...], bool]:
    """Words and anchor of a folded phrase."""
    words: list[str] = []
    for part in phrase.removeprefix("^").split():
        stem = part.removesuffix("*")
        if part in GAPS or (stem.isascii() and stem.isalpha()):
            words.append(part)
            continue
        tokens = TOKEN.findall(stem)
        words += tokens
        if stem != part and tokens:
            words[-1] += "*"
    return tuple(words), phrase.startswith("^")


def _index(cues: Sequence[Cue], common: Mapping[str, list[str]]) -> Lexicon:
    by_word: dict[str, list[Cue]] = {}
    by_stem: dict[str, list[Cue]] = {}
    by_pair: dict[str, dict[str, list[Cue]]] = {}
    unspaced: list[Cue] = []
    for cue in sorted(cues, key=lambda c: -len(c.words[0])):
        first, *rest = cue.words
        if is_unspaced(first):
            unspaced.append(cue)
        elif first.endswith("*"):
            by_stem.setdefault(first[:-1], []).append(cue)
        elif rest and rest[0] not in GAPS and not rest[0].endswith("*"):
            by_pair.setdefault(first, {}).setdefault(rest[0], []).append(cue)
        else:
            by_word.setdefault(first, []).append(cue)
    phrases = _phrases(unspaced)
    return Lexicon(
        cues=tuple(cues),
        by_word={key: tuple(value) for key, value in by_word.items()},
        by_pair={
            first: {second: tuple(value) for second, value in seconds.items()}
            for first, seconds in by_pair.items()
        },
        by_stem={key: tuple(value) for key, value in by_stem.items()},
        phrases=phrases,
        sizes={
            head: tuple(sorted({len(p) for p in phrases if p[0] == head}, reverse=True))
            for head in {phrase[0] for phrase in phrases}
        },
        stems={
            head: tuple(sorted({len(stem) for stem in by_stem if stem.startswith(head)}))
            for head in {stem[:STEM_HEAD] for stem in by_stem if len(stem) > 1}
        },
        function_words={word: tuple(names) for word, names in common.items()},
        guessed=frozenset(name for names in common.values() for name in names),
    )


def _phrases(cues: Iterable[Cue]) -> dict[str, Met]:
    """Each phrase with all that holds where it stands: the longest cues of either sort."""
    by_text: dict[str, list[Cue]] = {}
    for cue in cues:
        by_text.setdefault(cue.words[0], []).append(cue)
    phrases = {}
    for text in by_text:
        longest: dict[bool, list[Cue]] = {}
        for size in range(1, len(text) + 1):
            inside = by_text.get(text[:size], ())
            for is_context in {cue.is_context for cue in inside}:
                longest[is_context] = [cue for cue in inside if cue.is_context == is_context]
        taken = [*longest.get(False, ()), *longest.get(True, ())]
        phrases[text] = met(taken, len(text))
    return phrases


def is_unspaced(word: str) -> bool:
    """Whether a token is of a script without blanks between words."""
    return _UNSPACED_START.match(word) is not None

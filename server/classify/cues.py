"""Finding cues in a message: which groups of the lexicon it holds, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from server.classify.lexicon import GAPS, TOKEN, Cue, Lexicon, is_unspaced, lexicon
from server.classify.passage import (
    FENCE,
    MARKERS,
    MENTION,
    NAME,
    NUMBER,
    PASTE,
    PATH,
    QUOTE,
    SPAN,
    URL,
)

_SCAN = re.compile(
    rf"{TOKEN.pattern}|([.!?;:\n,()«»“”\"…。！？；：、，\u2013\u2014·•*؟।]+|-(?=\s))"
)
"""A token, or (group 1) what ends a clause."""
_FIRST_UNSPACED = "\u3040"
_OPENS = re.compile(r"[:：?？\n。]\s*")
_SYMBOLS = re.compile(rf"[{FENCE}{PASTE}{SPAN}{NAME}{{}}()=<>$|\\^*+%&\[\]\"]|[a-z]:")
_SHORTEST = 6
_MOST_TRIES = 6
"""Places at which announced material is looked for; a message repeats its announcement rarely."""
_SAMPLE = 300
_PROSE_SHARE = 0.3
"""Share of words like "the" and "is" from which a text is a sentence, not a command or an error."""
_SHOWN = FENCE + PASTE + QUOTE
_NAMES_A_THING = frozenset(PATH + MENTION + URL + NUMBER + " .,?!")
CLAUSE, VERB, INSIDE = 2, 1, 0
"""Where a word stands: where a clause begins, after "to" or "should", anywhere else."""


@dataclass(slots=True)
class Found:
    """What a message holds."""

    counts: dict[str, int] = field(default_factory=dict)
    """Group -> number of cues; an anchored cue after "to" counts under ``group + "~"``."""
    words: int = 0
    """Words that are no courtesy; a run of unspaced script counts by its length."""
    given: bool = False
    """The message announces something and then shows it."""

    hits: list[tuple[int, Sequence[str]]] = field(default_factory=list)
    """Where in the prose which groups were met, in order."""

    def add(self, groups: Sequence[str], start: int, suffix: str = "") -> None:
        self.hits.append((start, groups))
        counts = self.counts
        for group in groups:
            name = group + suffix
            counts[name] = counts.get(name, 0) + 1


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of a message, by place."""

    words: list[str]
    begins: list[bool]
    """A clause begins here."""
    starts: list[int]


def _tokens(prose: str) -> _Tokens:
    tokens = _Tokens([], [], [])
    begins = True
    for match in _SCAN.finditer(prose):
        if match.lastindex:
            begins = True
            continue
        tokens.words.append(match[0])
        tokens.begins.append(begins)
        tokens.starts.append(match.start())
        begins = False
    return tokens


def find_cues(prose: str, book: Lexicon | None = None) -> Found:
    """Walk a folded message once, always taking the longest phrase; by default of our lexicon."""
    return _Walk(prose, book or lexicon()).run()


class _Walk:
    """The position in one message."""

    def __init__(self, prose: str, book: Lexicon) -> None:
        self.prose = prose
        self.book = book
        tokens = _tokens(prose)
        self.words, self.begins, self.starts = tokens.words, tokens.begins, tokens.starts
        self.found = Found()
        self.vocabulary = frozenset(self.words)
        self.known: dict[str, tuple[Cue, ...]] = {}
        """Cues that may begin with a word, whatever comes next; most words come more than once."""
        self.foreign = book.foreign(self.words)
        self.level = CLAUSE
        self.ordered = False
        self.before: tuple[str, ...] = ()
        self.skip_from = self.skip_to = 0
        self.tried: set[int] = set()

    def run(self) -> Found:
        words, begins, starts = self.words, self.begins, self.starts
        position = 0
        while position < len(words):
            word, start = words[position], starts[position]
            if begins[position]:
                self.level = CLAUSE
                self.ordered = False
            if self.skip_from <= start < self.skip_to:
                position += 1
            elif word < _FIRST_UNSPACED:
                position += self._step(position)
            elif word[0] in MARKERS:
                self.found.add((word,), start)
                self.level = INSIDE
                position += 1
            elif is_unspaced(word):
                self._scan(word, start)
                position += 1
            else:
                position += self._step(position)
        return self.found

    def _step(self, position: int) -> int:
        """Take the longest cues of either sort at a word; returns how many words are done."""
        starting = self._starting(position)
        taken = self._longest(position, starting) if starting else ()
        if not taken:
            self.before = ()
            self.found.words += 1
            self.level = INSIDE
            return 1
        here = self.book.meetings.of(taken)
        groups = here.groups
        if "tech" in groups and "definite" in self.before:
            # "Docker" is a subject, "the Docker image" is somebody's.
            groups += ("here",)
        self.before = groups
        is_late = self.level == VERB and here.is_verb
        self.found.add(groups, self.starts[position], "~" if is_late else "")
        self.ordered |= here.orders or (self.level == CLAUSE and here.is_verb)
        self._move_on(groups, here.size)
        if "given" in groups:
            last = position + here.size - 1
            end = self.starts[last] + len(self.words[last])
            self._show(end, may_be_prose="prose" in groups)
        return here.size

    def _longest(self, position: int, starting: Sequence[Cue]) -> tuple[Cue, ...]:
        """The longest cues of either sort that hold at a word, those of intent first."""
        intent: list[Cue] = []
        context: list[Cue] = []
        for cue in starting:
            best = context if cue.is_context else intent
            longest = len(best[0].words) if best else 0
            if len(cue.words) < longest or not self._holds(cue, position):
                continue
            if len(cue.words) > longest:
                best.clear()
            best.append(cue)
        return (*intent, *context)

    def _starting(self, position: int) -> tuple[Cue, ...]:
        """Cues that may stand here, in the order of the lexicon."""
        word = self.words[position]
        known = self.known.get(word)
        if known is None:
            cues = self.book.alone(word)
            known = self.known[word] = self._possible(cues) if cues else ()
        seconds = self.book.by_pair.get(word)
        if seconds is None or position + 1 == len(self.words):
            return known
        pairs = seconds.get(self.words[position + 1])
        return known if pairs is None else self._possible(pairs) + known

    def _possible(self, cues: Iterable[Cue]) -> tuple[Cue, ...]:
        """Those of a language the message may be in, whose last word it holds."""
        vocabulary, foreign = self.vocabulary, self.foreign
        return tuple(
            [
                cue
                for cue in cues
                if cue.language not in foreign
                and (cue.words[-1] in vocabulary or cue.words[-1][-1] == "*")
            ]
        )

    def _move_on(self, groups: Sequence[str], length: int) -> None:
        """Set where the next word stands."""
        if "lead" in groups:
            return
        if "join" in groups:
            # "Rename it and push" orders twice; "between merge and rebase" orders nothing.
            self.level = CLAUSE if self.ordered else INSIDE
            return
        self.found.words += length
        self.level = VERB if "soft" in groups else INSIDE

    def _holds(self, cue: Cue, position: int) -> bool:
        """Whether the cue's words stand from ``position`` on, within one clause."""
        if cue.anchored and self.level == INSIDE:
            return False
        if len(cue.words) == 1:
            return True
        words, begins, end = self.words, self.begins, len(self.words)
        here = position
        gap = 0
        for expected in cue.words:
            if expected in GAPS:
                gap = GAPS[expected]
                continue
            while here < end and (here == position or not begins[here]):
                if words[here] == expected or _fits(expected, words[here]):
                    break
                gap, here = gap - 1, here + 1
                if gap < 0:
                    return False
            else:
                return False
            gap, here = 0, here + 1
        return True

    def _scan(self, run: str, start: int) -> None:
        """Find cues in a run of unspaced characters."""
        at, unknown = 0, 0
        sizes, phrases = self.book.sizes, self.book.phrases
        while at < len(run):
            # Most characters begin nothing, and a long run has many of them.
            for size in sizes.get(run[at], ()):
                phrase = phrases.get(run[at : at + size])
                if phrase is not None:
                    break
            else:
                at, unknown = at + 1, unknown + 1
                continue
            self.found.add(phrase.groups, start + at)
            at += phrase.size
            if "lead" not in phrase.groups:
                unknown += phrase.size
            if "given" in phrase.groups:
                self._show(start + at, may_be_prose="prose" in phrase.groups)
        self.found.words += (unknown + 1) // 2
        self.level = INSIDE

    def _show(self, offset: int, *, may_be_prose: bool) -> None:
        """Note material that was announced before ``offset``: a break follows, then something."""
        opening = _OPENS.search(self.prose, offset, offset + 60)
        if opening is None or self.found.given or opening.end() in self.tried:
            return
        if len(self.tried) >= _MOST_TRIES:
            return
        start = opening.end()
        self.tried.add(start)
        end = self.prose.find("\n\n", start)
        end = len(self.prose) if end < 0 else end
        shown = self.prose[start:end]
        if not self._is_material(shown, may_be_prose=may_be_prose):
            return
        self.found.given = True
        if shown[0] not in _SHOWN:
            # Words of the material say nothing about what is wanted.
            self.skip_from, self.skip_to = start, end

    def _is_material(self, shown: str, *, may_be_prose: bool) -> bool:
        """Whether text is the thing itself, rather than the next sentence or a name for it."""
        if len(shown) < _SHORTEST or _NAMES_A_THING.issuperset(shown):
            return bool(shown) and shown[0] in _SHOWN
        if may_be_prose or shown[0] in _SHOWN:
            return True
        words = TOKEN.findall(shown[:_SAMPLE])
        common = sum(word in self.book.function_words for word in words)
        return common < len(words) * _PROSE_SHARE and _SYMBOLS.search(shown) is not None


def _fits(expected: str, word: str) -> bool:
    return expected[-1] == "*" and word.startswith(expected[:-1])

"""Finding cues in a message: which groups of the lexicon it holds, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from server.classify.lexicon import GAPS, TOKEN, Cue, Lexicon, is_unspaced, lexicon
from server.classify.passage import FENCE, MARKERS, MENTION, NAME, NUMBER, PASTE, PATH, SPAN, URL

_CLAUSE_END = re.compile(r"[.!?;:\n,()«»“”\"…。！？；：、，\u2013\u2014·•*؟।]|(?:^|\s)-\s")
_OPENS = re.compile(r"[:：?？\n。]\s*")
_SYMBOLS = re.compile(rf"[{FENCE}{PASTE}{SPAN}{NAME}{{}}()=<>$|\\^*+%&\[\]\"]|[a-z]:")
_SHORTEST = 6
_MOST_TRIES = 6
"""Places at which announced material is looked for; a message repeats its announcement rarely."""
_SAMPLE = 300
_PROSE_SHARE = 0.3
"""Share of words like "the" and "is" from which a text is a sentence, not a command or an error."""
_NAMES_A_THING = frozenset(PATH + MENTION + URL + NUMBER + " .,?!")
_ORDERS = frozenset(["change", "convert", "make", "operate", "digest", "review", "look", "prime"])
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

    def add(self, groups: Iterable[str], suffix: str = "") -> None:
        for group in groups:
            self.counts[group + suffix] = self.counts.get(group + suffix, 0) + 1


class _Token(NamedTuple):
    word: str
    begins: bool
    """A clause begins here."""
    start: int
    end: int


def _tokens(prose: str) -> list[_Token]:
    tokens: list[_Token] = []
    last = 0
    for match in TOKEN.finditer(prose):
        gap = prose[last : match.start()]
        begins = not tokens or (gap != " " and _CLAUSE_END.search(gap) is not None)
        tokens.append(_Token(match.group(), begins, match.start(), match.end()))
        last = match.end()
    return tokens


def find_cues(prose: str, book: Lexicon | None = None) -> Found:
    """Walk a folded message once, always taking the longest phrase; by default of our lexicon."""
    return _Walk(prose, book or lexicon()).run()


class _Walk:
    """The position in one message."""

    def __init__(self, prose: str, book: Lexicon) -> None:
        self.prose = prose
        self.book = book
        self.tokens = _tokens(prose)
        self.found = Found()
        self.vocabulary = {token.word for token in self.tokens}
        self.known: dict[str, tuple[Cue, ...]] = {}
        """Cues that may begin with a word, whatever comes next; most words come more than once."""
        self.foreign = book.foreign(token.word for token in self.tokens)
        self.level = CLAUSE
        self.ordered = False
        self.before: tuple[str, ...] = ()
        self.skip_from = self.skip_to = 0
        self.tried: set[int] = set()

    def run(self) -> Found:
        position = 0
        while position < len(self.tokens):
            token = self.tokens[position]
            if token.begins:
                self.level = CLAUSE
                self.ordered = False
            if self.skip_from <= token.start < self.skip_to:
                position += 1
            elif token.word[0] in MARKERS:
                self.found.add([token.word])
                self.level = INSIDE
                position += 1
            elif is_unspaced(token.word):
                self._scan(token)
                position += 1
            else:
                position += self._step(position)
        return self.found

    def _step(self, position: int) -> int:
        """Take the longest cues of either sort at a word; returns how many words are done."""
        intent, context = self._longest(position)
        taken = [*intent, *context]
        if not taken:
            self.before = ()
            self.found.words += 1
            self.level = INSIDE
            return 1
        is_verb = self.level == VERB and any(cue.anchored for cue in intent)
        groups = list(dict.fromkeys(group for cue in taken for group in cue.groups))
        if "tech" in groups and "definite" in self.before:
            # "Docker" is a subject, "the Docker image" is somebody's.
            groups.append("here")
        self.before = tuple(groups)
        if self.level == CLAUSE and any(cue.anchored for cue in intent):
            self.ordered = True
        self.found.add(groups, "~" if is_verb else "")
        length = max(cue.solid for cue in taken)
        self._move_on(groups, length)
        if "given" in groups:
            self._show(self.tokens[position + length - 1].end, may_be_prose="prose" in groups)
        return length

    def _longest(self, position: int) -> tuple[list[Cue], list[Cue]]:
        """The longest cues of either sort that hold at a word."""
        intent: list[Cue] = []
        context: list[Cue] = []
        for cue in self._starting(position):
            best = context if cue.is_context else intent
            longest = len(best[0].words) if best else 0
            if len(cue.words) < longest or not self._holds(cue, position):
                continue
            if len(cue.words) > longest:
                best.clear()
            best.append(cue)
        return intent, context

    def _starting(self, position: int) -> tuple[Cue, ...]:
        """Cues that may stand here, in the order of the lexicon."""
        word = self.tokens[position].word
        known = self.known.get(word)
        if known is None:
            cues = self.book.alone(word)
            known = self.known[word] = self._possible(cues) if cues else ()
        if position + 1 == len(self.tokens):
            return known
        pairs = self.book.by_pair.get((word, self.tokens[position + 1].word))
        return known if pairs is None else self._possible(pairs) + known

    def _possible(self, cues: Iterable[Cue]) -> tuple[Cue, ...]:
        """Those of a language the message may be in, whose last word it holds."""
        return tuple(
            cue
            for cue in cues
            if cue.language not in self.foreign
            and (cue.words[-1] in self.vocabulary or cue.words[-1][-1] == "*")
        )

    def _move_on(self, groups: list[str], length: int) -> None:
        """Set where the next word stands."""
        if not _ORDERS.isdisjoint(groups):
            self.ordered = True
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
        here = position
        gap = 0
        for expected in cue.words:
            if expected in GAPS:
                gap = GAPS[expected]
                continue
            while self._is_within(here, position):
                if _fits(expected, self.tokens[here].word):
                    break
                gap, here = gap - 1, here + 1
                if gap < 0:
                    return False
            else:
                return False
            gap, here = 0, here + 1
        return True

    def _is_within(self, here: int, first: int) -> bool:
        """Whether a word is in the same clause as an earlier one."""
        return here < len(self.tokens) and (here == first or not self.tokens[here].begins)

    def _scan(self, token: _Token) -> None:
        """Find cues in a run of unspaced characters."""
        run, at, unknown = token.word, 0, 0
        known = self.book.by_char
        while at < len(run):
            # Most characters begin nothing, and a long run has many of them.
            begins = run[at] in known or run[at : at + 2] in known
            taken = self._taken(run, at) if begins else []
            if not taken:
                at, unknown = at + 1, unknown + 1
                continue
            groups = dict.fromkeys(group for cue in taken for group in cue.groups)
            self.found.add(groups)
            length = max(len(cue.words[0]) for cue in taken)
            at += length
            if "lead" not in groups:
                unknown += length
            if "given" in groups:
                self._show(token.start + at, may_be_prose="prose" in groups)
        self.found.words += (unknown + 1) // 2
        self.level = INSIDE

    def _taken(self, run: str, at: int) -> list[Cue]:
        """The longest cues of either sort at a place in a run."""
        intent: list[Cue] = []
        context: list[Cue] = []
        for cue in self.book.within(run[at : at + 2]):
            best = context if cue.is_context else intent
            if best and len(cue.words[0]) < len(best[0].words[0]):
                continue
            if run.startswith(cue.words[0], at):
                best.append(cue)
        return [*intent, *context]

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
        if shown[0] not in FENCE + PASTE:
            # Words of the material say nothing about what is wanted.
            self.skip_from, self.skip_to = start, end

    def _is_material(self, shown: str, *, may_be_prose: bool) -> bool:
        """Whether text is the thing itself, rather than the next sentence or a name for it."""
        if len(shown) < _SHORTEST or _NAMES_A_THING.issuperset(shown):
            return bool(shown) and shown[0] in FENCE + PASTE
        if may_be_prose or shown[0] in FENCE + PASTE:
            return True
        words = TOKEN.findall(shown[:_SAMPLE])
        common = sum(word in self.book.function_words for word in words)
        return common < len(words) * _PROSE_SHARE and _SYMBOLS.search(shown) is not None


def _fits(expected: str, word: str) -> bool:
    return word.startswith(expected[:-1]) if expected[-1] == "*" else word == expected

"""Features of one message for the trained model: what a reading holds, and hashed pieces of text.

Pieces are words, pairs of words, the first words, and characters inside words, so that inflected
and misspelt words share some. They are hashed into a fixed number of buckets: the model holds no
vocabulary, and nobody can read a message back from the buckets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from zlib import crc32

from server.classify.cues import find_cues
from server.classify.lexicon import TOKEN, is_unspaced
from server.classify.passage import FENCE, MARKERS, PASTE
from server.classify.reading import Reading

BUCKETS = 1 << 14
_HEAD, _TAIL = 450, 200
"""Characters of the prose that are cut into pieces; what is asked stands at one of the ends."""
_MAX_PIECES = 700
_FIRST_WORDS = 3
_CHARS = 4
_LONGEST_WORD = 24
_MAX_COUNT = 3
_MAX_PAIRED = 14
_LENGTHS = (2, 4, 8, 14, 25, 50, 100)
_SENTENCE = re.compile(r"(?<=[.!?。！？؟;])\s+|(?<=[。！？])|\n+")
_MARKER_ONLY = re.compile(f"[{FENCE}{PASTE}\\s]*")
_LONGEST_SENTENCE = 200
_QUESTION = re.compile(r"[?？؟]\s*$")
_HANGUL = re.compile("[\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Features:
    """Buckets; holds no text."""

    signs: tuple[int, ...]
    """What the reading says; each counts fully."""
    pieces: tuple[int, ...]
    """Pieces of the text; together they count as much as a few signs."""


def features_of(prose: str, reading: Reading) -> Features:
    """The features of a message; ``prose`` is what its passage holds. Bounded work."""
    near = prose if len(prose) <= _HEAD + _TAIL else f"{prose[:_HEAD]}\n{prose[-_TAIL:]}"
    signs = {crc32(name.encode()) % BUCKETS for name in (*_signs(reading), *_ends(near))}
    pieces: dict[int, None] = {}
    for bucket in _pieces(near):
        pieces[bucket] = None
        if len(pieces) >= _MAX_PIECES:
            break
    return Features(tuple(sorted(signs)), tuple(pieces))


def _signs(reading: Reading) -> Iterator[str]:
    yield f"length {sum(reading.words > limit for limit in _LENGTHS)}"
    if reading.asks:
        yield "asks"
    if reading.is_command:
        yield "command"
    names = sorted(reading.signals)
    for name in names:
        for count in range(1, min(reading.signals[name], _MAX_COUNT) + 1):
            yield f"signal {name} {count}"
    for one, other in combinations(names[:_MAX_PAIRED], 2):
        yield f"both {one} {other}"
    if not names:
        yield "no signal"


def _ends(prose: str) -> Iterator[str]:
    """What the first and the last sentence say: a long message asks at one of its ends."""
    sentences = [part for part in _SENTENCE.split(prose) if not _MARKER_ONLY.fullmatch(part)]
    if not sentences:
        return
    asking = sum(_QUESTION.search(sentence) is not None for sentence in sentences)
    yield f"sentences {min(len(sentences), 6)}"
    yield f"questions {min(asking, 3)} of {min(len(sentences), 3)}"
    ends = (("last", sentences[-1]), ("first", sentences[0]))
    for name, sentence in ends[: len(sentences)]:
        if _QUESTION.search(sentence):
            yield f"{name} asks"
        counts = find_cues(sentence[:_LONGEST_SENTENCE]).counts
        for group in counts:
            yield f"{name} {group}"
        if not counts:
            yield f"{name} says nothing"


# The hash of a name goes on from that of its first part, so the part is hashed once.
_FIRST = tuple(crc32(f"first {place} ".encode()) for place in range(_FIRST_WORDS))
_WORD, _PAIR, _INSIDE = crc32(b"word "), crc32(b"pair "), crc32(b"chars ")


def _hashed(text: str, begun: int) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"), begun) % BUCKETS


def _pieces(prose: str) -> Iterator[int]:
    """The buckets of the pieces."""
    words = TOKEN.findall(prose)
    for place, word in enumerate(words[:_FIRST_WORDS]):
        yield _hashed(word[:_LONGEST_WORD], _FIRST[place])
    before = "^"
    seen: set[str] = set()
    for word in words:
        if is_unspaced(word):
            yield from _unspaced(word)
            before = word[-1]
            continue
        short = word[:_LONGEST_WORD]
        if short not in seen:
            yield _hashed(short, _WORD)
        yield _hashed(f"{before} {short}", _PAIR)
        before = short
        if short not in seen and word[0] not in MARKERS:
            yield from _inside(short)
        seen.add(short)
    yield _hashed(f"{before} $", _PAIR)


def _inside(word: str) -> Iterator[int]:
    """Characters inside a word; Hangul syllables carry more, so fewer of them do."""
    size = 2 if _HANGUL.match(word) else _CHARS
    framed = f"<{word}>"
    if len(framed) <= size:
        return
    if framed.isascii():
        raw = framed.encode()
        for at in range(len(raw) - size + 1):
            yield crc32(raw[at : at + size], _INSIDE) % BUCKETS
        return
    for at in range(len(framed) - size + 1):
        yield _hashed(framed[at : at + size], _INSIDE)


def _unspaced(run: str) -> Iterator[int]:
    for at in range(len(run)):
        for size in (1, 2, 3):
            if at + size <= len(run):
                yield _hashed(run[at : at + size], _INSIDE)
    yield _hashed(f"{run[-2:]}$", _INSIDE)

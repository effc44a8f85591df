"""Features of one message for the trained model: what a reading holds, and hashed pieces of text.

Pieces are words, pairs of words, the first words, and characters inside words, so that inflected
and misspelt words share some. They are hashed into a fixed number of buckets: the model holds no
vocabulary, and nobody can read a message back from the buckets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from zlib import crc32

from server.classify.lexicon import TOKEN, is_unspaced
from server.classify.passage import MARKERS
from server.classify.reading import Reading

BUCKETS = 1 << 14
_MAX_PIECES = 1_000
_FIRST_WORDS = 3
_CHARS = 4
_LONGEST_WORD = 24
_MAX_COUNT = 3
_MAX_PAIRED = 14
_LENGTHS = (2, 4, 8, 14, 25, 50, 100)
_FIRST_UNSPACED = "\u3040"
_BYTES = 3
"""Bytes of UTF-8 for a character of an unspaced script."""
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
    hashes = _pieces(TOKEN.findall(prose))
    pieces = list(dict.fromkeys([number % BUCKETS for number in hashes]))[:_MAX_PIECES]
    signs = {_sign(name) for name in (*_signs(reading), *reading.ends)}
    signs |= {_both(one, other) for one, other in _pairs(reading)}
    return Features(tuple(sorted(signs)), tuple(pieces))


# The names are of fixed lists, so what is kept is bounded.
@cache
def _sign(name: str) -> int:
    return crc32(name.encode()) % BUCKETS


@cache
def _both(one: str, other: str) -> int:
    return _sign(f"both {one} {other}")


def _pairs(reading: Reading) -> Iterator[tuple[str, str]]:
    return combinations(sorted(reading.signals)[:_MAX_PAIRED], 2)


def _signs(reading: Reading) -> Iterator[str]:
    yield f"length {sum(reading.words > limit for limit in _LENGTHS)}"
    if reading.asks:
        yield "asks"
    if reading.is_command:
        yield "command"
    for name, count in reading.signals.items():
        for times in range(1, min(count, _MAX_COUNT) + 1):
            yield f"signal {name} {times}"
    if not reading.signals:
        yield "no signal"


# The hash of a name goes on from that of its first part, so the part is hashed once.
_FIRST = tuple(crc32(f"first {place} ".encode()) for place in range(_FIRST_WORDS))
_WORD, _PAIR, _INSIDE = crc32(b"word "), crc32(b"pair "), crc32(b"chars ")
_FROM, _TO = b"^", b"$"


def _pieces(words: list[str]) -> list[int]:
    """The hashes of the pieces, in the order of the words."""
    cut = [word[:_LONGEST_WORD].encode() for word in words]
    pieces = [crc32(word, begun) for word, begun in zip(cut, _FIRST, strict=False)]
    before = _FROM
    for word, raw in zip(words, cut, strict=True):
        if word >= _FIRST_UNSPACED and is_unspaced(word):
            pieces += _unspaced(word.encode())
            before = word[-1].encode()
            continue
        pieces.append(crc32(b"%b %b" % (before, raw), _PAIR))
        before = raw
    pieces.append(crc32(b"%b %b" % (before, _TO), _PAIR))
    for raw in dict.fromkeys(cut):
        pieces.append(crc32(raw, _WORD))
        pieces += _inside(raw)
    return pieces


def _inside(raw: bytes) -> list[int]:
    """Characters inside a word; Hangul syllables carry more, so fewer of them do."""
    framed = b"<%b>" % raw
    if raw.isascii():
        return [crc32(framed[at : at + _CHARS], _INSIDE) for at in range(len(raw) - _CHARS + 3)]
    word = f"<{raw.decode()}>"
    if word[1] in MARKERS or is_unspaced(word[1]):
        return []
    size = 2 if _HANGUL.match(word, 1) else _CHARS
    grams = (word[at : at + size] for at in range(len(word) - size + 1))
    return [crc32(gram.encode(), _INSIDE) for gram in grams]


def _unspaced(raw: bytes) -> list[int]:
    """One, two and three characters of a run, from every place in it."""
    last = len(raw) + 1
    grams = {
        raw[at : at + size]
        for size in (_BYTES, 2 * _BYTES, 3 * _BYTES)
        for at in range(0, last - size, _BYTES)
    }
    return [
        *sorted([crc32(gram, _INSIDE) for gram in grams]),
        crc32(raw[-2 * _BYTES :] + _TO, _INSIDE),
    ]

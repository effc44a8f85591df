"""Bounds on the JSON that is looked at: how deep, how many values, how long a number.

Most bodies are cleared by their size, by counting one byte in them or by looking at samples, all
in C; only what looks suspicious then is looked at token by token, which is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
from msgspec import Raw

MAX_DEPTH = 128
"""Levels of lists and objects, the outermost included."""
MAX_VALUES = 1_000_000
"""Elements and members in all lists and objects together."""
MAX_NUMBER = 1000
"""Characters of one number."""
DEPTH_BYTES = 64 * 1024
"""Up to this size depth is checked; a larger body is bounded by the parser, which gives up at its
recursion limit, because a look at every level would be dearer than reading it."""

_PLAIN_LEVELS = 8
"""Levels opened one by one; what is nested deeper is scanned once, so that the work stays linear."""
_COUNTED = 16 * 1024
"""Bytes up to which counting brackets is likely to spare a look inside."""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]|,|[-+.0-9eE]++', re.S)
_NUMBER = re.compile(rb"[-+.0-9eE]*+")
_NUMBER_BYTES = b"-+.0123456789eE"
_STRIDE = MAX_NUMBER // 10
_DIGITS_AS_0 = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_lists = msgspec.json.Decoder(list[Raw])
_objects = msgspec.json.Decoder(dict[str, Raw])


class OverLimit(ValueError):
    """JSON beyond a bound; ``str()`` says which, to follow "the request body"."""


def check_values(text: bytes) -> None:
    """Raise ``OverLimit`` when ``text`` has too many values or too long a number."""
    # A value and its comma are two bytes at least, so that a small text needs no count.
    may_be_many = len(text) > 2 * MAX_VALUES and text.count(b",") >= MAX_VALUES
    if may_be_many or _may_have_long_number(text):
        _check_tokens(text)


def check_depth(values: Iterable[Raw]) -> None:
    """Raise ``OverLimit`` when one of ``values``, the members of an object, is nested too deeply.

    They are valid JSON; half surrogates in keys are taken.
    """
    waiting = [(raw, 1) for raw in values]
    while waiting:
        raw, depth = waiting.pop()
        room = MAX_DEPTH - depth
        view = memoryview(raw)
        # Each level takes two bytes, and a text or a number has none.
        if view.nbytes <= 2 * room + 1 or view[0] not in b"[{":
            continue
        text = bytes(view) if view.nbytes <= _COUNTED or depth >= _PLAIN_LEVELS else b""
        if text and text.count(b"{") + text.count(b"[") <= room:
            continue
        inner = _open(raw) if depth < _PLAIN_LEVELS else None
        if inner is not None:
            waiting += [(child, depth + 1) for child in inner]
        elif _depth_of(text or bytes(view)) > room:
            raise OverLimit("is nested too deeply")


def _open(raw: Raw) -> Iterable[Raw] | None:
    """What a container holds; ``None`` when it cannot be opened one by one."""
    try:
        return _lists.decode(raw) if memoryview(raw)[0] == 0x5B else _objects.decode(raw).values()
    except (ValueError, RecursionError):
        return None


def _depth_of(text: bytes) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _may_have_long_number(text: bytes) -> bool:
    """Whether a run of number characters is over the bound; it may stand in a string."""
    # A number that long covers ten of these samples, and all but four of its characters (two
    # signs, a point, an exponent mark) are digits: so two neighbouring samples are.
    samples = text[::_STRIDE].translate(_DIGITS_AS_0)
    at = samples.find(b"00")
    while at >= 0:
        if _is_long(text, at * _STRIDE):
            return True
        at = samples.find(b"00", at + 1)
    return False


def _is_long(text: bytes, position: int) -> bool:
    start = max(0, position - MAX_NUMBER - 1)
    before = text[start:position]
    left = len(before) - len(before.rstrip(_NUMBER_BYTES))
    found = _NUMBER.match(text, position, position + MAX_NUMBER + 1)
    right = found.end() - position if found else 0
    return left + right > MAX_NUMBER


def _check_tokens(text: bytes) -> None:
    values = 1
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first == 0x2C:
            values += 1
            if values > MAX_VALUES:
                raise OverLimit(f"holds more than {MAX_VALUES} values")
        elif first in _NUMBER_BYTES and token.end() - token.start() > MAX_NUMBER:
            raise OverLimit(f"holds a number of more than {MAX_NUMBER} digits")

"""The filter of the list: ``kind:title !ok cost>0.05 shop`` as a test of one row.

Words match anywhere, fields match their own text, numbers compare; all terms must hold, and a
leading ``!`` turns one around. Quotes keep blanks and colons together. A term that is not
finished yet, as while one types, holds for every row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tui.rows import TurnRow

_TERM = re.compile(r'(!?)(?:([a-z_]+)(:|>=|<=|>|<|=))?("[^"]*"?|\S*)', re.IGNORECASE)
_SPLIT = re.compile(r'(?:"[^"]*"?|\S)+')


def _status(row: TurnRow) -> tuple[str | None, ...]:
    http = str(row.http_status) if row.http_status else None
    return row.shown.value, row.status, http, row.error_type


TEXTS: Mapping[str, Callable[[TurnRow], tuple[str | None, ...]]] = {
    "client": lambda row: (row.client,),
    "kind": lambda row: (row.kind,),
    "model": lambda row: (row.model_asked, row.model_served),
    "payer": lambda row: (row.payer,),
    "project": lambda row: (row.project, row.label),
    "provider": lambda row: (row.provider,),
    "route": lambda row: (row.route,),
    "session": lambda row: (row.session,),
    "status": _status,
    "to": lambda row: (row.projected.target if row.projected else None,),
}
"""Fields that are followed by ``:`` and a part of their text."""


def _saved(row: TurnRow) -> float | None:
    found = row.projected
    return found.usd if found is not None and found.is_counted else None


NUMBERS: Mapping[str, Callable[[TurnRow], float | None]] = {
    "cost": lambda row: row.cost_usd,
    "saved": _saved,
    "in": lambda row: row.input_tokens,
    "cache": lambda row: row.cache_read_tokens,
    "out": lambda row: row.output_tokens,
    "ttft": lambda row: row.ttft_s,
    "time": lambda row: row.duration_s,
}
"""Fields that are compared: dollars, tokens and seconds. What is unknown matches no comparison."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
}

Test = Callable[[TurnRow], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter. Without a term that says something it is off and holds for every row."""

    text: str
    tests: tuple[Test, ...] = ()
    problem: str | None = None
    """What cannot be understood, in words; the other terms work all the same."""

    @property
    def is_on(self) -> bool:
        """Whether it can hide anything."""
        return bool(self.tests)

    def matches(self, row: TurnRow) -> bool:
        """Whether the list shows the row."""
        return all(test(row) for test in self.tests)


OFF = Filter("")


def parse(text: str) -> Filter:
    """Read a filter; never raises, ``problem`` says what is wrong with it."""
    tests: list[Test] = []
    problem: str | None = None
    for piece in _SPLIT.findall(text):
        try:
            test = _test_of(piece)
        except ValueError as error:
            problem = problem or str(error)
        else:
            if test is not None:
                tests.append(test)
    return Filter(text, tuple(tests), problem)


def _test_of(piece: str) -> Test | None:
    """One term as a test, ``None`` while it says nothing; ``ValueError`` when it makes no sense."""
    found = _TERM.fullmatch(piece)
    if found is None:
        test: Test | None = _word(piece)
        negated = False
    else:
        bang, name, sign, rest = found.groups()
        negated, value = bool(bang), rest.strip('"').lower()
        test = _field(name.lower(), sign, value) if name else _word(value)
    if test is None or not negated:
        return test
    plain = test
    return lambda row: not plain(row)


def _word(value: str) -> Test | None:
    return (lambda row: value in row.words) if value else None


def _field(name: str, sign: str, value: str) -> Test | None:
    if name in NUMBERS:
        return _number(name, sign, value)
    if name not in TEXTS:
        raise ValueError(f"no field is named {name}; known: {' '.join((*TEXTS, *NUMBERS))}")
    if sign not in (":", "="):
        raise ValueError(f"{name} is text: write {name}:{value or '...'}")
    read = TEXTS[name]
    if name == "status" and value == "open":
        return lambda row: row.is_open
    if not value:
        return None
    return lambda row: any(value in part.lower() for part in read(row) if part)


def _number(name: str, sign: str, value: str) -> Test | None:
    if sign == ":":
        raise ValueError(f"{name} is a number: write {name}>{value or '0'} or {name}<...")
    if not value.lstrip("-$"):
        return None
    try:
        limit = float(value.replace("$", "", 1))
    except ValueError:
        raise ValueError(f"{name}{sign}{value}: this is not a number") from None
    read, compare = NUMBERS[name], _COMPARE[sign]

    def test(row: TurnRow) -> bool:
        known = read(row)
        return known is not None and compare(known, limit)

    return test

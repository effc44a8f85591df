"""A bar on stderr for work that takes a while; nothing where nobody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

WORTH_A_BAR = 2_000
"""Turns from which on reading them takes longer than a blink."""

_AT_ONCE = 64
_T = TypeVar("_T")


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many more are done; the bar is gone when the block ends."""
    if total < WORTH_A_BAR or not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_eta=True) as shown:
        yield shown.update


def counted(items: Iterable[_T], step: Callable[[int], None]) -> Iterator[_T]:
    """The same items; ``step`` is told of them a few at a time."""
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if number % _AT_ONCE == 0:
            step(_AT_ONCE)
    step(number % _AT_ONCE)

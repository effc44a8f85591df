"""What the gateway's process gives up while it serves: core dumps, and files others can read.

Both are properties of the whole process and are inherited, so that a program which is the user's
own, an agent started from the screen, must be started ``as_the_user``.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PRIVATE = 0o077


@dataclass(frozen=True, slots=True)
class _Before:
    umask: int
    core: tuple[int, int]


_before: _Before | None = None


@contextmanager
def hardened() -> Iterator[None]:
    """No core dumps, since memory holds keys; new files and folders are for this user alone."""
    global _before
    if _before is not None:
        yield
        return
    core = resource.getrlimit(resource.RLIMIT_CORE)
    _before = _Before(os.umask(PRIVATE), core)
    # The hard limit stays, so that what the user starts can have its own back.
    resource.setrlimit(resource.RLIMIT_CORE, (0, core[1]))
    try:
        yield
    finally:
        before, _before = _before, None
        _restore(before)


@contextmanager
def as_the_user() -> Iterator[None]:
    """Start programs in this block: they inherit what this process had before it was hardened.

    Nothing else may run in it; other threads make their files private by themselves.
    """
    if _before is None:
        yield
        return
    core = resource.getrlimit(resource.RLIMIT_CORE)
    umask = os.umask(_before.umask)
    resource.setrlimit(resource.RLIMIT_CORE, _before.core)
    try:
        yield
    finally:
        _restore(_Before(umask, core))


def _restore(before: _Before) -> None:
    os.umask(before.umask)
    resource.setrlimit(resource.RLIMIT_CORE, before.core)

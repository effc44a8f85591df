"""What the gateway's process gives up while it serves: core dumps, and files others can read.

And what it takes: as many open files as it may have, since every request is two sockets. All are
properties of the whole process and are inherited, so that a program which is the user's own, an
agent started from the screen, must be started ``as_the_user``.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PRIVATE = 0o077
MOST_FILES = 65_536
SPARE_FILES = 64
"""What starting a program needs."""


@dataclass(frozen=True, slots=True)
class _Before:
    umask: int
    core: tuple[int, int]
    files: tuple[int, int]


_before: _Before | None = None


@contextmanager
def hardened() -> Iterator[None]:
    """No core dumps, since memory holds keys; new files and folders are for this user alone."""
    global _before
    if _before is not None:
        yield
        return
    core = resource.getrlimit(resource.RLIMIT_CORE)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _before = _Before(os.umask(PRIVATE), core, files)
    # The hard limit stays, so that what the user starts can have its own back.
    resource.setrlimit(resource.RLIMIT_CORE, (0, core[1]))
    _raise_files(files)
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
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    umask = os.umask(_before.umask)
    resource.setrlimit(resource.RLIMIT_CORE, _before.core)
    if _open_files() + SPARE_FILES < _before.files[0]:
        # With more than that open, no program could be started.
        resource.setrlimit(resource.RLIMIT_NOFILE, _before.files)
    try:
        yield
    finally:
        _restore(_Before(umask, core, files))


def _restore(before: _Before) -> None:
    os.umask(before.umask)
    resource.setrlimit(resource.RLIMIT_CORE, before.core)
    resource.setrlimit(resource.RLIMIT_NOFILE, before.files)


def _raise_files(files: tuple[int, int]) -> None:
    soft, hard = files
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    # Some systems take less than their hard limit says.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return MOST_FILES

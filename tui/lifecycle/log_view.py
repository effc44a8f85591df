"""``logs``: the end of the log file, and what is added to it."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from server.logs import one_line

_PIECE = 64 * 1024
_POLL_S = 0.25


def shown(line: bytes) -> str:
    """One log line for people: JSON lines are spelled out, and nothing in it steers a terminal."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    if text.startswith("{"):
        try:
            entry = json.loads(text)
            at = datetime.fromtimestamp(float(entry["at"])).astimezone().strftime("%H:%M:%S")
            text = f"{at} {entry['level']}: {entry['message']}"
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            pass
    return one_line(text)


def tail(file: BinaryIO, count: int) -> list[bytes]:
    """The last ``count`` lines; leaves ``file`` at its end."""
    position = file.seek(0, os.SEEK_END)
    end = position
    data = b""
    while position > 0 and data.count(b"\n") <= count:
        step = min(_PIECE, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
    file.seek(end)
    return list(deque(data.splitlines(keepends=True), maxlen=count)) if count else []


def follow(path: Path, count: int, pause: Callable[[float], None]) -> Iterator[str]:
    """The last ``count`` lines, then every line that is added; does not end by itself.

    Goes on in the new file when the log is replaced or cut, and waits for one that is not there.
    """
    wanted = count
    while True:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            pause(_POLL_S)
            wanted = _PIECE
            continue
        with file:
            yield from map(shown, tail(file, wanted))
            yield from _added(file, path, pause)
        wanted = _PIECE


def _added(file: BinaryIO, path: Path, pause: Callable[[float], None]) -> Iterator[str]:
    """Lines added to ``file`` until another file stands at ``path``."""
    part = b""
    while True:
        is_same = _is_same(file, path)
        while data := file.read(_PIECE):
            *lines, part = (part + data).split(b"\n")
            yield from map(shown, lines)
        if not is_same:
            if part:
                yield shown(part)
            return
        pause(_POLL_S)


def _is_same(file: BinaryIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), there) and there.st_size >= file.tell()

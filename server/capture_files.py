"""Kept request bodies on the disk: one private file each, bounded in age and in size together.

A file's name is the turn's id and digests of its session and project, so that a purge needs to
read none of them. Every function blocks on the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from server.private_files import UnsafeFileError, is_us

FOLDER: Final = "captures"
SUFFIX: Final = ".body"
MOST_BYTES: Final = 64 * 1024 * 1024
"""No file that unfolds to more than this is read."""

_LEVEL: Final = 3
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """One file."""

    path: Path
    at: float
    """When its turn was accepted, seconds since the epoch."""
    size: int


def folder_of(state_dir: Path) -> Path:
    """Where bodies are kept."""
    return state_dir / FOLDER


def write(
    folder: Path, turn_id: str, session: str | None, project: str | None, content: dict[str, Any]
) -> int:
    """Keep one body for its owner alone; how many bytes it takes. Raises ``OSError``.

    ``content`` has ``at``, the seconds since the epoch that its age is counted from.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    data = zlib.compress(json.dumps(content).encode("utf-8", "surrogatepass"), _LEVEL)
    name = f"{turn_id}.{_mark(session)}.{_mark(project)}"
    draft, path = folder / f".{name}", folder / f"{name}{SUFFIX}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.utime(draft, (content["at"], content["at"]))
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return len(data)


def read(folder: Path, turn_id: str) -> dict[str, Any] | None:
    """What was kept of one turn; ``None`` when nothing was, or it cannot be understood.

    Raises ``OSError``, and ``UnsafeFileError`` for what is no file of this user.
    """
    path = next((kept.path for kept in listed(folder) if _id_of(kept.path) == turn_id), None)
    if path is None:
        return None
    with open(os.open(path, os.O_RDONLY | _NO_LINK), "rb") as file:
        if not is_us(os.fstat(file.fileno()).st_uid):
            raise UnsafeFileError("belongs to another user")
        unfold = zlib.decompressobj()
        try:
            data = unfold.decompress(file.read(), MOST_BYTES)
            found = json.loads(data) if not unfold.unconsumed_tail else None
        except (zlib.error, ValueError):
            return None
    return found if isinstance(found, dict) else None


def listed(folder: Path) -> Iterator[Kept]:
    """Every kept body, in no order."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(SUFFIX):
                continue
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                yield Kept(Path(entry.path), found.st_mtime, found.st_size)


def keep_small(folder: Path, *, now: float, keep_s: float, most_bytes: int) -> tuple[int, int]:
    """Remove what is too old, then the oldest of what is too much; files and bytes that are left.

    ``now`` in seconds since the epoch.
    """
    files = sorted(listed(folder), key=lambda kept: kept.at, reverse=True)
    count = size = 0
    for kept in files:
        if kept.at < now - keep_s or size + kept.size > most_bytes:
            kept.path.unlink(missing_ok=True)
            most_bytes = min(most_bytes, size)  # what is older goes too
            continue
        count, size = count + 1, size + kept.size
    return count, size


def matching(
    folder: Path, *, session: str | None = None, project: str | None = None
) -> Iterable[Path]:
    """The kept bodies of one session or project; without both, all."""
    for kept in listed(folder):
        parts = kept.path.name.removesuffix(SUFFIX).split(".")
        marks = parts[1:3] if len(parts) == 3 else ["", ""]
        if (session is None or marks[0] == _mark(session)) and (
            project is None or marks[1] == _mark(project)
        ):
            yield kept.path


def remove(folder: Path, *, session: str | None = None, project: str | None = None) -> int:
    """Delete them; how many. Raises ``OSError``."""
    count = 0
    for path in list(matching(folder, session=session, project=project)):
        path.unlink(missing_ok=True)
        count += 1
    if session is None and project is None:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return count


def _id_of(path: Path) -> str:
    return path.name.partition(".")[0]


def _mark(name: str | None) -> str:
    return blake2b((name or "").encode("utf-8", "replace"), digest_size=8).hexdigest()

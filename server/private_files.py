"""Small files that must be whole, and readable by their owner only."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MAX_BYTES = 4 * 1024 * 1024

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Not blocking, so that a named pipe in the place of a file cannot hang the start."""
_APPEND_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class UnsafeFileError(Exception):
    """The file exists but must not be used; ``str()`` says why, without its path."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when it was opened: contents and owner belong together."""

    content: bytes
    mode: int
    owner: int

    @property
    def is_ours(self) -> bool:
        """Whether this user owns it; always so where files have no such owner."""
        return is_us(self.owner)

    @property
    def is_open_to_others(self) -> bool:
        """Whether anybody else may read or write it."""
        return os.name == "posix" and bool(self.mode & 0o077)

    @property
    def is_writable_by_others(self) -> bool:
        """Whether anybody else may change it."""
        return os.name == "posix" and bool(self.mode & 0o022)


def is_us(owner: int) -> bool:
    """Whether ``owner`` is the user this process acts for."""
    return not hasattr(os, "geteuid") or owner == os.geteuid()


def read(path: Path) -> Found:
    """Read a regular file, through symlinks; raises ``OSError`` or ``UnsafeFileError``."""
    with open(os.open(path, _OPEN_FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError("is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnsafeFileError(f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    return Found(content, stat.S_IMODE(found.st_mode), found.st_uid)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner, this user, may touch; raises as ``read`` does."""
    found = read(path)
    if not found.is_ours:
        raise UnsafeFileError("belongs to another user")
    if found.is_open_to_others:
        raise UnsafeFileError("can be read or changed by other users", f"chmod 600 {path}")
    return found.content


def open_to_append(path: Path) -> TextIO:
    """Open a file of our own to write at its end, made with mode 0600 if it is missing.

    Never follows a link in the place of the file. One that others may read is made private.
    Raises ``OSError``, or ``UnsafeFileError`` for what is no regular file of this user.
    """
    handle = os.open(path, _APPEND_FLAGS, 0o600)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError("is not a regular file")
        if not is_us(found.st_uid):
            raise UnsafeFileError("belongs to another user")
        if os.name == "posix" and found.st_mode & 0o077:
            os.fchmod(handle, 0o600)
    except BaseException:
        os.close(handle)
        raise
    return open(handle, "a", encoding="utf-8")


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` in the place of ``path`` with mode 0600.

    A reader sees the old file or the new one, never a part, whatever happens meanwhile.
    Raises ``OSError``.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Where rows wait while the database cannot be written: an fsynced JSONL file beside it.

Each process has its own file, ``<ledger>.spill-<boot>.jsonl`` (mode 0600). The first line names
the process; every other line is one row. Replaying a file twice changes nothing, so it is only
removed once its rows are safely in the database.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from server.ledger_boots import Boot
from server.ledger_rows import Item, from_record, to_record

_log = logging.getLogger("sbgw.ledger")

_COPY_BYTES: Final = 1 << 20


class Spill:
    """This process's own spill file; made when the first row needs it."""

    def __init__(self, ledger: Path, boot: Boot) -> None:
        self.path = ledger.with_name(f"{ledger.name}.spill-{name_of(boot)}.jsonl")
        self.rows = _count_rows(self.path)
        """Rows in the file."""
        self._boot = boot
        self._descriptor: int | None = None
        self._length = 0

    def append(self, items: Iterable[Item]) -> None:
        """Write the items and flush them to disk; raises ``OSError`` with nothing added."""
        lines = [msgspec.json.encode(to_record(item)) for item in items]
        if not lines:
            return
        descriptor = self._open()
        try:
            _write(descriptor, b"\n".join(lines) + b"\n")
            os.fsync(descriptor)
            if not self._is_in_place(descriptor):
                raise FileNotFoundError(f"{self.path} was removed")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._length)
            raise
        self._length = os.fstat(descriptor).st_size
        self.rows += len(lines)

    def items(self) -> Iterator[Item]:
        """Every row in the file, oldest first; raises ``OSError`` when it is gone for good."""
        if self._descriptor is not None:
            self._open()
        return load(self.path)[1]

    def remove(self) -> None:
        """Forget all rows."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.rows = self._length = 0

    def close(self) -> None:
        """Let go of the file and keep it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        """The file, ready for appending after its last whole row."""
        current = self._descriptor
        if current is not None and self._is_in_place(current):
            if os.fstat(current).st_size != self._length:
                os.ftruncate(current, self._length)
            return current
        fresh = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._prepare(fresh)
            _sync_folder(self.path.parent)
        except OSError:
            os.close(fresh)
            raise
        self.close()
        self._descriptor = fresh
        self._length = os.fstat(fresh).st_size
        return fresh

    def _prepare(self, fresh: int) -> None:
        if self._descriptor is not None:
            # Somebody removed the file; its rows are still behind our descriptor.
            _copy(self._descriptor, fresh, self._length)
            return
        size = os.fstat(fresh).st_size
        if size == 0:
            try:
                _write(fresh, msgspec.json.encode({"k": "boot"} | asdict(self._boot)) + b"\n")
            except OSError:
                os.ftruncate(fresh, 0)
                raise
        elif os.pread(fresh, 1, size - 1) != b"\n":
            _write(fresh, b"\n")

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            named = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))


def name_of(boot: Boot) -> str:
    """The boot's id as file names have it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", boot.boot_id)


def left_behind(ledger: Path, own: Boot) -> list[Path]:
    """Spill files and journals of other boots, oldest first."""
    mine = tuple(f"{ledger.name}.{kind}-{name_of(own)}" for kind in ("spill", "ahead"))
    found = [
        path
        for pattern in ("spill-*.jsonl", "ahead-*.jsonl")
        for path in ledger.parent.glob(f"{ledger.name}.{pattern}")
        if not path.name.startswith(mine)
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def load(path: Path) -> tuple[Boot | None, Iterator[Item]]:
    """The process that wrote a spill file, when it says, and its rows; raises ``OSError``."""
    entries = read(path)
    first = next(entries, None)
    if isinstance(first, Boot):
        return first, (entry for entry in entries if not isinstance(entry, Boot))
    rest = entries if first is None else itertools.chain((first,), entries)
    return None, (entry for entry in rest if not isinstance(entry, Boot))


def read(path: Path) -> Iterator[Boot | Item]:
    """The header and the rows of a spill file; an unreadable line is logged and passed over.

    The last line may be torn by a crash: it was never promised to anyone.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = msgspec.json.decode(line)
                entry = (
                    msgspec.convert({**record, "k": None}, Boot)
                    if record["k"] == "boot"
                    else from_record(record)
                )
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
                _log.warning("line %d of %s cannot be read: %s", number, path, error)
                continue
            if entry is not None:
                yield entry


def _count_rows(path: Path) -> int:
    """Lines after the header, in a file that an earlier life of this boot may have left."""
    try:
        with path.open("rb") as lines:
            return max(0, sum(1 for _ in lines) - 1)
    except OSError:
        return 0


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _copy(source: int, target: int, length: int) -> None:
    os.ftruncate(target, 0)
    position = 0
    while position < length:
        chunk = os.pread(source, min(_COPY_BYTES, length - position), position)
        if not chunk:
            return
        _write(target, chunk)
        position += len(chunk)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

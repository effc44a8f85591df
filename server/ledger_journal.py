"""Rows on their way to the database: appended to a file the moment they arise, by their caller.

A line in this file survives the death of the process as a committed transaction does, and costs
a hundredth of it. So no request waits for SQLite: the ledger's thread commits many rows at once,
a little later, and then the file is cut. What a process leaves behind when it is killed is
replayed at the next start like a spill file, whose format this is; its lines are whole turns
(without what is at its default), from which rows are made only then. Only the death of the
machine can take a line; where that matters (``durability = "full"``) requests wait for the commit
instead.

Two files take turns, ``<ledger>.ahead-<boot>-{0,1}.jsonl`` (mode 0600): rows that are being
committed are in one, rows that arise meanwhile in the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from server.ledger_boots import Boot
from server.ledger_spill import name_of
from server.record import Turn

_log = logging.getLogger("sbgw.ledger")

_APPENDING: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT

_encode = msgspec.json.Encoder(enc_hook=str).encode


class _File:
    """One of the two; its first line names the process."""

    def __init__(self, path: Path, boot: Boot) -> None:
        self.path = path
        self.is_empty = True
        self._descriptor = os.open(path, _APPENDING | os.O_TRUNC, 0o600)
        self._head = os.write(self._descriptor, _encode({"k": "boot"} | asdict(boot)) + b"\n")
        self._length = self._head

    def append(self, line: bytes) -> None:
        """Add a whole line or nothing; raises ``OSError``."""
        if os.write(self._descriptor, line) != len(line):
            os.ftruncate(self._descriptor, self._length)
            raise OSError("the line was cut short")
        self._length += len(line)
        self.is_empty = False

    def cut(self) -> None:
        """Forget every row."""
        if not self.is_empty:
            os.ftruncate(self._descriptor, self._head)
            self._length, self.is_empty = self._head, True

    @property
    def is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        os.close(self._descriptor)


class Journal:
    """Not thread-safe: the ledger calls it under the lock of its queue.

    A journal that cannot be written is no trouble of its own: its callers wait for the ledger's
    thread, which says what is wrong with the disk.
    """

    def __init__(self, ledger: Path, boot: Boot) -> None:
        self._stem = f"{ledger.name}.ahead-{name_of(boot)}"
        self._folder = ledger.parent
        self._boot = boot
        self._by = b',"boot":%b,"turn":' % _encode(boot.boot_id)
        self._files: list[_File] = []
        self._current = 0

    def opened(self, turn: Turn) -> bool:
        """Write the turn ahead of its dispatch; ``False`` when it is not safe here."""
        return self._append(b'{"k":"opened"', turn)

    def closed(self, turn: Turn) -> bool:
        """Write the turn's terminal state; ``False`` when it is not safe here."""
        return self._append(b'{"k":"closed"', turn)

    def _append(self, start: bytes, turn: Turn) -> bool:
        try:
            self._opened().append(b"%b%b%b}\n" % (start, self._by, _encode(turn)))
        except (OSError, TypeError, ValueError) as error:
            _log.warning("a row goes the long way: %s", error)
            return False
        return True

    def turn_over(self) -> None:
        """From here on, rows go to the other file, provided that it is free."""
        if not self._files:
            return
        if not all(file.is_in_place for file in self._files):
            # Somebody removed them, or their folder.
            self._let_go()
        elif self._files[1 - self._current].is_empty:
            self._current = 1 - self._current

    def forget(self) -> None:
        """Every row appended before the last ``turn_over`` is safe elsewhere."""
        if self._files:
            with contextlib.suppress(OSError):
                self._files[1 - self._current].cut()

    def remove(self, *, is_safe: bool) -> None:
        """The end; the files stay for the next start unless every row ``is_safe`` elsewhere."""
        paths = [file.path for file in self._files]
        self._let_go()
        if is_safe:
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _opened(self) -> _File:
        if not self._files:
            made: list[_File] = []
            try:
                for number in (0, 1):
                    path = self._folder / f"{self._stem}-{number}.jsonl"
                    made.append(_File(path, self._boot))
            except OSError:
                for file in made:
                    file.close()
                raise
            self._files, self._current = made, 0
        return self._files[self._current]

    def _let_go(self) -> None:
        for file in self._files:
            file.close()
        self._files, self._current = [], 0

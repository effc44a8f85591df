"""What the ledger's thread does with rows: commit them, or keep them safe until it can.

    ok ──commit fails──> degraded ──database opens──> replaying ──spill empty──> ok
                            ^                             │
                            └────────commit fails─────────┘

While degraded, rows go to the spill file; when that fails too, they stay in a ring in memory,
whose oldest rows are given up, and counted, beyond its bound. Owned by one thread; never waits
longer than SQLite's busy time-out.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final

from server import ledger_schema as schema
from server.clock import Clock
from server.ledger_boots import Boot
from server.ledger_rows import CloseRow, Item, LostRow
from server.ledger_spill import Spill
from server.ledger_state import LedgerState, StartReport, cause_of
from server.ledger_store import (
    BUSY_MS,
    REPLAY_ROWS,
    Recovery,
    Store,
    is_about_one_row,
    open_store,
)

_log = logging.getLogger("sbgw.ledger")

RING_ROWS: Final = 10_000
"""Most rows kept in memory while neither the database nor the spill file can be written."""

IDLE_S: Final = 5.0
"""Quiet time after which the write-ahead log is cut."""

RETRY_S: Final = (0.25, 5.0)
"""First and longest pause between two tries to get the database back."""

MOVES_ASIDE: Final = 3
"""Damaged databases one process replaces; on a failing disk more would only bury the first."""

ANNOUNCE_S: Final = 1.0
"""Least time between two announcements that only differ in counts."""


class _Mode(Enum):
    OK = "ok"
    REPLAYING = "replaying"
    DEGRADED = "degraded"


@dataclass(slots=True)
class _Kept:
    item: Item
    waiting: list[Future[None]] = field(default_factory=list)


class Writer:
    """The state machine above."""

    def __init__(
        self,
        path: Path,
        boot: Boot,
        *,
        clock: Clock,
        durability: str,
        connect: schema.Connect,
        announce: Callable[[LedgerState], None],
    ) -> None:
        self._path = path
        self._boot = boot
        self._clock = clock
        self._durability = durability
        self._connect = connect
        self._announce = announce
        self._mode = _Mode.DEGRADED
        self._store: Store | None = None
        self._spill = Spill(path, boot)
        self._replay: Iterator[Item] | None = None
        self._ring: dict[tuple[str, ...], _Kept] = {}
        self._report = StartReport(LedgerState("degraded", str(path)))
        self._trouble: str | None = None
        """Why the database cannot be written."""
        self._spill_works = True
        self._notice: str | None = None
        self._damage: BaseException | None = None
        self._moves = 0
        self._lost = 0
        self._lost_before = 0
        self._lost_is_saved = True
        self._interrupted = 0
        self._pause_s = RETRY_S[0]
        self._retry_at = 0.0
        self._dirty = False
        self._announced: LedgerState | None = None
        self._announced_at = 0.0
        self._duplicates = 0
        self._is_repeating = False
        """Whether rows may be in the database although their commit seemed to fail."""

    # ------------------------------------------------------------------ what the thread calls

    def start(self) -> StartReport:
        """Open the database; a failure leaves the writer degraded, see ``wait_s``.

        Raises ``LedgerError`` when the file must not be written.
        """
        if sqlite3.sqlite_version_info < (3, 37):
            raise schema.LedgerError(f"SQLite 3.37 is needed, this is {sqlite3.sqlite_version}")
        self._open(schema.BUSY_AT_START_MS)
        if self._damage is not None:
            self._open(schema.BUSY_AT_START_MS)
        self._tell()
        return replace(self._report, state=self.state())

    def add(self, item: Item, waiting: Future[None] | None = None) -> None:
        """Take a row; ``waiting`` is resolved once it is durable."""
        kept = self._ring.get(item.key)
        if kept is None:
            kept = self._ring[item.key] = _Kept(item)
        elif not isinstance(kept.item, CloseRow):
            kept.item = item
        elif isinstance(item, CloseRow):
            self._ignored(1)
        if waiting is not None:
            kept.waiting.append(waiting)

    def give_up(self, count: int) -> None:
        """Count rows that nobody could keep."""
        if count:
            self._lost += count
            self._lost_is_saved = False

    def work(self, *, retry: bool = False) -> None:
        """Make the rows durable; ``retry`` tries a degraded database before its time."""
        if self.is_degraded:
            self._keep()
            if retry or self._clock.monotonic() >= self._retry_at:
                self._reopen()
        if not self.is_degraded:
            self._commit()
            if self.is_degraded:
                self._keep()
        self._tell()

    def idle(self) -> None:
        """Cut the write-ahead log after a quiet while."""
        self._dirty = False
        if self._store is not None:
            try:
                self._store.checkpoint()
            except (sqlite3.Error, OSError) as error:
                self._degrade(error)
                self._tell()

    def close(self) -> None:
        """Write what is left wherever it can be written, and close; never raises."""
        self.work(retry=True)
        while self._mode is _Mode.REPLAYING:
            self.work()
        if self._ring:
            _log.error("%d ledger rows could not be written anywhere", len(self._ring))
            self.give_up(len(self._ring))
            self._ring.clear()
            self._tell()
        self._end()
        self._spill.close()

    @property
    def is_settled(self) -> bool:
        """Whether every row is in the database."""
        return self._mode is _Mode.OK and not self._ring

    @property
    def keeps_nothing(self) -> bool:
        """Whether every row is safe on the disk, be it in the database or in the spill file."""
        return not self._ring

    @property
    def is_degraded(self) -> bool:
        return self._mode is _Mode.DEGRADED

    def wait_s(self) -> float | None:
        """How long the thread may sleep when no row arrives, ``None`` for ever."""
        match self._mode:
            case _Mode.DEGRADED:
                return max(0.0, self._retry_at - self._clock.monotonic())
            case _Mode.REPLAYING:
                return 0.0
            case _Mode.OK if self._ring:
                return RETRY_S[0]
            case _Mode.OK:
                return IDLE_S if self._dirty else None

    @property
    def wants_idle(self) -> bool:
        """Whether ``idle`` has something to do."""
        return self._mode is _Mode.OK and self._dirty

    def state(self) -> LedgerState:
        """The state as it is now."""
        return LedgerState(
            status="ok" if self._mode is _Mode.OK else "degraded",
            path=str(self._path),
            detail=self._detail(),
            spilled=self._spill.rows,
            lost=self._lost_before + self._lost,
            recovered_interrupted=self._interrupted,
            duplicates=self._duplicates,
        )

    def _detail(self) -> str | None:
        match self._mode:
            case _Mode.OK:
                return self._notice
            case _Mode.REPLAYING:
                return "writing the rows that had to wait"
            case _Mode.DEGRADED:
                place = self._spill.path.name if self._spill_works else "memory only"
                return f"{self._trouble}; turns are kept in {place}"

    # ------------------------------------------------------------------ opening

    def _reopen(self) -> None:
        try:
            self._open(BUSY_MS)
        except schema.LedgerError as error:
            self._degrade(error)

    def _open(self, busy_ms: int) -> None:
        """Open the database, after moving it out of the way when it was found damaged."""
        aside = None
        try:
            if self._damage is not None and self._moves < MOVES_ASIDE:
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.time()))
                aside = schema.move_aside(self._path, stamp)
                self._moves += 1
            store, recovery = open_store(
                self._path,
                self._boot,
                now=self._clock.time,
                durability=self._durability,
                connect=self._connect,
                busy_ms=busy_ms,
            )
        except (sqlite3.Error, OSError) as error:
            self._degrade(error)
        else:
            self._opened(store, recovery, aside)

    def _opened(self, store: Store, recovery: Recovery, aside: Path | None) -> None:
        self._store = store
        self._interrupted += recovery.interrupted
        self._lost_before = max(self._lost_before, recovery.lost)
        self._lost_is_saved = self._lost == 0
        self._damage = None
        if aside is not None:
            self._notice = f"the ledger was damaged; it was moved to {aside} and a new one begun"
            _log.error("%s", self._notice)
        if recovery.migrated_from is not None:
            _log.info("the ledger was brought up to date from schema %d", recovery.migrated_from)
        self._report = StartReport(
            self._report.state,
            interrupted=recovery.interrupted,
            replayed=recovery.replayed,
            migrated_from=recovery.migrated_from,
            moved_aside=aside,
            others_alive=recovery.others_alive,
        )
        self._mode = _Mode.OK
        if self._spill.rows:
            self._mode = _Mode.REPLAYING
            try:
                self._replay = self._spill.items()
            except OSError as error:
                _log.error("%d spilled rows are gone: %s", self._spill.rows, error)
                self.give_up(self._spill.rows)
                self._replay = iter(())

    # ------------------------------------------------------------------ committing

    def _commit(self) -> None:
        try:
            replayed = list(itertools.islice(self._replay or (), REPLAY_ROWS))
            items = [*replayed, *self._rows()]
            if items:
                self._apply(items, counting=not replayed and not self._is_repeating)
                self._is_repeating = False
                self._dirty = True
            if self._replay is not None and not replayed:
                self._replayed()
            if self._mode is _Mode.OK:
                # Not before: on a full disk, opening succeeds and writing does not.
                self._pause_s, self._trouble = RETRY_S[0], None
        except (sqlite3.Error, OSError) as error:
            self._degrade(error)

    def _apply(self, items: Sequence[Item], *, counting: bool) -> None:
        assert self._store is not None  # noqa: S101 - every mode but DEGRADED has a store
        try:
            ignored = self._store.apply(items)
        except Exception as error:
            if not is_about_one_row(error):
                raise
            ignored, refused = self._store.apply_each(items)
            for item, error in refused:
                _log.error("the ledger cannot hold the row %s: %s", item.key, error)
            self.give_up(len(refused))
        else:
            self._lost_is_saved = True
        if counting:
            self._ignored(ignored)
        self._made_durable()

    def _replayed(self) -> None:
        """The spill file's rows are all in the database: make that last, then forget it."""
        assert self._store is not None  # noqa: S101
        self._store.make_durable()
        _log.info("%d spilled rows were written to the ledger", self._spill.rows)
        self._spill.remove()
        self._replay = None
        self._mode = _Mode.OK

    def _rows(self) -> Iterable[Item]:
        yield from (kept.item for kept in self._ring.values())
        if not self._lost_is_saved:
            yield LostRow(self._boot.boot_id, self._lost)

    def _made_durable(self) -> None:
        for kept in self._ring.values():
            for future in kept.waiting:
                future.set_result(None)
        self._ring.clear()

    # ------------------------------------------------------------------ failing

    def _degrade(self, error: BaseException) -> None:
        """Let go of the database and say why; the next try comes after a growing pause."""
        if self._store is not None:
            self._store.close()
            self._store = None
        trouble = cause_of(error)
        if trouble != self._trouble:
            _log.error("the ledger cannot be written: %s (%s)", trouble, error)
        self._mode, self._trouble, self._replay = _Mode.DEGRADED, trouble, None
        self._is_repeating = True
        self._damage = error if schema.is_corruption(error) else None
        self._retry_at = self._clock.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, RETRY_S[1])

    def _keep(self) -> None:
        """Put the rows into the spill file, or hold the newest in memory."""
        rows = list(self._rows())
        if not rows:
            return
        try:
            self._spill.append(rows)
        except (OSError, TypeError, ValueError) as error:
            if self._spill_works:
                _log.error("turns cannot be spilled either: %s", error)
            self._spill_works = False
            excess = max(0, len(self._ring) - RING_ROWS)
            for key in list(itertools.islice(self._ring, excess)):
                del self._ring[key]
            self.give_up(excess)
        else:
            self._spill_works = self._lost_is_saved = True
            self._made_durable()

    def _ignored(self, count: int) -> None:
        if count:
            self._duplicates += count
            _log.warning("%d turns were closed twice; the first state stands", count)

    def _end(self) -> None:
        if self._store is not None:
            try:
                self._store.end(self._clock.time())
                self._store.checkpoint()
            except (sqlite3.Error, OSError) as error:
                _log.warning("the ledger's end could not be noted: %s", error)
            self._store.close()
            self._store = None

    def _tell(self) -> None:
        """Announce a new state; counts alone at most once in ``ANNOUNCE_S``."""
        state, told, now = self.state(), self._announced, self._clock.monotonic()
        if state == told:
            return
        is_news = told is None or (state.status, state.detail) != (told.status, told.detail)
        if is_news or now - self._announced_at >= ANNOUNCE_S:
            self._announced, self._announced_at = state, now
            self._announce(state)

"""The record of every turn: one SQLite file, one writing thread, never in a request's way.

``open_turn`` and ``close_turn`` only queue; whatever is queued when the thread comes round goes
into one transaction, so five hundred turns do not cost five hundred commits. With a journal
(``server.ledger_journal``) a row is safe as soon as it is queued, and the thread may take its time.
A database that cannot be written degrades the ledger (``state``), never the traffic.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from server.clock import Clock
from server.ledger_boots import this_boot
from server.ledger_journal import Journal
from server.ledger_read import LedgerReader, Total
from server.ledger_rows import (
    OpenRow,
    RejectRow,
    close_row,
    digest_row,
    open_row,
)
from server.ledger_savings import SavingRow, SavingTotal, saving_row
from server.ledger_schema import (
    Connect,
    LedgerError,
    LedgerTooNewError,
    NotALedgerError,
    connect,
)
from server.ledger_scores import RungRow, ScoreRow
from server.ledger_state import LedgerState, StartReport
from server.ledger_writer import Writer
from server.record import Saving, Turn

__all__ = [
    "Ledger",
    "LedgerError",
    "LedgerReader",
    "LedgerState",
    "LedgerTooNewError",
    "NotALedgerError",
    "SavingTotal",
    "StartReport",
    "Total",
]

_log = logging.getLogger("sbgw.ledger")

QUEUE_ROWS: Final = 10_000
"""Most rows waiting for the thread; further ones are counted as lost."""

QUEUE_EXTRAS: Final = 1024
"""Most turns whose ``extra`` waits; each may hold a request body, so further ones go without."""

DIGEST_PAUSE_S: Final = 0.002
"""How long the loop has the interpreter to itself after a row that it waited for: a digest that
began at once would hold up the very answer whose row was just written."""

GATHER_S: Final = 0.05
"""How long rows that are safe in the journal gather before they are committed together."""

GATHER_ROWS: Final = 500
"""Rows of which no more are waited for."""

DIGESTS_LATER: Final = 16
"""Most digests that wait for a quiet moment; of more, some run beside the traffic."""

REJECTS_S: Final = 1.0
"""How long refused requests are counted before they become a row."""


@dataclass(slots=True)
class _Closing:
    turn: Turn
    extra: Callable[[], None] | None
    future: Future[None]


@dataclass(slots=True)
class _Inbox:
    """What callers left for the thread since it last looked."""

    opened: list[tuple[OpenRow | Turn, Future[None]]] = field(default_factory=list)
    """A turn that is in the journal becomes a row only if it outlives its round."""
    closing: list[_Closing] = field(default_factory=list)
    settled: list[SavingRow | ScoreRow | RungRow] = field(default_factory=list)
    flushes: list[Future[bool]] = field(default_factory=list)
    overflow: int = 0
    is_waited_for: bool = False
    """Whether a request goes on only when rows in here are durable."""
    rows: int = 0
    """Of the three lists together."""

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.flushes or self.overflow)

    @property
    def may_gather(self) -> bool:
        """Whether it is better to let more come than to take what is here."""
        is_urgent = self.is_waited_for or self.flushes or self.overflow
        return not is_urgent and self.rows < GATHER_ROWS


class Ledger:
    """The writing side; its methods may be called from any thread and never block on the disk.

    ``durability``: ``normal`` survives the death of the process, ``full`` a power loss too.
    ``has_journal``: rows are safe when the call returns, for ``durability="normal"`` alone.
    ``on_change`` is called on the ledger's thread with every new state.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        boot_id: str,
        durability: str = "normal",
        has_journal: bool = False,
        on_change: Callable[[LedgerState], None] | None = None,
        connect: Connect = connect,
    ) -> None:
        if durability not in ("normal", "full"):
            raise ValueError(f"durability is 'normal' or 'full', not {durability!r}")
        if has_journal and durability != "normal":
            raise ValueError("a journal does not survive a power loss")
        self._path = path
        self._clock = clock
        self._boot_id = boot_id
        self._on_change = on_change
        self._boot = this_boot(boot_id, clock.time())
        self._journal = Journal(path, self._boot) if has_journal else None
        self._state = LedgerState("degraded", str(path), "not started")
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._inbox = _Inbox()
        self._extras = 0
        self._skipped_extras = 0
        self._rejects: dict[tuple[int, str], RejectRow] = {}
        self._is_stopping = False
        self._flushing: list[Future[bool]] = []
        self._digesting: deque[_Closing] = deque()
        self._started: Future[StartReport] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(durability, connect), name="sbgw-ledger", daemon=True
        )

    # ------------------------------------------------------------------ for callers

    def start(self) -> StartReport:
        """Open the file, bring it up to date, take over what dead processes left; blocks.

        A file that cannot be written now starts the ledger degraded. Raises ``LedgerTooNewError``
        and ``NotALedgerError``; such a file has not been touched.
        """
        self._thread.start()
        return self._started.result()

    @property
    def state(self) -> LedgerState:
        """How the ledger is doing."""
        return self._state

    def open_turn(self, turn: Turn) -> Future[None]:
        """Write the turn ahead of its dispatch.

        The future is done once the row is durable: in the journal, committed, or in the fsynced
        spill file. It never fails; it stays pending while none of these is possible.
        """
        if self._journal is not None:
            with self._lock:
                if self._journal.opened(turn):
                    self._take_in_opened(turn, _DONE)
                    return _DONE
        future = _promise()
        try:
            row = open_row(turn, self._boot_id)
        except Exception:
            # The request matters more; its terminal row is written from scratch anyway.
            _log.exception("turn %s has no write-ahead row", turn.id)
            return future
        with self._lock:
            self._inbox.is_waited_for = True
            self._take_in_opened(row, future)
        return future

    def _take_in_opened(self, opened: OpenRow | Turn, future: Future[None]) -> None:
        if self._has_room():
            self._inbox.opened.append((opened, future))
            self._inbox.rows += 1
        self._wake_up()

    def close_turn(self, turn: Turn, extra: Callable[[], None] | None = None) -> Future[None]:
        """Write the turn's terminal state; the turn must not change any more.

        The future is like that of ``open_turn``. ``extra`` runs on the ledger's thread afterwards,
        and may fill in what is costly to compute (``turn.blocks``, ``turn.body_hash``).
        """
        with self._lock:
            if not self._has_room():
                self._wake.notify()
                return _promise()
            future = _DONE
            if self._journal is None or not self._journal.closed(turn):
                future, self._inbox.is_waited_for = _promise(), True
            kept = self._room_for_extra(extra)
            self._inbox.closing.append(_Closing(turn, kept, future))
            self._inbox.rows += 1
            self._wake_up()
        return future

    def settle_saving(self, turn_id: str, saving: Saving) -> None:
        """Replace the saving of a turn that was closed before; nothing waits for it."""
        self.add(saving_row(turn_id, saving))

    def add(self, row: SavingRow | ScoreRow | RungRow) -> None:
        """Write a row that nothing waits for; a score only after its turn was closed."""
        with self._lock:
            if self._has_room():
                self._inbox.settled.append(row)
                self._inbox.rows += 1
            self._wake_up()

    def record_reject(self, reason: str, http_status: int) -> None:
        """Count a request that was refused without becoming a turn: one row a second and reason."""
        second = int(self._clock.time())
        key = (second, reason)
        with self._lock:
            row = self._rejects.get(key)
            if row is None:
                row = RejectRow(second, reason[:64], self._boot_id, http_status, 0)
                self._wake.notify()
            self._rejects[key] = replace(row, count=row.count + 1)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued is in the database; tries a degraded one at once.

        ``False`` when it cannot be written, or not in time.
        """
        done: Future[bool] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            if self._is_stopping or not self._thread.is_alive():
                return False
            self._inbox.flushes.append(done)
            self._wake.notify()
        try:
            return done.result(timeout_s)
        except TimeoutError:
            return False

    def close(self, timeout_s: float) -> None:
        """Write everything queued, note the clean end, merge the log; idempotent."""
        with self._lock:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.error("the ledger is still writing; its last rows may be missing")

    def _wake_up(self) -> None:
        """Call the thread for the first of some rows, and for one that should not wait."""
        if self._inbox.rows == 1 or not self._inbox.may_gather:
            self._wake.notify()

    def _has_room(self) -> bool:
        if not self._is_stopping and self._inbox.rows < QUEUE_ROWS:
            return True
        self._inbox.overflow += 1
        if self._is_stopping:
            _log.error("a row came after the ledger was closed; it is not recorded")
        return False

    def _room_for_extra(self, extra: Callable[[], None] | None) -> Callable[[], None] | None:
        if extra is None:
            return None
        if self._extras < QUEUE_EXTRAS:
            self._extras += 1
            return extra
        if not self._skipped_extras:
            _log.warning("the ledger is behind; some turns go without digests")
        self._skipped_extras += 1
        return None

    # ------------------------------------------------------------------ the thread

    def _run(self, durability: str, connect: Connect) -> None:
        writer = Writer(
            self._path,
            self._boot,
            clock=self._clock,
            durability=durability,
            connect=connect,
            announce=self._announce,
        )
        try:
            report = writer.start()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._state = report.state
        self._started.set_result(report)
        while self._turn_round(writer):
            pass
        try:
            writer.close()
        except Exception:
            _log.exception("the ledger did not close cleanly")
        self._state = writer.state()
        with self._lock:
            if self._journal is not None:
                self._journal.remove(is_safe=writer.keeps_nothing)
        self._answer_flushes(writer)

    def _turn_round(self, writer: Writer) -> bool:
        """One round: take what is there, make it durable; ``False`` when it was the last."""
        inbox, rejects, is_stopping = self._take(writer)
        self._flushing += inbox.flushes
        try:
            self._work(writer, inbox, rejects)
        except Exception:
            # The thread must outlive a defect: without it no later turn would be recorded.
            _log.exception("the ledger's thread met an unexpected error")
        if self._journal is not None and writer.keeps_nothing:
            with self._lock:
                self._journal.forget()
        self._state = writer.state()
        self._answer_flushes(writer)
        return not is_stopping or bool(self._digesting)

    def _take(self, writer: Writer) -> tuple[_Inbox, list[RejectRow], bool]:
        with self._lock:
            if not self._inbox.is_empty or self._is_stopping:
                was_woken = True
            elif self._digesting:
                self._wake.wait(DIGEST_PAUSE_S)
                was_woken = True
            else:
                pause = writer.wait_s()
                if self._rejects:
                    pause = REJECTS_S if pause is None else min(pause, REJECTS_S)
                was_woken = self._wake.wait(pause)
            if self._journal is not None:
                self._gather()
                self._journal.turn_over()
            inbox, self._inbox = self._inbox, _Inbox()
            is_stopping = self._is_stopping
            rejects = self._take_rejects(at_once=is_stopping or bool(inbox.flushes))
        if not was_woken and writer.wants_idle and not rejects:
            writer.idle()
        return inbox, rejects, is_stopping

    def _gather(self) -> None:
        def is_due() -> bool:
            return self._is_stopping or not self._inbox.may_gather

        if self._inbox.rows:
            self._wake.wait_for(is_due, GATHER_S)

    def _take_rejects(self, *, at_once: bool) -> list[RejectRow]:
        """Counters of seconds that are over."""
        if not self._rejects:
            return []
        now = int(self._clock.time())
        due = [key for key in self._rejects if at_once or key[0] != now]
        return [self._rejects.pop(key) for key in due]

    def _work(self, writer: Writer, inbox: _Inbox, rejects: list[RejectRow]) -> None:
        writer.give_up(inbox.overflow)
        ended = {closing.turn.id for closing in inbox.closing}
        for opened, future in inbox.opened:
            if isinstance(opened, OpenRow):
                writer.add(opened, future)
            elif opened.id not in ended:
                writer.add(open_row(opened, self._boot_id))
        for reject in rejects:
            writer.add(reject)
        for closing in inbox.closing:
            self._add_closed(writer, closing)
            if closing.extra is not None:
                self._digesting.append(closing)
        for settled in inbox.settled:
            writer.add(settled)
        if inbox.is_waited_for:
            writer.work()
            if not inbox.flushes and len(self._digesting) <= DIGESTS_LATER:
                return
        self._digest(writer)
        writer.work(retry=bool(inbox.flushes))

    def _digest(self, writer: Writer) -> None:
        """Run the extras, but not while a turn waits for its row."""
        while self._digesting:
            closing = self._digesting.popleft()
            with self._lock:
                self._extras -= 1
            try:
                if closing.extra is not None:
                    closing.extra()
            except Exception:
                _log.exception("the digests of turn %s are missing", closing.turn.id)
            turn = closing.turn
            if turn.blocks is not None or turn.body_hash is not None:
                writer.add(digest_row(turn))
            if self._inbox.is_waited_for:
                return

    def _add_closed(self, writer: Writer, closing: _Closing) -> None:
        try:
            row = close_row(closing.turn, self._boot_id)
            writer.add(row, None if closing.future is _DONE else closing.future)
        except Exception:
            _log.exception("turn %s cannot be recorded", closing.turn.id)
            writer.give_up(1)

    def _answer_flushes(self, writer: Writer) -> None:
        is_settled = writer.is_settled and not self._digesting
        if not self._flushing or not (is_settled or writer.is_degraded):
            return
        for future in self._flushing:
            future.set_result(is_settled)
        self._flushing = []

    def _announce(self, state: LedgerState) -> None:
        self._state = state
        if self._on_change is not None:
            try:
                self._on_change(state)
            except Exception:
                _log.exception("a listener of the ledger's state failed")


class _Done(Future[None]):
    """What every row of the journal answers with: done, and told so without taking a lock."""

    def done(self) -> bool:
        return True


def _promise() -> Future[None]:
    """A future that a caller who stops waiting cannot cancel under the thread's hands."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


_DONE: Final[Future[None]] = _Done()
_DONE.set_result(None)

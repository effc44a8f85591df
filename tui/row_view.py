"""What the user looks at in the list: which rows, in a still picture or not, and the chosen one."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tui import filter as filters
from tui.filter import Filter
from tui.order import KEYS, Sort, SortedBook
from tui.rows import Book, TurnRow


@dataclass(frozen=True, slots=True)
class Changes:
    """What a screen has to look at again."""

    rows: bool = False
    header: bool = False

    def __bool__(self) -> bool:
        return self.rows or self.header


class RowView:
    """Rows in order, newest first, through a filter.

    Frozen means a still picture: rows keep the values they had, while folding goes on behind.
    Following means that the newest row shown is the selected one. The filter works on either.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._book = Book()
        self._still: Book | None = None
        self._matching: Book | None = None
        """The rows of the picture that filter and time window let through, in the order that is
        wanted; ``None`` while that is all of them, newest first."""
        self._selected: str | None = None
        self._changes = Changes(rows=True, header=True)
        self.filter: Filter = filters.OFF
        self.sort = Sort.AGE
        self.window_s: float | None = None
        """How far back the list looks, ``None`` as far as it reaches."""
        self._cutoff = 0.0
        """Wall time before which a turn that has ended is outside the window."""
        self.follow = True
        self.frozen_at: float | None = None
        self.pane: str | None = None
        """The pane whose turns are marked."""

    # -- rows ---------------------------------------------------------------------------------

    @property
    def _whole(self) -> Book:
        return self._book if self._still is None else self._still

    @property
    def _view(self) -> Book:
        return self._whole if self._matching is None else self._matching

    def __len__(self) -> int:
        return len(self._view.order)

    @property
    def total(self) -> int:
        """How many rows there are, whether the filter shows them or not."""
        return len(self._whole.order)

    def at(self, index: int) -> TurnRow:
        """The row at a position counted from the newest, 0 first."""
        view = self._view
        return view.rows[view.order[len(view.order) - 1 - index][1]]

    def index_of(self, turn_id: str) -> int | None:
        """The position of a turn in the view, counted from the newest."""
        return self._view.index(turn_id)

    def row(self, turn_id: str) -> TurnRow | None:
        """The newest knowledge of a turn, frozen or not."""
        return self._book.rows.get(turn_id)

    def all_rows(self) -> Iterable[TurnRow]:
        """The newest knowledge of every turn, in no order."""
        return self._book.rows.values()

    @property
    def pending(self) -> int:
        """Turns that came in since the view was frozen and that the filter lets through."""
        still = self._still
        if still is None:
            return 0
        new = (row for turn_id, row in self._book.rows.items() if turn_id not in still.rows)
        return sum(1 for row in new if self._lets(row))

    @property
    def is_narrowed(self) -> bool:
        """Whether a filter or a time window may hide turns."""
        return self.filter.is_on or self.window_s is not None

    def _lets(self, row: TurnRow) -> bool:
        return (row.is_open or row.at >= self._cutoff) and self.filter.matches(row)

    def _open_rows(self) -> Iterator[str]:
        return (turn_id for turn_id, row in self._book.rows.items() if row.is_open)

    def _put(self, row: TurnRow) -> None:
        """Add or replace a row; the selection stays where it is."""
        before = self.selected_index
        is_new = self._book.put(row)
        if is_new:
            for gone in self._book.trim(self._max_rows):
                if self._matching is not None and self._still is None:
                    self._matching.remove(gone)
        self._let_through(row.id)
        if is_new or self._matching is not None:
            self._reselect(before)

    def _renew(self, row: TurnRow) -> None:
        """Replace a row by one that passes the filter just as it did before."""
        self._book.rows[row.id] = row
        matching = self._matching
        if matching is not None and self._still is None and row.id in matching.rows:
            matching.rows[row.id] = row

    def _let_through(self, turn_id: str) -> None:
        """Bring one row of the filtered list up to date."""
        if self._matching is None or self._still is not None:
            return
        row = self._book.rows.get(turn_id)
        if row is not None and self._lets(row):
            self._matching.put(row)
        else:
            self._matching.remove(turn_id)

    def _remove(self, turn_id: str) -> None:
        before = self.selected_index
        self._book.remove(turn_id)
        self._let_through(turn_id)
        self._reselect(before)

    def _forget_all(self) -> None:
        """Another gateway: nothing that was known is true of it."""
        self._book = Book()
        self._sift()

    def _sift(self) -> None:
        """Apply the filter to the whole picture again."""
        self._matching = None
        if not self.is_narrowed and self.sort is Sort.AGE:
            return
        key = KEYS[self.sort]
        matching = Book() if self.sort is Sort.AGE else SortedBook(key=key)
        for _, turn_id in self._whole.order:
            row = self._whole.rows[turn_id]
            if self._lets(row):
                matching.rows[turn_id] = row
                matching.order.append((key(row), turn_id))
        if isinstance(matching, SortedBook):
            matching.order.sort()
            matching.known.update((turn_id, value) for value, turn_id in matching.order)
        self._matching = matching

    def requests_in(self, start: float, end: float) -> int:
        """How many turns began in a span of wall time."""
        order = self._book.order
        return bisect.bisect_left(order, (end, "")) - bisect.bisect_left(order, (start, ""))

    def _touch(self, *, rows: bool = False, header: bool = False) -> None:
        old = self._changes
        self._changes = Changes(rows=old.rows or rows, header=old.header or header)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    # -- what the user does -------------------------------------------------------------------

    @property
    def selected(self) -> str | None:
        """The id of the selected row, ``None`` when the view is empty."""
        return self._selected

    @property
    def selected_index(self) -> int | None:
        """The position of the selected row in the view."""
        return None if self._selected is None else self._view.index(self._selected)

    @property
    def is_frozen(self) -> bool:
        """Whether the view is a still picture."""
        return self._still is not None

    def _reselect(self, before: int | None = None) -> None:
        """Keep the selection on its row, or on its place when the row is gone."""
        view = self._view
        if not view.order:
            self._selected = None
        elif self.follow and self._still is None:
            self._selected = view.order[-1][1]
        elif self._selected not in view.rows:
            index = min(before or 0, len(view.order) - 1)
            self._selected = view.order[len(view.order) - 1 - index][1]

    def set_filter(self, wanted: Filter) -> None:
        """Show only the rows that match; ``filter.OFF`` shows all."""
        before = self.selected_index
        self.filter = wanted
        self._sift()
        self._reselect(before)
        self._touch(rows=True, header=True)

    def set_sort(self, wanted: Sort) -> None:
        """Order the list anew and choose its first; only the newest first can be followed."""
        self.sort = wanted
        self.follow = wanted is Sort.AGE and self._still is None
        self._sift()
        self._reselect()
        self.select(0)
        self._touch(rows=True, header=True)

    def set_window(self, seconds: float | None, now: float) -> None:
        """Look back only so far from wall time ``now``; turns in flight are always shown."""
        before = self.selected_index
        self.window_s = seconds
        seen_at = now if self.frozen_at is None else self.frozen_at
        self._cutoff = 0.0 if seconds is None else seen_at - seconds
        self._sift()
        self._reselect(before)
        self._touch(rows=True, header=True)

    def pass_time(self, now: float) -> None:
        """Let turns leave the time window as they grow old; cheap, once a second."""
        if self.window_s is None or self._still is not None or self._matching is None:
            return
        start = bisect.bisect_left(self._book.order, (self._cutoff, ""))
        self._cutoff = max(self._cutoff, now - self.window_s)
        end = bisect.bisect_left(self._book.order, (self._cutoff, ""))
        gone = [turn_id for _, turn_id in self._book.order[start:end]]
        before = self.selected_index
        for turn_id in gone:
            if turn_id in self._matching.rows and not self._matching.rows[turn_id].is_open:
                self._matching.remove(turn_id)
        if gone:
            self._reselect(before)
            self._touch(rows=True)

    def select(self, index: int) -> None:
        """Select the row at ``index``, held to the view; leaving the newest stops following."""
        if not len(self):
            return
        index = max(0, min(index, len(self) - 1))
        self._selected = self.at(index).id
        if index > 0 and self._still is None:
            self.follow = False
        self._touch(rows=True)

    def move(self, delta: int) -> None:
        """Move the selection by rows, positive towards older ones."""
        self.select((self.selected_index or 0) + delta)

    def set_follow(self, on: bool) -> None:
        """Follow the newest row or not; following ends a freeze and any other order."""
        self.follow = on
        if on and (self._still is not None or self.sort is not Sort.AGE):
            self._still, self.frozen_at = None, None
            self.sort = Sort.AGE
            self._sift()
        self._reselect()
        self._touch(rows=True, header=True)

    def toggle_freeze(self, now: float) -> None:
        """Freeze the view as it is at ``now``, or show the present again."""
        if self._still is None:
            self._still, self.frozen_at = self._book.copy(), now
        else:
            self._still, self.frozen_at = None, None
            self._cutoff = 0.0 if self.window_s is None else now - self.window_s
        self._sift()
        self._reselect()
        self._touch(rows=True, header=True)

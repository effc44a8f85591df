"""How much a pane may do at a time, so that a flood in it never delays a stream. Pure.

Seconds are on a monotonic clock that the caller reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

FEED_S = 0.002
"""How long the engine is fed before the event loop gets its turn."""
FEED_BYTES = 256 * 1024
"""What it is fed at most meanwhile."""
REST_S = 0.001
"""How long nothing is read then; the child waits for its terminal."""

FRAME_S = 1 / 40
MOST_ROWS, LEAST_ROWS = 16, 4
"""Rows that are drawn in one frame; the others follow in the next ones."""
DRAW_S = 0.008
"""What drawing a frame should take at most."""

HOLD_S = 0.15
"""How long a child may hold the painting back (mode 2026)."""


def must_rest(elapsed_s: float, taken: int) -> bool:
    """Whether one reading has lasted long enough."""
    return elapsed_s >= FEED_S or taken >= FEED_BYTES


def rows_of_frame(
    waiting: Collection[int], cursor: int | None, start: int, most: int
) -> tuple[list[int], int]:
    """The rows to draw now, and where the next frame starts.

    The cursor's row comes first, since that is where one looks; the others come round in turn,
    beginning at ``start``, so that none waits for ever.
    """
    ordered = sorted(row for row in waiting if row != cursor)
    chosen = [cursor] if cursor is not None and cursor in waiting else []
    turn = [row for row in ordered if row >= start] + [row for row in ordered if row < start]
    taken = turn[: max(0, most - len(chosen))]
    chosen += taken
    return chosen, (taken[-1] + 1 if len(taken) < len(turn) else 0)


def adapted(most: int, took_s: float) -> int:
    """How many rows the next frame may draw, after one of ``most`` rows that took so long."""
    if took_s > DRAW_S:
        return max(LEAST_ROWS, most * 3 // 4)
    return min(MOST_ROWS, most + 1) if took_s < DRAW_S / 2 else most


@dataclass(slots=True)
class Hold:
    """Painting that a child holds back; one that never lets go is not waited for."""

    since: float | None = None

    def is_on(self, is_set: bool, now: float) -> bool:
        """Whether to wait; ``is_set``: the child holds now."""
        if not is_set:
            self.since = None
            return False
        if self.since is None:
            self.since = now
        return now - self.since < HOLD_S

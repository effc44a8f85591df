"""Which turns are made a second time; pure."""

from __future__ import annotations

import zlib
from typing import Final

from server.verification.ladder import RATED, Standing

FIRST_PAIRS: Final = 20
"""Until so many are known, every eligible turn is taken."""
WEEK_PAIRS: Final = RATED
"""Most of one key in seven days."""
WEEK_S: Final = 7 * 86_400.0


def is_sampled(turn_id: str, standing: Standing, percent: int, now: float) -> bool:
    """Whether a turn is compared; always the same answer for the same turn and evidence."""
    if percent <= 0 or standing.compared_since(now - WEEK_S) >= WEEK_PAIRS:
        return False
    if standing.samples < FIRST_PAIRS:
        return True
    return draw(turn_id) < percent


def draw(turn_id: str) -> float:
    """A number from 0 up to 100 that only the turn decides, and no canary share follows."""
    return zlib.crc32(b"verify:" + turn_id.encode("utf-8", "replace")) % 10_000 / 100

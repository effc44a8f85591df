"""How long an overloaded vendor is asked again before its error is passed on; pure.

Off unless ``routing.patience_s`` is set. Nothing has reached the client by then, so its request
simply takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 15.0


def hold_s(
    tries: int, asked_s: float | None, left_s: float, chance: Callable[[], float]
) -> float | None:
    """Seconds until the vendor is asked again after ``tries`` attempts; ``None``: not any more.

    Never sooner than it asked for (``asked_s``), and never so late that ``left_s`` is over.
    """
    longest: float = min(FIRST_S * 2.0 ** min(tries - 1, 10), LONGEST_S)
    wait = max(asked_s or 0.0, longest * (0.5 + 0.5 * chance()))
    return wait if wait < left_s else None

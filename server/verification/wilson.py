"""Bounds of a pass rate from few trials (Wilson's score interval, 95 %); pure."""

from __future__ import annotations

import math
from typing import Final

Z: Final = 1.959963984540054
"""Two-sided 95 %."""


def bounds(passed: int, trials: int) -> tuple[float, float]:
    """The low and high end of the true rate; ``(0, 1)`` without a trial.

    Raises ``ValueError`` unless ``0 <= passed <= trials``.
    """
    if not 0 <= passed <= trials:
        raise ValueError(f"{passed} of {trials} cannot have passed")
    if trials == 0:
        return 0.0, 1.0
    rate, square = passed / trials, Z * Z
    middle = rate + square / (2 * trials)
    spread = Z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    whole = 1 + square / trials
    # At the ends rounding alone would keep the bound from the exact 0 or 1.
    low = 0.0 if passed == 0 else (middle - spread) / whole
    high = 1.0 if passed == trials else (middle + spread) / whole
    return low, high

"""The real clock, which a test can move on."""

from __future__ import annotations

from server.clock import SystemClock


class ShiftedClock(SystemClock):
    """``shift`` moves both of its clocks on at once; sleepers notice when they wake."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        return super().time() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def shift(self, seconds: float) -> None:
        """From now on it is ``seconds`` later."""
        self._ahead += seconds

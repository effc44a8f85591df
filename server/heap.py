"""When Python looks for garbage that only a collector can find.

A full collection walks every object there is and holds all streams meanwhile, 50 to 100 ms with a
screen. So what starting built is taken out of its sight, young objects are looked through in small
portions, and the whole is left to moments in which nobody waits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from server.clock import Clock

YOUNG = 5_000
"""Objects that come to stay before these are looked through, which takes two or three ms."""

MIDDLE = 4
"""Portions that are then looked through once more together."""

NEVER = 1 << 30

LOOK_S = 5.0
SWEEP_EVERY_S = 60.0
"""How often a gateway with nothing to do looks through everything."""

SWEEP_AT_LATEST_S = 300.0
"""How long one that is never without work goes without."""


def settle() -> None:
    """Take everything there is now out of the collector's sight; what comes is looked through."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, NEVER)


async def keep(
    is_busy: Callable[[], bool], clock: Clock, collect: Callable[[], object] = gc.collect
) -> None:
    """Look through everything now and then, while ``is_busy`` says that nobody waits."""
    swept_at = clock.monotonic()
    while True:
        await clock.sleep(LOOK_S)
        since = clock.monotonic() - swept_at
        if since >= (SWEEP_AT_LATEST_S if is_busy() else SWEEP_EVERY_S):
            collect()
            swept_at = clock.monotonic()

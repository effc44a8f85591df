"""What a set of moves does to one prompt cache; pure.

``savings.penalties`` judges one turn as if only it were missing. Where neighbours are missing too,
those penalties do not add up: here every run of moved calls is charged with exactly what the next
call at home has to write anew, so that the sum over turns is the difference of the two bills.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from providers.pricing import Rates
from server.savings import Tokens, rewrite_premium

_ZERO: Final = Decimal(0)
_MILLION: Final = Decimal(1_000_000)


class LineCall(msgspec.Struct, frozen=True, gc=False):
    """One call of a cache line, as it was billed at home."""

    at: float
    """Seconds on any one clock; calls are in ascending order."""
    tokens: Tokens
    rates: Rates
    is_moved: bool


class Charge(msgspec.Struct, frozen=True, gc=False):
    """USD that the next call at home pays because this one left."""

    write: Decimal = _ZERO
    """What this call would have written, written then."""
    ttl: Decimal = _ZERO
    """A prefix that this call would have kept alive, written again."""

    @property
    def usd(self) -> Decimal:
        """Both."""
        return self.write + self.ttl


NO_CHARGE: Final = Charge()


def charges(calls: Sequence[LineCall]) -> list[Charge]:
    """The charge of every call, in order; nothing for those that stay.

    Nothing is charged where the prefix would have expired before the next call anyway, and
    nothing where there is no next call. A prefix left to expire is charged to the last call of
    the run: alone it could have kept it alive.
    """
    found = [NO_CHARGE] * len(calls)
    home: LineCall | None = None
    run: list[int] = []
    for position, call in enumerate(calls):
        if call.is_moved:
            run.append(position)
            continue
        if run:
            _charge(found, calls, run, home, call)
        home, run = call, []
    return found


def _charge(
    found: list[Charge],
    calls: Sequence[LineCall],
    run: Sequence[int],
    home: LineCall | None,
    after: LineCall,
) -> None:
    last = calls[run[-1]]
    if after.at - last.at > last.tokens.lifetime_s:
        return
    renewed = _renewed(calls, run, home)
    is_gone = home is not None and after.at - home.at > home.tokens.lifetime_s
    if is_gone and renewed is None:
        premium = rewrite_premium(last.tokens, last.rates) / _MILLION
        found[run[-1]] = Charge(last.tokens.written * premium, last.tokens.read * premium)
        return
    for position in run[renewed or 0 :]:
        call = calls[position]
        premium = rewrite_premium(call.tokens, call.rates) / _MILLION
        found[position] = Charge(call.tokens.written * premium)


def _renewed(calls: Sequence[LineCall], run: Sequence[int], home: LineCall | None) -> int | None:
    """Where in the run the whole prefix was last written, because it had expired."""
    before, found = home, None
    for place, position in enumerate(run):
        call = calls[position]
        if before is not None and call.at - before.at > before.tokens.lifetime_s:
            found = place
        before = call
    return found

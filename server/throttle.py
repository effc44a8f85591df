"""How often one address may fail to show the key before it is told to slow down."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from server.clock import Clock

FAILURES_PER_S = 5.0
BURST = 5.0
MAX_ADDRESSES = 1024
"""Addresses remembered; of more, the one that failed longest ago is forgotten."""


class FailureThrottle:
    """A token bucket for each address; only failures take from it.

    Whoever has the right key is never asked, so a broken neighbour cannot lock anybody out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def failed(self, address: str) -> bool:
        """Count a failure of ``address``; whether it had too many of them."""
        key = _network(address)
        now = self._clock.monotonic()
        left, since = self._left.pop(key, (BURST, now))
        left = min(BURST, left + (now - since) * FAILURES_PER_S)
        is_over = left < 1.0
        self._left[key] = (left if is_over else left - 1.0, now)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return is_over


def _network(address: str) -> str:
    """What one client is likely to own: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)

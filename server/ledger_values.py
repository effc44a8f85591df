"""Values as SQLite takes them: one odd figure must not make a whole transaction fail; pure."""

from __future__ import annotations

import logging
import math
from typing import Any, Final

import msgspec

_log = logging.getLogger("sbgw.ledger")

Value = str | int | float | bytes | None
"""What SQLite can hold."""

Row = dict[str, Value]

TEXT_LIMIT: Final = 2000
"""Longest text kept in one column, in characters; header values come from outside."""

JSON_LIMIT: Final = 262_144
"""Longest JSON kept in one column, in bytes."""

TOKENS_MAX: Final = 10**9
COST_MAX_USD: Final = 100_000.0
SECONDS_MAX: Final = 10_000_000.0
"""Most that one turn can plausibly have; a figure beyond is a defect of whoever sent it, counts as
unknown, and must not be able to overflow the sums that later turns are added to."""

_INT_MAX: Final = 2**63 - 1


def names(text: str) -> tuple[str, ...]:
    """The words of ``text``."""
    return tuple(text.split())


def nano_usd(usd: float | None) -> int | None:
    """Dollars as whole nano-dollars, ``None`` when unknown or not plausible."""
    if usd is None or not abs(usd) <= COST_MAX_USD:
        return None
    return round(usd * 1e9)


def known_tokens(count: int | None) -> int | None:
    """A token count, ``None`` when unknown or not plausible."""
    # What a provider sends as a count is not always whole, whatever its type should be.
    return int(count) if count is not None and 0 <= count <= TOKENS_MAX else None


def known_seconds(seconds: float | None) -> float | None:
    """A duration, ``None`` when unknown or not plausible."""
    return seconds if seconds is not None and 0 <= seconds <= SECONDS_MAX else None


def as_text(value: Any) -> str | None:
    """Text of bounded length that can be encoded."""
    if value is None:
        return None
    text = value if type(value) is str else str(value)
    if len(text) > TEXT_LIMIT:
        text = text[:TEXT_LIMIT]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_integer(value: Any) -> int | None:
    """A whole number of 64 bits."""
    if value is None:
        return None
    number = int(value)
    return number if -_INT_MAX <= number <= _INT_MAX else max(-_INT_MAX, min(_INT_MAX, number))


def as_real(value: float | None) -> float | None:
    """A finite number."""
    return None if value is None or not math.isfinite(value) else float(value)


def as_json(value: Any) -> str:
    """Compact JSON; what cannot be encoded, or is absurdly long, becomes an empty value."""
    empty = "[]" if isinstance(value, list | tuple) else "{}"
    if not value:
        return empty
    try:
        encoded = _encode(value if isinstance(value, list | dict) else dict(value))
    except (TypeError, ValueError, RecursionError) as error:
        _log.warning("a value could not be written to the ledger: %r", error)
        return empty
    if len(encoded) > JSON_LIMIT:
        _log.warning("a value of %d bytes is too long for the ledger", len(encoded))
        return empty
    return encoded.decode("utf-8")


_encode = msgspec.json.Encoder(enc_hook=str).encode

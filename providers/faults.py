"""Errors that a provider reports in words of its own, in one neutral form.

``providers.errors`` is about upstreams that do not answer properly; a ``Fault`` is a proper
answer that says no, or a stream that ended badly. Each protocol's ``faults.py`` reads one from a
provider's status, headers and body, and writes one in the shape its clients understand.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from providers.types import Headers


class FaultKind(StrEnum):
    """What went wrong, by what can be done about it."""

    INVALID = "invalid_request"
    """The request is at fault; no provider would take it."""
    UNSUPPORTED = "unsupported"
    """This provider does not know a parameter or a feature; another one may."""
    CONTEXT = "context_length"
    """More tokens than the model's window."""
    TOO_LARGE = "too_large"
    """More bytes, or more tokens a minute, than this provider takes from us at all."""
    AUTH = "authentication"
    PERMISSION = "permission"
    BILLING = "billing"
    """Out of credit or over a spend limit: waiting does not help."""
    NOT_FOUND = "not_found"
    """No such model or path."""
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    """A daily or monthly allowance is used up."""
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    TOOL_FORMAT = "tool_format"
    """The model wrote a tool call that its provider could not parse (Groq ``tool_use_failed``)."""
    SERVER = "server"
    EMPTY = "empty"
    """A success without text, call or refusal."""
    TRUNCATED = "truncated"
    """The stream ended without its protocol's terminator."""
    MALFORMED = "malformed"
    """The answer is not of the provider's own protocol."""


RETRYABLE = frozenset(
    [
        FaultKind.RATE_LIMIT,
        FaultKind.OVERLOADED,
        FaultKind.TIMEOUT,
        FaultKind.TOOL_FORMAT,
        FaultKind.SERVER,
        FaultKind.EMPTY,
        FaultKind.TRUNCATED,
        FaultKind.MALFORMED,
    ]
)
"""Kinds where the same request may succeed a little later."""

PROVIDER_FAILURES = frozenset(
    [
        FaultKind.OVERLOADED,
        FaultKind.TIMEOUT,
        FaultKind.SERVER,
        FaultKind.EMPTY,
        FaultKind.TRUNCATED,
        FaultKind.MALFORMED,
    ]
)
"""Kinds that say something about the provider's health."""

CLIENT_FAULTS = frozenset([FaultKind.INVALID, FaultKind.CONTEXT])
"""Kinds that no other provider of the same size would cure."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One reported failure."""

    kind: FaultKind
    message: str
    """The provider's own words, or ours; outside text, at most 2,000 characters."""
    status: int | None = None
    """HTTP status it came with; ``None`` inside a stream."""
    code: str | None = None
    """The provider's own code or type."""
    param: str | None = None
    """The field the provider complains about."""
    retry_after_s: float | None = None
    """Seconds to wait, 0-3600, where the provider said."""

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in RETRYABLE


MAX_MESSAGE = 2_000
"""Characters of a provider's message that are kept."""
MAX_RETRY_S = 3600.0
MAX_RETRY_AFTER = 30
"""Seconds of ``retry-after`` at most; SDKs sleep as long as they are told to."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?")
_WAIT_IN_TEXT = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+)"
)


def retry_seconds(value: str, now: float) -> float | None:
    """How long to wait, in seconds from 0 to 3600; ``None`` for what cannot be read.

    Takes numbers, Go durations (``2m59.56s``, ``20ms``), HTTP dates and RFC 3339; ``now`` is in
    seconds since the epoch.
    """
    value = value.strip()
    if _NUMBER.fullmatch(value):
        found = float(value)
    elif _DURATION.fullmatch(value):
        parts = _DURATION_PART.findall(value)
        found = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        moment = _moment(value)
        if moment is None:
            return None
        found = moment - now
    return min(max(found, 0.0), MAX_RETRY_S)


def _moment(value: str) -> float | None:
    if len(value) > 64:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(value)
        except (ValueError, OverflowError):
            continue
        # A date without a zone is meant in UTC by every vendor that sends one.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return None


def retry_after_of(headers: Headers, message: str, now: float) -> float | None:
    """The wait a provider asks for: ``retry-after-ms``, ``retry-after``, else in its message."""
    found = {name.lower(): value.decode("latin-1") for name, value in headers}
    milliseconds = found.get(b"retry-after-ms")
    if milliseconds is not None and _NUMBER.fullmatch(milliseconds.strip()):
        return min(float(milliseconds) / 1000, MAX_RETRY_S)
    if (value := found.get(b"retry-after")) is not None:
        return retry_seconds(value, now)
    match = _WAIT_IN_TEXT.search(message)
    return retry_seconds(match[1], now) if match else None


def retry_headers(fault: Fault) -> Headers:
    """What tells a client's SDK whether and when to try again."""
    if not fault.is_retryable:
        return [(b"x-should-retry", b"false")]
    if fault.retry_after_s is None:
        return []
    if fault.retry_after_s > MAX_RETRY_AFTER:
        return [(b"x-should-retry", b"false")]
    return [(b"retry-after", str(math.ceil(fault.retry_after_s)).encode())]

"""What a failed attempt means: for the provider's health, and for what is tried next. Pure.

One table for everything that can go wrong before the client has a byte. After that nothing is
retried, and only ``outcome`` is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from providers.errors import (
    ConnectFailed,
    DeadlineExpired,
    FramingError,
    NoAnswer,
    Offline,
    ProxyFailed,
    ResponseFailed,
    Stalled,
    TlsFailed,
    UpstreamError,
    WriteFailed,
)
from providers.faults import Fault, FaultKind
from server.breaker import Outcome
from server.health import Cause

SHORT_WAIT_S: Final = 2.0
"""A rate limit that ends this soon is waited for; anything longer goes to the next candidate."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The consequences of one failed attempt."""

    outcome: Outcome
    retry: bool = False
    """Once more at the same place, when nothing has reached the client."""
    fail_over: bool = False
    """At the next candidate. One that stands in for the baseline always hands back to it."""
    is_connection: bool = False
    """Not even a response came: it is the provider, not the model."""
    cause: Cause | None = None
    """Leave the place alone for a while."""
    is_provider_wide: bool = False
    """``cause`` holds for all of the provider's models."""
    wait_s: float | None = None
    """How long to wait before a retry, or how long ``cause`` holds; ``None``: its own time."""


_CONNECTION: Final = Judgement(Outcome.FAILURE, retry=True, fail_over=True, is_connection=True)
_FAILING: Final = Judgement(Outcome.FAILURE, retry=True, fail_over=True)
_BROKEN: Final = Judgement(Outcome.FAILURE, fail_over=True)
_THEIR_WORD: Final = Judgement(Outcome.NEUTRAL)
_ELSEWHERE: Final = Judgement(Outcome.NEUTRAL, fail_over=True)

_ERRORS: Final[tuple[tuple[type[UpstreamError], Judgement], ...]] = (
    # This machine is offline: no other provider can be reached either.
    (Offline, _THEIR_WORD),
    (DeadlineExpired, Judgement(Outcome.FAILURE)),
    (NoAnswer, _BROKEN),
    (Stalled, _BROKEN),
    (TlsFailed, replace(_CONNECTION, retry=False)),
    (ProxyFailed, replace(_CONNECTION, retry=False)),
    (ConnectFailed, _CONNECTION),
    (WriteFailed, _CONNECTION),
    (FramingError, _BROKEN),
    (ResponseFailed, _CONNECTION),
)

_FAULTS: Final[Mapping[FaultKind, Judgement]] = {
    FaultKind.INVALID: _THEIR_WORD,
    FaultKind.CONTEXT: _THEIR_WORD,
    FaultKind.UNSUPPORTED: _ELSEWHERE,
    FaultKind.TOO_LARGE: _ELSEWHERE,
    FaultKind.AUTH: replace(_ELSEWHERE, cause=Cause.CONFIG, is_provider_wide=True),
    FaultKind.PERMISSION: replace(_ELSEWHERE, cause=Cause.CONFIG, is_provider_wide=True),
    FaultKind.BILLING: replace(_ELSEWHERE, cause=Cause.QUOTA, is_provider_wide=True),
    FaultKind.QUOTA: replace(_ELSEWHERE, cause=Cause.QUOTA, is_provider_wide=True),
    FaultKind.NOT_FOUND: replace(_ELSEWHERE, cause=Cause.MODEL),
    FaultKind.RATE_LIMIT: replace(_ELSEWHERE, cause=Cause.RATE_LIMIT),
    FaultKind.OVERLOADED: _BROKEN,
    FaultKind.TIMEOUT: _FAILING,
    FaultKind.SERVER: _FAILING,
    FaultKind.EMPTY: _FAILING,
    FaultKind.TRUNCATED: _FAILING,
    FaultKind.MALFORMED: _BROKEN,
    FaultKind.TOOL_FORMAT: Judgement(Outcome.NEUTRAL, retry=True, fail_over=True),
}


def judge_error(error: UpstreamError) -> Judgement:
    """What it means that no usable answer came."""
    return next((found for kind, found in _ERRORS if isinstance(error, kind)), _BROKEN)


def judge_fault(fault: Fault, *, is_our_key: bool) -> Judgement:
    """What a provider's own refusal means; ``is_our_key``: it was paid with a key of ours."""
    found = _FAULTS[fault.kind]
    if found.cause in (Cause.CONFIG, Cause.QUOTA) and not is_our_key:
        # The client's account is at fault: its owner must hear so, and others are not affected.
        return _THEIR_WORD
    if fault.kind is FaultKind.RATE_LIMIT:
        wait = fault.retry_after_s
        is_short = wait is not None and wait <= SHORT_WAIT_S
        return replace(found, wait_s=wait, retry=is_short, cause=None if is_short else found.cause)
    if fault.retry_after_s is not None and found.outcome is Outcome.FAILURE:
        long_wait = fault.retry_after_s > SHORT_WAIT_S
        return replace(
            found,
            wait_s=fault.retry_after_s,
            retry=found.retry and not long_wait,
            cause=Cause.RATE_LIMIT if long_wait else None,
        )
    return found

"""The table of failures: what counts against a provider, what is retried, what moves on."""

from __future__ import annotations

import pytest

from providers.errors import (
    ConnectFailed,
    ConnectionDropped,
    ConnectTimeout,
    DeadlineExpired,
    FramingError,
    Offline,
    Stalled,
    TlsFailed,
    UpstreamError,
    WriteFailed,
)
from providers.faults import Fault, FaultKind
from server.breaker import Outcome
from server.health import Cause
from server.judge import Judgement, judge_error, judge_fault


@pytest.mark.parametrize(
    ("error", "fails", "retry", "fail_over", "is_connection"),
    [
        (Offline("no route"), False, False, False, False),
        (ConnectFailed("refused"), True, True, True, True),
        (ConnectTimeout("slow"), True, True, True, True),
        (TlsFailed("bad"), True, False, True, True),
        (WriteFailed("reset"), True, True, True, True),
        (ConnectionDropped("reset"), True, True, True, True),
        (FramingError("junk"), True, False, True, False),
        (Stalled("silent"), True, False, True, False),
        (DeadlineExpired("late"), True, False, False, False),
        (UpstreamError("a page"), True, False, True, False),
    ],
)
def test_errors(
    error: UpstreamError, fails: bool, retry: bool, fail_over: bool, is_connection: bool
) -> None:
    found = judge_error(error)
    assert found == Judgement(
        Outcome.FAILURE if fails else Outcome.NEUTRAL, retry, fail_over, is_connection
    )


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_of_fault_is_judged(kind: FaultKind) -> None:
    found = judge_fault(Fault(kind, "no"), is_our_key=True)
    assert found.is_connection is False
    counts = found.outcome is Outcome.FAILURE
    assert counts is (
        kind
        in {
            FaultKind.OVERLOADED,
            FaultKind.TIMEOUT,
            FaultKind.SERVER,
            FaultKind.EMPTY,
            FaultKind.TRUNCATED,
            FaultKind.MALFORMED,
        }
    )


@pytest.mark.parametrize("kind", [FaultKind.INVALID, FaultKind.CONTEXT])
def test_a_bad_request_goes_nowhere_else(kind: FaultKind) -> None:
    assert judge_fault(Fault(kind, "no"), is_our_key=True) == Judgement(Outcome.NEUTRAL)


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.PERMISSION, FaultKind.BILLING])
def test_the_clients_own_account_is_the_clients_matter(kind: FaultKind) -> None:
    ours = judge_fault(Fault(kind, "no"), is_our_key=True)
    assert ours.fail_over
    assert ours.is_provider_wide
    assert judge_fault(Fault(kind, "no"), is_our_key=False) == Judgement(Outcome.NEUTRAL)


@pytest.mark.parametrize(
    ("wait", "retry", "cause"),
    [(None, False, Cause.RATE_LIMIT), (1.5, True, None), (2.1, False, Cause.RATE_LIMIT)],
)
def test_only_a_short_rate_limit_is_waited_for(
    wait: float | None, retry: bool, cause: Cause | None
) -> None:
    fault = Fault(FaultKind.RATE_LIMIT, "slow down", 429, retry_after_s=wait)
    found = judge_fault(fault, is_our_key=True)
    assert (found.outcome, found.retry, found.cause) == (Outcome.NEUTRAL, retry, cause)
    assert (found.fail_over, found.wait_s) == (True, wait)


def test_a_failing_provider_that_names_a_time_is_left_alone_for_it() -> None:
    fault = Fault(FaultKind.SERVER, "maintenance", 503, retry_after_s=30.0)
    found = judge_fault(fault, is_our_key=True)
    assert (found.outcome, found.retry, found.cause) == (Outcome.FAILURE, False, Cause.RATE_LIMIT)
    assert found.wait_s == 30.0

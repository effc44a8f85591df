"""Waiting times in every notation, and what clients are told about them."""

from __future__ import annotations

import pytest

from providers.faults import Fault, FaultKind, retry_after_of, retry_headers, retry_seconds
from providers.types import Headers

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("99999", 3600),
        ("20ms", 0.02),
        ("1s", 1),
        ("6m0s", 360),
        ("2m59.56s", 179.56),
        ("1h", 3600),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10),
        ("2026-09-21T14:13:50Z", 30),
        ("2026-09-21T16:13:50+02:00", 30),
        ("2026-09-21T14:13:50", 30),
        ("2020-01-01T00:00:00Z", 0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("1s2", None),
        ("9" * 40, None),
        ("2026-99-99T00:00:00Z", None),
    ],
)
def test_retry_seconds(value: str, seconds: float | None) -> None:
    found = retry_seconds(value, NOW)

    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ([(b"Retry-After", b"7")], "", 7),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], "", 1.5),
        ([(b"retry-after-ms", b"x"), (b"retry-after", b"9")], "", 9),
        ([], "Please try again in 1m2.5s.", 62.5),
        ([], "Please try again later.", None),
    ],
)
def test_where_the_wait_is_said(headers: Headers, message: str, seconds: float | None) -> None:
    assert retry_after_of(headers, message, NOW) == seconds


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(FaultKind.RATE_LIMIT, "x", retry_after_s=1.2), [(b"retry-after", b"2")]),
        (Fault(FaultKind.RATE_LIMIT, "x", retry_after_s=31), [(b"x-should-retry", b"false")]),
        (Fault(FaultKind.SERVER, "x"), []),
        (Fault(FaultKind.BILLING, "x", retry_after_s=1), [(b"x-should-retry", b"false")]),
        (Fault(FaultKind.INVALID, "x"), [(b"x-should-retry", b"false")]),
    ],
)
def test_what_a_client_is_told(fault: Fault, expected: Headers) -> None:
    assert retry_headers(fault) == expected

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.faults import Fault, FaultKind
from providers.protocols.openai_responses.faults import fault_of, read_fault, write_fault


def body(**error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "kind"),
    [
        (400, body(message="x", type="invalid_request_error"), FaultKind.INVALID),
        (400, body(message="x", code="context_length_exceeded"), FaultKind.CONTEXT),
        (
            400,
            body(
                message="This model's maximum context length is 9 tokens.",
                type="invalid_request_error",
            ),
            FaultKind.CONTEXT,
        ),
        (
            400,
            body(message="x", type="invalid_request_error", code="unsupported_parameter"),
            FaultKind.UNSUPPORTED,
        ),
        (401, body(message="x", type="invalid_request_error"), FaultKind.AUTH),
        (402, b"pay", FaultKind.BILLING),
        (403, body(message="x"), FaultKind.PERMISSION),
        (404, body(message="x", code="model_not_found"), FaultKind.NOT_FOUND),
        (413, b"", FaultKind.TOO_LARGE),
        (422, body(message="x"), FaultKind.INVALID),
        (429, body(message="x", type="requests"), FaultKind.RATE_LIMIT),
        (429, body(message="x", type="insufficient_quota"), FaultKind.BILLING),
        (429, body(message="x", type="usage_limit_reached"), FaultKind.QUOTA),
        (429, body(message="x", type="invalid_request_error"), FaultKind.RATE_LIMIT),
        (500, body(message="x", type="server_error"), FaultKind.SERVER),
        (500, b"<html>", FaultKind.SERVER),
        (503, body(message="x"), FaultKind.OVERLOADED),
        (504, b"", FaultKind.TIMEOUT),
    ],
)
def test_kinds(status: int, raw: bytes, kind: FaultKind) -> None:
    fault = read_fault(status, [], raw, 0.0)
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.message


def test_all_that_is_said_is_kept() -> None:
    raw = body(message="Bad field. " * 500, code="unknown_parameter", param="input[2]")
    fault = read_fault(400, [(b"Retry-After", b"7")], raw, 0.0)
    assert (fault.code, fault.param, fault.retry_after_s) == ("unknown_parameter", "input[2]", 7.0)
    assert len(fault.message) == 2000


@pytest.mark.parametrize(
    ("error", "kind", "wait"),
    [
        (
            {"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."},
            FaultKind.RATE_LIMIT,
            1.5,
        ),
        ({"type": "error", "code": None, "message": "x"}, FaultKind.SERVER, None),
        ({"code": "slow_down", "message": "x"}, FaultKind.OVERLOADED, None),
        ("words", FaultKind.SERVER, None),
        (None, FaultKind.SERVER, None),
        ([], FaultKind.SERVER, None),
    ],
)
def test_faults_inside_a_stream(error: Any, kind: FaultKind, wait: float | None) -> None:
    fault = fault_of(error)
    assert (fault.kind, fault.status) == (kind, None)
    assert fault.retry_after_s == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (FaultKind.INVALID, 400, "invalid_prompt"),
        (FaultKind.CONTEXT, 400, "context_length_exceeded"),
        (FaultKind.AUTH, 400, "provider_authentication"),
        (FaultKind.NOT_FOUND, 400, "provider_not_found"),
        (FaultKind.TOO_LARGE, 413, "request_too_large"),
        (FaultKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
        (FaultKind.BILLING, 429, "insufficient_quota"),
        (FaultKind.OVERLOADED, 503, None),
        (FaultKind.TIMEOUT, 504, None),
        (FaultKind.TRUNCATED, 502, None),
        (FaultKind.EMPTY, 502, None),
    ],
)
def test_what_a_client_is_told(kind: FaultKind, status: int, code: str | None) -> None:
    found, headers, raw = write_fault(Fault(kind, "größe", param="p"), "req_1")
    error = json.loads(raw)["error"]
    assert (found, error["code"], error["message"], error["param"]) == (status, code, "größe", "p")
    assert set(error) == {"message", "type", "param", "code"}
    assert (b"x-request-id", b"req_1") in headers


def test_every_kind_can_be_told() -> None:
    for kind in FaultKind:
        status, _, raw = write_fault(Fault(kind, "x"), None)
        assert 400 <= status < 600
        assert json.loads(raw)["error"]["type"]


def test_a_last_failure_says_so() -> None:
    status, headers, raw = write_fault(Fault(FaultKind.SERVER, "x"), None, stop=True)
    assert (status, json.loads(raw)["error"]["code"]) == (503, "server_is_overloaded")
    assert headers.count((b"x-should-retry", b"false")) == 1


def test_short_waits_are_passed_on_and_long_ones_end_it() -> None:
    short = write_fault(Fault(FaultKind.RATE_LIMIT, "x", retry_after_s=2.2), None)[1]
    assert (b"retry-after", b"3") in short
    long = write_fault(Fault(FaultKind.RATE_LIMIT, "x", retry_after_s=900), None)[1]
    assert (b"x-should-retry", b"false") in long

"""Errors of the Messages API: read from Anthropic, and written for its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.faults import (
    MAX_MESSAGE,
    Fault,
    FaultKind,
    retry_after_of,
    retry_headers,
)
from providers.protocols.anthropic.response import error_body, loads
from providers.protocols.translate import mapping, text
from providers.types import Headers

_KINDS: Mapping[str, FaultKind] = {
    "invalid_request_error": FaultKind.INVALID,
    "conflict_error": FaultKind.INVALID,
    "authentication_error": FaultKind.AUTH,
    "billing_error": FaultKind.BILLING,
    "permission_error": FaultKind.PERMISSION,
    "not_found_error": FaultKind.NOT_FOUND,
    "request_too_large": FaultKind.TOO_LARGE,
    "rate_limit_error": FaultKind.RATE_LIMIT,
    "timeout_error": FaultKind.TIMEOUT,
    "overloaded_error": FaultKind.OVERLOADED,
    "api_error": FaultKind.SERVER,
}
_SPENT = frozenset(["enforced_spend_limit_reached", "contract_spend_limit_reached"])
_TOO_LONG = "prompt is too long"
"""How the vendor opens its message about a full window; Claude Code compacts when it sees it."""

_SHAPES: Mapping[FaultKind, tuple[int, str]] = {
    FaultKind.INVALID: (400, "invalid_request_error"),
    FaultKind.UNSUPPORTED: (400, "invalid_request_error"),
    FaultKind.CONTEXT: (400, "invalid_request_error"),
    FaultKind.TOO_LARGE: (413, "request_too_large"),
    FaultKind.RATE_LIMIT: (429, "rate_limit_error"),
    FaultKind.QUOTA: (429, "rate_limit_error"),
    FaultKind.OVERLOADED: (529, "overloaded_error"),
    FaultKind.TIMEOUT: (504, "timeout_error"),
}
"""Status and ``error.type`` for a Messages client; all else is a fault between us and the
provider, which no key or model of the client's would cure: 502 ``api_error``."""

_BY_STATUS: Mapping[int, FaultKind] = {
    401: FaultKind.AUTH,
    402: FaultKind.BILLING,
    403: FaultKind.PERMISSION,
    404: FaultKind.NOT_FOUND,
    408: FaultKind.TIMEOUT,
    413: FaultKind.TOO_LARGE,
    429: FaultKind.RATE_LIMIT,
    504: FaultKind.TIMEOUT,
    529: FaultKind.OVERLOADED,
}


def read_fault(status: int, headers: Headers, body: bytes, now: float) -> Fault:
    """The fault in an error response; ``now`` in seconds since the epoch."""
    fault = fault_of(mapping(loads(body)).get("error"), status)
    return Fault(
        fault.kind,
        fault.message,
        status,
        fault.code,
        retry_after_s=retry_after_of(headers, fault.message, now),
    )


def fault_of(error: Any, status: int | None) -> Fault:
    """The fault in an ``error`` object; ``status`` helps where the object says little."""
    fields = mapping(error)
    code = text(fields.get("type"))
    message = (text(fields.get("message")) or text(error) or "the provider reported an error")[
        :MAX_MESSAGE
    ]
    kind = _KINDS.get(code or "") or _kind_of_status(status)
    if text(mapping(fields.get("details")).get("error_code")) in _SPENT:
        kind = FaultKind.BILLING
    elif kind is FaultKind.INVALID and _TOO_LONG in message.lower():
        kind = FaultKind.CONTEXT
    return Fault(kind, message, status, code)


def _kind_of_status(status: int | None) -> FaultKind:
    if status is None:
        return FaultKind.SERVER
    default = FaultKind.INVALID if 400 <= status < 500 else FaultKind.SERVER
    return _BY_STATUS.get(status, default)


def shape(fault: Fault) -> tuple[int, str, str]:
    """HTTP status, ``error.type`` and message for a Messages client."""
    status, error_type = _SHAPES.get(fault.kind, (502, "api_error"))
    message = fault.message
    if fault.kind is FaultKind.CONTEXT and not message.lower().startswith(_TOO_LONG):
        message = f"{_TOO_LONG}: {message}"
    return status, error_type, message


def write_fault(fault: Fault, request_id: str | None) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the error response a Messages client understands."""
    status, error_type, message = shape(fault)
    headers = [(b"content-type", b"application/json"), *retry_headers(fault)]
    return status, headers, error_body(error_type, message, request_id)

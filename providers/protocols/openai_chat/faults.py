"""Errors of Chat Completions providers, each in its own dialect; and in OpenAI's for clients.

Shapes that are read: ``{"error": {message, type, code, param}}`` (OpenAI, Groq),
``{"error": "text"}``, ``{message, type, param, code}`` (Cerebras), ``{"success": false,
"errors": [{code, message}]}`` (Cloudflare), ``{"detail": ...}`` (servers on FastAPI).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.faults import MAX_MESSAGE, Fault, FaultKind, retry_after_of, retry_headers
from providers.protocols.translate import items, loads, mapping, text, whole
from providers.tool_book import encode
from providers.types import Headers

_CODES: Mapping[str, FaultKind] = {
    "context_length_exceeded": FaultKind.CONTEXT,
    "string_above_max_length": FaultKind.CONTEXT,
    "insufficient_quota": FaultKind.BILLING,
    "billing_hard_limit_reached": FaultKind.BILLING,
    "rate_limit_exceeded": FaultKind.RATE_LIMIT,
    "rate_limit_error": FaultKind.RATE_LIMIT,
    "too_many_requests_error": FaultKind.RATE_LIMIT,
    "queue_exceeded": FaultKind.OVERLOADED,
    "overloaded_error": FaultKind.OVERLOADED,
    "server_is_overloaded": FaultKind.OVERLOADED,
    "slow_down": FaultKind.OVERLOADED,
    "tool_use_failed": FaultKind.TOOL_FORMAT,
    "json_validate_failed": FaultKind.TOOL_FORMAT,
    "invalid_api_key": FaultKind.AUTH,
    "authentication_error": FaultKind.AUTH,
    "permission_error": FaultKind.PERMISSION,
    "model_not_found": FaultKind.NOT_FOUND,
    "model_decommissioned": FaultKind.NOT_FOUND,
    "not_found_error": FaultKind.NOT_FOUND,
    "unsupported_parameter": FaultKind.UNSUPPORTED,
    "unsupported_value": FaultKind.UNSUPPORTED,
    "unknown_parameter": FaultKind.UNSUPPORTED,
    "timeout": FaultKind.TIMEOUT,
    "server_error": FaultKind.SERVER,
    "3006": FaultKind.TOO_LARGE,
    "3007": FaultKind.TIMEOUT,
    "3008": FaultKind.TIMEOUT,
    "3036": FaultKind.QUOTA,
    "3040": FaultKind.OVERLOADED,
}
"""The provider's ``code`` or ``type``; the numbers are Cloudflare's."""

_STATUSES: Mapping[int, FaultKind] = {
    401: FaultKind.AUTH,
    402: FaultKind.BILLING,
    403: FaultKind.PERMISSION,
    404: FaultKind.NOT_FOUND,
    408: FaultKind.TIMEOUT,
    413: FaultKind.TOO_LARGE,
    424: FaultKind.SERVER,
    429: FaultKind.RATE_LIMIT,
    498: FaultKind.OVERLOADED,
    499: FaultKind.SERVER,
    503: FaultKind.OVERLOADED,
    504: FaultKind.TIMEOUT,
    529: FaultKind.OVERLOADED,
}

_CONTEXT = re.compile(
    r"context (?:length|window|size)|maximum context|too many (?:input )?tokens"
    r"|prompt is too long|reduce the length of the (?:messages|prompt)",
    re.IGNORECASE,
)
_A_DAY = re.compile(r"per day|\b(?:TPD|RPD)\b|daily")
_A_MINUTE = re.compile(r"per minute|\b(?:TPM|RPM)\b")
_UNSUPPORTED = re.compile(
    r"(?:is|are) (?:not|un)\s?supported|unsupported|unrecognized|unknown (?:parameter|field)"
    r"|extra (?:inputs|fields)|property .{1,80} is (?:not|un)",
    re.IGNORECASE,
)

_SHAPES: Mapping[FaultKind, tuple[int, str, str | None]] = {
    FaultKind.INVALID: (400, "invalid_request_error", None),
    FaultKind.UNSUPPORTED: (400, "invalid_request_error", "unsupported_parameter"),
    FaultKind.CONTEXT: (400, "invalid_request_error", "context_length_exceeded"),
    FaultKind.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    FaultKind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FaultKind.QUOTA: (429, "insufficient_quota", "insufficient_quota"),
    FaultKind.OVERLOADED: (503, "server_error", "overloaded"),
    FaultKind.TIMEOUT: (504, "server_error", "timeout"),
}
"""Status, ``error.type`` and ``error.code`` for an OpenAI client; all else is 502."""
_OTHER = (502, "server_error", "upstream_error")


def read_fault(status: int, headers: Headers, body: bytes, now: float) -> Fault:
    """The fault in an error response; ``now`` in seconds since the epoch."""
    fault = fault_in(loads(body), status) or _fault({}, status)
    wait = retry_after_of(headers, fault.message, now)
    return Fault(fault.kind, fault.message, status, fault.code, fault.param, wait)


def fault_in(body: Any, status: int | None = None) -> Fault | None:
    """The fault a parsed body or chunk reports; ``None`` when it reports none."""
    fields = mapping(body)
    error = fields.get("error")
    if not error:
        error = mapping(fields.get("x_groq")).get("error")
    if error:
        inner = error if isinstance(error, dict) else {"message": error}
        return _fault(inner, status or whole(fields.get("status_code")))
    if fields.get("success") is False:
        return _fault(mapping(next(iter(items(fields.get("errors"))), None)), status)
    if status is not None and ("message" in fields or "detail" in fields):
        return _fault({"message": fields.get("detail"), **fields}, status)
    return None


def _fault(error: Mapping[str, Any], status: int | None) -> Fault:
    message = text(error.get("message")) or _unsaid(status)
    code = _word(error.get("code")) or _word(error.get("type"))
    kinds = (_CODES.get(_word(error.get(key)) or "") for key in ("code", "type"))
    kind = next((kind for kind in kinds if kind is not None), None) or _by_status(status)
    kind = _refined(kind, message, status)
    return Fault(kind, message[:MAX_MESSAGE], status, code, text(error.get("param")))


def _refined(kind: FaultKind, message: str, status: int | None) -> FaultKind:
    """What the words add: several codes stand for more than one condition."""
    if kind in (FaultKind.RATE_LIMIT, FaultKind.TOO_LARGE):
        if _A_DAY.search(message):
            return FaultKind.QUOTA
        if status == 413 or kind is FaultKind.TOO_LARGE:
            is_rate = _A_MINUTE.search(message) is not None
            too_long = _CONTEXT.search(message) is not None and not is_rate
            return FaultKind.CONTEXT if too_long else FaultKind.TOO_LARGE
    if kind is FaultKind.INVALID:
        if _CONTEXT.search(message):
            return FaultKind.CONTEXT
        if _UNSUPPORTED.search(message):
            return FaultKind.UNSUPPORTED
    return kind


def _by_status(status: int | None) -> FaultKind:
    if status is None:
        return FaultKind.SERVER
    default = FaultKind.INVALID if 400 <= status < 500 else FaultKind.SERVER
    return _STATUSES.get(status, default)


def _word(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value)


def _unsaid(status: int | None) -> str:
    return "the provider reported an error" + ("" if status is None else f" (HTTP {status})")


def error_object(fault: Fault) -> tuple[int, dict[str, Any]]:
    """HTTP status and the ``error`` object for an OpenAI client."""
    status, error_type, code = _SHAPES.get(fault.kind, _OTHER)
    return status, {
        "message": fault.message,
        "type": error_type,
        "param": fault.param,
        "code": code,
    }


def write_fault(fault: Fault, request_id: str | None) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the error response an OpenAI client understands."""
    status, error = error_object(fault)
    headers: Headers = [(b"content-type", b"application/json"), *retry_headers(fault)]
    if request_id is not None:
        headers.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    return status, headers, encode({"error": error})

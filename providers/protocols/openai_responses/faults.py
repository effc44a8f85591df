"""Errors of the Responses API: read from OpenAI and its like, and written for its clients.

A client that is Codex decides by the code: some stop it at once, ``rate_limit_exceeded`` makes it
wait for as long as the message says, and all others make it try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.faults import Fault, FaultKind, retry_after_of, retry_headers
from providers.protocols.openai_chat.faults import fault_in
from providers.protocols.translate import loads, mapping, text
from providers.tool_book import encode
from providers.types import Headers

_OWN: Mapping[str, FaultKind] = {
    "bio_policy": FaultKind.INVALID,
    "cyber_policy": FaultKind.INVALID,
    "image_generation_user_error": FaultKind.INVALID,
    "invalid_prompt": FaultKind.INVALID,
    "usage_limit_reached": FaultKind.QUOTA,
    "usage_not_included": FaultKind.QUOTA,
}
"""``error.code`` or ``error.type`` that only this API has; the others are those of Chat."""

_TOO_LONG = ("maximum context length", "exceeds the context window")

_SHAPES: Mapping[FaultKind, tuple[int, str, str | None]] = {
    FaultKind.INVALID: (400, "invalid_request_error", "invalid_prompt"),
    FaultKind.UNSUPPORTED: (400, "invalid_request_error", "unsupported_parameter"),
    FaultKind.CONTEXT: (400, "invalid_request_error", "context_length_exceeded"),
    FaultKind.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    FaultKind.AUTH: (400, "invalid_request_error", "provider_authentication"),
    FaultKind.PERMISSION: (400, "invalid_request_error", "provider_permission"),
    FaultKind.NOT_FOUND: (400, "invalid_request_error", "provider_not_found"),
    FaultKind.BILLING: (429, "insufficient_quota", "insufficient_quota"),
    FaultKind.QUOTA: (429, "insufficient_quota", "insufficient_quota"),
    FaultKind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FaultKind.OVERLOADED: (503, "server_error", None),
    FaultKind.TIMEOUT: (504, "server_error", None),
}
"""Status, ``error.type`` and ``error.code`` for a Responses client; all else is 502.

A key or a model of ours that a provider refuses is 400: Codex asks 30 times after a 5xx, signs its
user out after a 401, and shows the message of a 400 at once.
"""

_OTHER = (502, "server_error", None)

_STREAM_STOPS: Mapping[FaultKind, str] = {
    FaultKind.INVALID: "invalid_prompt",
    FaultKind.UNSUPPORTED: "invalid_prompt",
    FaultKind.TOO_LARGE: "invalid_prompt",
    FaultKind.AUTH: "invalid_prompt",
    FaultKind.PERMISSION: "invalid_prompt",
    FaultKind.NOT_FOUND: "invalid_prompt",
    FaultKind.CONTEXT: "context_length_exceeded",
    FaultKind.BILLING: "insufficient_quota",
    FaultKind.QUOTA: "insufficient_quota",
}
"""Codes of ``response.failed`` after which Codex does not try again."""

STOP_CODE = "server_is_overloaded"
"""Ends the attempts of Codex where trying again is known to be of no use."""


def read_fault(status: int, headers: Headers, body: bytes, now: float) -> Fault:
    """The fault in an error response; ``now`` in seconds since the epoch."""
    found = mapping(loads(body))
    fault = fault_of(found.get("error") or found, status)
    return replace(fault, retry_after_s=retry_after_of(headers, fault.message, now))


def fault_of(error: Any, status: int | None = None) -> Fault:
    """The fault in an ``error`` object or a flat ``error`` event, with its HTTP status if any."""
    fields = dict(mapping(error)) or {"message": text(error)}
    if fields.get("type") == "error":
        del fields["type"]
    fault = fault_in({"error": fields}, status) or Fault(FaultKind.SERVER, "", status)
    kind = fault.kind
    words = [text(fields.get(key)) or "" for key in ("code", "type")]
    own = [_OWN[word] for word in words if word in _OWN]
    if own:
        kind = own[0]
    elif kind is FaultKind.SERVER and status is None:
        # Inside a stream no status tells whose fault it is.
        if any(mark in fault.message.lower() for mark in _TOO_LONG):
            kind = FaultKind.CONTEXT
        elif "invalid_request_error" in words:
            kind = FaultKind.INVALID
    return replace(fault, kind=kind, retry_after_s=retry_after_of([], fault.message, 0.0))


def write_fault(
    fault: Fault, request_id: str | None, *, stop: bool = False
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the error response a Responses client understands.

    ``stop``: whatever the fault, the client shall not try again by itself.
    """
    status, error_type, code = _SHAPES.get(fault.kind, _OTHER)
    headers: Headers = [(b"content-type", b"application/json")]
    if request_id is not None:
        headers.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    if stop and fault.is_retryable:
        status, error_type, code = 503, "server_error", STOP_CODE
        headers.append((b"x-should-retry", b"false"))
    else:
        headers += retry_headers(fault)
    error = {
        "message": fault.message,
        "type": error_type,
        "param": fault.param,
        "code": code,
    }
    return status, headers, encode({"error": error})


def failure(fault: Fault, *, stop: bool = False) -> dict[str, str]:
    """``response.error`` of a ``response.failed`` event; ``stop`` as for ``write_fault``."""
    message = fault.message
    code = _STREAM_STOPS.get(fault.kind)
    if code is None and stop:
        code = STOP_CODE
    elif fault.kind is FaultKind.RATE_LIMIT:
        code = "rate_limit_exceeded"
        if fault.retry_after_s is not None and "try again in" not in message.lower():
            message = f"{message.rstrip('. ')}. Please try again in {fault.retry_after_s:.3f}s."
    return {"code": code or "server_error", "message": message}

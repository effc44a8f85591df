"""Errors the gateway makes itself, in the shape of the client's own protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from providers.types import Headers


class Shape(StrEnum):
    """Whose error format a client reads."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


@dataclass(eq=False)
class HttpError(Exception):
    """An answer that is an error; ``error_type`` is Anthropic's name for it."""

    status: int
    error_type: str
    message: str
    headers: Headers = field(default_factory=list)
    reason: str = ""
    """Short code for counting; defaults to ``error_type``."""
    code: str | None = None
    """Anthropic's ``error.details.error_code``, by which its clients find a way on."""
    openai_code: str | None = None
    """OpenAI's ``error.code`` where the one of its ``error_type`` says too little."""

    @property
    def counted_as(self) -> str:
        """The name this error is counted under."""
        return self.reason or self.error_type


@dataclass(eq=False)
class Prewritten(HttpError):
    """A provider's refusal, already in the words of the client's protocol."""

    written: bytes = b""


_OPENAI_TYPES = {
    "authentication_error": ("invalid_request_error", "invalid_api_key"),
    "permission_error": ("invalid_request_error", "forbidden"),
    "not_found_error": ("invalid_request_error", "not_found"),
    "invalid_request_error": ("invalid_request_error", None),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "rate_limit_error": ("requests", "rate_limit_exceeded"),
    "timeout_error": ("server_error", "timeout"),
    "api_error": ("server_error", "gateway_unavailable"),
}


def shape_of(path: bytes) -> Shape:
    """The error format readers of ``path`` expect."""
    if path.startswith((b"/v1/responses", b"/v1/chat", b"/v1/completions", b"/v1/embeddings")):
        return Shape.OPENAI
    return Shape.ANTHROPIC


def render(error: HttpError, shape: Shape, request_id: str) -> tuple[Headers, bytes]:
    """Header fields and JSON body of ``error``."""
    if isinstance(error, Prewritten):
        return [(b"x-gateway-request-id", request_id.encode()), *error.headers], error.written
    body: dict[str, Any]
    if shape is Shape.OPENAI:
        kind, code = _OPENAI_TYPES.get(error.error_type, ("server_error", None))
        code = error.openai_code or code
        body = {"error": {"message": error.message, "type": kind, "param": None, "code": code}}
    else:
        said: dict[str, Any] = {"type": error.error_type, "message": error.message}
        if error.code is not None:
            said["details"] = {"error_code": error.code}
        body = {"type": "error", "error": said, "request_id": request_id}
    headers = [
        (b"content-type", b"application/json"),
        (b"x-gateway-request-id", request_id.encode()),
        *error.headers,
    ]
    return headers, msgspec.json.encode(body)

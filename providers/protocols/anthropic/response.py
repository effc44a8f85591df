"""Reading what an Anthropic Messages upstream answers: bodies, usage, errors, headers.

Shapes: ``POST /v1/messages`` with ``stream:false``, ``POST /v1/messages/count_tokens``, error
bodies ``{"type":"error","error":{"type","message"},"request_id"}`` and the response headers
``anthropic-ratelimit-*``, ``retry-after``, ``request-id``. Readers take decoded bytes, never
raise on garbage, and report what they could not find as ``None``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from providers.types import Headers, Usage, UsageSource

ERROR_TYPES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        405: "invalid_request_error",
        409: "conflict_error",
        412: "invalid_request_error",
        413: "request_too_large",
        429: "rate_limit_error",
        499: "invalid_request_error",
        500: "api_error",
        503: "api_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
)
"""HTTP status -> ``error.type`` of the Messages API."""

_RATE_LIMIT_PREFIX = "anthropic-ratelimit-"
_RATE_LIMIT_FIELDS = (
    "surpassed-threshold",
    "representative-claim",
    "fallback-percentage",
    "disabled-reason",
    "upgrade-paths",
)
"""Field names of several words; every other field is the word after the last dash."""


_NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class UpstreamErrorBody:
    """The ``error`` object of an error body or an ``error`` event."""

    type: str
    message: str


class ResponseFacts(msgspec.Struct, frozen=True):
    """What one answer that was not streamed says about itself."""

    model: str | None = None
    id: str | None = None
    stop_reason: str | None = None
    usage: Usage = _NO_USAGE
    usage_source: UsageSource = UsageSource.NONE
    blocks: Mapping[str, int] = MappingProxyType({})
    """Number of content blocks by type."""
    tool_calls: int = 0
    """``tool_use`` blocks: the calls the client has to run."""
    answer_kind: str | None = None
    error: UpstreamErrorBody | None = None
    counted_tokens: int | None = None
    """The answer of ``count_tokens``, which is free: it is not a usage."""


class _Block(msgspec.Struct):
    type: str


class _Body(msgspec.Struct):
    type: Any = None
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    content: msgspec.Raw = msgspec.Raw(b"[]")
    error: Any = None
    input_tokens: Any = None


_body_decoder = msgspec.json.Decoder(_Body)
_blocks_decoder = msgspec.json.Decoder(list[_Block])


def loads(data: bytes) -> Any:
    """Parse JSON; ``None`` when it is not JSON.

    The standard library is the second try because it accepts the lone surrogates that msgspec
    refuses.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def read_response(body: bytes) -> ResponseFacts:
    """Read a whole Messages, ``count_tokens`` or error body; garbage gives empty facts."""
    parsed = _decode_body(body)
    if parsed is None:
        return ResponseFacts()
    if parsed.error is not None or parsed.type == "error":
        return ResponseFacts(error=_error_of(parsed.error))
    counted = as_count(parsed.input_tokens)
    if counted is not None and parsed.usage is None:
        return ResponseFacts(counted_tokens=counted)
    blocks = _blocks_of(parsed.content)
    usage = usage_of(parsed.usage) if isinstance(parsed.usage, dict) else _NO_USAGE
    return ResponseFacts(
        model=as_text(parsed.model),
        id=as_text(parsed.id),
        stop_reason=as_text(parsed.stop_reason),
        usage=usage,
        usage_source=_source_of(usage),
        blocks=blocks,
        tool_calls=blocks.get("tool_use", 0),
        answer_kind=answer_kind(blocks),
    )


def read_error(body: bytes) -> UpstreamErrorBody | None:
    """The error of an error body; ``None`` when the body is not one (HTML, plain text, success).

    ``{"error": "text"}`` is understood too, for the proxies that answer in a vendor's place.
    """
    parsed = loads(body)
    if not isinstance(parsed, dict):
        return None
    return _error_of(parsed.get("error"))


def error_body(error_type: str, message: str, request_id: str | None) -> bytes:
    """An error body in the shape of the Messages API; pure ASCII, so that it is safe in SSE."""
    body: dict[str, Any] = {
        "type": "error",
        "error": {"type": error_type, "message": message},
        "request_id": request_id,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def error_type(status: int) -> str:
    """``error.type`` for any status: the table, else by class."""
    default = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return ERROR_TYPES.get(status, default)


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """Read a Messages ``usage`` object; absent or unusable counts are ``None``.

    Cache writes without a split by lifetime are all taken as 5-minute writes. When a later frame
    revised the total but not the split, the total is right and the 5-minute part takes the
    difference.
    """
    split = raw.get("cache_creation")
    split = split if isinstance(split, dict) else {}
    writes_1h = as_count(split.get("ephemeral_1h_input_tokens"))
    writes_5m = as_count(split.get("ephemeral_5m_input_tokens"))
    total = as_count(raw.get("cache_creation_input_tokens"))
    if total is not None:
        writes_1h = min(writes_1h, total) if writes_1h is not None else None
        writes_5m = total - (writes_1h or 0)
    server_tools = raw.get("server_tool_use")
    details = raw.get("output_tokens_details")
    return Usage(
        input_tokens=as_count(raw.get("input_tokens")),
        output_tokens=as_count(raw.get("output_tokens")),
        cache_read_tokens=as_count(raw.get("cache_read_input_tokens")),
        cache_write_5m_tokens=writes_5m,
        cache_write_1h_tokens=writes_1h,
        reasoning_tokens=_inner(details, "thinking_tokens"),
        web_searches=_inner(server_tools, "web_search_requests"),
        service_tier=as_text(raw.get("service_tier")),
        raw=raw,
    )


def merge_usage(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Fold one ``usage`` object into the merged one, field by field.

    Counts are cumulative, so the newer value wins, 0 included; ``null`` says nothing.
    """
    for key, value in update.items():
        known = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif isinstance(value, dict):
            inner = dict(known) if isinstance(known, dict) else {}
            merge_usage(inner, value)
            into[key] = inner
        else:
            into[key] = value


def answer_kind(blocks: Mapping[str, int]) -> str | None:
    """``text``, ``tool_use``, ``thinking`` or ``mixed``; ``None`` when there is no block.

    Thinking beside something else does not count; ``mixed`` is any other combination, and any
    answer with blocks of further types (server tools, compaction).
    """
    kinds = {"thinking" if kind == "redacted_thinking" else kind for kind in blocks}
    if kinds != {"thinking"}:
        kinds.discard("thinking")
    if not kinds:
        return None
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    return kind if kind in ("text", "tool_use", "thinking") else "mixed"


def read_rate_limits(headers: Headers) -> dict[str, dict[str, str]]:
    """All ``anthropic-ratelimit-*`` headers, by family, values as sent.

    ``anthropic-ratelimit-tokens-limit`` gives ``{"anthropic-ratelimit-tokens": {"limit": ...}}``.
    Subscription logins add ``unified``, ``unified-5h``, ``unified-7d`` ... with ``status``,
    ``utilization`` (0-1) and ``reset`` (seconds since the epoch). Of duplicates the last wins.
    """
    found: dict[str, dict[str, str]] = {}
    for raw_name, raw_value in headers:
        named = _rate_limit_of(raw_name)
        if named is not None:
            family, field_name = named
            found.setdefault(family, {})[field_name] = raw_value.decode("latin-1").strip()
    return found


def retry_after(headers: Headers) -> str | None:
    """The ``retry-after`` header as sent: seconds or an HTTP date."""
    return _header(headers, b"retry-after")


def request_id(headers: Headers) -> str | None:
    """The vendor's own id of the request."""
    return _header(headers, b"request-id")


_MAX_COUNT = 10**9
"""No answer has this many tokens: a larger figure is a fault, and must not become money."""


def as_count(value: Any) -> int | None:
    """``value`` as a count of tokens or calls, ``None`` unless it is a plausible whole number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value


def as_text(value: Any) -> str | None:
    """``value`` if it is a string."""
    return value if isinstance(value, str) else None


def _decode_body(body: bytes) -> _Body | None:
    try:
        return _body_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    parsed = loads(body)
    if not isinstance(parsed, dict):
        return None
    known = {name: parsed.get(name) for name in _Body.__struct_fields__ if name != "content"}
    return _Body(**known, content=msgspec.Raw(json.dumps(parsed.get("content")).encode()))


def _blocks_of(content: msgspec.Raw) -> dict[str, int]:
    try:
        found: dict[str, int] = {}
        for block in _blocks_decoder.decode(content):
            found[block.type] = found.get(block.type, 0) + 1
        return found
    except (msgspec.MsgspecError, ValueError, RecursionError):
        parsed = loads(bytes(content))
    blocks = parsed if isinstance(parsed, list) else []
    types = (as_text(block.get("type")) for block in blocks if isinstance(block, dict))
    return dict(Counter(kind for kind in types if kind is not None))


def _source_of(usage: Usage) -> UsageSource:
    if usage.output_tokens is not None:
        return UsageSource.FINAL
    return UsageSource.PARTIAL if usage.is_known else UsageSource.NONE


def _error_of(error: Any) -> UpstreamErrorBody | None:
    if isinstance(error, str):
        return UpstreamErrorBody("api_error", error)
    if not isinstance(error, dict):
        return None
    kind, message = as_text(error.get("type")), as_text(error.get("message"))
    if kind is None and message is None:
        return None
    return UpstreamErrorBody(kind or "api_error", message or "")


def _inner(value: Any, key: str) -> int | None:
    return as_count(value.get(key)) if isinstance(value, dict) else None


@lru_cache(maxsize=512)
def _rate_limit_of(raw_name: bytes) -> tuple[str, str] | None:
    """Family and field that a header's name tells; every answer has the same few names."""
    name = raw_name.decode("latin-1").lower()
    return _split_rate_limit(name) if name.startswith(_RATE_LIMIT_PREFIX) else None


def _split_rate_limit(name: str) -> tuple[str, str]:
    for field_name in _RATE_LIMIT_FIELDS:
        if name.endswith("-" + field_name):
            return name[: -len(field_name) - 1], field_name
    family, _, field_name = name.rpartition("-")
    return family, field_name


def _header(headers: Headers, wanted: bytes) -> str | None:
    for name, value in headers:
        if name.lower() == wanted:
            return value.decode("latin-1").strip()
    return None

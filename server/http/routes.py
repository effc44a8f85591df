"""The table of routes: exact paths, their methods, and which need no key."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from server import endpoints
from server.http.errors import HttpError

RELAYED = frozenset(endpoints.PROTOCOLS)
"""Served on the hot path: relayed to an upstream."""

_TABLE: dict[bytes, tuple[str, ...]] = {
    b"/v1/messages": ("POST",),
    b"/v1/messages/count_tokens": ("POST",),
    b"/v1/responses": ("POST",),
    b"/v1/chat/completions": ("POST",),
    b"/v1/models": ("GET",),
    b"/v1/route/explain": ("POST",),
    b"/v1/context/compact": ("POST",),
    b"/health": ("GET", "HEAD"),
    b"/providers": ("GET",),
    b"/metrics": ("GET",),
    b"/snapshot": ("GET",),
    b"/shadow": ("POST",),
    b"/shadow/stats": ("GET",),
    b"/routing": ("GET", "PUT"),
    b"/command": ("POST",),
    b"/doctor/replay": ("POST",),
    b"/verification": ("GET", "PUT"),
    b"/events/recent": ("GET",),
    b"/events/stream": ("GET",),
    b"/": ("HEAD", "GET"),
    b"/api/hello": ("HEAD", "GET"),
}

_PATTERNS: tuple[tuple[re.Pattern[bytes], tuple[str, ...]], ...] = (
    (re.compile(rb"/v1/models/[A-Za-z0-9][A-Za-z0-9._:@-]*"), ("GET",)),
    (re.compile(rb"/events/gw_[0-9a-f]{24}"), ("GET",)),
    (re.compile(rb"/verification/[a-z_-]{1,64}"), ("PUT",)),
    (re.compile(rb"/doctor/replay/[0-9a-f]{32}/v1/[a-z_/]{1,32}"), ("GET", "POST")),
)

_ACTION = re.compile(rb"/providers/[A-Za-z0-9_-]{1,64}/(?:reset|pause|resume|probe)")
_ROUTED_MODEL = re.compile(
    rb"/v1/models/[a-z][a-z0-9_-]{0,31}(?:/|%2[Ff])"
    rb"(?:[A-Za-z0-9@]|%40)(?:[A-Za-z0-9._:@/+~-]|%2[Ff]|%40|%3[Aa]){0,199}"
)
"""``provider/model``, looked up in our own routes and sent nowhere."""

_OPEN = frozenset({("GET", b"/health"), ("HEAD", b"/health")})
_PROBES = frozenset({b"/", b"/api/hello"})

_TOKEN = re.compile(rb"/k/([^/]+)(/.*)?")


def split_token(path: bytes) -> tuple[bytes, bytes | None]:
    """``/k/TOKEN/rest`` -> (``/rest``, TOKEN percent-decoded); other paths -> (path, ``None``)."""
    match = _TOKEN.fullmatch(path)
    if match is None:
        return path, None
    return match.group(2) or b"/", unquote_to_bytes(match.group(1))


def is_open(method: str, path: bytes) -> bool:
    """Whether the route answers without a key; such answers reveal nothing."""
    return (method, path) in _OPEN or (method == "HEAD" and path in _PROBES)


def check(method: str, path: bytes) -> None:
    """Raise ``HttpError`` 404 or 405 unless ``method`` is served at exactly ``path``."""
    methods = _TABLE.get(path)
    if methods is None:
        methods = next((m for pattern, m in _PATTERNS if pattern.fullmatch(path)), None)
    if methods is None and _ACTION.fullmatch(path):
        methods = ("POST",)
    if methods is None and method == "GET" and _ROUTED_MODEL.fullmatch(path):
        return
    if methods is None:
        raise HttpError(404, "not_found_error", "there is nothing at this path")
    if method not in methods:
        allow = ", ".join(methods).encode()
        raise HttpError(
            405,
            "invalid_request_error",
            f"use {' or '.join(methods)} here",
            [(b"allow", allow)],
            "wrong_method",
        )

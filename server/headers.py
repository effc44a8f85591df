"""Which header fields pass the gateway; a deny-list, so that what we do not know passes."""

from __future__ import annotations

from collections.abc import Iterable

from providers.types import Headers

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_NEVER_UP = _HOP_BY_HOP | {b"host", b"content-length", b"cookie", b"expect"}
"""``expect`` is answered by our own server, so it must not be asked of the upstream again."""

_NEVER_DOWN = _HOP_BY_HOP | {
    b"content-length",
    b"set-cookie",
    b"alt-svc",
    b"strict-transport-security",
}
"""``alt-svc`` and ``strict-transport-security`` speak of the upstream's address, not of ours."""

_CREDENTIALS = frozenset({b"x-api-key", b"authorization"})
_OWN_PREFIX = b"x-sbgw-"


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Every value of field ``name`` (lower case), in order."""
    size = len(name)
    return [value for key, value in headers if len(key) == size and key.lower() == name]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first value of field ``name`` (lower case), decoded."""
    size = len(name)
    for key, value in headers:
        if len(key) == size and key.lower() == name:
            return value.decode("latin-1")
    return None


def _named_by_connection(headers: Headers) -> set[bytes]:
    named: set[bytes] = set()
    for value in values(headers, b"connection"):
        named.update(token.strip().lower() for token in value.split(b","))
    return named


def to_upstream(headers: Headers, credential: Headers) -> Headers:
    """The client's fields as the upstream gets them, the chosen credential in the place of its own.

    ``accept-encoding`` becomes ``identity``: usage must be readable while the bytes pass, and our
    own keep-alive and error events could not be put into a compressed stream.
    """
    drop = _NEVER_UP | _named_by_connection(headers)
    out: Headers = []
    pending = list(credential)
    for name, value in headers:
        lower = name.lower()
        if lower in _CREDENTIALS:
            out.extend(pending)
            pending.clear()
        elif lower == b"accept-encoding":
            out.append((name, b"identity"))
        elif lower not in drop and not lower.startswith(_OWN_PREFIX):
            out.append((name, value))
    return out + pending


def to_client(headers: Headers) -> Headers:
    """The upstream's fields as the client gets them."""
    drop = _NEVER_DOWN | _named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in drop and not lower.startswith(_OWN_PREFIX)
    ]

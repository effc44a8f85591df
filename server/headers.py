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


def by_name(headers: Headers) -> dict[bytes, bytes]:
    """The first value of each field, by its name in lower case; for looking up many at once."""
    return {name.lower(): value for name, value in reversed(headers)}


def _named_by_connection(headers: Headers) -> set[bytes]:
    named: set[bytes] = set()
    for value in values(headers, b"connection"):
        named.update(token.strip().lower() for token in value.split(b","))
    return named


def to_upstream(
    headers: Headers, credential: Headers, without: frozenset[bytes] = frozenset()
) -> Headers:
    """The client's fields as the upstream gets them, the chosen credential in the place of its own.

    ``without`` are further fields to leave out, in lower case.

    ``accept-encoding`` becomes ``identity``: usage must be readable while the bytes pass, and our
    own keep-alive and error events could not be put into a compressed stream.
    """
    named = _named_by_connection(headers)
    drop = _NEVER_UP | without | named
    out: Headers = []
    pending = list(credential)
    for field in headers:
        lower = field[0].lower()
        if lower in _CREDENTIALS:
            out.extend(pending)
            pending.clear()
        elif lower == b"accept-encoding":
            out.append((field[0], b"identity"))
        elif lower not in drop and lower[:7] != _OWN_PREFIX:
            out.append(field)
    return out + pending


def to_client(headers: Headers) -> Headers:
    """The upstream's fields as the client gets them."""
    named = _named_by_connection(headers)
    drop = _NEVER_DOWN | named
    return [
        field
        for field in headers
        if (lower := field[0].lower()) not in drop and lower[:7] != _OWN_PREFIX
    ]

"""Encodes request heads; refuses what could change the framing or split the header block."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_TOKEN = bytes(b for b in range(0x21, 0x7F) if chr(b).isalnum() or chr(b) in "!#$%&'*+-.^_`|~")
_CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
"""A tab may stand inside a field value (RFC 9110 5.5)."""
_TARGET = bytes(range(0x21, 0x7F))
_BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})


class Head(msgspec.Struct, frozen=True):
    """An encoded request head, and what it means for the connection."""

    data: bytes
    bodiless: bool = False
    """The response has no body, whatever its header fields say (HEAD)."""
    keep_alive: bool = True
    """The request does not ask for ``Connection: close``."""


def encode_head(
    method: bytes,
    target: bytes,
    host: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    body_size: int,
) -> Head:
    """The request line and ``headers`` in their order, ``Host`` first unless it is among them.

    ``Content-Length`` is added when there is a body, or when the method suggests one, and none is
    given. Raises ``ValueError`` for control characters, names that are no token, a
    ``Transfer-Encoding``, or a ``Content-Length`` that does not fit the body.
    """
    _check(method, target, headers)
    has_host = False
    length: bytes | None = None
    keep_alive = True
    lines = [b""]
    for name, value in headers:
        lower = name.lower()
        if lower == b"host":
            has_host = True
        elif lower == b"content-length":
            if length is not None or value.strip() != b"%d" % body_size:
                raise ValueError("The Content-Length given does not fit the body.")
            length = value
        elif lower == b"transfer-encoding":
            raise ValueError("Transfer-Encoding must not be given: bodies are sent with a length.")
        elif lower == b"connection" and b"close" in value.lower():
            keep_alive = False
        lines.append(name + b": " + value)
    if length is None and (body_size or method in _BODY_METHODS):
        lines.append(b"Content-Length: %d" % body_size)
    lines[0] = method + b" " + target + b" HTTP/1.1"
    if not has_host:
        lines[0] += b"\r\nHost: " + host
    lines.append(b"\r\n")
    return Head(b"\r\n".join(lines), bodiless=method == b"HEAD", keep_alive=keep_alive)


def _check(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    # translate() over everything at once costs a tenth of a regular expression per field.
    names = [name for name, _ in headers]
    if not all(names) or b"".join(names).translate(None, _TOKEN):
        raise ValueError("A header name is empty or holds a character that is not allowed.")
    values = b"".join([value for _, value in headers])
    if len(values.translate(None, _CONTROLS)) != len(values):
        raise ValueError("A header value holds a control character.")
    if not method or method.translate(None, _TOKEN):
        raise ValueError("The request method is not a token.")
    if not target or target.translate(None, _TARGET):
        raise ValueError("The request target is empty or holds a space or control character.")

"""Taking a request body off the wire, within bounds."""

from __future__ import annotations

from collections.abc import Callable

from providers.types import Headers
from server.exchange import Receive
from server.headers import first
from server.http.errors import HttpError
from server.interrupt import ClientGone

CLOSE: Headers = [(b"connection", b"close")]
_MAX_DRAINED = 64 * 1024 * 1024


async def read_body(
    headers: Headers, receive: Receive, limit: int, arrived: Callable[[], None]
) -> bytes:
    """The whole request body; ``arrived`` is called whenever some of it came.

    Raises ``HttpError`` when it is too large or not declared as JSON, ``ClientGone`` when the
    client leaves before its end.
    """
    _check_content_type(headers)
    declared = first(headers, b"content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        arrived()
        if part := message.get("body", b""):
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def drain(receive: Receive) -> None:
    """Take and drop what is left of a refused body, up to a bound."""
    size = 0
    while size < _MAX_DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        size += len(message.get("body", b""))


def _check_content_type(headers: Headers) -> None:
    kind = first(headers, b"content-type")
    if kind is not None and kind.split(";")[0].strip().lower() != "application/json":
        raise HttpError(
            415,
            "invalid_request_error",
            "the request body must be sent as application/json",
            reason="wrong_content_type",
        )


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "request_too_large",
        f"the request body is larger than {limit // (1024 * 1024)} MB",
        CLOSE,
    )

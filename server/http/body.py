"""Taking a request body off the wire, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from providers.types import Headers
from server.exchange import Receive
from server.headers import first, values
from server.http.errors import HttpError
from server.interrupt import ClientGone
from server.tasks import spawn

CLOSE: Headers = [(b"connection", b"close")]
UNREAD_S = 10.0
"""How long a client that was refused may go on sending its body."""


async def read_body(
    headers: Headers, receive: Receive, limit: int, arrived: Callable[[], None]
) -> bytes:
    """The whole request body; ``arrived`` is called whenever some of it came.

    Raises ``HttpError`` when it is too large or not declared as JSON, ``ClientGone`` when the
    client leaves before its end.
    """
    check_content_type(headers)
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


def declares_body(headers: Headers) -> bool:
    """Whether a request has a body that somebody must read."""
    if first(headers, b"transfer-encoding") is not None:
        return True
    return first(headers, b"content-length") not in (None, "0")


async def drain(receive: Receive) -> None:
    """Take and drop what is left of a body that was not wanted; after a while only beside.

    Closing on unread bytes can reset the connection before the client saw its answer; and what
    comes would pile up, unless somebody takes it until the connection is closed.
    """
    rest = spawn("unread body", _drop(receive))
    try:
        await asyncio.wait({rest}, timeout=UNREAD_S)
    except asyncio.CancelledError:
        rest.cancel()
        raise


async def _drop(receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        more = message["type"] != "http.disconnect" and message.get("more_body", False)


def check_content_type(headers: Headers) -> None:
    """Raise ``HttpError`` 415 unless a body, if any, is declared as JSON or not declared at all.

    A web page can send any other type to us without being asked first; clients that leave the
    type out are programs.
    """
    for kind in values(headers, b"content-type"):
        if kind.partition(b";")[0].strip().lower() != b"application/json":
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

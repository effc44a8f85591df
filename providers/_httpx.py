"""Lets ``httpx.AsyncClient`` use our transport, for probes and tests; not for the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx

from providers import errors
from providers._origin import Origin
from providers.transport import Transport, UpstreamResponse

_HTTPX_ERRORS: tuple[tuple[type[errors.UpstreamError], type[httpx.TransportError]], ...] = (
    (errors.ProxyFailed, httpx.ProxyError),
    (errors.ConnectTimeout, httpx.ConnectTimeout),
    (errors.ConnectFailed, httpx.ConnectError),
    (errors.WriteFailed, httpx.WriteError),
    (errors.ConnectionDropped, httpx.ReadError),
    (errors.FramingError, httpx.RemoteProtocolError),
)


class HttpxTransport(httpx.AsyncBaseTransport):
    """``httpx.AsyncClient(transport=HttpxTransport(transport))``.

    Closing the client leaves ``transport`` open: it belongs to whoever made it. httpx's ``read``
    timeout is honoured for the head and for each piece of the body.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if name.lower() != b"transfer-encoding"
        ]
        read_timeout = request.extensions.get("timeout", {}).get("read")
        with _as_httpx(request):
            async with asyncio.timeout(read_timeout):
                response = await self._transport.request(
                    Origin(url.scheme, url.raw_host.decode("ascii").strip("[]"), port),
                    request.method.encode("ascii"),
                    url.raw_path,
                    headers,
                    body,
                )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response, request, read_timeout),
            extensions={"http_version": b"HTTP/1.1"},
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(
        self, response: UpstreamResponse, request: httpx.Request, read_timeout: float | None
    ) -> None:
        self._response = response
        self._request = request
        self._read_timeout = read_timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with _as_httpx(self._request):
                async with asyncio.timeout(self._read_timeout):
                    data = await self._response.read()
            if not data:
                return
            yield data

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise httpx.ReadTimeout("No answer within the read timeout.", request=request) from None
    except errors.UpstreamError as error:
        for ours, theirs in _HTTPX_ERRORS:
            if isinstance(error, ours):
                raise theirs(str(error), request=request) from error
        raise

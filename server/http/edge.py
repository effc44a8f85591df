"""The first code a request meets: who may speak to the gateway at all, then which route.

Decides on the raw path and never rebuilds a URL from ``Host``. The hot routes are served right
here as plain ASGI; everything else goes to the Quart application behind.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from providers.types import Headers
from server.credentials import Access, AuthFailed, authenticate
from server.dispatch import Dispatcher
from server.exchange import Inbound, Receive, Send, Sink
from server.guard import REFUSED_HEADER, read_refusal
from server.headers import first, values
from server.http import routes
from server.http.body import declares_body, drain
from server.http.errors import HttpError, render, shape_of
from server.http.models import ModelsEndpoint
from server.interrupt import ClientGone
from server.record import new_turn_id
from server.services import Services

_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_LOOPBACK_NAMES = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})

AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


class Edge:
    """The ASGI application the listener serves."""

    def __init__(
        self, services: Services, dispatcher: Dispatcher, inner: AsgiApp, models: ModelsEndpoint
    ) -> None:
        self._services = services
        self._inner = inner
        self._models = models
        self._dispatcher = dispatcher
        self._names = set(_LOOPBACK_NAMES)
        self._port = b"0"
        self._nonce = b""

    def listen_at(self, host: str, port: int, nonce: bytes) -> None:
        """Tell the address that ``Host`` may name, and the framing guard's secret."""
        name = host.encode()
        self._names.add(b"[" + name + b"]" if b":" in name else name)
        self._port = str(port).encode()
        self._nonce = nonce

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        sink = Sink(send, self._services.clock)
        if declares_body(scope["headers"]):
            sink.linger = partial(drain, receive)
        try:
            await self._route(scope, receive, send, sink)
        except HttpError as error:
            await self._refuse(scope, receive, sink, error)
        except ClientGone:
            return

    async def _route(self, scope: Any, receive: Receive, send: Send, sink: Sink) -> None:
        headers: Headers = scope["headers"]
        self._check_framing(headers)
        path = self._check_address(scope["raw_path"], headers)
        path, token = routes.split_token(path)
        method: str = scope["method"]
        if routes.is_open(method, path):
            await self._open_route(scope, receive, send, sink, method, path)
            return
        access = self._authenticate(headers, token)
        routes.check(method, path)
        passing = self._services.keys.without_key(headers)
        inbound = Inbound(method, path, scope["query_string"], passing, access)
        if path in routes.RELAYED:
            await self._relay(inbound, receive, sink)
        elif path == b"/v1/models" or path.startswith(b"/v1/models/"):
            await self._models.serve(inbound, sink)
        else:
            await self._behind(scope, receive, send, path)

    # ------------------------------------------------------------------ checks

    def _check_framing(self, headers: Headers) -> None:
        for value in values(headers, REFUSED_HEADER):
            refusal = read_refusal(self._nonce, value)
            if refusal is not None:
                close = [(b"connection", b"close")]
                if refusal.status == 426:
                    close.append((b"upgrade", b"HTTP/1.1"))
                raise HttpError(
                    refusal.status, "invalid_request_error", refusal.reason, close, "framing"
                )

    def _check_address(self, raw_path: bytes, headers: Headers) -> bytes:
        """The path in origin form, once Host, Origin and Sec-Fetch-Site are acceptable."""
        host = values(headers, b"host")
        match = _HOST.fullmatch(host[0]) if len(host) == 1 else None
        if (
            match is None
            or match.group(1).lower() not in self._names
            or (match.group(2) or b"80") != self._port
        ):
            raise HttpError(
                403,
                "permission_error",
                "this Host is not served here; use the address the gateway prints",
                reason="wrong_host",
            )
        if values(headers, b"origin") or first(headers, b"sec-fetch-site") == "cross-site":
            raise HttpError(
                403,
                "permission_error",
                "requests from web pages are not accepted",
                reason="wrong_origin",
            )
        if raw_path[:7].lower() == b"http://":
            authority, slash, rest = raw_path[7:].partition(b"/")
            if authority != host[0]:
                raise HttpError(
                    403,
                    "permission_error",
                    "this gateway is not an HTTP proxy; set it as the base URL instead",
                    reason="wrong_host",
                )
            return slash + rest
        return raw_path

    def _authenticate(self, headers: Headers, token: bytes | None) -> Access:
        try:
            return authenticate(headers, token, self._services.keys)
        except AuthFailed as error:
            raise HttpError(401, "authentication_error", str(error), reason=error.reason) from error

    # ------------------------------------------------------------------ routes

    async def _open_route(
        self, scope: Any, receive: Receive, send: Send, sink: Sink, method: str, path: bytes
    ) -> None:
        if method == "HEAD":
            await sink.respond(200, [], b"")
            return
        token = routes.split_token(scope["raw_path"])[1]
        try:
            self._authenticate(scope["headers"], token)
        except HttpError:
            known = False
        else:
            known = True
        await self._behind(dict(scope, **{"sbgw.authenticated": known}), receive, send, path)

    async def _behind(self, scope: Any, receive: Receive, send: Send, path: bytes) -> None:
        inner = dict(scope, path=path.decode("latin-1"), raw_path=path)
        await self._inner(inner, receive, send)

    async def _relay(self, inbound: Inbound, receive: Receive, sink: Sink) -> None:
        if self._services.is_draining():
            raise HttpError(
                503,
                "api_error",
                "the gateway is shutting down",
                [(b"connection", b"close")],
                "draining",
            )
        await self._dispatcher.handle(inbound, receive, sink)

    async def _refuse(self, scope: Any, receive: Receive, sink: Sink, error: HttpError) -> None:
        self._services.stats.rejected(error.counted_as)
        self._services.ledger.record_reject(error.counted_as, error.status)
        self._services.bus.publish("rejected", reason=error.counted_as, http_status=error.status)
        headers, body = render(error, shape_of(self._asked_for(scope)), new_turn_id())
        if scope["method"] == "HEAD":
            body = b""
        await sink.respond(error.status, headers, body)

    def _asked_for(self, scope: Any) -> bytes:
        """The path the client meant, also of a request that the framing guard has replaced."""
        path: bytes = scope["raw_path"]
        for value in values(scope["headers"], REFUSED_HEADER):
            refusal = read_refusal(self._nonce, value)
            if refusal is not None:
                path = refusal.target.partition(b"?")[0]
        return routes.split_token(path)[0]

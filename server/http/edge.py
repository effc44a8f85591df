"""The first code a request meets: who may speak to the gateway at all, then which route.

Decides on the raw path and never rebuilds a URL from ``Host``. The hot routes are served right
here as plain ASGI; everything else goes to the Quart application behind.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from quart import Quart

from providers.types import Headers
from server.config import DEFAULT_KEY
from server.connection import REFUSAL
from server.credentials import Access, AuthFailed, authenticate, token_of
from server.dispatch import Dispatcher
from server.exchange import Inbound, Receive, Send, Sink
from server.guard import Refused
from server.headers import values
from server.http import routes
from server.http.body import check_content_type, declares_body, drain
from server.http.errors import HttpError, render, shape_of
from server.http.models import ModelsEndpoint
from server.interrupt import ClientGone
from server.record import new_turn_id
from server.redact import Redactor
from server.services import Services
from server.throttle import FailureThrottle

_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_LOOPBACK_NAMES = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})
_OWN_SITE = frozenset({b"none", b"same-origin"})
"""``Sec-Fetch-Site`` of what no foreign page asked for."""
_THROTTLED = "throttled"

AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


class Edge:
    """The ASGI application the listener serves."""

    def __init__(
        self, services: Services, dispatcher: Dispatcher, inner: AsgiApp, models: ModelsEndpoint
    ) -> None:
        self._services = services
        self._inner = inner
        if isinstance(inner, Quart):
            # It takes this from QUART_DEBUG, and would answer a failure with the inside of it.
            inner.debug = inner.testing = False
        self._models = models
        self._dispatcher = dispatcher
        self._names = set(_LOOPBACK_NAMES)
        self._port = b"0"
        self._is_everywhere = False
        self._throttle = FailureThrottle(services.clock)
        self._redact = _redactor(services)

    def listen_at(self, host: str, port: int) -> None:
        """Tell the address that ``Host`` may name."""
        self._names.add(_host_name(host))
        self._is_everywhere = host in ("0.0.0.0", "::")  # noqa: S104
        self._port = str(port).encode()

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
        if REFUSAL in scope["state"]:
            raise _refused(scope["state"][REFUSAL])
        path = self._check_address(scope, headers)
        path, token = routes.split_token(path)
        method: str = scope["method"]
        if routes.is_open(method, path):
            await self._open_route(scope, receive, send, sink, method, path)
            return
        access = self._admit(scope, token)
        routes.check(method, path)
        passing = self._services.keys.without_key(headers)
        inbound = Inbound(method, path, scope["query_string"], passing, access)
        if path in routes.RELAYED:
            await self._relay(inbound, receive, sink)
        elif path == b"/v1/models" or path.startswith(b"/v1/models/"):
            await self._models.serve(inbound, sink)
        else:
            check_content_type(headers)
            await self._behind(dict(scope, **{"sbgw.access": access}), receive, send, path)

    # ------------------------------------------------------------------ checks

    def _check_address(self, scope: Any, headers: Headers) -> bytes:
        """The path in origin form, once Host, Origin and Sec-Fetch-Site are acceptable."""
        host = values(headers, b"host")
        match = _HOST.fullmatch(host[0]) if len(host) == 1 else None
        if (
            match is None
            or not self._is_ours(match.group(1).lower(), scope)
            or (match.group(2) or b"80") != self._port
        ):
            raise HttpError(
                403,
                "permission_error",
                "this Host is not served here; use the address the gateway prints",
                reason="wrong_host",
            )
        sites = values(headers, b"sec-fetch-site")
        if values(headers, b"origin") or any(site.lower() not in _OWN_SITE for site in sites):
            raise HttpError(
                403,
                "permission_error",
                "requests from web pages are not accepted",
                reason="wrong_origin",
            )
        raw_path: bytes = scope["raw_path"]
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

    def _is_ours(self, name: bytes, scope: Any) -> bool:
        """Whether ``Host`` may name us so; the address that was connected to is as good as ours.

        A page whose own name leads here (DNS rebinding) names itself, never our address.
        """
        if name in self._names:
            return True
        return self._is_everywhere and name == _host_name(str(scope["server"][0]))

    def _admit(self, scope: Any, token: bytes | None) -> Access:
        """Who has the key passes; the others are told so, at a bounded rate."""
        try:
            access = authenticate(scope["headers"], token, self._services.keys)
        except AuthFailed as error:
            client = scope.get("client")
            if self._throttle.failed(str(client[0]) if client else ""):
                raise HttpError(
                    429,
                    "rate_limit_error",
                    f"too many requests without the right key; {error}",
                    [(b"retry-after", b"1")],
                    _THROTTLED,
                ) from error
            raise HttpError(401, "authentication_error", str(error), reason=error.reason) from error
        return replace(access, redact=self._redact.also(access.client_secrets))

    # ------------------------------------------------------------------ routes

    async def _open_route(
        self, scope: Any, receive: Receive, send: Send, sink: Sink, method: str, path: bytes
    ) -> None:
        if method == "HEAD":
            await sink.respond(200, [], b"")
            return
        token = routes.split_token(scope["raw_path"])[1]
        try:
            authenticate(scope["headers"], token, self._services.keys)
        except AuthFailed:
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
        if error.counted_as != _THROTTLED:
            # A flood must not push out of the bus's memory what its watchers come back for.
            self._services.bus.publish(
                "rejected", reason=error.counted_as, http_status=error.status
            )
        headers, body = render(
            error, shape_of(routes.split_token(scope["raw_path"])[0]), new_turn_id()
        )
        if scope["method"] == "HEAD":
            body = b""
        await sink.respond(error.status, headers, body)


def _refused(refusal: Refused) -> HttpError:
    """The answer to a request that the framing guard has refused."""
    headers = [(b"connection", b"close")]
    if refusal.status == 426:
        headers.append((b"upgrade", b"HTTP/1.1"))
    return HttpError(
        refusal.status, "invalid_request_error", refusal.reason, headers, reason="framing"
    )


def _host_name(address: str) -> bytes:
    """``address`` as ``Host`` writes it."""
    return f"[{address}]".encode() if ":" in address else address.encode()


def _redactor(services: Services) -> Redactor:
    """Masks what this gateway knows to be secret, in words that come back from an upstream."""
    secrets = [
        token_of(*pair).decode("latin-1")
        for upstream in services.upstreams.values()
        for pair in upstream.own_credential or ()
    ]
    key = services.keys.reveal()
    return Redactor(secrets if key == DEFAULT_KEY else [*secrets, key])

"""The Quart application behind the edge: health, metrics, events, snapshot, explain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar, cast

import msgspec
from quart import Quart, Response, request
from quart.typing import ResponseReturnValue

from providers.types import Headers
from providers.types import Protocol as WireProtocol
from server.clock import Clock
from server.credentials import Access
from server.engine import CommandResult, Snapshot, Subscription
from server.events import Event
from server.explain import explain
from server.http.command import command_routes
from server.http.errors import HttpError, render, shape_of
from server.http.verification import verification_routes
from server.record import new_turn_id
from server.stats import Stats, seed_event
from server.tasks import spawn

_STREAM_KEEPALIVE_S = 15.0
_MAX_RECENT = 5000


class AdminView(Protocol):
    """What the endpoints need from the engine; ``server.gateway.Gateway`` has it."""

    stats: Stats
    clock: Clock
    instance: str
    """Opaque id, fresh at every start; events are numbered anew with it."""

    async def snapshot(self) -> Snapshot:
        """See ``server.engine``."""

    async def totals(self) -> Snapshot:
        """See ``server.engine``."""

    def subscribe(self, after_seq: int | None = None) -> Subscription:
        """See ``server.engine``."""

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        """See ``server.engine``."""

    def health(self, *, live: bool, nonce: str | None) -> dict[str, Any]:
        """The body of ``GET /health``."""

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """Turn summaries, newest first."""

    def decide(
        self, protocol: WireProtocol, route: str, kind: str, offload: bool
    ) -> dict[str, Any]:
        """The decision part of an explanation."""

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """See ``server.engine``."""

    def shadow_stats(self) -> dict[str, Any]:
        """The body of ``GET /shadow/stats``."""

    async def probe_all(self) -> list[dict[str, Any]]:
        """Every provider's entry with ``live``, what a probe of it found just now."""

    async def compact(self, data: bytes, access: Access, headers: Headers) -> dict[str, Any]:
        """The body of ``POST /v1/context/compact``."""


def create_app(view: AdminView, max_body_bytes: int) -> Quart:
    """Build the application; every default that would cut a stream is overridden."""
    app = Quart("sbgw", static_folder=None)
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.config["BODY_TIMEOUT"] = 60
    assert_config(app, max_body_bytes)
    _health_routes(app, view)
    _event_routes(app, view)
    _routing_routes(app, view)
    _provider_routes(app, view)
    command_routes(app, view)
    verification_routes(app, view)
    _error_handlers(app)
    return app


def assert_config(app: Quart, max_body_bytes: int) -> None:
    """Fail at start when a default of the framework would cut long answers or large bodies."""
    if app.config["RESPONSE_TIMEOUT"] is not None:
        raise RuntimeError("Quart would cut long streams: RESPONSE_TIMEOUT must be None")
    if app.config["MAX_CONTENT_LENGTH"] != max_body_bytes:
        raise RuntimeError("Quart would refuse bodies the vendors accept: MAX_CONTENT_LENGTH")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, content_type="application/json")


def _health_routes(app: Quart, view: AdminView) -> None:
    @app.get("/health")
    async def health() -> ResponseReturnValue:
        wants_live = request.args.get("live") in ("1", "true")
        is_known = bool(cast(dict[str, Any], request.scope).get("sbgw.authenticated"))
        body = view.health(live=wants_live and is_known, nonce=request.args.get("nonce"))
        if wants_live and not is_known:
            body["live"] = "needs key"
        return _json(body)

    @app.get("/metrics")
    async def metrics() -> ResponseReturnValue:
        if "text/plain" in request.headers.get("accept", ""):
            text = view.stats.metrics_prometheus()
            return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
        return _json(view.stats.metrics_json())

    @app.get("/snapshot")
    async def snapshot() -> ResponseReturnValue:
        wants_turns = request.args.get("turns") != "0"
        return _json(await (view.snapshot() if wants_turns else view.totals()))

    @app.post("/v1/route/explain")
    async def route_explain() -> ResponseReturnValue:
        data = await request.get_data(cache=False)
        try:
            body = await asyncio.to_thread(explain, data, view.decide)
        except ValueError as error:
            raise HttpError(400, "invalid_request_error", str(error)) from error
        return _json(body)

    @app.get("/")
    @app.get("/api/hello")
    async def hello() -> ResponseReturnValue:
        return _json({"service": "sbgw-tui"})


def _routing_routes(app: Quart, view: AdminView) -> None:
    @app.get("/shadow/stats")
    async def shadow_stats() -> ResponseReturnValue:
        return _json(view.shadow_stats())

    @app.post("/shadow")
    async def shadow() -> ResponseReturnValue:
        change = _read(await request.get_data(cache=False), ShadowChange)
        done = await view.command(
            "set_shadow", enabled=change.enabled, remember=change.remember, source="HTTP"
        )
        data = done.data
        return _json(
            {
                "shadowMode": data["shadow"],
                "persisted": data["persisted"],
                "reason": data["reason"],
            }
        )

    @app.get("/routing")
    async def routing() -> ResponseReturnValue:
        return _json((await view.snapshot())["routing"])

    @app.put("/routing")
    async def change_routing() -> ResponseReturnValue:
        change = _read(await request.get_data(cache=False), dict[str, Any])
        remember = change.pop("remember", True)
        if not isinstance(remember, bool):
            raise HttpError(400, "invalid_request_error", "remember must be true or false")
        done = await view.command(
            "change_routing",
            change=change,
            dry_run=request.args.get("dry_run") in ("1", "true"),
            remember=remember,
            source="HTTP",
        )
        if not done.ok:
            raise HttpError(400, "invalid_request_error", done.message)
        return _json(done.data)


def _provider_routes(app: Quart, view: AdminView) -> None:
    @app.get("/providers")
    async def providers() -> ResponseReturnValue:
        if request.args.get("live") in ("1", "true"):
            return _json({"providers": await view.probe_all(), "timestamp": view.clock.time()})
        snapshot = await view.snapshot()
        return _json({"providers": snapshot["providers"], "timestamp": snapshot["at"]})

    async def act(action: str, name: str) -> ResponseReturnValue:
        done = await view.command(action, provider=name, source="HTTP")
        if "provider" not in done.data:
            raise HttpError(404, "not_found_error", done.message)
        return _json({"ok": done.ok, "message": done.message, **done.data})

    @app.post("/providers/<name>/reset")
    async def reset(name: str) -> ResponseReturnValue:
        return await act("reset", name)

    @app.post("/providers/<name>/pause")
    async def pause(name: str) -> ResponseReturnValue:
        return await act("pause", name)

    @app.post("/providers/<name>/resume")
    async def resume(name: str) -> ResponseReturnValue:
        return await act("resume", name)

    @app.post("/providers/<name>/probe")
    async def probe(name: str) -> ResponseReturnValue:
        return await act("probe", name)

    @app.post("/v1/context/compact")
    async def compact() -> ResponseReturnValue:
        data = cast(bytes, await request.get_data(cache=False))
        scope = cast(dict[str, Any], request.scope)
        return _json(await view.compact(data, scope["sbgw.access"], scope["headers"]))


class ShadowChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /shadow``."""

    enabled: bool
    remember: bool = False
    """Keep it over a restart; switching back to shadow is always kept."""


_T = TypeVar("_T")


def _read(data: str | bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise HttpError(400, "invalid_request_error", f"the body is not right: {error}") from error


def _event_routes(app: Quart, view: AdminView) -> None:
    @app.get("/events/recent")
    async def recent() -> ResponseReturnValue:
        limit = request.args.get("limit", "100")
        if not limit.isdecimal():
            raise HttpError(400, "invalid_request_error", "limit must be a whole number")
        rows = await view.recent(min(int(limit), _MAX_RECENT))
        return _json({"events": [seed_event(row) for row in rows]})

    @app.get("/events/<turn_id>")
    async def one(turn_id: str) -> ResponseReturnValue:
        turn = await view.turn(turn_id)
        if turn is None:
            raise HttpError(404, "not_found_error", "no turn has this id")
        return _json(turn)

    @app.get("/events/stream")
    async def stream() -> ResponseReturnValue:
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isdecimal() else None
        subscription = view.subscribe(after)
        response = Response(
            _event_stream(subscription, view.clock),
            content_type="text/event-stream",
            headers={
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                "x-gateway-instance": view.instance,
            },
        )
        response.timeout = None
        return response


async def _event_stream(subscription: Subscription, clock: Clock) -> AsyncIterator[bytes]:
    """Server-Sent Events; ``id`` is the event's ``seq``, a lost event is told as ``resync``."""
    waiting: asyncio.Task[Event | None] | None = None
    quiet: asyncio.Task[None] | None = None
    try:
        yield b": connected\n\n"
        while True:
            if subscription.resync:
                subscription.resync = False
                yield b'event: resync\ndata: {"type":"resync"}\n\n'
            waiting = waiting or spawn("event", _next(subscription))
            quiet = spawn("quiet", clock.sleep(_STREAM_KEEPALIVE_S))
            await asyncio.wait({waiting, quiet}, return_when=asyncio.FIRST_COMPLETED)
            quiet.cancel()
            if not waiting.done():
                yield b": keep-alive\n\n"
                continue
            first = waiting.result()
            if first is None:
                return
            waiting = None
            events = [first, *subscription.drain()]
            yield b"".join(_encode(event) for event in events)
    finally:
        for task in (waiting, quiet):
            if task is not None:
                task.cancel()
        subscription.close()


async def _next(subscription: Subscription) -> Event | None:
    try:
        return await subscription.get()
    except StopAsyncIteration:
        return None


def _encode(event: Event) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event["seq"],
        str(event["type"]).encode(),
        msgspec.json.encode(event),
    )


def _error_handlers(app: Quart) -> None:
    def answer(error: HttpError) -> Response:
        shape = shape_of(request.path.encode())
        headers, body = render(error, shape, new_turn_id())
        pairs = {name.decode(): value.decode() for name, value in headers}
        return Response(body, error.status, headers=pairs)

    @app.errorhandler(HttpError)
    async def ours(error: HttpError) -> ResponseReturnValue:
        return answer(error)

    @app.errorhandler(404)
    async def not_found(_: Exception) -> ResponseReturnValue:
        return answer(HttpError(404, "not_found_error", "there is nothing at this path"))

    @app.errorhandler(413)
    async def too_large(_: Exception) -> ResponseReturnValue:
        return answer(HttpError(413, "request_too_large", "the request body is too large"))

    @app.errorhandler(500)
    async def crashed(_: Exception) -> ResponseReturnValue:
        return answer(HttpError(500, "api_error", "the gateway failed; its log says why"))

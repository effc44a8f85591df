"""One request end to end: understand, plan, record, attempt, settle.

This is the one place that decides what an upstream's failure means for the client.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import unquote

from providers.errors import (
    ConnectFailed,
    DeadlineExpired,
    Expired,
    Offline,
    Stalled,
    TlsFailed,
    UpstreamError,
)
from providers.protocols.anthropic import request as anthropic_request
from providers.protocols.anthropic.stream import error_event
from providers.types import Delivery, Headers, Protocol
from providers.upstream import Upstream
from server import accounting, understanding
from server.credentials import NO_CREDENTIAL, Credential, choose
from server.exchange import Exchange, Inbound, Receive, Sink
from server.headers import first, to_upstream
from server.http.body import CLOSE, read_body
from server.http.errors import HttpError, render, shape_of
from server.interrupt import BodyStalled, ClientGone, ClientStalled, Draining, Interrupt
from server.patience import Patience
from server.policy import NoCandidate, Plan, Target, plan_baseline
from server.prefix import Digester
from server.record import Attempt, Phase, Status, Turn, new_turn_id
from server.relay import NativeRelay
from server.services import Services
from server.tasks import spawn
from server.timers import Verdict, Watch, total_deadline_s

_log = logging.getLogger("sbgw.dispatch")

UNRECORDED = "requests cannot be recorded now, and the setting ledger.required refuses them then"


class Dispatcher:
    """Serves client requests on the native Messages routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._patience = Patience()
        self._digester = Digester(services.digest_key)

    async def handle(self, inbound: Inbound, receive: Receive, sink: Sink) -> None:
        """Serve one authenticated request to its terminal state; it always gets an answer."""
        exchange = self._accept(inbound, sink)
        services, turn = self._services, exchange.turn
        accepted_at = services.clock.monotonic()
        services.active[turn.id] = exchange
        sink.before_start = partial(self._assure_opened, exchange)
        sink.before_end = partial(self._settle, exchange, accepted_at)
        try:
            with exchange.interrupt:
                await self._receive(exchange, receive)
                async with _watching(receive, exchange):
                    await self._serve(exchange, exchange.body, accepted_at)
        except (ClientGone, ClientStalled) as reason:
            self._cancelled(exchange, reason)
        except Draining:
            await self._fail(exchange, HttpError(503, "api_error", "the gateway is shutting down"))
        except BodyStalled:
            sink.linger = None
            slow = "the request body did not arrive in time"
            await self._fail(exchange, HttpError(408, "invalid_request_error", slow, CLOSE))
        except HttpError as error:
            await self._fail(exchange, error)
        except Exception:
            _log.exception("turn %s failed", turn.id)
            failed = "the gateway failed; its log says why"
            await self._fail(exchange, HttpError(500, "api_error", failed))
        finally:
            services.active.pop(turn.id, None)
            try:
                self._close(exchange, accepted_at)
            finally:
                exchange.done.set()

    def _accept(self, inbound: Inbound, sink: Sink) -> Exchange:
        clock = self._services.clock
        now = clock.monotonic()
        turn = Turn(
            id=new_turn_id(),
            at=clock.time(),
            protocol=Protocol.MESSAGES,
            path=inbound.path.decode("latin-1"),
            session=first(inbound.headers, b"x-claude-code-session-id"),
            agent=first(inbound.headers, b"x-claude-code-agent-id"),
            project=_label(inbound.headers, b"x-sbgw-project"),
            branch=_label(inbound.headers, b"x-sbgw-branch"),
            label=_label(inbound.headers, b"x-sbgw-label"),
            demo=self._services.is_demo,
        )
        hint = _seconds(first(inbound.headers, b"x-stainless-timeout"))
        deadline = now + total_deadline_s(hint)
        watch = Watch(self._services.timer_limits, deadline)
        return Exchange(turn, inbound, sink, watch)

    async def _receive(self, exchange: Exchange, receive: Receive) -> None:
        watch, clock = exchange.watch, self._services.clock

        def arrived() -> None:
            watch.receiving_since = clock.monotonic()

        arrived()
        limit = self._services.settings.server.max_body_mb * 1024 * 1024
        try:
            exchange.body = await read_body(exchange.inbound.headers, receive, limit, arrived)
        finally:
            watch.receiving_since = None
        exchange.turn.body_bytes = len(exchange.body)
        exchange.sink.linger = None

    # ------------------------------------------------------------------ before dispatch

    async def _serve(self, exchange: Exchange, body: bytes, accepted_at: float) -> None:
        services, turn = self._services, exchange.turn
        readable = await understanding.understand(exchange, body)
        exchange.watch.is_stream = turn.stream
        plan = self._plan(exchange)
        turn.candidates = list(plan.candidates)
        turn.mode = plan.mode
        target = plan.targets[0]
        turn.provider = target.provider
        upstream = services.upstreams[target.provider]
        credential = self._credential(exchange.inbound, upstream)
        if credential is None:
            raise self._no_credential(upstream.name)
        turn.payer = credential.payer
        await self._patience.briefly(self._open(exchange))
        if services.settings.ledger.required and services.ledger.state.status != "ok":
            raise HttpError(503, "api_error", UNRECORDED)
        if target.model is not None and target.model != turn.model_asked:
            body = anthropic_request.replace_model(readable, target.model)
        await self._attempt(exchange, upstream, target, credential, body, accepted_at)

    def _plan(self, exchange: Exchange) -> Plan:
        services, inbound = self._services, exchange.inbound
        upstreams = services.upstreams

        def speaks(name: str) -> Protocol | None:
            return upstreams[name].protocol if name in upstreams else None

        def has_credential(name: str) -> bool:
            return self._credential(inbound, upstreams[name]) is not None

        try:
            return plan_baseline(
                services.settings.routing.baseline.messages,
                Protocol.MESSAGES,
                speaks=speaks,
                has_credential=has_credential,
            )
        except NoCandidate as error:
            if str(error) in upstreams:
                raise self._no_credential(str(error)) from error
            raise HttpError(503, "api_error", str(error)) from error

    def _credential(self, inbound: Inbound, upstream: Upstream) -> Credential | None:
        return choose(
            inbound.access,
            inbound.headers,
            mode=upstream.credentials,
            own=upstream.own_credential,
        )

    def _no_credential(self, name: str) -> HttpError:
        upstream = self._services.upstreams[name]
        env = upstream.api_key_env or "its API key"
        text = NO_CREDENTIAL.format(provider=name, env=env, env_file=self._services.env_file)
        return HttpError(401, "authentication_error", text, reason="no_credential")

    def _open(self, exchange: Exchange) -> Future[None]:
        """Announce the turn; the future is done with its write-ahead row."""
        services, turn = self._services, exchange.turn
        exchange.opened = opened = services.ledger.open_turn(turn)
        services.stats.turn_opened(turn)
        services.bus.publish("turn.opened", turn=turn.summary())
        return opened

    async def _assure_opened(self, exchange: Exchange) -> None:
        """Bring the write-ahead row to safety before the client sees a byte."""
        await self._patience.wait(exchange.opened or self._open(exchange))

    # ------------------------------------------------------------------ the attempt

    async def _attempt(
        self,
        exchange: Exchange,
        upstream: Upstream,
        target: Target,
        credential: Credential,
        body: bytes,
        accepted_at: float,
    ) -> None:
        turn, clock = exchange.turn, self._services.clock
        started = clock.monotonic()
        attempt = Attempt(
            number=len(turn.attempts) + 1,
            provider=upstream.name,
            model=target.model or turn.model_asked,
            started_s=started - accepted_at,
            bytes_up=len(body),
        )
        turn.attempts.append(attempt)
        timer = Interrupt()
        exchange.expire = lambda verdict: timer.fire(_expired(verdict, upstream.name))
        try:
            with timer:
                await self._exchange_bytes(
                    exchange, upstream, credential, body, attempt, accepted_at
                )
        except UpstreamError as error:
            if exchange.is_recorded:
                await self._hand_over(exchange)
                return
            attempt.outcome, attempt.error = error.code, str(error)[:300]
            attempt.duration_s = clock.monotonic() - started
            await self._upstream_failed(exchange, upstream.name, error)
        except BaseException:
            if not exchange.is_recorded:
                attempt.outcome = "cancelled"
            raise
        finally:
            exchange.expire = None

    async def _exchange_bytes(
        self,
        exchange: Exchange,
        upstream: Upstream,
        credential: Credential,
        body: bytes,
        attempt: Attempt,
        accepted_at: float,
    ) -> None:
        inbound, services = exchange.inbound, self._services
        headers = to_upstream(inbound.headers, credential.headers)
        if body is not exchange.body:
            # Another model was written into it, and into its decoded form.
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
        response = await upstream.send(
            inbound.method.encode(), inbound.path, inbound.query, headers, body
        )
        relay = NativeRelay(
            exchange,
            attempt,
            services.clock,
            accepted_at=accepted_at,
            extra_headers=lambda: gateway_headers(exchange.turn),
            on_commit=lambda: self._announce(exchange.turn),
        )
        await relay.run(response)

    def _announce(self, turn: Turn) -> None:
        self._services.stats.turn_updated(turn)
        self._services.bus.publish("turn.updated", turn=turn.summary())

    async def _upstream_failed(self, exchange: Exchange, name: str, error: UpstreamError) -> None:
        """Tell the client what no answer, or half an answer, of the upstream means."""
        turn = exchange.turn
        turn.error_message = str(error)[:300]
        if exchange.sink.started:
            turn.error_type = "timeout_error" if isinstance(error, Expired) else "api_error"
            await self._break_off(exchange, turn.error_type, str(error))
            return
        await self._fail(exchange, _before_commit(name, error))

    async def _break_off(self, exchange: Exchange, error_type: str, message: str) -> None:
        """End a started answer with the protocol's error event; one that takes none is cut."""
        exchange.turn.status = Status.PARTIAL
        if exchange.takes_events:
            await exchange.sink.write(error_event(error_type, message, exchange.turn.id))
            await exchange.sink.finish()

    # ------------------------------------------------------------------ endings

    async def _fail(self, exchange: Exchange, error: HttpError) -> None:
        """Answer with an error of our own, or end a started answer with an error event."""
        turn, sink = exchange.turn, exchange.sink
        if exchange.is_recorded:
            await self._hand_over(exchange)
            return
        turn.error_type, turn.error_message = error.error_type, error.message[:300]
        if sink.started:
            await self._break_off(exchange, error.error_type, error.message)
            return
        turn.status = Status.FAILED if turn.attempts or error.status >= 500 else Status.REJECTED
        turn.http_status = error.status
        headers, body = render(error, shape_of(exchange.inbound.path), turn.id)
        await sink.respond(error.status, headers + gateway_headers(turn)[1:], body)

    async def _hand_over(self, exchange: Exchange) -> None:
        """Send the end of an answer that was complete when something interrupted it."""
        if not exchange.sink.finished:
            await exchange.sink.finish()

    def _cancelled(self, exchange: Exchange, reason: Exception) -> None:
        turn = exchange.turn
        if exchange.is_recorded:
            return
        if turn.status is Status.OPEN:
            turn.status = Status.CANCELLED
        turn.error_type = "client_stalled" if isinstance(reason, ClientStalled) else None

    async def _settle(self, exchange: Exchange, accepted_at: float) -> None:
        """Bring the terminal row to safety before the client sees the end of its answer."""
        if exchange.turn.status is not Status.PARTIAL:
            exchange.turn.delivery = Delivery.FULL
        try:
            recorded = self._record(exchange, accepted_at)
        except Exception:
            # The answer is the client's, whatever is wrong with our books.
            _log.exception("turn %s cannot be recorded", exchange.turn.id)
            return
        await self._patience.wait(recorded)

    def _record(self, exchange: Exchange, accepted_at: float) -> Future[None]:
        """The terminal state, priced; the future is done when it is recorded."""
        services, turn = self._services, exchange.turn
        exchange.is_recorded, exchange.expire = True, None
        if turn.status is Status.OPEN:
            turn.status = Status.CANCELLED
        turn.phase = Phase.DONE
        turn.duration_s = services.clock.monotonic() - accepted_at
        turn.bytes_down = exchange.sink.bytes_sent
        if turn.attempts and turn.attempts[-1].duration_s is None:
            turn.attempts[-1].duration_s = turn.duration_s - turn.attempts[-1].started_s
        if exchange.opened is None:
            self._open(exchange)
        try:
            accounting.price(turn, services.prices, services.clock.time())
        except Exception:
            # Without its price the turn is still a turn: its row must not stay open.
            _log.exception("turn %s cannot be priced", turn.id)
        return services.ledger.close_turn(turn, _digesting(exchange, self._digester))

    def _close(self, exchange: Exchange, accepted_at: float) -> None:
        """Record the turn if its answer had no end, then count and announce it, once."""
        services, turn = self._services, exchange.turn
        if not exchange.is_recorded:
            self._record(exchange, accepted_at)
        services.stats.turn_finished(turn)
        services.bus.publish("turn.finished", turn=turn.summary())


@asynccontextmanager
async def _watching(receive: Receive, exchange: Exchange) -> AsyncIterator[None]:
    """Notice the client's disconnect while the answer is on its way."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        exchange.interrupt.fire(ClientGone())

    watcher = spawn("client watch", watch())
    try:
        yield
    finally:
        watcher.cancel()


def _digesting(exchange: Exchange, digester: Digester) -> Callable[[], None] | None:
    turn, request = exchange.turn, exchange.request
    if turn.status is Status.REJECTED or request is None:
        return None
    return lambda: understanding.digest(turn, request, digester)


def gateway_headers(turn: Turn) -> Headers:
    """What we add to every routed answer."""
    pairs = [
        (b"x-gateway-request-id", turn.id),
        (b"x-gateway-provider", turn.provider or ""),
        (b"x-gateway-model", (turn.attempts[-1].model if turn.attempts else None) or ""),
        (b"x-gateway-route", turn.route),
        (b"x-gateway-attempts", str(len(turn.attempts))),
    ]
    return [(name, _field_safe(value)) for name, value in pairs]


_MAX_FIELD = 200
"""Characters; a model's name is the client's, and clients refuse answers with large heads."""

_PRINTABLE = bytes(c if 0x20 <= c < 0x7F else ord("?") for c in range(256))


def _field_safe(value: str) -> bytes:
    return value[:_MAX_FIELD].encode("utf-8", "replace").translate(_PRINTABLE)


def _label(headers: Headers, name: bytes) -> str | None:
    value = first(headers, name)
    return unquote(value)[:200] if value else None


def _seconds(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None


def _expired(verdict: Verdict, name: str) -> Expired:
    match verdict:
        case Verdict.DEADLINE:
            return DeadlineExpired(f"{name} did not begin to answer in time")
        case Verdict.NO_PROGRESS:
            return Stalled(f"{name} kept the connection open but sent nothing of the answer")
        case _:
            return Stalled(f"{name} went silent in the middle of its answer")


def _before_commit(name: str, error: UpstreamError) -> HttpError:
    text = str(error)
    if isinstance(error, Offline):
        return HttpError(503, "api_error", f"this machine is offline: {text}")
    if isinstance(error, TlsFailed):
        return HttpError(502, "api_error", text)
    if isinstance(error, ConnectFailed):
        return HttpError(503, "api_error", f"{name} cannot be reached: {text}")
    if isinstance(error, Expired):
        return HttpError(504, "timeout_error", text)
    return HttpError(502, "api_error", text)

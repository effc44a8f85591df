"""One request end to end: understand, plan, record, attempt, settle.

What an upstream's failure means is decided in ``server.judge`` and acted on in ``server.attempts``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from urllib.parse import unquote

from providers.faults import Fault, FaultKind
from providers.types import Delivery
from server import accounting, endpoints, understanding
from server.attempts import Attempts
from server.background import BACKGROUND
from server.bulkhead import TOO_BUSY, Holding, counted
from server.client_watch import ClientWatch, ClientWatches
from server.cold_desk import ColdDesk
from server.credentials import NO_CREDENTIAL
from server.endings import break_off, gateway_headers
from server.exchange import Exchange, Inbound, Receive, Sink
from server.headers import by_name
from server.health import Health
from server.http.body import CLOSE, read_body
from server.http.errors import HttpError, render, shape_of
from server.interrupt import BodyStalled, ClientGone, ClientStalled, Draining
from server.patience import Patience
from server.planning import Planner
from server.policy import NoCandidate, Plan
from server.prefix import Digester
from server.record import Phase, Status, Turn, new_turn_id
from server.services import Services
from server.timers import Watch, total_deadline_s

_log = logging.getLogger("sbgw.dispatch")

UNRECORDED = "requests cannot be recorded now, and the setting ledger.required refuses them then"


class Dispatcher:
    """Serves client requests of every protocol, from acceptance to their terminal state."""

    def __init__(self, services: Services, planner: Planner, health: Health) -> None:
        self._services = services
        self._planner = planner
        self._attempts = Attempts(services, planner, health, self._announce)
        self._patience = Patience()
        self._watches = ClientWatches()
        self._digester = Digester(services.digest_key)

    async def handle(self, inbound: Inbound, receive: Receive, sink: Sink) -> None:
        """Serve one authenticated request to its terminal state; it always gets an answer."""
        with self._services.bulkhead.holding() as held:
            await self._handle(inbound, receive, sink, held)

    async def _handle(self, inbound: Inbound, receive: Receive, sink: Sink, held: Holding) -> None:
        exchange = self._accept(inbound, sink)
        services, turn = self._services, exchange.turn
        accepted_at = services.clock.monotonic()
        services.active[turn.id] = exchange
        sink.before_start = partial(self._assure_opened, exchange)
        sink.before_end = partial(self._settle, exchange, accepted_at)
        try:
            with exchange.interrupt:
                await self._receive(exchange, counted(inbound.headers, receive, held))
                with ClientWatch(self._watches, receive, exchange):
                    await self._serve(exchange, accepted_at)
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
                services.learner.finished(exchange)
                exchange.let_go()

    def _accept(self, inbound: Inbound, sink: Sink) -> Exchange:
        clock = self._services.clock
        now = clock.monotonic()
        fields = by_name(inbound.headers)
        # A credential in one of these is a mistake, which must not be kept for ever.
        session, agent, project, branch, label = inbound.access.redact.values(
            (
                _text(fields.get(b"x-claude-code-session-id")),
                _text(fields.get(b"x-claude-code-agent-id")),
                _label(fields.get(b"x-sbgw-project")),
                _label(fields.get(b"x-sbgw-branch")),
                _label(fields.get(b"x-sbgw-label")),
            )
        )
        turn = Turn(
            id=new_turn_id(),
            at=clock.time(),
            protocol=endpoints.protocol_of(inbound.path),
            path=inbound.path.decode("latin-1"),
            session=session,
            agent=agent,
            project=project,
            branch=branch,
            label=label,
            pane=_label(fields.get(b"x-sbgw-pane")),
            demo=self._services.is_demo,
        )
        hint = _seconds(fields.get(b"x-stainless-timeout"))
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

    async def _serve(self, exchange: Exchange, accepted_at: float) -> None:
        services, turn = self._services, exchange.turn
        readable = await understanding.understand(exchange)
        masked = exchange.inbound.access.redact.values
        turn.session, turn.model_asked = masked((turn.session, turn.model_asked))
        exchange.watch.is_stream = turn.stream
        plan = self._plan(exchange)
        turn.candidates = list(plan.candidates)
        turn.mode, turn.proposal = plan.mode, plan.proposal
        turn.routing_version = self._planner.version
        turn.provider = plan.targets[0].provider
        credential = self._attempts.first_credential(exchange, plan)
        if credential is None:
            raise self._no_credential(turn.provider)
        turn.payer = credential.payer
        services.learner.planned(exchange, readable, plan)
        await self._patience.briefly(self._open(exchange))
        if services.settings.ledger.required and services.ledger.state.status != "ok":
            raise HttpError(503, "api_error", UNRECORDED)
        async with services.bulkhead.place(is_background=turn.kind in BACKGROUND):
            await self._attempts.serve(exchange, plan, readable, accepted_at, credential)

    def _plan(self, exchange: Exchange) -> Plan:
        inbound = exchange.inbound
        try:
            return self._planner.plan(exchange.turn, inbound.access, inbound.headers)
        except NoCandidate as error:
            if str(error) in self._services.upstreams:
                raise self._no_credential(str(error)) from error
            raise HttpError(503, "api_error", str(error)) from error

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

    def _announce(self, turn: Turn) -> None:
        self._services.stats.turn_updated(turn)
        self._services.bus.publish("turn.updated", turn=turn.summary())

    # ------------------------------------------------------------------ endings

    async def _fail(self, exchange: Exchange, error: HttpError) -> None:
        """Answer with an error of our own, or end a started answer with an error event."""
        turn, sink = exchange.turn, exchange.sink
        if exchange.is_recorded:
            await self._hand_over(exchange)
            return
        turn.error_type, turn.error_message = error.error_type, error.message[:300]
        if error.reason == TOO_BUSY:
            # It is for a moment of too much work, and must not wait for more of it to be done.
            sink.before_start = sink.before_end = None
        if sink.started:
            await break_off(exchange, Fault(FaultKind.SERVER, error.message))
            return
        turn.status = Status.FAILED if turn.attempts or error.status >= 500 else Status.REJECTED
        turn.http_status = error.status
        headers, body = render(error, shape_of(exchange.inbound.path), turn.id)
        await sink.respond(error.status, headers + gateway_headers(turn)[1:], body)
        turn.delivery = Delivery.FULL

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
        try:
            services.savings.ended(turn)
            self._planner.ended(turn)
        except Exception:
            _log.exception("the saving of turn %s cannot be told", turn.id)
        return services.ledger.close_turn(
            turn, _digesting(exchange, self._digester, services.colds)
        )

    def _close(self, exchange: Exchange, accepted_at: float) -> None:
        """Record the turn if its answer had no end, then count and announce it, once."""
        services, turn = self._services, exchange.turn
        if not exchange.is_recorded:
            self._record(exchange, accepted_at)
        services.savings.announced(turn)
        summary = turn.summary()
        # Statistics change theirs when more becomes known; what was published stays as it was.
        services.stats.turn_finished(turn, summary.copy())
        services.bus.publish("turn.finished", turn=summary)
        services.capture.ended(exchange)


def _digesting(
    exchange: Exchange, digester: Digester, colds: ColdDesk
) -> Callable[[], None] | None:
    turn, request = exchange.turn, exchange.request
    if turn.status is Status.REJECTED or request is None:
        return None

    def digest() -> None:
        understanding.digest(turn, request, digester)
        colds.ended(turn)

    return digest


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _label(value: bytes | None) -> str | None:
    return unquote(value.decode("latin-1"))[:200] if value else None


def _seconds(value: bytes | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None

"""The candidates of a plan, one after another, until one answers or nobody is left.

Retry and failover end with the first byte for the client. A target that stands in for the
baseline hands back to it whatever went wrong, so that no client ever sees the error of a provider
it did not ask for.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from providers.errors import (
    ConnectFailed,
    DeadlineExpired,
    Expired,
    NoAnswer,
    Offline,
    Stalled,
    TlsFailed,
    UpstreamError,
)
from providers.events import Failed
from providers.faults import Fault, FaultKind
from providers.protocols.anthropic.stream import error_event
from providers.protocols.dialects import DIALECTS
from providers.types import Headers, Protocol
from server.breaker import Outcome
from server.credentials import Credential
from server.exchange import Exchange
from server.health import Health, Leave
from server.http.errors import HttpError, Prewritten
from server.interrupt import Interrupt
from server.judge import Judgement, judge_error, judge_fault
from server.legs import Leg, Legs, Unserved, front_of
from server.planning import Planner
from server.policy import Plan, Target
from server.record import Attempt, Phase, Status, Turn
from server.relay import NativeRelay, Refused
from server.services import Services
from server.storms import Storms
from server.timers import Verdict
from server.translated import TranslatedRelay

_log = logging.getLogger("sbgw.attempts")

MOST_ATTEMPTS = 3
MOST_AT_ONE_PLACE = 2
BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 2.0
TTFT_S = 120.0
"""How long the first byte may take where another candidate could still answer."""


@dataclass(slots=True)
class _Failure:
    """Why an attempt gave the client nothing."""

    leg: Leg
    judgement: Judgement
    error: UpstreamError | None = None
    fault: Fault | None = None


class RetryBudget:
    """Keeps retries from multiplying a failing provider's load: a fifth of all requests."""

    def __init__(self) -> None:
        self._tokens = 3.0

    def earn(self) -> None:
        """A request was accepted."""
        self._tokens = min(self._tokens + 0.2, 10.0)

    def spend(self) -> bool:
        """Whether one more attempt is allowed."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Attempts:
    """Tries the targets of plans; shared by all turns."""

    def __init__(
        self,
        services: Services,
        planner: Planner,
        health: Health,
        announce: Callable[[Turn], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._services = services
        self._planner = planner
        self._health = health
        self._announce = announce
        self._chance = chance
        self._budget = RetryBudget()
        self.storms = Storms(services.clock)

    def first_credential(self, exchange: Exchange, plan: Plan) -> Credential | None:
        """What the first target will be paid with."""
        return self._credential(exchange, plan.targets[0])

    async def serve(
        self, exchange: Exchange, plan: Plan, readable: bytes, accepted_at: float
    ) -> None:
        """Answer the client, or raise ``HttpError`` with what it is to be told."""
        self._budget.earn()
        services, turn = self._services, exchange.turn
        legs = Legs(exchange, readable, now=services.clock.time())
        failure: _Failure | None = None
        refusal: Unserved | None = None
        for index, target in enumerate(plan.targets):
            is_last = index == len(plan.targets) - 1
            if failure is not None and len(turn.attempts) >= MOST_ATTEMPTS and not is_last:
                continue
            try:
                leg = await self._leg(exchange, legs, target)
            except Unserved as reason:
                refusal = reason
                _note(turn, target, "unsupported", str(reason))
                continue
            leave = self._leave(leg, is_last=is_last)
            if leave is None:
                why = self._health.refuses(target.provider, leg.model) or "it is busy"
                _note(turn, target, "unavailable", why)
                continue
            failure = await self._at(exchange, leg, leave, accepted_at, is_last=is_last)
            if failure is None:
                return
            _note(turn, target, "failed", _reason(failure))
            if isinstance(failure.error, Offline):
                break
        raise self._final(exchange, failure, refusal)

    # ------------------------------------------------------------------ before an attempt

    def _credential(self, exchange: Exchange, target: Target) -> Credential | None:
        inbound = exchange.inbound
        return self._planner.credential(
            exchange.turn.protocol, inbound.access, inbound.headers, target.provider
        )

    async def _leg(self, exchange: Exchange, legs: Legs, target: Target) -> Leg:
        credential = self._credential(exchange, target)
        upstream = self._services.upstreams.get(target.provider)
        if credential is None or upstream is None:
            raise Unserved(f"{target.provider} has no credential")
        provider = self._services.settings.provider(target.provider)
        return await legs.make(target, upstream, provider, credential)

    def _leave(self, leg: Leg, *, is_last: bool) -> Leave | None:
        if is_last:
            return self._health.force(leg.target.provider, leg.model)
        return self._health.ask(leg.target.provider, leg.model)

    # ------------------------------------------------------------------ at one place

    async def _at(
        self, exchange: Exchange, leg: Leg, leave: Leave, accepted_at: float, *, is_last: bool
    ) -> _Failure | None:
        """Try one place, once more where that makes sense; ``None`` when the client has it."""
        tries = 0
        while True:
            tries += 1
            failure = await self._once(exchange, leg, leave, accepted_at, is_last=is_last)
            if failure is None:
                return None
            judgement = failure.judgement
            may_retry = judgement.retry and tries < MOST_AT_ONE_PLACE
            if not may_retry or len(exchange.turn.attempts) >= MOST_ATTEMPTS:
                return failure
            again = self._health.ask(leg.target.provider, leg.model)
            if again is None or not self._budget.spend():
                return failure
            leave = again
            await self._services.clock.sleep(self._backoff(judgement, tries))

    def _backoff(self, judgement: Judgement, tries: int) -> float:
        longest: float = min(BACKOFF_S * 2.0 ** (tries - 1), LONGEST_BACKOFF_S)
        wait: float = judgement.wait_s or 0.0
        return max(wait, longest * self._chance())

    async def _once(
        self, exchange: Exchange, leg: Leg, leave: Leave, accepted_at: float, *, is_last: bool
    ) -> _Failure | None:
        turn, clock = exchange.turn, self._services.clock
        started = clock.monotonic()
        attempt = self._begin(exchange, leg, started - accepted_at)
        exchange.watch.attempt_until = None if is_last else started + TTFT_S
        relay = self._relay(exchange, leg, attempt, accepted_at, is_last=is_last)
        timer = Interrupt()
        exchange.expire = lambda verdict: timer.fire(_expired(verdict, leg.upstream.name))
        try:
            with timer:
                response = await leg.upstream.send(
                    exchange.inbound.method.encode(), leg.path, leg.query, leg.headers, leg.body
                )
                await relay.run(response)
        except Refused as refused:
            redact = exchange.inbound.access.redact
            fault = replace(refused.fault, message=redact(refused.fault.message))
            judgement = judge_fault(fault, is_our_key=_is_ours(leg, self._services))
            attempt.outcome = f"http_{attempt.status}" if attempt.status != 200 else "refused"
            attempt.error = fault.message[:300]
            failure = _Failure(leg, judgement, fault=fault)
        except UpstreamError as error:
            if exchange.is_recorded:
                # The answer was complete; only what follows it went wrong.
                self._health.record(leave, Outcome.SUCCESS)
                if not exchange.sink.finished:
                    await exchange.sink.finish()
                return None
            judgement = judge_error(error)
            attempt.outcome, attempt.error = error.code, str(error)[:300]
            failure = _Failure(leg, judgement, error=error)
        except BaseException:
            self._health.record(leave, Outcome.NEUTRAL)
            if not exchange.is_recorded:
                attempt.outcome = "cancelled"
            raise
        else:
            self._answered(exchange, leg, leave, relay.fault)
            return None
        finally:
            exchange.expire = None
            exchange.watch.attempt_until = None
        attempt.duration_s = clock.monotonic() - started
        self._failed(failure, leave)
        if not exchange.sink.started:
            self._announce(turn)
            return failure
        await self._break_off(exchange, relay, failure)
        return None

    def _begin(self, exchange: Exchange, leg: Leg, started_s: float) -> Attempt:
        turn = exchange.turn
        attempt = Attempt(
            number=len(turn.attempts) + 1,
            provider=leg.upstream.name,
            model=leg.model,
            started_s=started_s,
            bytes_up=len(leg.body),
        )
        turn.attempts.append(attempt)
        turn.provider, turn.payer = leg.upstream.name, leg.credential.payer
        turn.phase = Phase.WAITING
        watch = exchange.watch
        watch.first_byte_at = watch.terminal_at = None
        watch.is_stream = turn.stream
        exchange.takes_events = True
        return attempt

    def _relay(
        self,
        exchange: Exchange,
        leg: Leg,
        attempt: Attempt,
        accepted_at: float,
        *,
        is_last: bool,
    ) -> NativeRelay | TranslatedRelay:
        clock = self._services.clock

        def headers() -> Headers:
            return gateway_headers(exchange.turn)

        def on_commit() -> None:
            self._announce(exchange.turn)

        if leg.translation is not None:
            return TranslatedRelay(
                exchange,
                attempt,
                clock,
                leg.translation,
                accepted_at=accepted_at,
                extra_headers=headers,
                on_commit=on_commit,
                new_id=new_id,
            )
        return NativeRelay(
            exchange,
            attempt,
            clock,
            accepted_at=accepted_at,
            extra_headers=headers,
            on_commit=on_commit,
            may_replace=not is_last,
            error_headers=lambda: self._storm_headers(exchange),
        )

    # ------------------------------------------------------------------ after an attempt

    def _answered(
        self, exchange: Exchange, leg: Leg, leave: Leave, fault: Fault | None
    ) -> None:
        """The client has an answer, which may be the provider's own error."""
        if fault is None:
            self._health.record(leave, Outcome.SUCCESS)
            return
        fault = replace(fault, message=exchange.inbound.access.redact(fault.message))
        judgement = judge_fault(fault, is_our_key=_is_ours(leg, self._services))
        self._failed(_Failure(leg, judgement, fault=fault), leave)

    def _failed(self, failure: _Failure, leave: Leave) -> None:
        judgement, leg = failure.judgement, failure.leg
        self._health.record(
            leave,
            judgement.outcome,
            is_connection=judgement.is_connection,
            error=_reason(failure),
        )
        if judgement.cause is not None:
            model = None if judgement.is_provider_wide else leg.model
            self._health.cool_down(leg.target.provider, model, judgement.cause, judgement.wait_s)

    async def _break_off(
        self, exchange: Exchange, relay: NativeRelay | TranslatedRelay, failure: _Failure
    ) -> None:
        """End a started answer with the protocol's error event; one that takes none is cut."""
        turn = exchange.turn
        turn.error_message = _reason(failure)
        turn.error_type = "timeout_error" if isinstance(failure.error, Expired) else "api_error"
        if isinstance(relay, TranslatedRelay):
            kind = FaultKind.TIMEOUT if isinstance(failure.error, Expired) else FaultKind.SERVER
            await relay.break_off(failure.fault or Fault(kind, turn.error_message))
            return
        await break_off(exchange, turn.error_type, turn.error_message)

    def _final(
        self, exchange: Exchange, failure: _Failure | None, refusal: Unserved | None
    ) -> HttpError:
        """What the client is told when nobody answered."""
        turn = exchange.turn
        if failure is None:
            text = str(refusal) if refusal is not None else "no provider can take it now"
            if refusal is not None and refusal.pin is not None:
                turn.pinned_by = turn.pinned_by or refusal.pin
                code = refusal.code
                return HttpError(400, "invalid_request_error", text, [], "cannot_carry", code)
            return HttpError(503, "api_error", text, reason="no_candidate")
        turn.error_message = _reason(failure)
        if failure.error is not None:
            error = before_commit(failure.leg.upstream.name, failure.error)
            return replace_headers(error, self._storm_headers(exchange))
        fault = failure.fault or Fault(FaultKind.SERVER, "the provider refused the request")
        front = replace(
            front_of(turn, new_id(), self._services.clock.time()),
            stop_retries=bool(self._storm_headers(exchange)),
        )
        status, headers, body = DIALECTS[turn.protocol].write_fault(fault, front)
        return Prewritten(status, fault.kind.value, fault.message, headers, written=body)

    def _storm_headers(self, exchange: Exchange) -> Headers:
        """``x-should-retry: false`` when this very request has failed again and again."""
        if self.storms.failed(exchange.turn.session, exchange.body):
            return [(b"x-should-retry", b"false")]
        return []


def new_id() -> str:
    """A new opaque id for what a provider gave none."""
    return secrets.token_hex(12)


async def break_off(exchange: Exchange, error_type: str, message: str) -> None:
    """End a started native answer with an error event; one that takes none is cut."""
    turn = exchange.turn
    turn.status = Status.PARTIAL
    if not exchange.takes_events:
        return
    if turn.protocol is Protocol.MESSAGES:
        tail = error_event(error_type, message, turn.id)
    else:
        encoder = DIALECTS[turn.protocol].encoder(front_of(turn, new_id(), turn.at))
        kind = FaultKind.TIMEOUT if error_type == "timeout_error" else FaultKind.SERVER
        tail = encoder.encode(Failed(Fault(kind, message)))
    await exchange.sink.write(tail)
    await exchange.sink.finish()


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


def _is_ours(leg: Leg, services: Services) -> bool:
    upstream = services.upstreams[leg.target.provider]
    return leg.credential.headers == upstream.own_credential


def _note(turn: Turn, target: Target, state: str, reason: str) -> None:
    """Write into the record what became of a candidate."""
    for index, candidate in enumerate(turn.candidates):
        if candidate.provider == target.provider and candidate.model == target.model:
            turn.candidates[index] = replace(candidate, state=state, reason=reason[:300])
            return


def _reason(failure: _Failure) -> str:
    text = str(failure.error) if failure.error is not None else ""
    if failure.fault is not None:
        text = failure.fault.message
    return text[:300]


def replace_headers(error: HttpError, more: Headers) -> HttpError:
    """``error`` with more header fields."""
    error.headers = [*error.headers, *more]
    return error


def _expired(verdict: Verdict, name: str) -> Expired:
    match verdict:
        case Verdict.DEADLINE:
            return DeadlineExpired(f"{name} did not begin to answer in time")
        case Verdict.NO_ANSWER:
            return NoAnswer(f"{name} did not begin to answer in time for another to take over")
        case Verdict.NO_PROGRESS:
            return Stalled(f"{name} kept the connection open but sent nothing of the answer")
        case _:
            return Stalled(f"{name} went silent in the middle of its answer")


def before_commit(name: str, error: UpstreamError) -> HttpError:
    """What a client is told when an upstream gave no answer at all."""
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

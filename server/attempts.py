"""The candidates of a plan, one after another, until one answers or nobody is left.

Retry and failover end with the first byte for the client. A target that stands in for the
baseline hands back to it whatever went wrong, so that no client ever sees the error of a provider
it did not ask for; the baseline itself is left only for what another vendor could cure.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from msgspec import structs

from providers.errors import ConnectFailed, Expired, Stalled, UpstreamError
from providers.faults import Fault, FaultKind
from providers.neutral import Pin
from providers.protocols.dialects import DIALECTS
from providers.types import Headers, Protocol
from server.background import BACKGROUND
from server.breaker import Outcome
from server.credentials import Credential
from server.endings import before_commit, break_off, expired, gateway_headers, stopping
from server.exchange import Exchange
from server.fronts import front_of, new_id
from server.health import Health, Leave
from server.http.errors import HttpError, Prewritten
from server.interrupt import Interrupt
from server.judge import Judgement, judge_error, judge_fault
from server.legs import Leg, Legs, Unserved
from server.planning import Planner
from server.policy import Plan, Target
from server.record import Attempt, Phase, Turn
from server.relay import NativeRelay, Refused
from server.remedies import Remedies
from server.retries import MOST_AT_ONE_PLACE, backoff_s
from server.run import MOST_ATTEMPTS, Failure, Run
from server.services import Services
from server.storms import Storms
from server.translated import TranslatedRelay

_log = logging.getLogger("sbgw.attempts")

TTFT_S = 120.0
"""How long the first byte may take where another candidate could still answer."""


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
        self._storms = Storms(services.clock)
        self._remedies = Remedies(services, health, chance)

    def first_credential(self, exchange: Exchange, plan: Plan) -> Credential | None:
        """What the first target will be paid with."""
        return self._credential(exchange, plan.targets[0])

    async def serve(
        self,
        exchange: Exchange,
        plan: Plan,
        readable: bytes,
        accepted_at: float,
        credential: Credential | None = None,
    ) -> None:
        """Answer the client, or raise ``HttpError`` with what it is to be told.

        ``credential`` is the ``first_credential`` if the caller has asked for it.
        """
        self._services.retries.earn()
        storm = self._storms.watch(exchange.turn.session, exchange.body)
        legs = Legs(exchange, readable, traits=self._services.learned.traits)
        run = Run(exchange, plan, legs, accepted_at, storm, credential)
        for run.index, target in enumerate(plan.targets):
            if run.skips():
                continue
            leg = await self._served(run, target)
            if leg is None or not self._has_room(run, leg):
                continue
            async with self._place(run, leg):
                leave = self._leave(run, leg)
                if leave is None:
                    continue
                run.failure = await self._at(run, leg, leave)
            if run.failure is None:
                return
            _note(exchange.turn, target, "failed", run.failure.reason)
            if run.is_over:
                break
        raise self._final(run)

    # ------------------------------------------------------------------ before an attempt

    def _credential(self, exchange: Exchange, target: Target) -> Credential | None:
        inbound = exchange.inbound
        return self._planner.credential(
            exchange.turn.protocol, inbound.access, inbound.headers, target.provider
        )

    async def _served(self, run: Run, target: Target) -> Leg | None:
        """The way to a target; ``None`` when it cannot take the request or its plan does not."""
        turn = run.exchange.turn
        try:
            leg = await self._leg(run, target)
        except Unserved as reason:
            run.refusal = reason
            _note(turn, target, "unsupported", str(reason))
            return None
        if run.is_stand_in and (why := self._full(run, leg)) is not None:
            _note(turn, target, "unavailable", why)
            return None
        return leg

    def _has_room(self, run: Run, leg: Leg) -> bool:
        """Whether a target that is not the last one takes one more at the same time."""
        name = leg.target.provider
        limit = self._services.settings.providers[name].limits.max_in_flight
        if run.is_last or (limit is None and not run.is_stand_in):
            return True
        if self._services.bulkhead.has_room_at(name, limit):
            return True
        _note(run.exchange.turn, leg.target, "unavailable", "as many as it takes are under way")
        return False

    def _place(self, run: Run, leg: Leg) -> AbstractAsyncContextManager[None]:
        """A place there; only the last target is waited for."""
        name = leg.target.provider
        limit = self._services.settings.providers[name].limits.max_in_flight
        # Where it stands in, most are background calls, and nobody waits.
        is_background = run.is_last and run.exchange.turn.kind in BACKGROUND
        return self._services.bulkhead.place_at(name, limit, is_background=is_background)

    def _leave(self, run: Run, leg: Leg) -> Leave | None:
        """Leave to make an attempt; the last target is asked whatever its health."""
        name = leg.target.provider
        if not run.is_last:
            leave = self._health.ask(name, leg.model)
            if leave is None:
                why = self._health.refuses(name, leg.model) or "it is busy"
                _note(run.exchange.turn, leg.target, "unavailable", why)
            return leave
        if self._health.is_paused(name):
            run.notes.append(f"paused: {name}, but nobody else could serve it")
        return self._health.force(name, leg.model)

    def _full(self, run: Run, leg: Leg) -> str | None:
        """Why the plan of a provider that nobody asked for would refuse the request."""
        turn = run.exchange.turn
        limit = leg.translation.request.max_tokens if leg.translation else turn.max_tokens
        tokens = sum(turn.estimates.values())
        return self._services.windows.refuses(
            leg.target.provider, tokens_in=tokens, max_tokens=limit
        )

    async def _leg(self, run: Run, target: Target) -> Leg:
        credential = run.credential if run.index == 0 else None
        credential = credential or self._credential(run.exchange, target)
        upstream = self._services.upstreams.get(target.provider)
        if credential is None or upstream is None:
            raise Unserved(f"{target.provider} has no credential")
        provider = self._planner.provider(target.provider)
        return await run.legs.make(target, upstream, provider, credential)

    # ------------------------------------------------------------------ at one place

    async def _at(self, run: Run, leg: Leg, leave: Leave) -> Failure | None:
        """Try one place, again where that makes sense; ``None`` when the client has it."""
        tries = 0
        while True:
            failure = await self._once(run, leg, leave)
            if failure is None:
                return None
            if (better := await self._mended(run, failure)) is not None:
                leg, leave = better, self._health.force(better.target.provider, better.model)
                continue
            if await self._remedies.held(run, failure):
                leave = self._health.force(leg.target.provider, leg.model)
                continue
            tries += 1
            may_retry = failure.judgement.retry and tries < MOST_AT_ONE_PLACE
            if isinstance(failure.error, ConnectFailed) and not run.is_last:
                # Nobody listens there, and somebody else can answer at once.
                may_retry = False
            if not may_retry or len(run.exchange.turn.attempts) >= MOST_ATTEMPTS:
                return failure
            again = self._health.ask(leg.target.provider, leg.model)
            if again is None:
                return failure
            if not self._services.retries.spend():
                self._health.record(again, Outcome.NEUTRAL)
                return failure
            leave = again
            if run.is_last or not failure.judgement.is_connection:
                await self._pause(failure, tries, leave)

    async def _mended(self, run: Run, failure: Failure) -> Leg | None:
        """The same way without what the provider refused; ``None`` when that is not to be mended."""
        leg = failure.leg
        news = self._remedies.learned(run, failure)
        if news is None:
            return None
        better = await self._served(run, leg.target)
        if better is None or (better.body, better.headers) == (leg.body, leg.headers):
            return None
        run.lessons += 1
        run.notes += [f"learned: {leg.model} takes {word}" for word in news]
        return better

    async def _pause(self, failure: Failure, tries: int, leave: Leave) -> None:
        wait = backoff_s(tries, failure.judgement.wait_s, self._chance)
        try:
            await self._services.clock.sleep(wait)
        except BaseException:
            self._health.record(leave, Outcome.NEUTRAL)
            raise

    async def _once(self, run: Run, leg: Leg, leave: Leave) -> Failure | None:
        exchange, clock = run.exchange, self._services.clock
        started = clock.monotonic()
        attempt = self._begin(run, leg, started - run.accepted_at)
        exchange.watch.attempt_until = None if run.is_last else started + TTFT_S
        relay = self._relay(run, leg, attempt)
        timer = Interrupt()
        exchange.expire = lambda verdict: timer.fire(expired(verdict, leg.upstream.name))
        try:
            with timer:
                response = await leg.upstream.send(
                    exchange.inbound.method.encode(), leg.path, leg.query, leg.headers, leg.body
                )
                await relay.run(response)
        except Refused as refused:
            attempt.outcome = f"http_{attempt.status}" if attempt.status != 200 else "refused"
            fault = _masked(exchange, refused.fault)
            attempt.error = fault.message[:300]
            failure = Failure(leg, self._judge(leg, fault), fault=fault)
        except UpstreamError as error:
            if exchange.is_recorded:
                # The answer was complete; only what follows it went wrong.
                self._health.record(leave, Outcome.SUCCESS)
                if not exchange.sink.finished:
                    await exchange.sink.finish()
                return None
            if await _is_complete(relay, error):
                self._health.record(leave, Outcome.SUCCESS)
                return None
            # Its words may come from the system or the provider; they are kept, and told.
            error.args = (exchange.inbound.access.redact(str(error)),)
            attempt.outcome, attempt.error = error.code, str(error)[:300]
            failure = Failure(leg, judge_error(error), error=error)
        except BaseException:
            self._health.record(leave, Outcome.NEUTRAL)
            if not exchange.is_recorded:
                attempt.outcome = "cancelled"
            raise
        else:
            self._answered(leg, leave, relay.fault and _masked(exchange, relay.fault))
            return None
        finally:
            exchange.expire = None
            exchange.watch.attempt_until = None
            if run.is_stand_in:
                self._services.windows.note(exchange.turn.rate_limits)
        attempt.duration_s = clock.monotonic() - started
        self._failed(failure, leave)
        if not exchange.sink.started:
            self._announce(exchange.turn)
            return failure
        await self._break_off(exchange, failure)
        return None

    def _begin(self, run: Run, leg: Leg, started_s: float) -> Attempt:
        exchange = run.exchange
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
        turn.notes = [*run.notes, *leg.notes]
        watch = exchange.watch
        watch.first_byte_at = watch.terminal_at = None
        watch.is_stream = turn.stream
        exchange.takes_events = True
        exchange.last_words = exchange.conclude = None
        return attempt

    def _relay(self, run: Run, leg: Leg, attempt: Attempt) -> NativeRelay | TranslatedRelay:
        exchange, clock = run.exchange, self._services.clock

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
                accepted_at=run.accepted_at,
                extra_headers=headers,
                on_commit=on_commit,
                new_id=new_id,
            )
        return NativeRelay(
            exchange,
            attempt,
            clock,
            accepted_at=run.accepted_at,
            extra_headers=headers,
            on_commit=on_commit,
            replaces=lambda fault: self._replaces(run, leg, fault),
            error_headers=lambda fields: stopping(fields) if self._remedies.stops(run) else fields,
        )

    def _replaces(self, run: Run, leg: Leg, fault: Fault) -> bool:
        """Whether an error in the client's own protocol is kept from it."""
        if run.is_stand_in:
            return True
        if not run.is_last and self._judge(leg, fault).fail_over:
            return True
        run.hold = self._remedies.hold(run, fault)
        if run.hold is not None:
            return True
        if fault.kind is FaultKind.AUTH and self._is_our_key(leg):
            # A 401 would send the user to renew a login that is not the one at fault.
            return True
        # Codex knows no header that stops it, only a code in the body.
        is_codex = run.exchange.turn.protocol is Protocol.RESPONSES
        return is_codex and fault.is_retryable and self._remedies.stops(run)

    # ------------------------------------------------------------------ after an attempt

    def _is_our_key(self, leg: Leg) -> bool:
        upstream = self._services.upstreams[leg.target.provider]
        return leg.credential.headers == upstream.own_credential

    def _judge(self, leg: Leg, fault: Fault) -> Judgement:
        return judge_fault(fault, is_our_key=self._is_our_key(leg))

    def _answered(self, leg: Leg, leave: Leave, fault: Fault | None) -> None:
        """The client has an answer, which may be the provider's own error."""
        if fault is None:
            self._health.record(leave, Outcome.SUCCESS)
            return
        self._failed(Failure(leg, self._judge(leg, fault), fault=fault), leave)

    def _failed(self, failure: Failure, leave: Leave) -> None:
        judgement, leg = failure.judgement, failure.leg
        self._health.record(
            leave,
            judgement.outcome,
            is_connection=judgement.is_connection,
            error=failure.reason,
        )
        if judgement.cause is not None:
            model = None if judgement.is_provider_wide else leg.model
            self._health.cool_down(leg.target.provider, model, judgement.cause, judgement.wait_s)

    async def _break_off(self, exchange: Exchange, failure: Failure) -> None:
        turn = exchange.turn
        turn.error_message = failure.reason
        is_late = isinstance(failure.error, Expired)
        turn.error_type = "timeout_error" if is_late else "api_error"
        kind = FaultKind.TIMEOUT if is_late else FaultKind.SERVER
        await break_off(exchange, failure.fault or Fault(kind, turn.error_message))

    def _final(self, run: Run) -> HttpError:
        """What the client is told when nobody answered."""
        turn, failure = run.exchange.turn, run.failure
        if failure is None:
            return _nobody(turn, run.refusal)
        turn.error_message = failure.reason
        if failure.error is not None:
            error = before_commit(failure.leg.upstream.name, failure.error)
            if self._remedies.stops(run):
                error.headers = stopping(error.headers)
            return error
        fault = failure.fault or Fault(FaultKind.SERVER, "the provider refused the request")
        return _prewritten(turn, fault, stop=self._remedies.stops(run))


def _prewritten(turn: Turn, fault: Fault, *, stop: bool = False) -> Prewritten:
    """``fault`` in the words of the client's protocol; ``stop``: it shall not try again."""
    front = replace(front_of(turn), stop_retries=stop)
    status, headers, body = DIALECTS[turn.protocol].write_fault(fault, front)
    if stop:
        headers = stopping(headers)
    return Prewritten(status, fault.kind.value, fault.message, headers, written=body)


async def _is_complete(relay: NativeRelay | TranslatedRelay, error: UpstreamError) -> bool:
    """Whether a stream that went silent lacked nothing but its last word, and could be ended."""
    if not isinstance(error, Stalled) or not isinstance(relay, TranslatedRelay):
        return False
    return await relay.end_without_last_word()


def _masked(exchange: Exchange, fault: Fault) -> Fault:
    """``fault`` without credentials that the provider may have repeated."""
    return replace(fault, message=exchange.inbound.access.redact(fault.message))


def _nobody(turn: Turn, refusal: Unserved | None) -> HttpError:
    """No target took the request."""
    text = str(refusal) if refusal is not None else "no provider can take it now"
    if refusal is not None and refusal.pin is not None:
        turn.pinned_by = turn.pinned_by or refusal.pin
        if refusal.pin == Pin.CONTEXT:
            # Agents make their history shorter when they are told so in their vendor's words.
            return _prewritten(turn, Fault(FaultKind.CONTEXT, text))
        return HttpError(
            400, "invalid_request_error", text, reason="cannot_carry", code=refusal.code
        )
    return HttpError(503, "api_error", text, reason="no_candidate")


def _note(turn: Turn, target: Target, state: str, reason: str) -> None:
    """Write into the record what became of a candidate."""
    for index, candidate in enumerate(turn.candidates):
        if candidate.provider == target.provider and candidate.model == target.model:
            turn.candidates[index] = structs.replace(candidate, state=state, reason=reason[:300])
            return

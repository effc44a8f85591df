"""The stream pump: bytes of a native answer to the client, unchanged, in whole events.

HELD: nothing reaches the client until the first semantic event (or, for an answer that is not
streamed, until it is complete), so that a true status line stays possible. COMMITTED: every
whole event is passed on as soon as it is there. Forwarding whole events only is what allows our
own keep-alive and error events to be put between the upstream's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain

import msgspec
from msgspec import structs

from providers.coding import BadCoding, TooLarge, decode_body
from providers.errors import ConnectionDropped, FramingError, UpstreamError
from providers.faults import Fault
from providers.protocols.anthropic.response import ResponseFacts
from providers.protocols.dialects import DIALECTS
from providers.protocols.openai_chat.faults import fault_in
from providers.rate_limits import read_rate_limits
from providers.transport import UpstreamResponse
from providers.types import Delivery, Headers, Protocol
from server.clock import Clock
from server.exchange import Exchange
from server.fronts import front_of
from server.headers import to_client
from server.record import Attempt, Phase, RateLimit, Status, Turn
from server.redact import Redactor
from server.taps import Tap, TapOverflow, Terminal, facts_of, last_words, tap_for
from server.tasks import spawn

MAX_BUFFERED = 64 * 1024 * 1024
"""Largest answer that is not streamed, in bytes."""
MAX_HELD = 16 * 1024 * 1024
"""Most bytes of a stream that has not begun to answer, such as comments and pings."""
MAX_GROWTH = 200
"""How many times its own size a compressed answer may have, beyond ``FREE_GROWTH`` bytes; text
compresses to a tenth, a bomb to a thousandth."""
FREE_GROWTH = 8 * 1024 * 1024
_MAX_FAULT = 64 * 1024
"""A larger answer with status 200 is no error in disguise."""


class UnusableAnswer(UpstreamError):
    """The upstream answered with something that cannot be given to the client."""

    code = "unusable"


class Truncated(UpstreamError):
    """The stream ended without its protocol's terminator."""

    code = "truncated"


class Refused(Exception):
    """The upstream said no before anything reached the client, and somebody else may be asked."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class NativeRelay:
    """Relays one answer of an upstream to a client of the same protocol, byte for byte.

    An answer that is an error goes to the client as it is, and ``fault`` tells of it; where
    ``replaces`` says so, ``Refused`` is raised instead, as long as nothing was sent.
    """

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        clock: Clock,
        *,
        accepted_at: float,
        extra_headers: Callable[[], Headers],
        on_commit: Callable[[], None],
        replaces: Callable[[Fault], bool] = lambda fault: False,
        error_headers: Callable[[Headers], Headers] = lambda headers: headers,
    ) -> None:
        self._error_headers = error_headers
        self._dialect = DIALECTS[exchange.turn.protocol]
        self._replaces = replaces
        self.fault: Fault | None = None
        self._exchange = exchange
        self._turn = exchange.turn
        self._sink = exchange.sink
        self._watch = exchange.watch
        self._attempt = attempt
        self._clock = clock
        self._accepted_at = accepted_at
        self._extra_headers = extra_headers
        self._on_commit = on_commit
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._redact = exchange.inbound.access.redact
        """For whatever of the upstream's words is kept: it may repeat what it was sent."""

    async def run(self, response: UpstreamResponse) -> None:
        """Relay ``response`` to its end; raises ``UpstreamError`` when that is not possible.

        Whether the client already has bytes then is ``exchange.sink.started``.
        """
        try:
            self._note_head(response)
            if response.status != 200 or not _is_event_stream(response):
                await self._whole(response)
            elif is_compressed(response):
                await self._opaque(response)
            else:
                await self._stream(response)
        finally:
            await response.aclose()

    def _note_head(self, response: UpstreamResponse) -> None:
        self._watch.upstream_byte(self._clock.monotonic())
        note_head(self._turn, self._attempt, response, self._redact)

    # ------------------------------------------------------------------ streamed

    async def _stream(self, response: UpstreamResponse) -> None:
        self._exchange.stop_reading = response.close_now
        # Also where it was not asked for: the timers of a stream must see that this one may hang.
        self._watch.is_stream = True
        thinks = bool(self._turn.features.get("thinking"))
        tap = tap_for(self._turn.protocol, thinking=thinks)
        self._exchange.last_words = lambda fault: last_words(tap, fault, front_of(self._turn))
        self._exchange.conclude = partial(self._conclude, tap)
        try:
            await self._pump(response, tap)
            await self._end_of_stream(response, tap)
        except TapOverflow as error:
            if self._sink.started and error.ready:
                await self._sink.write(error.ready)
            raise UnusableAnswer(str(error)) from error
        finally:
            self._exchange.keepalive = self._exchange.stop_reading = None
            if self._turn.status is Status.OPEN:
                self._note_answer(tap)

    async def _pump(self, response: UpstreamResponse, tap: Tap) -> None:
        sink, watch, turn, clock = self._sink, self._watch, self._turn, self._clock
        try:
            while data := await response.read():
                now = clock.monotonic()
                watch.last_byte_at = now
                seen = tap.semantic_events
                ready = tap.feed(data)
                if tap.semantic_events != seen:
                    watch.last_progress_at = now
                if tap.terminal is not None and watch.terminal_at is None:
                    watch.terminal_at = now
                watch.is_thinking = tap.thinking
                if not sink.started:
                    self._held.append(ready)
                    if not tap.semantic and tap.terminal is None:
                        self._bound_held(len(ready))
                        continue
                    self._refuse_error_event(tap)
                    ready = await self._commit(response)
                if ready:
                    await sink.write(ready)
                    watch.last_sent_at = now
                    self._attempt.bytes_down += len(ready)
                turn.bytes_down = sink.bytes_sent
                turn.output_estimate = tap.output_chars // 4
        except (ConnectionDropped, FramingError) as error:
            is_end = isinstance(error, ConnectionDropped) and getattr(tap, "may_end", False)
            if tap.terminal is None and not is_end:
                raise

    def _refuse_error_event(self, tap: Tap) -> None:
        """An error event that comes before any content can be replaced like an error answer."""
        if tap.terminal is not Terminal.ERROR or tap.error is None:
            return
        body = msgspec.json.encode(
            {
                "error": {
                    "type": tap.error.type,
                    "code": tap.error.type,
                    "message": tap.error.message,
                }
            }
        )
        self.fault = self._dialect.read_fault(500, [], body, self._clock.time())
        if not tap.semantic and self._replaces(self.fault):
            raise Refused(self.fault)

    def _bound_held(self, more: int) -> None:
        self._held_bytes += more
        if self._held_bytes > MAX_HELD:
            raise UnusableAnswer(
                f"{self._attempt.provider} sent more than {MAX_HELD} bytes "
                "without beginning its answer"
            )

    async def _end_of_stream(self, response: UpstreamResponse, tap: Tap) -> None:
        tail = tap.end()
        if tap.terminal is None:
            raise Truncated(f"the answer of {self._attempt.provider} broke off before its end")
        self._refuse_error_event(tap)
        if not self._sink.started:
            tail = await self._commit(response) + tail
        if tail:
            await self._sink.write(tail)
        self._conclude(tap)
        await self._sink.finish()

    def _conclude(self, tap: Tap) -> bool:
        """Record a stream that was relayed to its end; ``False`` when it has none."""
        if tap.terminal is None:
            return False
        self._note_answer(tap)
        self._settle(Status.COMPLETED if tap.terminal is Terminal.STOP else Status.ERROR)
        error, redact = tap.error, self._redact
        self._turn.error_type = redact(error.type) if error else None
        self._turn.error_message = redact(error.message)[:300] if error else None
        self._attempt.outcome = "success" if tap.terminal is Terminal.STOP else "error_event"
        return True

    async def _commit(self, response: UpstreamResponse) -> bytes:
        """Send the status line; gives the events held until now."""
        now = self._clock.monotonic()
        self._turn.ttft_s = self._attempt.ttft_s = now - self._accepted_at
        self._turn.phase = Phase.STREAMING
        self._turn.http_status = response.status
        self._turn.delivery = Delivery.PARTIAL
        self._watch.committed = True
        self._watch.last_sent_at = now
        self._exchange.keepalive = self._send_keepalive
        await self._sink.start(response.status, to_client(response.headers) + self._extra_headers())
        self._on_commit()
        held = b"".join(self._held)
        self._held.clear()
        return held

    def _send_keepalive(self) -> None:
        self._watch.last_sent_at = self._clock.monotonic()
        spawn("keep-alive", self._sink.write(self._dialect.keepalive))

    async def _opaque(self, response: UpstreamResponse) -> None:
        """Pass a compressed stream on as it comes: its events cannot be seen, nor added to."""
        self._exchange.takes_events = False
        self._watch.is_stream = True
        while data := await response.read():
            now = self._clock.monotonic()
            self._watch.last_byte_at = self._watch.last_progress_at = now
            if not self._sink.started:
                await self._commit(response)
                self._exchange.keepalive = None
            await self._sink.write(data)
            self._attempt.bytes_down += len(data)
        if not self._sink.started:
            raise Truncated(f"{self._attempt.provider} sent an empty stream")
        self._settle(Status.COMPLETED)
        self._attempt.outcome = "success"
        await self._sink.finish()

    # ------------------------------------------------------------------ whole

    async def _whole(self, response: UpstreamResponse) -> None:
        body = await response.read_all(MAX_BUFFERED)
        self._attempt.bytes_down = len(body)
        readable = self._readable(response, body)
        self._refuse_hidden_fault(response, readable)
        self._refuse_unusable(response, body)
        if response.status >= 400:
            self.fault = self._dialect.read_fault(
                response.status, response.headers, readable, self._clock.time()
            )
            if self._replaces(self.fault):
                raise Refused(self.fault)
        facts = facts_of(self._turn.protocol, response.status, readable)
        self._note_answer(facts)
        turn = self._turn
        turn.ttft_s = self._attempt.ttft_s = self._clock.monotonic() - self._accepted_at
        turn.http_status = response.status
        is_error = response.status >= 400
        self._attempt.outcome = f"http_{response.status}" if is_error else "success"
        if is_error:
            error = facts.error
            turn.error_type = self._redact(error.type) if error else f"http_{response.status}"
            turn.error_message = self._redact(error.message)[:300] or None if error else None
        self._settle(Status.ERROR if is_error else Status.COMPLETED)
        turn.delivery = Delivery.PARTIAL
        self._watch.committed = True
        self._exchange.takes_events = False
        headers = to_client(response.headers)
        if is_error:
            headers = self._error_headers(headers)
        await self._sink.respond(response.status, headers + self._extra_headers(), body)

    def _refuse_hidden_fault(self, response: UpstreamResponse, body: bytes) -> None:
        """A failure that stands in an answer with status 200, as Cloudflare tells it."""
        is_chat = self._turn.protocol is Protocol.CHAT
        if response.status != 200 or not is_chat or len(body) > _MAX_FAULT:
            return
        try:
            fault = fault_in(msgspec.json.decode(body), 200)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return
        if fault is not None:
            self.fault = fault
            raise Refused(fault)

    def _refuse_unusable(self, response: UpstreamResponse, body: bytes) -> None:
        name = self._attempt.provider
        if 300 <= response.status < 400:
            raise UnusableAnswer(f"{name} answered with a redirect, which is not followed")
        if response.status >= 400:
            return
        kind = (response.field(b"content-type") or "").lower()
        if kind.startswith("text/html") or body.lstrip()[:9].lower().startswith(b"<!doctype"):
            raise UnusableAnswer(
                f"{name} answered with a web page; is there a sign-in page on this network?"
            )
        if self._turn.stream and not kind.startswith("text/event-stream"):
            raise UnusableAnswer(f"{name} did not stream its answer although it was asked to")

    def _readable(self, response: UpstreamResponse, body: bytes) -> bytes:
        """The body without its content coding, for reading; empty when it cannot be undone."""
        try:
            return readable(response, body, self._attempt.provider)
        except BadCoding:
            return b""

    # ------------------------------------------------------------------ records

    def _settle(self, status: Status) -> None:
        self._turn.status = status

    def _note_answer(self, facts: Tap | ResponseFacts) -> None:
        turn, redact = self._turn, self._redact
        usage = facts.usage
        said = (facts.model, facts.stop_reason, usage.service_tier, usage.raw)
        model, turn.stop_reason, tier, raw = kept = redact.values(said)
        turn.model_served = model or turn.model_served
        turn.answer_kind = facts.answer_kind
        turn.tool_calls = facts.tool_calls
        turn.usage = usage if kept is said else structs.replace(usage, raw=raw, service_tier=tier)
        turn.usage_source = facts.usage_source


def note_head(turn: Turn, attempt: Attempt, response: UpstreamResponse, redact: Redactor) -> None:
    """Keep what an answer's head says about itself."""
    attempt.status = response.status
    request_id = response.field(b"request-id") or response.field(b"x-request-id")
    limits = read_rate_limits(response.headers)
    # One look at the whole head: hardly one repeats a secret.
    if redact.knows(b"\n".join(chain.from_iterable(response.headers)).decode("latin-1")):
        request_id, limits = redact.values((request_id, limits))
    attempt.request_id = request_id or attempt.request_id
    for name, fields in limits.items():
        turn.rate_limits.append(RateLimit(attempt.provider, name, fields))


def readable(response: UpstreamResponse, body: bytes, provider: str) -> bytes:
    """``body`` without its content coding; ``BadCoding``, or ``UnusableAnswer`` for a bomb."""
    limit = min(MAX_BUFFERED, max(FREE_GROWTH, MAX_GROWTH * len(body)))
    try:
        return decode_body(body, response.field(b"content-encoding"), limit)
    except TooLarge as error:
        raise UnusableAnswer(
            f"{provider} sent {len(body)} compressed bytes that hold more than {limit}"
        ) from error


def _is_event_stream(response: UpstreamResponse) -> bool:
    kind = response.field(b"content-type") or ""
    return kind.lower().startswith("text/event-stream")


def is_compressed(response: UpstreamResponse) -> bool:
    """Whether the body has a content coding."""
    return (response.field(b"content-encoding") or "identity").lower() != "identity"

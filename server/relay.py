"""The stream pump: bytes of a native answer to the client, unchanged, in whole events.

HELD: nothing reaches the client until the first semantic event (or, for an answer that is not
streamed, until it is complete), so that a true status line stays possible. COMMITTED: every
whole event is passed on as soon as it is there. Forwarding whole events only is what allows our
own keep-alive and error events to be put between the upstream's.
"""

from __future__ import annotations

from collections.abc import Callable

from providers.coding import BadCoding, decode_body
from providers.errors import ConnectionDropped, UpstreamError
from providers.protocols.anthropic.response import (
    ResponseFacts,
    read_rate_limits,
    read_response,
)
from providers.protocols.anthropic.stream import PING, StreamTap, TapOverflow, Terminal
from providers.transport import UpstreamResponse
from providers.types import Delivery, Headers
from server.clock import Clock
from server.exchange import Exchange
from server.headers import first, to_client
from server.record import Attempt, Phase, RateLimit, Status
from server.tasks import spawn

MAX_BUFFERED = 64 * 1024 * 1024
"""Largest answer that is not streamed, in bytes."""


class UnusableAnswer(UpstreamError):
    """The upstream answered with something that cannot be given to the client."""

    code = "unusable"


class Truncated(UpstreamError):
    """The stream ended without its protocol's terminator."""

    code = "truncated"


class NativeRelay:
    """Relays one answer of a Messages upstream to a Messages client."""

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        clock: Clock,
        *,
        accepted_at: float,
        extra_headers: Callable[[], Headers],
        on_commit: Callable[[], None],
    ) -> None:
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

    async def run(self, response: UpstreamResponse) -> None:
        """Relay ``response`` to its end; raises ``UpstreamError`` when that is not possible.

        Whether the client already has bytes then is ``exchange.sink.started``.
        """
        try:
            self._note_head(response)
            if response.status != 200 or not _is_event_stream(response):
                await self._whole(response)
            elif _is_compressed(response):
                await self._opaque(response)
            else:
                await self._stream(response)
        finally:
            await response.aclose()

    def _note_head(self, response: UpstreamResponse) -> None:
        self._watch.upstream_byte(self._clock.monotonic())
        self._attempt.status = response.status
        self._attempt.request_id = first(response.headers, b"request-id")
        for name, fields in read_rate_limits(response.headers).items():
            self._turn.rate_limits.append(RateLimit(self._attempt.provider, name, fields))

    # ------------------------------------------------------------------ streamed

    async def _stream(self, response: UpstreamResponse) -> None:
        self._exchange.stop_reading = response.close_now
        # Also where it was not asked for: the timers of a stream must see that this one may hang.
        self._watch.is_stream = True
        tap = StreamTap(thinking=bool(self._turn.features.get("thinking")))
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

    async def _pump(self, response: UpstreamResponse, tap: StreamTap) -> None:
        held, sink, watch, turn, clock = (
            self._held,
            self._sink,
            self._watch,
            self._turn,
            self._clock,
        )
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
                    held.append(ready)
                    if not tap.semantic and tap.terminal is None:
                        continue
                    ready = await self._commit(response)
                if ready:
                    await sink.write(ready)
                    watch.last_sent_at = now
                    self._attempt.bytes_down += len(ready)
                turn.bytes_down = sink.bytes_sent
                turn.output_estimate = tap.output_chars // 4
        except ConnectionDropped:
            if tap.terminal is None:
                raise

    async def _end_of_stream(self, response: UpstreamResponse, tap: StreamTap) -> None:
        tail = tap.end()
        if tap.terminal is None:
            raise Truncated(f"the answer of {self._attempt.provider} broke off before its end")
        if not self._sink.started:
            tail = await self._commit(response) + tail
        if tail:
            await self._sink.write(tail)
        self._note_answer(tap)
        self._settle(Status.COMPLETED if tap.terminal is Terminal.STOP else Status.ERROR)
        if tap.error is not None:
            self._turn.error_type = tap.error.type
            self._turn.error_message = tap.error.message[:300]
        self._attempt.outcome = "success" if tap.terminal is Terminal.STOP else "error_event"
        await self._sink.finish()

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
        spawn("keep-alive", self._sink.write(PING))

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
        self._refuse_unusable(response, body)
        facts = read_response(_readable(response, body))
        self._note_answer(facts)
        turn = self._turn
        turn.ttft_s = self._attempt.ttft_s = self._clock.monotonic() - self._accepted_at
        turn.http_status = response.status
        is_error = response.status >= 400
        self._attempt.outcome = f"http_{response.status}" if is_error else "success"
        if is_error:
            turn.error_type = facts.error.type if facts.error else f"http_{response.status}"
            turn.error_message = (facts.error.message if facts.error else "")[:300] or None
        self._settle(Status.ERROR if is_error else Status.COMPLETED)
        turn.delivery = Delivery.PARTIAL
        self._watch.committed = True
        self._exchange.takes_events = False
        headers = to_client(response.headers) + self._extra_headers()
        await self._sink.respond(response.status, headers, body)

    def _refuse_unusable(self, response: UpstreamResponse, body: bytes) -> None:
        name = self._attempt.provider
        if 300 <= response.status < 400:
            raise UnusableAnswer(f"{name} answered with a redirect, which is not followed")
        if response.status >= 400:
            return
        kind = (first(response.headers, b"content-type") or "").lower()
        if kind.startswith("text/html") or body.lstrip()[:9].lower().startswith(b"<!doctype"):
            raise UnusableAnswer(
                f"{name} answered with a web page; is there a sign-in page on this network?"
            )
        if self._turn.stream and not kind.startswith("text/event-stream"):
            raise UnusableAnswer(f"{name} did not stream its answer although it was asked to")

    # ------------------------------------------------------------------ records

    def _settle(self, status: Status) -> None:
        self._turn.status = status

    def _note_answer(self, facts: StreamTap | ResponseFacts) -> None:
        turn = self._turn
        turn.model_served = facts.model or turn.model_served
        turn.stop_reason = facts.stop_reason
        turn.answer_kind = facts.answer_kind
        turn.tool_calls = facts.tool_calls
        turn.usage = facts.usage
        turn.usage_source = facts.usage_source


def _is_event_stream(response: UpstreamResponse) -> bool:
    kind = first(response.headers, b"content-type") or ""
    return kind.lower().startswith("text/event-stream")


def _is_compressed(response: UpstreamResponse) -> bool:
    return (first(response.headers, b"content-encoding") or "identity").lower() != "identity"


def _readable(response: UpstreamResponse, body: bytes) -> bytes:
    """The body without its content coding, for reading only; empty when it cannot be undone."""
    try:
        return decode_body(body, first(response.headers, b"content-encoding"), MAX_BUFFERED)
    except BadCoding:
        return b""

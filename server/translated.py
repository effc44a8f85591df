"""An answer in another protocol than the client's: read into neutral events, written anew.

HELD and COMMITTED are as in the native relay, and nothing of a failing provider is seen by the
client before the first content: then an error event of the client's own protocol ends the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from providers.call_ids import CallIds
from providers.coding import BadCoding
from providers.errors import ConnectionDropped
from providers.events import Event, Failed, Finished, StreamDecoder, empty_answer, unfold
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, Notes, Request, ToolCall
from providers.protocols.dialects import Dialect, Front
from providers.tool_book import ToolBook, encode
from providers.transport import UpstreamResponse
from providers.types import Delivery, Headers, Usage, UsageSource
from server.clock import Clock
from server.exchange import Exchange
from server.fronts import note_words
from server.record import Attempt, Phase, Status
from server.relay import (
    MAX_BUFFERED,
    Refused,
    UnusableAnswer,
    is_compressed,
    note_head,
    readable,
)
from server.tasks import spawn

END_S = 1.0
"""How long the end of a body may come after its last event, so that the connection is kept."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One request on its way to a provider that speaks another protocol."""

    request: Request
    body: bytes
    book: ToolBook
    client: Dialect
    provider: Dialect
    front: Front


class TranslatedRelay:
    """Gives one answer of a provider to a client of another protocol.

    ``run`` raises ``Refused`` or ``UpstreamError`` as long as nothing was sent; afterwards a
    failure is told in the stream, and ``fault`` says what it was.
    """

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        clock: Clock,
        translation: Translation,
        *,
        accepted_at: float,
        extra_headers: Callable[[], Headers],
        on_commit: Callable[[], None],
        new_id: Callable[[], str],
    ) -> None:
        self._exchange = exchange
        self._turn = exchange.turn
        self._sink = exchange.sink
        self._watch = exchange.watch
        self._attempt = attempt
        self._clock = clock
        self._translation = translation
        self._accepted_at = accepted_at
        self._extra_headers = extra_headers
        self._on_commit = on_commit
        self._ids = CallIds(translation.request.call_ids, new_id)
        self._encoder = translation.client.encoder(translation.front)
        self._redact = exchange.inbound.access.redact
        self.fault: Fault | None = None
        self._decoder: StreamDecoder | None = None

    async def run(self, response: UpstreamResponse) -> None:
        """Relay ``response`` to its end."""
        try:
            self._note_head(response)
            if response.status != 200:
                raise Refused(self._read_fault(response, await self._read_all(response)))
            if self._translation.request.stream and _is_event_stream(response):
                await self._stream(response)
            else:
                await self._whole(response)
        finally:
            self._exchange.keepalive = self._exchange.stop_reading = None
            await self._leave(response)

    async def _leave(self, response: UpstreamResponse) -> None:
        if self._decoder is None or not self._decoder.is_done or response.is_over:
            await response.aclose()
        else:
            spawn("end of an answer", response.end(END_S))

    def _note_head(self, response: UpstreamResponse) -> None:
        self._watch.upstream_byte(self._clock.monotonic())
        note_head(self._turn, self._attempt, response, self._redact)

    async def _read_all(self, response: UpstreamResponse) -> bytes:
        """The whole body without its content coding, which some send although none was asked for."""
        body = await response.read_all(MAX_BUFFERED)
        self._attempt.bytes_down = len(body)
        try:
            return readable(response, body, self._attempt.provider)
        except BadCoding as error:
            raise UnusableAnswer(
                f"{self._attempt.provider} sent an answer that cannot be decompressed"
            ) from error

    def _read_fault(self, response: UpstreamResponse, body: bytes) -> Fault:
        if 300 <= response.status < 400:
            raise UnusableAnswer(
                f"{self._attempt.provider} answered with a redirect, which is not followed"
            )
        return self._translation.provider.read_fault(
            response.status, response.headers, body, self._clock.time()
        )

    # ------------------------------------------------------------------ streamed

    async def _stream(self, response: UpstreamResponse) -> None:
        decoder = self._translation.provider.decoder(self._translation.book, self._ids)
        self._decoder = decoder
        self._exchange.stop_reading = response.close_now
        self._exchange.last_words = lambda fault: self._encoder.encode(Failed(fault))
        self._exchange.conclude = partial(self._conclude, decoder)
        self._watch.is_stream = True
        watch, clock, turn = self._watch, self._clock, self._turn
        try:
            packed = await self._read_all(response) if is_compressed(response) else None
            if packed is not None:
                await self._give(decoder.feed(packed))
            while not decoder.is_done and (data := await response.read()):
                now = clock.monotonic()
                watch.last_byte_at = now
                self._attempt.bytes_down += len(data)
                seen = decoder.semantic_events
                found = decoder.feed(data)
                if decoder.semantic_events != seen:
                    watch.last_progress_at = now
                await self._give(found)
                turn.output_estimate = decoder.output_chars // 4
        except ConnectionDropped:
            if not decoder.is_done:
                await self._give(decoder.end())
        await self._end(decoder)

    async def _end(self, decoder: StreamDecoder) -> None:
        if not decoder.is_done:
            await self._give(decoder.end())
        self._note(decoder.model, decoder.usage, decoder.output_chars)
        self._settle()
        await self._sink.finish()

    def _conclude(self, decoder: StreamDecoder) -> bool:
        if not self._encoder.is_done:
            return False
        self._note(decoder.model, decoder.usage, decoder.output_chars)
        self._turn.error_type = self._turn.error_message = None
        self._settle()
        return True

    async def end_without_last_word(self) -> bool:
        """End a stream that went silent although its answer is complete; whether it was.

        Some servers send all of an answer but its terminator, and keep the connection open.
        """
        decoder = self._decoder
        if decoder is None or not getattr(decoder, "may_end", False):
            return False
        await self._end(decoder)
        return True

    async def _give(self, found: list[Event]) -> None:
        """Write events to the client; raises ``Refused`` for a failure it need not see."""
        out = bytearray()
        for event in found:
            if isinstance(event, Failed):
                self.fault = event.fault
                if not self._sink.started and not self._encoder.has_content:
                    raise Refused(event.fault)
            self._count(event)
            out += self._encoder.encode(event)
        if not out:
            return
        if not self._sink.started:
            if not (self._encoder.has_content or self._encoder.is_done):
                raise AssertionError("an encoder wrote before there was content")
            await self._commit()
        await self._sink.write(bytes(out))
        self._watch.last_sent_at = self._clock.monotonic()
        self._turn.bytes_down = self._sink.bytes_sent

    def _count(self, event: Event) -> None:
        turn = self._turn
        match event:
            case ToolCall():
                turn.tool_calls += 1
            case Finished(stop):
                turn.stop_reason = stop.value
                self._note_changes(event.notes)
            case _:
                pass

    async def _commit(self) -> None:
        now = self._clock.monotonic()
        turn = self._turn
        turn.ttft_s = self._attempt.ttft_s = now - self._accepted_at
        turn.phase = Phase.STREAMING
        turn.http_status = 200
        turn.delivery = Delivery.PARTIAL
        self._watch.committed = True
        self._watch.last_sent_at = now
        self._exchange.keepalive = self._send_keepalive
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
        ]
        await self._sink.start(200, headers + self._extra_headers())
        self._on_commit()

    def _send_keepalive(self) -> None:
        self._watch.last_sent_at = self._clock.monotonic()
        if not self._encoder.is_done:
            spawn("keep-alive", self._sink.write(self._encoder.keepalive))

    def _settle(self) -> None:
        turn = self._turn
        if self.fault is None:
            turn.status = Status.COMPLETED
            self._attempt.outcome = "success"
        else:
            turn.status = Status.PARTIAL
            turn.error_type = self.fault.kind.value
            turn.error_message = self._redact(self.fault.message)[:300]
            self._attempt.outcome = "error_event"

    # ------------------------------------------------------------------ whole

    async def _whole(self, response: UpstreamResponse) -> None:
        answer = self._read_answer(await self._read_all(response))
        translation, turn = self._translation, self._turn
        if isinstance(answer, Fault):
            raise Refused(answer)
        if answer.is_empty:
            raise Refused(empty_answer(answer.stop))
        self._note(answer.model, answer.usage, sum(len(str(part)) for part in answer.parts))
        if translation.request.stream:
            await self._give(unfold(answer))
            self._settle()
            await self._sink.finish()
            return
        turn.tool_calls = len(answer.tool_calls)
        turn.stop_reason = answer.stop.value
        self._note_changes(answer.notes)
        turn.ttft_s = self._attempt.ttft_s = self._clock.monotonic() - self._accepted_at
        turn.http_status = 200
        turn.status = Status.COMPLETED
        turn.delivery = Delivery.PARTIAL
        self._attempt.outcome = "success"
        self._watch.committed = True
        self._exchange.takes_events = False
        written = encode(translation.client.write_answer(answer, translation.front))
        headers = [(b"content-type", b"application/json")]
        await self._sink.respond(200, headers + self._extra_headers(), written)

    def _read_answer(self, body: bytes) -> Answer | Fault:
        try:
            parsed: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            said = "a web page" if body.lstrip()[:1] == b"<" else "something that is not JSON"
            return Fault(FaultKind.MALFORMED, f"{self._attempt.provider} answered with {said}", 200)
        provider = self._translation.provider
        return provider.read_answer(parsed, self._translation.book, self._ids)

    # ------------------------------------------------------------------ records

    def _note_changes(self, notes: Notes) -> None:
        turn = self._turn
        turn.notes += [word for word in note_words(notes) if word not in turn.notes]

    def _note(self, model: str | None, usage: Usage, chars: int) -> None:
        turn = self._turn
        turn.model_served = self._redact.values(model) or self._attempt.model
        turn.usage = usage
        is_whole = self.fault is None
        if usage.is_known:
            turn.usage_source = UsageSource.FINAL if is_whole else UsageSource.PARTIAL
        else:
            estimate = sum(turn.estimates.values())
            turn.usage = structs.replace(usage, input_tokens=estimate, output_tokens=chars // 4)
            turn.usage_source = UsageSource.ESTIMATED
        turn.answer_kind = "tool_use" if turn.tool_calls else "text"


def _is_event_stream(response: UpstreamResponse) -> bool:
    kind = response.field(b"content-type") or ""
    return kind.lower().startswith("text/event-stream")

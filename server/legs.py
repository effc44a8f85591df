"""The ways one request can take: each target of its plan, with what will be sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from providers.neutral import NO_NOTES, CannotCarry, Pin, Request
from providers.profiles import ProviderSettings
from providers.protocols import peek
from providers.protocols.anthropic import downgrade
from providers.protocols.dialects import DIALECTS, Front
from providers.tool_book import encode
from providers.traits import Traits, traits_of
from providers.types import Headers, Protocol
from providers.upstream import Upstream
from server import endpoints
from server.background import fitted
from server.credentials import Credential
from server.exchange import Exchange
from server.fronts import front_of, new_id, note_words
from server.policy import Target
from server.record import Turn
from server.translated import Translation

OFF_LOOP_BYTES = 256 * 1024
"""Bodies above this are translated in a worker thread, so that running streams do not wait."""

_USER_AGENT = b"sbgw-tui"

LOWERED = "lowered: max_tokens"
"""In a turn's notes: the limit is one that its answer does not reach."""


class Leg(msgspec.Struct, frozen=True):
    """One place a request can be sent to, and what would be sent."""

    target: Target
    upstream: Upstream
    credential: Credential
    model: str | None
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    translation: Translation | None = None
    """``None``: byte for byte."""
    notes: tuple[str, ...] = ()
    """What was left out or changed on the way, as ``Turn.notes`` has it."""
    is_adapted: bool = False
    """A body of the client's own protocol that was changed for a cheaper model of its vendor."""


class Unserved(Exception):
    """A target cannot take the request; ``str()`` says why, for the user."""

    def __init__(self, reason: str, pin: str | None = None, code: str | None = None) -> None:
        super().__init__(reason)
        self.pin = pin
        self.code = code
        """The vendor's own code for it, where its clients know a way on."""


class Legs:
    """Makes the legs of one request; its body is parsed for translation at most once."""

    def __init__(
        self,
        exchange: Exchange,
        readable: bytes,
        *,
        new_id: Callable[[], str] = new_id,
        traits: Callable[[str, str], Traits] = traits_of,
    ) -> None:
        self._exchange = exchange
        self._readable = readable
        self.new_id = new_id
        self._traits = traits
        self._read: tuple[Any, Request | CannotCarry] | None = None

    async def make(
        self,
        target: Target,
        upstream: Upstream,
        provider: ProviderSettings,
        credential: Credential,
    ) -> Leg:
        """The leg to ``target``; raises ``Unserved``."""
        if self._exchange.turn.protocol in provider.protocols:
            return self._native(target, upstream, credential)
        if len(self._readable) > OFF_LOOP_BYTES:
            return await asyncio.to_thread(self._translated, target, upstream, provider, credential)
        return self._translated(target, upstream, provider, credential)

    # ------------------------------------------------------------------ byte for byte

    def _native(self, target: Target, upstream: Upstream, credential: Credential) -> Leg:
        exchange, inbound = self._exchange, self._exchange.inbound
        headers = credential.dress(inbound.headers)
        upstream = upstream.paid_by(credential.payer)
        body, model, notes = exchange.body, exchange.turn.model_asked, NO_NOTES
        is_adapted = False
        if target.model is not None and target.model != model:
            model = target.model
            if exchange.turn.protocol is Protocol.MESSAGES:
                traits = self._traits(target.provider, model)
                body, notes = downgrade.adapt(self._readable, model, traits)
                is_adapted = True
                headers = downgrade.adapt_headers(headers, traits)
            else:
                body = peek.replace_model(self._readable, model)
            # Another model was written into it, and into its decoded form.
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
        path = endpoints.native_path(exchange.turn.protocol, inbound.path)
        return Leg(
            target,
            upstream,
            credential,
            model,
            path,
            inbound.query,
            headers,
            body,
            notes=note_words(notes),
            is_adapted=is_adapted,
        )

    # ------------------------------------------------------------------ translated

    def _translated(
        self,
        target: Target,
        upstream: Upstream,
        provider: ProviderSettings,
        credential: Credential,
    ) -> Leg:
        turn = self._exchange.turn
        if self._exchange.inbound.path == endpoints.COUNT_TOKENS:
            raise Unserved(f"{provider.title} does not count tokens for other protocols")
        if target.model is None:
            raise Unserved(f"no model is named for {provider.title}")
        parsed, request = self._neutral(turn.protocol)
        if isinstance(request, CannotCarry):
            words = _words(request, provider.title)
            raise Unserved(words, request.pin.value, _code(request, parsed))
        asked, request = request, fitted(request, target.provider, turn.kind)
        dialect = DIALECTS[provider.protocol]
        outgoing = dialect.write_request(
            request,
            target.model,
            self._traits(target.provider, target.model),
            input_tokens=sum(turn.estimates.values()) or None,
        )
        if isinstance(outgoing, CannotCarry):
            raise Unserved(_words(outgoing, provider.title), outgoing.pin.value)
        translation = Translation(
            request=request,
            body=encode(outgoing.body),
            book=outgoing.book,
            client=DIALECTS[turn.protocol],
            provider=dialect,
            front=self._front(turn, parsed, request),
        )
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if request.stream else b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", _USER_AGENT),
            *((n.encode(), v.encode()) for n, v in provider.headers_if_missing.items()),
            *credential.headers,
        ]
        path = endpoints.translated_path(provider.protocol)
        return Leg(
            target,
            upstream,
            credential,
            target.model,
            path,
            b"",
            headers,
            translation.body,
            translation,
            (*note_words(outgoing.notes), *([LOWERED] if request is not asked else [])),
        )

    def _neutral(self, protocol: Protocol) -> tuple[Any, Request | CannotCarry]:
        if self._read is None:
            parsed = msgspec.json.decode(self._readable)
            self._read = (parsed, DIALECTS[protocol].read_request(parsed))
        return self._read

    def _front(self, turn: Turn, parsed: Any, request: Request) -> Front:
        return replace(
            front_of(turn, self.new_id()),
            input_estimate=sum(turn.estimates.values()),
            includes_usage=request.wants_stream_usage,
            echo=DIALECTS[turn.protocol].echo_of(parsed),
        )


def _code(reason: CannotCarry, parsed: Any) -> str | None:
    """What makes a client that left its history with the vendor send it along instead.

    Source: Anthropic Messages ``error.details.error_code`` of a request with ``thread``.
    """
    if reason.pin is not Pin.NATIVE_FIELD or reason.detail != "thread":
        return None
    thread = parsed.get("thread")
    continues = isinstance(thread, dict) and thread.get("type") == "continue"
    return "thread_not_found" if continues else "thread_unsupported_request"


def _words(reason: CannotCarry, title: str) -> str:
    if reason.pin is Pin.CONTEXT:
        sizes = reason.detail.replace(" tokens of ", " tokens > ")
        return f"prompt is too long: {sizes} maximum of {title}"
    return f"{title} cannot serve it: {reason.pin.value.replace('_', ' ')} ({reason.detail})"

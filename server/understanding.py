"""Reading a request body into its turn: once before dispatch, digests after the last byte."""

from __future__ import annotations

import asyncio

from providers.coding import BadCoding, TooLarge, decode_body
from providers.protocols.anthropic.request import BadRequest, MessagesRequest
from providers.types import Protocol
from server import endpoints
from server.classify import (
    CLASSIFIER_VERSION,
    AnyRequest,
    ClientFacts,
    Intent,
    classify,
    client_facts,
)
from server.exchange import Exchange
from server.explain import read_as
from server.headers import first
from server.http.errors import HttpError
from server.prefix import Digester
from server.record import Turn

OFF_LOOP_BYTES = 1024 * 1024
"""Bodies above this are parsed in a worker thread, so that running streams do not wait."""

MAX_DECODED = 33 * 1024 * 1024


async def understand(exchange: Exchange) -> bytes:
    """Read the exchange's body and fill the turn with what was asked and what it is.

    Returns the body without its content coding (the same object when it has none). Raises
    ``HttpError`` with the client's fault.
    """
    inbound, body = exchange.inbound, exchange.body
    facts = client_facts(inbound.headers, inbound.path.decode("latin-1"))
    _note_client(exchange.turn, facts)
    protocol = exchange.turn.protocol
    coding = first(inbound.headers, b"content-encoding")
    try:
        if len(body) > OFF_LOOP_BYTES:
            read = asyncio.to_thread(_read, protocol, body, coding, facts)
            readable, request, intent = await read
        else:
            readable, request, intent = _read(protocol, body, coding, facts)
    except BadRequest as error:
        raise HttpError(400, "invalid_request_error", str(error), reason="bad_body") from error
    except TooLarge as error:
        raise HttpError(413, "request_too_large", str(error)) from error
    except BadCoding as error:
        raise HttpError(400, "invalid_request_error", str(error), reason="bad_coding") from error
    exchange.request = request
    _note_request(exchange.turn, request)
    _note_intent(exchange.turn, intent)
    if inbound.path == endpoints.COUNT_TOKENS:
        exchange.turn.kind = "count_tokens"
        # It has no streamed form, whatever else of a Messages body the client has left in.
        exchange.turn.stream = False
    return readable


def _read(
    protocol: Protocol, body: bytes, coding: str | None, facts: ClientFacts
) -> tuple[bytes, AnyRequest, Intent]:
    # The settings have let ``body`` in at its own size; the bound is for what grows out of it.
    readable = decode_body(body, coding, max(MAX_DECODED, len(body)))
    request = read_as(protocol, readable)
    return readable, request, classify(request, facts)


def _note_client(turn: Turn, facts: ClientFacts) -> None:
    turn.client = facts.client
    turn.client_version = facts.version
    turn.session = turn.session or facts.session
    turn.agent = turn.agent or facts.agent_id


def _note_request(turn: Turn, request: AnyRequest) -> None:
    turn.model_asked = request.model
    turn.max_tokens = request.max_tokens
    turn.stream = request.stream
    turn.tool_choice = request.tool_choice_label
    if isinstance(request, MessagesRequest):
        turn.cache_ttl = request.cache_ttl


def _note_intent(turn: Turn, intent: Intent) -> None:
    turn.kind = intent.kind
    turn.route = intent.route
    turn.offload = intent.offload
    turn.confidence = intent.confidence
    turn.confidence_level = intent.confidence_level
    turn.reasons = list(intent.reasons)
    turn.pinned_by = intent.pinned_by
    turn.estimates = dict(intent.estimates)
    turn.features = dict(intent.features)
    turn.classifier_version = CLASSIFIER_VERSION


def digest(turn: Turn, request: AnyRequest, digester: Digester) -> None:
    """Add the keyed digests of the body's prefix blocks; runs off the loop, after the answer."""
    turn.blocks, turn.body_hash = digester.digest(request)

"""One question to a candidate in its own protocol, and reading answers back into neutral words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from providers.call_ids import CallIds
from providers.coding import BadCoding, TooLarge, decode_body
from providers.errors import ConnectFailed, UpstreamError
from providers.events import fold
from providers.faults import Fault, FaultKind
from providers.neutral import Answer, CannotCarry, Request
from providers.profiles import ProviderSettings
from providers.protocols.dialects import DIALECTS
from providers.rate_limits import read_rate_limits
from providers.tool_book import ToolBook, encode
from providers.traits import Outgoing, traits_of
from providers.types import Headers, Protocol, Usage
from providers.upstream import Upstream
from server import endpoints
from server.clock import Clock
from server.fronts import new_id
from server.headers import first
from server.record import RateLimit

TIMEOUT_S: Final = 120.0
MOST_BYTES: Final = 4 * 1024 * 1024

NOT_EVIDENCE: Final = frozenset(
    {
        FaultKind.AUTH,
        FaultKind.PERMISSION,
        FaultKind.BILLING,
        FaultKind.NOT_FOUND,
        FaultKind.RATE_LIMIT,
        FaultKind.QUOTA,
        FaultKind.OVERLOADED,
        FaultKind.SERVER,
        FaultKind.TIMEOUT,
    }
)
"""Faults that speak of a provider or of our account there, not of its model."""


class Unaskable(Exception):
    """Nothing is learnt from it; ``str()`` says why, in a few fixed words."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question."""

    answer: Answer | Fault
    duration_s: float
    limits: list[RateLimit] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """As reported; empty where nothing was."""
        return self.answer.usage if isinstance(self.answer, Answer) else Usage()

    @property
    def note(self) -> str:
        """Why there is no answer, in the fixed words of its kind."""
        return self.answer.kind.value if isinstance(self.answer, Fault) else ""


def write(request: Request, provider: ProviderSettings, model: str, tokens: int | None) -> Outgoing:
    """The request in the provider's protocol, not streamed; raises ``Unaskable``."""
    outgoing = DIALECTS[provider.protocol].write_request(
        request, model, traits_of(provider.name, model), input_tokens=tokens
    )
    if isinstance(outgoing, CannotCarry):
        raise Unaskable("it cannot be carried there")
    return outgoing


async def ask(
    upstream: Upstream,
    provider: ProviderSettings,
    outgoing: Outgoing,
    request: Request,
    clock: Clock,
) -> Reply:
    """Send it with our own key and read the whole answer; raises ``Unaskable``.

    What says something about the model comes back as a ``Fault``.
    """
    started = clock.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, headers, body = await _send(upstream, provider, outgoing)
    except (TimeoutError, ConnectFailed) as error:
        raise Unaskable("it does not answer") from error
    except UpstreamError:
        fault = Fault(FaultKind.TRUNCATED, "the answer broke off")
        return Reply(fault, clock.monotonic() - started)
    limits = [RateLimit(upstream.name, n, f) for n, f in read_rate_limits(headers).items()]
    answer: Answer | Fault
    if status != 200:
        answer = DIALECTS[provider.protocol].read_fault(status, headers, body, clock.time())
        if answer.kind in NOT_EVIDENCE or 300 <= status < 400:
            raise Unaskable("it takes nothing now")
    else:
        answer = read_answer(provider.protocol, headers, body, request, outgoing.book)
    return Reply(answer, clock.monotonic() - started, limits)


async def _send(
    upstream: Upstream, provider: ProviderSettings, outgoing: Outgoing
) -> tuple[int, Headers, bytes]:
    own = upstream.own_credential
    if own is None:
        raise Unaskable("its key is not set")
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"sbgw-tui"),
        *((n.encode(), v.encode()) for n, v in provider.headers_if_missing.items()),
        *own,
    ]
    path = endpoints.translated_path(provider.protocol)
    response = await upstream.send(b"POST", path, b"", headers, encode(outgoing.body))
    try:
        return response.status, response.headers, await response.read_all(MOST_BYTES)
    finally:
        await response.aclose()


def read_answer(
    protocol: Protocol,
    headers: Headers,
    body: bytes,
    request: Request,
    book: ToolBook | None = None,
) -> Answer | Fault:
    """A whole answer, streamed or not, compressed or not; a ``Fault`` when it is none."""
    dialect = DIALECTS[protocol]
    book, ids = book or ToolBook(request), CallIds(request.call_ids, new_id)
    try:
        readable = decode_body(body, first(headers, b"content-encoding"), MOST_BYTES)
    except (BadCoding, TooLarge):
        return Fault(FaultKind.MALFORMED, "its coding cannot be undone")
    if (first(headers, b"content-type") or "").lower().startswith("text/event-stream"):
        decoder = dialect.decoder(book, ids)
        return fold([*decoder.feed(readable), *decoder.end()])
    try:
        parsed: Any = msgspec.json.decode(readable)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Fault(FaultKind.MALFORMED, "it is not JSON")
    return dialect.read_answer(parsed, book, ids)

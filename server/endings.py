"""How an exchange ends: the fields of every answer, errors before it, events that break it off."""

from __future__ import annotations

from functools import lru_cache

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
from providers.faults import Fault
from providers.types import Headers
from server.exchange import Exchange
from server.fronts import CHANGED
from server.http.errors import HttpError
from server.record import Status, Turn
from server.timers import Verdict

_MAX_FIELD = 200
"""Characters; a model's name is the client's, and clients refuse answers with large heads."""

_PRINTABLE = bytes(c if 0x20 <= c < 0x7F else ord("?") for c in range(256))


def gateway_headers(turn: Turn) -> Headers:
    """What we add to every routed answer."""
    pairs = [
        (b"x-gateway-provider", turn.provider or ""),
        (b"x-gateway-model", (turn.attempts[-1].model if turn.attempts else None) or ""),
        (b"x-gateway-route", turn.route),
        (b"x-gateway-attempts", str(len(turn.attempts))),
    ]
    if changed := [n.removeprefix(CHANGED) for n in turn.notes if n.startswith(CHANGED)]:
        pairs.append((b"x-gateway-degraded", ",".join(changed)))
    own: Headers = [(b"x-gateway-request-id", turn.id.encode())]
    return own + [(name, _field_safe(value)) for name, value in pairs]


@lru_cache(maxsize=256)
def _field_safe(value: str) -> bytes:
    return value[:_MAX_FIELD].encode("utf-8", "replace").translate(_PRINTABLE)


def stopping(headers: Headers) -> Headers:
    """``headers`` so that the vendors' SDKs, and the agents built on them, give up at once."""
    waits = (b"x-should-retry", b"retry-after", b"retry-after-ms")
    return [p for p in headers if p[0].lower() not in waits] + [(b"x-should-retry", b"false")]


async def break_off(exchange: Exchange, fault: Fault) -> None:
    """End a started answer with its protocol's error event; one that takes none is cut.

    An answer of which the client has the end already is one: nobody expects words after those.
    """
    if exchange.conclude is not None and exchange.conclude():
        await exchange.sink.finish()
        return
    exchange.turn.status = Status.PARTIAL
    if not exchange.takes_events or exchange.last_words is None:
        return
    tail = exchange.last_words(fault)
    if tail:
        await exchange.sink.write(tail)
    await exchange.sink.finish()


def expired(verdict: Verdict, name: str) -> Expired:
    """The failure of an attempt that a timer ended."""
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

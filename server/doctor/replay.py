"""``POST /doctor/replay``: the gateway that runs tries the recorded contract on itself.

The requests come in on its own port, through its own framing guard and key check, under a path with
a ticket that only this run knows. Behind that stands a twin in this process: the same code with the
settings in force, simulated vendors, made-up keys and a throw-away record. So nothing is billed, and
the engine that serves clients (its record, totals, breakers and watchers) never hears of it.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from server.addresses import is_loopback
from server.http.errors import HttpError
from server.instance import connect_url, is_permitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.doctor.contract import Feature, Outcome
    from server.doctor.selftest import Maker, StandIn
    from server.services import Services
    from server.settings_file import Loaded

LIMIT_S = 30.0
"""How long all of it may take."""

_PATH = b"/doctor/replay/"
_HOST, _KEY = b"host", b"x-sbgw-key"

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class Running(Protocol):
    """The gateway that is to be tried; ``server.gateway.Gateway`` is one."""

    loaded: Loaded
    services: Services
    instance: str
    host: str
    port: int


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body."""

    nonce: str
    permit: str
    """``server.instance.permit`` over the nonce: what only this home's programs can make."""
    with_credential: list[str] = []
    """The clients that send a credential of their own: ``claude``, ``codex``."""


class Done(msgspec.Struct):
    """What became of one feature, in the answer."""

    id: str
    fate: str
    detail: str
    status: int
    provider: str


class Answered(msgspec.Struct):
    """The whole answer."""

    version: str
    shadow: bool
    outcomes: list[Done]


@dataclass(frozen=True, slots=True)
class _Open:
    """A run under way: where its requests come in, and where they go on to."""

    lead: bytes
    host: bytes
    key: bytes
    app: AsgiApp


class Door:
    """In front of an application: passes the requests of the run under way on to its twin."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._open: _Open | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        way = self._open
        path: bytes = scope.get("raw_path", b"")
        size = len(way.lead) if way else 0
        if way is None or not hmac.compare_digest(path[:size], way.lead):
            await self._app(scope, receive, send)
            return
        rest = path[size:]
        headers = [(n, v) for n, v in scope["headers"] if n.lower() not in (_HOST, _KEY)]
        headers += [(_HOST, way.host), (_KEY, way.key)]
        inner = dict(scope, path=rest.decode("latin-1"), raw_path=rest, headers=headers)
        await way.app(inner, receive, send)

    @contextmanager
    def open_to(self, twin: StandIn) -> Iterator[str]:
        """Let requests below the path that this gives pass to ``twin`` while the block lasts."""
        lead = _PATH + secrets.token_hex(16).encode()
        host = twin.gateway.url.rpartition("//")[2].encode()
        self._open = _Open(lead, host, twin.key.encode(), twin.gateway.edge)
        try:
            yield lead.decode()
        finally:
            self._open = None


class Replays:
    """Runs the contract when this home's owner asks for it, one run at a time."""

    def __init__(self, running: Running, secret: bytes, door: Door, make: Maker) -> None:
        self._running = running
        self._secret = secret
        self._door = door
        self._make = make
        self._used: set[str] = set()
        self._is_busy = False

    async def run(self, data: bytes, peer: str, own: str) -> bytes:
        """The answer to a request with the body ``data`` that came from ``peer`` to ``own``.

        ``HttpError`` 400, 403 without the permit or from another machine, 409 beside another run,
        503 when it does not come to an end.
        """
        asked = self._checked(data, peer, own)
        if self._is_busy:
            raise HttpError(409, "conflict_error", "another replay is under way")
        self._used.add(asked.nonce)
        self._is_busy = True
        try:
            async with asyncio.timeout(LIMIT_S):
                return msgspec.json.encode(await self._replay(asked.with_credential))
        except TimeoutError as error:
            raise HttpError(503, "api_error", "the replay took too long") from error
        finally:
            self._is_busy = False

    def _checked(self, data: bytes, peer: str, own: str) -> Asked:
        if not is_loopback(peer) and peer != own:
            raise HttpError(403, "permission_error", "a replay is for programs on this machine")
        try:
            asked = msgspec.json.decode(data, type=Asked)
        except msgspec.DecodeError as error:
            text = f"the body is not right: {error}"
            raise HttpError(400, "invalid_request_error", text) from error
        of = self._running.port, self._running.instance
        is_right = is_permitted(self._secret, asked.nonce, *of, asked.permit)
        if not is_right or asked.nonce in self._used:
            raise HttpError(
                403, "permission_error", "a replay needs a fresh permit of this gateway's own home"
            )
        return asked

    async def _replay(self, with_credential: Sequence[str]) -> Answered:
        from server import __version__
        from server.doctor.contract import features
        from server.doctor.selftest import Way, Ways, send, stand_in_gateway

        running = self._running
        settings = running.services.settings
        loaded = replace(running.loaded, settings=settings)
        url = connect_url(running.host, running.port)
        key = running.services.keys.reveal()
        async with stand_in_gateway(loaded, self._make) as twin:
            with self._door.open_to(twin) as lead:
                # What is turned away is counted, so those requests go to the twin's own port.
                ways = Ways(Way(url, key, lead), twin.way, Way(url, key))
                outcomes = await send(features(), with_credential, ways, twin.vendor)
        done = [Done(o.feature.id, o.fate.value, o.detail, o.status, o.provider) for o in outcomes]
        return Answered(__version__, settings.routing.shadow, done)


def outcomes_of(body: bytes, known: Sequence[Feature]) -> list[Outcome]:
    """The outcomes in an answer, of the features that are ``known`` here; ``ValueError``."""
    from server.doctor.contract import Fate, Outcome

    by_id = {feature.id: feature for feature in known}
    found = msgspec.json.decode(body, type=Answered).outcomes
    return [
        Outcome(by_id[d.id], Fate(d.fate), d.detail, d.status, d.provider)
        for d in found
        if d.id in by_id
    ]

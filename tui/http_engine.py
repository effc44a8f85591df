"""The engine of another process, over HTTP: what a screen that is attached watches and steers.

    async def find() -> Place: ...
    engine = HttpEngine(find, clock)
    ...
    await engine.aclose()

It looks for the gateway anew (``find``) after every failure, because one that was started again may
be elsewhere, and because the key must only go to the one that was meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.errors import UpstreamError
from providers.sse import ServerSentEvent, SseDecoder
from providers.transport import Origin, Transport, UpstreamResponse
from server.bus import BusSubscription
from server.clock import Clock
from server.engine import CommandResult, EngineUnreachable, Snapshot, Subscription
from server.tasks import spawn

ANSWER_S: Final = 15.0
"""How long the gateway may take for an answer that waits for nobody else."""
COMMAND_S: Final = 120.0
"""The same for a command, which may ask a provider."""
SILENCE_S: Final = 45.0
"""Without a byte for that long, three keep-alives, the stream of events counts as broken."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0

_MAX_BODY: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is, and the key it takes."""

    url: str
    key: str
    is_here: bool = True
    """Whether its files are on this machine."""
    home: str = ""
    """Where files for the user go instead, if they are not."""


Find = Callable[[], Awaitable[Place]]
"""Where the gateway is now; raises ``EngineUnreachable``."""


class KeyRefused(EngineUnreachable):
    """The gateway does not take our key."""


class HttpEngine:
    """``server.engine.EngineClient`` of a gateway in another process; ``EngineUnreachable`` when it
    does not answer."""

    def __init__(self, find: Find, clock: Clock, transport: Transport | None = None) -> None:
        self._find = find
        self._clock = clock
        self._transport = transport or Transport()
        self._place: Place | None = None
        self._pumps: dict[BusSubscription, asyncio.Task[None]] = {}

    async def aclose(self) -> None:
        """End every subscription and close all connections."""
        for subscription in list(self._pumps):
            subscription.close()
        await self._transport.aclose()

    # ------------------------------------------------------------------ EngineClient

    async def snapshot(self) -> Snapshot:
        """See ``server.engine``."""
        return await self._state("/snapshot")

    async def totals(self) -> Snapshot:
        """See ``server.engine``."""
        return await self._state("/snapshot?turns=0")

    def subscribe(self, after_seq: int | None = None) -> Subscription:
        """See ``server.engine``; ``resync`` is set whenever the stream begins or breaks."""
        subscription = BusSubscription(self._left)
        self._pumps[subscription] = spawn("events", self._pump(subscription, after_seq))
        return subscription

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        """See ``server.engine``."""
        status, body = await self._ask("GET", f"/events/{turn_id}")
        return None if status == 404 else _mapping(status, body)

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """See ``server.engine``."""
        asked = msgspec.json.encode({"name": name, "arguments": arguments})
        found = _mapping(*await self._ask("POST", "/command", asked, COMMAND_S))
        data = found.get("data")
        said = str(found.get("message") or "")
        return CommandResult(found.get("ok") is True, said, data if isinstance(data, dict) else {})

    # ------------------------------------------------------------------ inside

    async def _state(self, target: str) -> Snapshot:
        found = _mapping(*await self._ask("GET", target))
        place = self._place
        if place is not None and not place.is_here and isinstance(found.get("gateway"), dict):
            # Its own address and folders mean nothing here.
            found["gateway"] |= {"url": place.url, "home": place.home}
        return found

    async def _ask(
        self, method: str, target: str, body: bytes = b"", limit_s: float = ANSWER_S
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(limit_s):
                response = await self._open(method, target, body)
                async with response:
                    return response.status, await response.read_all(_MAX_BODY)
        except (UpstreamError, TimeoutError) as error:
            self._place = None
            raise EngineUnreachable(_in_words(error)) from error

    async def _open(
        self, method: str, target: str, body: bytes = b"", last: int | None = None
    ) -> UpstreamResponse:
        place = self._place = self._place or await self._find()
        origin, path = Origin.parse(place.url)
        fields = [(b"x-sbgw-key", place.key.encode()), (b"accept", b"*/*")]
        if body:
            fields.append((b"content-type", b"application/json"))
        if last is not None:
            fields.append((b"last-event-id", b"%d" % last))
        return await self._transport.request(
            origin, method.encode(), path + target.encode(), fields, body
        )

    # ------------------------------------------------------------------ events

    def _left(self, subscription: BusSubscription) -> None:
        if (pump := self._pumps.pop(subscription, None)) is not None:
            pump.cancel()

    async def _pump(self, subscription: BusSubscription, after: int | None) -> None:
        """Keep the events coming, from where they ended as long as it is the same gateway."""
        stream = _Stream(subscription, after)
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    response = await self._open("GET", "/events/stream", last=stream.last)
                async with response:
                    stream.begin(response)
                    pause = FIRST_PAUSE_S
                    await stream.read(response)
            except (UpstreamError, EngineUnreachable, TimeoutError):
                pass
            self._place = None
            # Whoever watches finds out with the next snapshot whether the gateway is gone.
            subscription.resync = True
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


class _Stream:
    """One watcher's events over however many connections they take."""

    def __init__(self, subscription: BusSubscription, after: int | None) -> None:
        self.last = after
        self._subscription = subscription
        self._instance: str | None = None

    def begin(self, response: UpstreamResponse) -> None:
        """A connection stands; raises ``EngineUnreachable`` unless it carries events."""
        if response.status != 200:
            raise _refusal(response.status)
        names = {name.lower(): value for name, value in response.headers}
        instance = names.get(b"x-gateway-instance", b"").decode("latin-1")
        if instance != self._instance or self.last is None:
            # What happened before the connection stood was told to nobody.
            self._instance, self.last = instance, None
            self._subscription.resync = True

    async def read(self, response: UpstreamResponse) -> None:
        """Until the connection ends."""
        decoder = SseDecoder()
        while await response.readable(SILENCE_S):
            data = await response.read()
            if not data:
                return
            for event in decoder.feed(data):
                self._take(event)
        raise TimeoutError

    def _take(self, event: ServerSentEvent) -> None:
        if event.event == b"resync":
            self._subscription.resync = True
            return
        try:
            found = msgspec.json.decode(event.data)
        except msgspec.DecodeError:
            return
        if isinstance(found, dict) and isinstance(seq := found.get("seq"), int) and "type" in found:
            self.last = seq
            self._subscription.offer(found)


def _mapping(status: int, body: bytes) -> dict[str, Any]:
    """The object in an answer that is a success."""
    if status != 200:
        raise _refusal(status)
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise EngineUnreachable("what answers is no gateway of this kind")
    return found


_REFUSALS: Final[Mapping[int, type[EngineUnreachable]]] = {401: KeyRefused}
_WORDS: Final[Mapping[int, str]] = {
    401: "it does not take this gateway key",
    403: "it does not answer to this address; a tunnel needs the same port number on both ends",
    404: "it cannot be watched; is it older than this program?",
    429: "it got too many wrong keys; wait a moment",
}


def _refusal(status: int) -> EngineUnreachable:
    kind = _REFUSALS.get(status, EngineUnreachable)
    return kind(_WORDS.get(status, f"it answers with status {status}"))


def _in_words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)

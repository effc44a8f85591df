"""Vendors that fail by chance, and clients that tell a whole answer from any other."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fault_world import GATEWAY_KEY, TARGETS, C, Lane, M, R, World
from gateway_process import Call as RawCall
from scripted_upstream import Peer, Script, chunk, head, respond, sse
from vendor_replies import ENDPOINTS, JSON_TYPE, Reply, error_body, error_event, events, whole

from providers.types import Protocol

REPLY = Reply("The quick brown fox jumps over the lazy dog; 你好, \U0001f44b.")
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
CLIENTS = {M: ("anthropic", M), R: ("openai", R), C: ("openai", C)}
SPARE = "groq"

BEFORE = ("500", "429", "529", "reset", "web page", "no content", "error first")
WITHIN = ("ended", "closed", "aborted", "half an event", "error event")
"""Faults before the first content, and after it."""


class Vendor:
    """One provider; ``share`` of its answers have a fault."""

    def __init__(self, chance: random.Random, *, share: float, pause_s: float) -> None:
        self.share = share
        self.pause_s = pause_s
        self.faults: tuple[str, ...] = WITHIN + BEFORE
        self.injected: Counter[str] = Counter()
        self.is_down = False
        self.left: list[Callable[[float], None]] = []
        """Hears at what time a client's connection ended before its answer."""
        self._chance = chance

    async def __call__(self, peer: Peer) -> None:
        """Answer the latest request of ``peer``."""
        request = next(r for r in reversed(peer.upstream.requests) if r.connection == peer.number)
        path = request.target.partition(b"?")[0]
        protocol = next(p for p, endpoint in ENDPOINTS.items() if endpoint == path)
        streamed = bool(json.loads(request.body).get("stream"))
        # What was sent is of no further use, and a long run has a lot of it.
        peer.received.clear()
        if len(peer.upstream.requests) > 5_000:
            del peer.upstream.requests[:2_500]
        await self._answer(protocol, streamed=streamed)(peer)

    def _answer(self, protocol: Protocol, *, streamed: bool) -> Script:
        if self.is_down:
            return _failing("reset", protocol, self.pause_s)
        name = ""
        if self._chance.random() < self.share:
            name = self._chance.choice(self.faults)
            if not streamed and name in WITHIN:
                name = self._chance.choice(BEFORE[:4])
            self.injected[name] += 1
        if name:
            return _failing(name, protocol, self.pause_s, self._chance.uniform(0.3, 0.95))
        if not streamed:
            return respond(200, JSON_TYPE, whole(protocol, REPLY))
        return sse(events(protocol, REPLY), delay=self.pause_s or None)


def _failing(name: str, protocol: Protocol, pause_s: float, keep: float = 0.5) -> Script:
    found = events(protocol, REPLY)
    if name.isdigit():
        return respond(int(name), JSON_TYPE, error_body(protocol, "api_error", "not now"))
    match name:
        case "reset":
            return _ending([], Peer.reset, pause_s)
        case "web page":
            return respond(200, [(b"Content-Type", b"text/html")], b"<html>Sign in</html>")
        case "no content":
            return sse(found[:1])
        case "error first":
            return sse([error_event(protocol, "not now")])
        case "error event":
            parts = found[: _within(protocol, found, keep)]
            return sse([*parts, error_event(protocol, "not now")], delay=pause_s or None)
        case "ended":
            return sse(found[: _within(protocol, found, keep)], delay=pause_s or None)
        case "half an event":
            at = _within(protocol, found, keep)
            return _ending([*found[:at], found[at][:20]], Peer.reset, pause_s)
    act = Peer.close if name == "closed" else Peer.reset
    return _ending(found[: _within(protocol, found, keep)], act, pause_s)


def _within(protocol: Protocol, found: list[bytes], keep: float) -> int:
    """How many events are some of the text, but neither all of it nor its end."""
    first = {M: 3, R: 4, C: 1}[protocol]
    last = len(found) - {M: 3, R: 4, C: 3}[protocol]
    return min(max(first + 1, int(len(found) * keep)), last - 1)


def _ending(parts: list[bytes], act: Callable[[Peer], None], pause_s: float) -> Script:
    async def script(peer: Peer) -> None:
        if parts:
            await peer.send(SSE_HEAD)
        for part in parts:
            await peer.send(chunk(part))
            await asyncio.sleep(pause_s)
        act(peer)

    return script


@dataclass(slots=True)
class Log:
    """What the clients have seen; this, not the gateway, is what is believed."""

    ended: Counter[str] = field(default_factory=Counter)
    turns: dict[str, str] = field(default_factory=dict)
    """How each turn ended for its client."""
    silent: list[str] = field(default_factory=list)
    """Answers that were short, wrong or without an end, and did not say so."""
    cancelled: int = 0

    def note(self, how: str, call: RawCall) -> None:
        """Count one request."""
        is_shed = call.status == 503 and b"shutting down" in call.body
        self.ended["shed" if is_shed else how] += 1
        if call.turn_id is not None and not is_shed:
            self.turns[call.turn_id] = how
        if how == "silent":
            self.silent.append(bytes(call.body)[-300:].decode("utf-8", "replace"))


class Crowd:
    """Clients of all protocols that ask again and again."""

    def __init__(self, world: World, chance: random.Random, *, cancels: float = 0.0) -> None:
        self.world = world
        self.log = Log()
        self.asked = 0
        self.stopping = False
        self._chance = chance
        self._cancels = cancels
        self._lanes = [Lane(world, client, p, who) for client, (who, p) in CLIENTS.items()]

    async def run(self, clients: int, until: Callable[[], bool]) -> None:
        """So many clients at once, each until it is so."""
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(until))

    async def _client(self, until: Callable[[], bool]) -> None:
        await asyncio.sleep(self._chance.random() / 2)
        while not until():
            await self.ask(self._chance.choice(self._lanes))

    async def ask(self, lane: Lane, *, streamed: bool | None = None) -> str:
        """One request; how it ended for its client."""
        streamed = self._chance.random() < 0.9 if streamed is None else streamed
        body = lane.body(streamed=streamed)
        call = RawCall(self.world.gateway.port, body, TARGETS[lane.client], key=GATEWAY_KEY)
        self.asked += 1
        if self._chance.random() < self._cancels:
            how = await self._leave(call)
        else:
            await call.run()
            how = judge(lane, call, streamed=streamed)
        self.log.note(how, call)
        if call.status is None:
            await asyncio.sleep(0.05)
        return how

    async def _leave(self, call: RawCall) -> str:
        task = asyncio.get_running_loop().create_task(call.run())
        with suppress(TimeoutError):
            await asyncio.wait_for(call.begun.wait(), 10)
        await asyncio.sleep(self._chance.random() / 4)
        if task.done():
            return "left at its end"
        task.cancel()
        await asyncio.wait({task})
        return "left"


def judge(lane: Lane, call: RawCall, *, streamed: bool) -> str:
    """``good``, ``told`` of an error, ``refused``, ``cut`` off or ``silent``ly short."""
    if call.status is None:
        return "unanswered"
    if call.status != 200:
        return "refused" if call.is_whole else "cut"
    if not call.is_whole:
        # The connection itself says that something is missing.
        return "cut"
    try:
        told = lane.got(call).told
    except Exception:
        return "silent"
    if told.error:
        return "told"
    is_good = told.text == REPLY.text and told.stop == "end"
    return "good" if is_good else "silent"


def spread(vendors: dict[str, Vendor]) -> Iterator[tuple[str, int]]:
    """Every injected fault and how often."""
    total: Counter[str] = Counter()
    for vendor in vendors.values():
        total.update(vendor.injected)
    yield from sorted(total.items())


def now() -> float:
    """Seconds, for figures alone."""
    return time.perf_counter()


def slope(samples: list[tuple[float, float]]) -> float:
    """The least-squares slope of ``(seconds, value)``, in value an hour."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread_x = sum((x - mean_x) ** 2 for x, _ in samples)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread_x


def share_of(values: list[float], share: float) -> float:
    """Nearest rank."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * share))]


def as_text(value: Any) -> str:
    """For a table."""
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"

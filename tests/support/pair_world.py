"""A gateway whose clients of one protocol are served by a provider of another, or of the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live_gateway import LiveGateway, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, respond
from sdk_drivers import Driver, driving
from vendor_replies import ENDPOINTS, Reply, answering

from providers.types import Protocol
from server.clock import Clock
from server.retries import RetryBudget

Json = dict[str, Any]
Answer = Reply | Script
Vendor = Callable[[Json], Answer]
"""What the provider does with a request's body."""

PROTOCOLS = (Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT)
PAIRS = [(client, provider) for client in PROTOCOLS for provider in PROTOCOLS]
CROSSED = [pair for pair in PAIRS if pair[0] is not pair[1]]
SHORT = {Protocol.MESSAGES: "messages", Protocol.RESPONSES: "responses", Protocol.CHAT: "chat"}


def pair_name(value: Any) -> str:
    """For ``parametrize(ids=...)``."""
    return f"{SHORT[value[0]]}-{SHORT[value[1]]}" if isinstance(value, tuple) else ""


def provider_of(client: Protocol, provider: Protocol) -> str:
    """The built-in provider for a pair; one of our own where none has the protocol first."""
    if provider is Protocol.MESSAGES:
        return "anthropic"
    if client is provider:
        return "openai"
    if provider is Protocol.CHAT:
        return "groq"
    return "openai" if client is Protocol.MESSAGES else "vendor"


KEYS = {
    "OPENAI_API_KEY": "sk-openai",
    "GROQ_API_KEY": "gsk_groq",
    "CEREBRAS_API_KEY": "csk-cerebras",
    "VENDOR_API_KEY": "vendor-key",
}


@dataclass(slots=True)
class Pair:
    """One running pair; ``vendor`` may be replaced at any time."""

    client: Protocol
    provider: Protocol
    name: str
    driver: Driver
    gateway: LiveGateway
    upstream: ScriptedUpstream
    _turns_before: int = 0
    _requests_before: int = 0

    @property
    def is_native(self) -> bool:
        return self.client is self.provider

    async def anew(self) -> Pair:
        """The same pair as if nothing had happened yet: no requests, healthy providers."""
        self.gateway.gateway.health_book.reset(self.name)
        self.gateway.gateway.services.retries = RetryBudget()
        self._turns_before = await turns_so_far(self.gateway)
        self._requests_before = len(self.upstream.requests)
        return self

    @property
    def requests(self) -> list[Request]:
        """What the provider got."""
        return self.upstream.requests[self._requests_before :]

    @property
    def bodies(self) -> list[Json]:
        """The bodies the provider got."""
        return [json.loads(request.body) for request in self.requests]

    async def turns(self, count: int = 1) -> list[Json]:
        """Exactly ``count`` recorded turns in full, oldest first."""
        return await newest_turns(self.gateway, count, self._turns_before)

    def play(self, answer: Answer | Vendor) -> None:
        """What the provider answers from now on; a ``Reply`` is given in the asked form."""
        self.upstream.route = vendor_route(self.provider, answer)


async def turns_so_far(gateway: LiveGateway) -> int:
    """How many turns there were, once none runs any more."""
    return len(await _closed_rows(gateway, 0))


async def newest_turns(gateway: LiveGateway, count: int, before: int) -> list[Json]:
    """The turns after the first ``before``, in full and oldest first; there must be ``count``."""
    rows = await _closed_rows(gateway, before + count)
    assert len(rows) == before + count
    found = [await gateway.gateway.turn(row["id"]) for row in reversed(rows[:count])]
    return [turn for turn in found if turn is not None]


async def _closed_rows(gateway: LiveGateway, least: int) -> list[Json]:
    engine = gateway.gateway
    while True:
        await asyncio.to_thread(engine.services.ledger.flush, 5.0)
        rows = [row for row in await engine.recent(1000) if row["status"] != "open"]
        if len(rows) >= least and not engine.services.active:
            return rows
        await asyncio.sleep(0.005)


def vendor_route(protocol: Protocol, answer: Answer | Vendor) -> Callable[[Request], Script]:
    """A provider of ``protocol`` that gives one answer, or what a function says."""

    def route(request: Request) -> Script:
        if request.target.partition(b"?")[0] != ENDPOINTS[protocol]:
            return respond(404, [], b"wrong path: " + request.target)
        found: Any = answer
        body = json.loads(request.body)
        if not isinstance(found, Reply) and not _is_script(found):
            found = found(body)
        if isinstance(found, Reply):
            return answering(protocol, found, streamed=bool(body.get("stream")))
        script: Script = found
        return script

    return route


def _is_script(answer: Any) -> bool:
    return getattr(answer, "__name__", "") == "script"


def settings_for(client: Protocol, provider: Protocol, url: str) -> str:
    """The settings that make a provider of ``provider`` the baseline of ``client``."""
    name = provider_of(client, provider)
    lines = ["[routing.baseline]", f'{SHORT[client]} = ["{name}"]']
    if name != "anthropic":
        lines += [f"[providers.{name}]", f'base_url = "{url}"']
    if name == "vendor":
        lines += [
            'kind = "openai-responses"',
            'model = "vendor-model"',
            'api_key_env = "VENDOR_API_KEY"',
        ]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def pair_world(
    home: Path,
    client: Protocol,
    provider: Protocol,
    answer: Answer | Vendor | None = None,
    *,
    clock: Clock | None = None,
) -> AsyncIterator[Pair]:
    """A gateway, the SDK of ``client``, and a scripted provider that speaks ``provider``."""
    async with ScriptedUpstream() as upstream:
        settings = settings_for(client, provider, upstream.base_url)
        async with (
            live_gateway(
                home, upstream.base_url, env=KEYS, settings=settings, clock=clock
            ) as gateway,
            driving(client, gateway.url) as driver,
        ):
            name = provider_of(client, provider)
            pair = Pair(client, provider, name, driver, gateway, upstream)
            if answer is not None:
                pair.play(answer)
            yield pair

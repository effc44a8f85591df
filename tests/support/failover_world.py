"""A live gateway whose background calls go to Groq, then Cerebras, and home to Anthropic."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_bodies import background_call
from anthropic_streams import TEXT
from live_gateway import Answer, LiveGateway, live_gateway
from pair_world import KEYS, newest_turns, turns_so_far
from scripted_upstream import Script, ScriptedUpstream, sse
from vendor_replies import Reply, stream

from providers.types import Headers, Protocol
from server.clock import Clock
from server.retries import RetryBudget
from server.verification.ladder import Rung

CHEAP = Reply("A short title from the cheap model.")
GOOD = sse([stream(Protocol.CHAT, CHEAP)])
HOME = TEXT
"""What the baseline answers."""

AGENT: Headers = [
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"anthropic-version", b"2023-06-01"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
]
TITLE = "You are naming a coding session. Answer with a short title."
ROUTES = '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["groq"]\n'

_numbers = itertools.count()


def title(number: int | None = None, **more: Any) -> dict[str, Any]:
    """A background call that may leave its vendor; a new one unless it has a ``number``."""
    number = next(_numbers) if number is None else -number
    return background_call(TITLE, f"<session>\ntask {number}\n</session>", **more)


@dataclass(slots=True)
class World:
    """The gateway and its providers."""

    gateway: LiveGateway
    upstreams: dict[str, ScriptedUpstream]
    _before: int = 0
    _is_used: bool = False
    _seen_before: dict[str, int] = field(default_factory=dict)

    async def anew(self) -> World:
        """As if nothing had happened yet."""
        self._before = await turns_so_far(self.gateway)
        if self._is_used:
            # What an earlier test had it answer must not take a kind away from it.
            ladder = self.gateway.gateway.ladder
            ladder.settle("title", Rung.LIVE, Rung.LIVE, "as if nothing had happened", "a test")
        self._is_used = True
        for name, upstream in self.upstreams.items():
            self.gateway.gateway.health_book.reset(name)
            self._seen_before[name] = len(upstream.requests)
        self.gateway.gateway.services.retries = RetryBudget()
        self.play(groq=GOOD, cerebras=GOOD, anthropic=sse([HOME]))
        return self

    def play(self, **scripts: Script) -> None:
        """What providers answer from now on."""
        for name, script in scripts.items():
            if name in self.upstreams:
                self.upstreams[name].script = script

    async def ask(self, body: Any = None, headers: Headers | None = None) -> Answer:
        """A title, by default."""
        fields = AGENT if headers is None else headers
        return await self.gateway.ask(headers=fields, body=title() if body is None else body)

    async def turns(self, count: int) -> list[dict[str, Any]]:
        """Exactly ``count`` turns, oldest first."""
        return await newest_turns(self.gateway, count, self._before)

    async def turn(self) -> dict[str, Any]:
        """The only one."""
        return (await self.turns(1))[0]

    def seen(self, name: str) -> int:
        """How many requests a provider got."""
        return len(self.upstreams[name].requests) - self._seen_before.get(name, 0)

    def health(self, name: str) -> dict[str, Any]:
        """Breaker, failures, cooldown ... of a provider."""
        return self.gateway.gateway.health_book.as_json(name)


@asynccontextmanager
async def failover_world(
    home: Path,
    settings: str = ROUTES,
    *,
    clock: Clock | None = None,
    addresses: dict[str, str] | None = None,
    baseline: str | None = None,
    names: tuple[str, ...] = ("anthropic", "groq"),
) -> AsyncIterator[World]:
    """Start it; ``addresses`` and ``baseline`` replace those of the scripted providers."""
    async with AsyncExitStack() as stack:
        upstreams = {n: await stack.enter_async_context(ScriptedUpstream(GOOD)) for n in names}
        where = {n: u.base_url for n, u in upstreams.items()} | (addresses or {})
        lines = [f'[providers.{n}]\nbase_url = "{u}"' for n, u in where.items() if n != "anthropic"]
        gateway = await stack.enter_async_context(
            live_gateway(
                home,
                baseline or where["anthropic"],
                env=KEYS,
                settings="\n".join([settings, *lines]) + "\n",
                clock=clock,
            )
        )
        yield await World(gateway, upstreams).anew()

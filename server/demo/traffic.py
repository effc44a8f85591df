"""Plays the scripted sessions against the gateway, as a real client would over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

import msgspec

from providers.errors import UpstreamError
from providers.transport import Origin, Transport
from providers.types import Headers
from server.clock import Clock
from server.demo.script import Step, session
from server.demo.upstream import ANSWER_HEADER, pack
from server.tasks import spawn

CONCURRENT_SESSIONS = 3
_SEED = 20_26


class Traffic:
    """Keeps a few scripted sessions running until it is stopped."""

    def __init__(self, base_url: str, key: str, clock: Clock, *, seed: int = _SEED) -> None:
        self._origin, self._base = Origin.parse(base_url)
        self._key = key.encode()
        self._clock = clock
        self._rng = random.Random(seed)  # noqa: S311
        self._transport = Transport()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the sessions in the background."""
        for lane in range(CONCURRENT_SESSIONS):
            self._tasks.append(spawn(f"demo session {lane}", self._lane(lane)))

    async def stop(self) -> None:
        """End the sessions and close their connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.aclose()

    async def _lane(self, lane: int) -> None:
        index = lane
        await self._clock.sleep(lane * 0.7)
        while True:
            await self.play(session(random.Random(self._rng.random()), index))  # noqa: S311
            index += CONCURRENT_SESSIONS
            await self._clock.sleep(1.5)

    async def play(self, steps: Iterator[Step]) -> None:
        """Send each step of one session after its pause and read the answer to its end."""
        for step in steps:
            await self._clock.sleep(step.pause_s)
            with contextlib.suppress(UpstreamError):
                if step.leave_after_s is None:
                    await self._send(step)
                else:
                    await self._send_and_leave(step, step.leave_after_s)

    async def _send_and_leave(self, step: Step, seconds: float) -> None:
        asking = spawn("demo request", self._send(step))
        await self._clock.sleep(seconds)
        asking.cancel()
        await asyncio.wait({asking})

    async def _send(self, step: Step) -> None:
        response = await self._transport.request(
            self._origin,
            b"POST",
            self._base + step.path.encode() + b"?beta=true",
            self._headers(step),
            msgspec.json.encode(step.body),
        )
        try:
            while await response.read():
                pass
        finally:
            await response.aclose()

    def _headers(self, step: Step) -> Headers:
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
            (b"x-app", b"cli"),
            (b"anthropic-version", b"2023-06-01"),
            (b"x-claude-code-session-id", step.session.encode()),
            (b"x-api-key", self._key),
            (b"x-sbgw-project", step.project.encode()),
            (b"x-sbgw-branch", step.branch.encode()),
            (ANSWER_HEADER, pack(step.answer)),
        ]
        if step.agent:
            headers.append((b"x-claude-code-agent-id", step.agent.encode()))
        return headers

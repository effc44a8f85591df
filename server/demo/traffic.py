"""Plays the scripted sessions against the gateway, as real clients would over HTTP."""

from __future__ import annotations

import asyncio
from enum import Enum

import msgspec

from providers.errors import UpstreamError
from providers.transport import Origin, Transport
from server.clock import Clock
from server.demo.answers import ANSWER_HEADER, Answer, pack
from server.demo.script import lanes
from server.demo.steps import Pause, Script, Step, Together
from server.tasks import spawn

SEED = 20_26
_TRIES = 12
_FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 3.0
"""Between two tries of a request."""
_RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})
_WHOLE_MAX_TOKENS = 64_000
"""What Claude Code asks for when it repeats a failed stream as a whole answer."""


class _Outcome(Enum):
    """How one try ended, as the client sees it."""

    DONE = "done"
    AGAIN = "again"
    """The same request once more, after a pause."""
    WHOLE = "whole"
    """The same request at once, not streamed."""


class Traffic:
    """Keeps the scripted sessions running until it is stopped."""

    def __init__(self, base_url: str, key: str, clock: Clock, *, seed: int = SEED) -> None:
        self._origin, self._base = Origin.parse(base_url)
        self._key = key.encode()
        self._clock = clock
        self._seed = seed
        self._transport = Transport()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the sessions in the background."""
        for number, lane in enumerate(lanes(self._seed)):
            self._tasks.append(spawn(f"demo session {number}", self.play(lane)))

    async def stop(self) -> None:
        """End the sessions and close their connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.aclose()

    async def play(self, script: Script) -> None:
        """Send each request of a script after its pause and read the answer to its end."""
        for item in script:
            if isinstance(item, Together):
                # A group, so that branches end with the session they belong to.
                async with asyncio.TaskGroup() as group:
                    for branch in item.branches:
                        group.create_task(self.play(branch))
            elif isinstance(item, Pause):
                await self._clock.sleep(item.seconds)
            else:
                await self._clock.sleep(item.pause_s)
                await self._ask(item)

    async def _ask(self, step: Step) -> None:
        """One request with the patience of Claude Code."""
        backoff, body, tries = _FIRST_BACKOFF_S, step.body, _answers(step.answers)
        for answer in tries:
            match await self._try(step, answer, body):
                case _Outcome.AGAIN if step.may_retry:
                    await self._clock.sleep(backoff)
                    backoff = min(backoff * 2, LONGEST_BACKOFF_S)
                case _Outcome.WHOLE if step.may_retry:
                    asked = msgspec.json.decode(step.body)
                    asked |= {"stream": False, "max_tokens": _WHOLE_MAX_TOKENS}
                    body = msgspec.json.encode(asked)
                case _:
                    return

    async def _try(self, step: Step, answer: Answer, body: bytes) -> _Outcome:
        if step.leave_after_s is None:
            return await self._send(step, answer, body)
        asking = spawn("demo request", self._send(step, answer, body))
        try:
            await self._clock.sleep(step.leave_after_s)
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        return _Outcome.DONE

    async def _send(self, step: Step, answer: Answer, body: bytes) -> _Outcome:
        headers = step.caller.headers(self._key)
        headers += [(b"content-type", b"application/json"), (ANSWER_HEADER, pack(answer))]
        target = self._base + step.path.encode() + b"?beta=true"
        tail = b""
        try:
            response = await self._transport.request(self._origin, b"POST", target, headers, body)
            async with response:
                while data := await response.read():
                    tail = (tail + data)[-2048:]
        except UpstreamError:
            return _Outcome.AGAIN
        if response.status in _RETRIED:
            return _Outcome.AGAIN
        if b"event: error" in tail:
            return _Outcome.WHOLE
        return _Outcome.DONE


def _answers(scripted: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """One answer a try; the last scripted one serves all further tries."""
    return scripted + scripted[-1:] * (_TRIES - len(scripted))

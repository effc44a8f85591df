"""F-101: a failure at each place where a request waits, one after another.

Whatever breaks inside, and with a credential in its words: the client is told in its own protocol
or has the whole answer, the record says the same, and nothing is left over or given away.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pair_world import KEYS, PROTOCOLS, SHORT, Pair, newest_turns, pair_world
from scripted_upstream import chunk, head, respond, send
from security_probe import files_with
from vendor_replies import JSON_TYPE, Call, Reply, events, whole
from wire_readers import Told, faults_of, read_stream, read_whole

from providers.types import Protocol
from server import logs
from server.dispatch import Dispatcher

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
REPLY = Reply("Hello there, my friend.", (Call("shell", {"cmd": "ls"}),))
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
TARGETS = {M: "/v1/messages", R: "/v1/responses", C: "/v1/chat/completions"}
CANARY = KEYS["GROQ_API_KEY"]
MOST = 200
"""More places to wait than any request has."""

FAILURES: dict[str, Callable[[], Exception]] = {
    "bug": lambda: RuntimeError(f"a failure with {CANARY} in its words"),
    "system": lambda: OSError(5, f"a failure with {CANARY} in its words"),
}


class _Sabotage:
    """Runs a coroutine, but raises where it waits for the ``at``-th time."""

    def __init__(self, inner: Awaitable[Any], at: int, failure: Callable[[], Exception]) -> None:
        self._steps: Generator[Any, Any, Any] = inner.__await__()
        self._at = at
        self._failure = failure
        self.has_struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        waits = 0
        error: BaseException | None = None
        while True:
            try:
                what = self._steps.send(None) if error is None else self._steps.throw(error)
                waits += 1
                if waits == self._at:
                    # What it waited for must not count as left alone.
                    getattr(what, "cancel", lambda: None)()
                    self.has_struck = True
                    what = self._steps.throw(self._failure())
            except StopIteration as end:
                return end.value
            try:
                error = None
                yield what
            except BaseException as thrown:  # asyncio cancels what waits
                error = thrown


class Saboteur:
    """Breaks one request of the dispatcher; ``has_struck`` once it did."""

    def __init__(self) -> None:
        self._next: tuple[int, Callable[[], Exception]] | None = None
        self._last: _Sabotage | None = None

    def strike(self, at: int, failure: Callable[[], Exception]) -> None:
        self._next, self._last = (at, failure), None

    @property
    def has_struck(self) -> bool:
        return self._last is not None and self._last.has_struck

    async def run(self, inner: Awaitable[Any]) -> None:
        if self._next is None:
            await inner
            return
        (at, failure), self._next = self._next, None
        self._last = _Sabotage(inner, at, failure)
        await self._last


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    found, honest = Saboteur(), Dispatcher.handle

    async def handle(self: Dispatcher, *args: Any) -> None:
        await found.run(honest(self, *args))

    monkeypatch.setattr(Dispatcher, "handle", handle)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The program's own log file, written as it writes it."""
    logger = logging.getLogger("sbgw")
    before = (list(logger.handlers), logger.level, logger.propagate)
    path = tmp_path / "log.jsonl"
    logs.to_file(path, "debug", KEYS.values())
    yield path
    for handler in logger.handlers:
        if handler not in before[0]:
            handler.close()
    logger.handlers, logger.level, logger.propagate = before


def body_of(pair: Pair, *, streamed: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": pair.driver.model, "stream": streamed}
    if pair.client is R:
        return asked | {"input": "hi there", "store": False}
    return asked | {"max_tokens": 50, "messages": [{"role": "user", "content": "hi there"}]}


def play(pair: Pair, *, streamed: bool) -> None:
    """The vendor answers well, a stream piece by piece."""
    if streamed:
        pieces = [SSE_HEAD, *map(chunk, events(pair.provider, REPLY)), chunk(b"")]
        cuts = list(itertools.accumulate(map(len, pieces)))
        pair.play(send(b"".join(pieces), split=cuts[:-1]))
    else:
        pair.play(respond(200, [*JSON_TYPE], whole(pair.provider, REPLY)))


async def told_of(pair: Pair, *, streamed: bool) -> Told:
    """What the client understands."""
    body = body_of(pair, streamed=streamed)
    got = await pair.gateway.ask(target=TARGETS[pair.client], body=body)
    assert CANARY.encode() not in got.body
    if got.status != 200 or not streamed:
        return read_whole(pair.client, json.loads(got.body))
    assert faults_of(pair.client, got.body) == []
    return read_stream(pair.client, got.body)


def is_good(told: Told) -> bool:
    return told.error is None and (told.text, told.stop) == (REPLY.text, "tool")


async def at_rest(pair: Pair, turns: int) -> dict[str, Any]:
    """The newest of ``turns`` terminal rows, once nothing of it is left anywhere."""
    gateway = pair.gateway.gateway
    (turn,) = await newest_turns(pair.gateway, 1, turns - 1)
    transport = gateway.services.upstreams[pair.name].transport
    async with asyncio.timeout(20):
        while pair.upstream.busy or transport.open_connections > transport.idle_connections:
            await asyncio.sleep(0.001)
    bulkhead = gateway.services.bulkhead
    assert not gateway.services.active
    assert bulkhead.buffered == 0
    return turn


@pytest.mark.parametrize("failure", list(FAILURES))
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("client", "provider"),
    [(client, provider) for client in PROTOCOLS for provider in PROTOCOLS],
    ids=lambda value: SHORT[value],
)
async def test_F_101_a_failure_at_each_await_is_told_and_recorded(
    client: Protocol,
    provider: Protocol,
    streamed: bool,
    failure: str,
    tmp_path: Path,
    saboteur: Saboteur,
    log: Path,
) -> None:
    struck = 0
    async with pair_world(tmp_path / "h", client, provider) as pair:
        play(pair, streamed=streamed)
        for at in range(1, MOST):
            # A connection of its own for each, or else there would be fewer places to wait.
            pair.gateway.gateway.services.upstreams[pair.name].transport.drop_idle()
            saboteur.strike(at, FAILURES[failure])
            told = await told_of(pair, streamed=streamed)
            turn = await at_rest(pair, at)
            assert (turn["status"] == "completed") == is_good(told)
            if not saboteur.has_struck:
                assert is_good(told)
                break
            struck += 1
            assert is_good(told) or told.error
        else:
            pytest.fail("it never stops waiting")
    assert struck >= (12 if streamed else 3)
    assert files_with(tmp_path, [CANARY, *KEYS.values()]) == []
    assert files_with(tmp_path, ["a failure with ***"]) != []

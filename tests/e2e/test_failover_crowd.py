"""Fifty clients at once while one of two providers dies, stalls, refuses or talks nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from anthropic_rules import check_stream
from failover_world import CHEAP, GOOD, HOME, World, failover_world, title
from live_gateway import Answer
from scripted_upstream import Script, chunk, close, hang, head, reset, respond, send, sse, steps
from shifted_clock import ShiftedClock
from vendor_replies import JSON_TYPE, error_body, events
from wire_readers import read_stream

from providers.types import Protocol
from server.bulkhead import STAND_IN_LIMIT

pytestmark = pytest.mark.faults

C, M = Protocol.CHAT, Protocol.MESSAGES
CLIENTS = 50
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
OPENED = SSE_HEAD + chunk(events(C, CHEAP)[0])
LIMITED = error_body(C, "rate_limit", "slow down", "rate_limit_exceeded")
FAULTS: dict[str, Script] = {
    "killed": reset(),
    "killed after its headers": steps(send(OPENED), reset()),
    "broken": respond(500, JSON_TYPE, b"{}"),
    "rate-limited": respond(429, [*JSON_TYPE, (b"retry-after", b"20")], LIMITED),
    "corrupted": sse([b"data: {\x00\xff not json\n\n"]),
    "corrupted framing": steps(send(SSE_HEAD + b"zz\r\nnonsense"), close()),
}


async def crowd(world: World, requests: int, after: Callable[[int], None]) -> list[Answer]:
    """``requests`` titles by fifty clients; ``after`` hears how many were asked for."""
    left = list(range(requests))
    answers: list[Answer] = []

    async def client() -> None:
        while left:
            left.pop()
            after(requests - len(left))
            answers.append(await world.ask())

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answers


def check(answers: list[Answer]) -> tuple[int, int]:
    """Every answer is one provider's alone; how many came from each."""
    home = cheap = 0
    for got in answers:
        assert got.status == 200
        if got.body == HOME:
            home += 1
            continue
        assert check_stream(got.body) == []
        told = read_stream(M, got.body)
        assert (told.text, told.stop, told.error) == (CHEAP.text, "end", None)
        cheap += 1
    return cheap, home


@pytest.mark.parametrize("name", FAULTS)
async def test_nobody_notices_a_provider_that_fails(name: str, tmp_path: Path) -> None:
    requests = 150
    clock = ShiftedClock()
    async with failover_world(tmp_path / "h", clock=clock) as world:

        def after(count: int) -> None:
            if count == requests // 3:
                world.play(groq=FAULTS[name])

        cheap, home = check(await crowd(world, requests, after))
        assert cheap + home == requests
        assert home > requests // 3
        health = world.health("groq")
        if name == "rate-limited":
            assert (health["breaker"], health["cooldown"]["cause"]) == ("closed", "rate limit")
        else:
            assert health["breaker"] == "open"
        # Attempts under way when it opened are all that came on top.
        assert world.seen("groq") <= requests // 3 + CLIENTS * 2 + 5
        assert world.health("anthropic")["breaker"] == "closed"
        await comes_back(world, clock)
        turns = await world.turns(requests + 3)
        assert {turn["status"] for turn in turns} == {"completed"}


async def comes_back(world: World, clock: ShiftedClock) -> None:
    """It closes again by itself, by two good probes."""
    world.play(groq=GOOD)
    clock.shift(25)
    for _ in range(3):
        assert read_stream(M, (await world.ask()).body).text == CHEAP.text
    health = world.health("groq")
    assert (health["breaker"], health["cooldown"]) == ("closed", None)


async def test_nobody_waits_for_a_provider_that_stalls(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with failover_world(tmp_path / "h", clock=clock) as world:
        world.play(groq=steps(send(OPENED), hang()))
        asked = asyncio.ensure_future(crowd(world, CLIENTS, lambda _: None))
        # The others find no place there, and go home at once.
        await world.upstreams["groq"].wait_for(requests=STAND_IN_LIMIT)
        clock.shift(121)
        cheap, home = check(await asked)
        assert (cheap, home) == (0, CLIENTS)
        assert world.health("groq")["breaker"] == "open"
        await world.upstreams["groq"].all_gone()
        await comes_back(world, clock)


async def test_one_probe_at_a_time(tmp_path: Path) -> None:
    clock = ShiftedClock()
    gate = asyncio.Event()

    async def slow(peer: object) -> None:
        await gate.wait()
        await GOOD(peer)  # type: ignore[arg-type]

    async with failover_world(tmp_path / "h", clock=clock) as world:
        world.play(groq=respond(503))
        for _ in range(6):
            await world.ask()
        assert world.seen("groq") == 5
        world.play(groq=slow)
        clock.shift(25)
        asked = asyncio.ensure_future(crowd(world, CLIENTS, lambda _: None))
        await world.upstreams["groq"].wait_for(requests=6)
        await world.upstreams["anthropic"].wait_for(requests=6 + CLIENTS - 1)
        assert world.seen("groq") == 6
        gate.set()
        assert check(await asked) == (1, CLIENTS - 1)


async def test_refusals_and_cancels_open_nothing(tmp_path: Path) -> None:
    rounds = 40
    async with failover_world(tmp_path / "h") as world:
        scripts = [
            respond(400, JSON_TYPE, error_body(M, "invalid_request_error", "no")),
            respond(429, JSON_TYPE, error_body(M, "rate_limit_error", "slow down")),
            respond(413, JSON_TYPE, error_body(M, "request_too_large", "too large")),
        ]
        for number in range(rounds):
            world.play(anthropic=scripts[number % 3], groq=respond(400))
            got = await world.ask()
            assert got.status in (400, 429, 413)
        world.play(anthropic=hang(), groq=hang())
        for _ in range(rounds):
            response = asyncio.ensure_future(world.gateway.open(body=title()))
            await world.upstreams["anthropic"].wait_for(requests=world.seen("anthropic") + 1)
            response.cancel()
            await asyncio.gather(response, return_exceptions=True)
            await world.upstreams["anthropic"].all_gone()
        for name in ("groq", "anthropic"):
            health = world.health(name)
            assert (health["breaker"], health["failures"]) == ("closed", 0)

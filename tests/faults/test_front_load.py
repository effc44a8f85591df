"""The HTTP/1.1 front under many, slow, stalling and hostile clients at once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fault_world import GATEWAY_KEY, HELLO, Lane, M, World, fault_world, settings_of
from front_client import Wire, front
from front_lane import recount, settle, text_of
from gateway_process import until
from scripted_upstream import chunk, hang, head, respond, send, sse, steps
from vendor_replies import JSON_TYPE, Reply, events, stream, whole

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
IDLE = 500
CLIENTS_BUFFER = 8 << 10


def memory_kib(world: World) -> int:
    """Resident memory of the gateway."""
    with open(f"/proc/{world.gateway.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors(world: World) -> int:
    """How many the gateway has open."""
    return len(os.listdir(f"/proc/{world.gateway.pid}/fd"))


async def served(lane: Lane, wire: Wire, count: int = 3) -> int:
    """So many requests are answered on connections of their own; how many."""
    for _ in range(count):
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=False)))
            assert text_of(await peer.answer()) == HELLO.text
    return count


@pytest.mark.parametrize("said", ["nothing", "half a head", "half a body", "an answer before"])
async def test_front_many_idle_connections_disturb_nobody(
    lane: Lane, wire: Wire, said: str
) -> None:
    before, open_before = memory_kib(lane.world), descriptors(lane.world)
    one = wire.request(lane.body(streamed=False))
    parts = {
        "nothing": b"",
        "half a head": one[:60],
        "half a body": one[:-20],
        "an answer before": wire.get("/health"),
    }
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(front(wire.port)) for _ in range(IDLE)]
        for peer in peers:
            await peer.send(parts[said])
        if said == "an answer before":
            for peer in peers:
                assert (await peer.answer("GET")).status == 200
        await served(lane, wire, 5)
        assert memory_kib(lane.world) - before < IDLE * 64
        for peer in peers[::2]:
            peer.reset()
    await until(lambda: descriptors(lane.world) <= open_before + 8, "descriptors are left over")
    states = await recount(lane)
    assert states.count("completed") == 5
    assert set(states) <= {"completed", "cancelled", "rejected"}


async def test_front_a_slow_head_holds_up_nobody(lane: Lane, wire: Wire) -> None:
    data = wire.request(lane.body(streamed=False))
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(front(wire.port)) for _ in range(50)]
        for at in range(0, len(data), 16):
            for peer in slow:
                await peer.send(data[at : at + 16])
            await served(lane, wire, 1)
        for peer in slow:
            assert text_of(await peer.answer()) == HELLO.text
    states = await recount(lane)
    assert states == ["completed"] * (50 + len(range(0, len(data), 16)))


async def test_front_slow_readers_hold_up_nobody_and_lose_nothing(lane: Lane, wire: Wire) -> None:
    large = whole(M, Reply("word " * 1_600_000))
    before = memory_kib(lane.world)
    lane.play(*[respond(200, JSON_TYPE, large)] * 4)
    asked = len(lane.upstream.requests)
    async with AsyncExitStack() as stack:
        opened = [front(wire.port, receive_buffer=CLIENTS_BUFFER) for _ in range(4)]
        slow = [await stack.enter_async_context(one) for one in opened]
        for peer in slow:
            await peer.send(wire.request(lane.body(streamed=False)))
        await lane.upstream.wait_for(requests=asked + 4)
        await until(lambda: lane.upstream.busy == 0, "the vendor could not say all")
        lane.play(lane.well)
        await served(lane, wire, 5)
        # A whole answer is held until its end is known, once; not once more for each reader.
        assert memory_kib(lane.world) - before < 4 * 2.5 * len(large) / 1024
        for peer in slow:
            answer = await peer.answer()
            assert hashlib.sha256(answer.body).digest() == hashlib.sha256(large).digest()
    assert await settle(lane, 9) == ["completed"] * 9


async def test_front_a_stream_that_was_stalled_goes_on_to_its_end(lane: Lane, wire: Wire) -> None:
    reply = Reply("word " * 400_000)
    parts = events(M, reply, size=2000)
    expected = b"".join(parts)
    lane.play(sse(parts))
    async with front(wire.port, receive_buffer=CLIENTS_BUFFER) as peer:
        await peer.send(wire.request(lane.body(streamed=True)))
        await served(lane, wire, 5)
        answer = await peer.answer()
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(expected).digest()
    assert await settle(lane, 6) == ["completed"] * 6


async def test_front_what_has_no_end_is_bounded(lane: Lane, wire: Wire) -> None:
    """A head, trailers or an extension that goes on for ever ends by itself, at no cost."""
    body = lane.body(streamed=False)
    coded = wire.request(b"", "Transfer-Encoding: chunked")
    endless = {
        "head": (b"GET / HTTP/1.1\r\n", b"A: " + b"x" * 1000 + b"\r\n"),
        "line": (b"GET /", b"x" * 1000),
        "extension": (coded + b"2;", b"x" * 1000),
        "size": (coded, b"0" * 1000),
        "trailers": (
            coded + b"%x\r\n%s\r\n0\r\n" % (len(body), body),
            b"A: " + b"x" * 1000 + b"\r\n",
        ),
    }
    before = memory_kib(lane.world)
    for name, (start, more) in endless.items():
        async with front(wire.port) as peer:
            with contextlib.suppress(OSError):
                await peer.send(start)
                for _ in range(200):
                    await peer.send(more * 256)
                pytest.fail(f"{name}: fifty megabytes were taken")
    await served(lane, wire)
    assert memory_kib(lane.world) - before < 16 << 10
    assert "open" not in await recount(lane)


async def test_front_a_storm_of_clients_that_leave(lane: Lane, wire: Wire) -> None:
    """300 that leave at a place of their own, by FIN or RST, while others are served."""
    dice = random.Random(7)
    data = wire.chunked(lane.body(streamed=True)) + wire.request(b"")[:60]
    opened = send(SSE_HEAD + b"".join(map(chunk, events(M, HELLO)[:6])))
    lane.play(*[steps(opened, hang())] * 1000)
    open_before = descriptors(lane.world)

    async def leaves() -> None:
        async with front(wire.port) as peer:
            await peer.send(data[: dice.randrange(len(data) + 1)])
            await asyncio.sleep(dice.random() / 50)
            (peer.reset if dice.random() < 0.5 else peer.close)()

    for _ in range(10):
        await asyncio.gather(*(leaves() for _ in range(30)))
    lane.play(lane.well)
    await served(lane, wire, 5)
    await until(lambda: descriptors(lane.world) <= open_before + 8, "descriptors are left over")
    states = await recount(lane)
    assert set(states) <= {"completed", "cancelled", "rejected", "partial"}
    assert states.count("cancelled") > 50


async def test_front_a_crowd_that_comes_at_once_is_served(lane: Lane, wire: Wire) -> None:
    async def one(streamed: bool) -> bytes:
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=streamed)))
            return (await peer.answer()).body

    found = await asyncio.gather(*(one(bool(n % 2)) for n in range(100)))
    assert set(found[1::2]) == {stream(M, HELLO)}
    assert set(found[::2]) == {whole(M, HELLO)}
    assert await settle(lane, 100) == ["completed"] * 100


async def test_front_a_thousand_requests_on_one_connection(lane: Lane, wire: Wire) -> None:
    async with front(wire.port) as peer:
        for _ in range(20):
            await peer.send(wire.request(lane.body(streamed=False)) * 5)
            for _ in range(5):
                assert (await peer.answer()).status == 200
        before = memory_kib(lane.world)
        for number in range(180):
            await peer.send(wire.request(lane.body(streamed=bool(number % 2))) * 5)
            for _ in range(5):
                assert (await peer.answer()).status == 200
        assert memory_kib(lane.world) - before < 8 << 10
    assert await settle(lane, 1000) == ["completed"] * 1000


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_front_a_client_that_asks_ahead_and_leaves_takes_the_upstream_along(
    leave: str, tmp_path: Path
) -> None:
    async with fault_world(tmp_path, lambda urls: settings_of("native", urls)) as world:
        lane = Lane(world, M, M, "anthropic")
        wire = Wire(world.gateway.port, GATEWAY_KEY)
        opened = send(SSE_HEAD + b"".join(map(chunk, events(M, HELLO)[:6])))
        lane.play(*[steps(opened, hang())] * 9)
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=True)) * 2)
            assert b"200" in await peer.some()
            getattr(peer, leave)()
        await until(lambda: lane.upstream.busy == 0, "the vendor still works for nobody")
        assert set(await recount(lane)) <= {"cancelled"}

"""Group 4: clients that leave, stall, or send what is no request."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fault_world import GATEWAY_KEY, HELLO, TARGETS, C, Lane, M, R, World, Worlds, lanes
from gateway_process import until
from scripted_upstream import Script, chunk, hang, head, send, steps
from vendor_replies import events

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])


@asynccontextmanager
async def connected(
    world: World,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of one's own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(lane: Lane, body: bytes, *fields: str) -> bytes:
    """The bytes of a request."""
    lines = [
        f"POST {TARGETS[lane.client]} HTTP/1.1",
        f"Host: 127.0.0.1:{lane.world.gateway.port}",
        f"x-api-key: {GATEWAY_KEY}",
        "Content-Type: application/json",
        *(fields or (f"Content-Length: {len(body)}",)),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def begun(lane: Lane) -> Script:
    """An answer that goes on for ever."""
    return steps(send(SSE_HEAD + b"".join(map(chunk, events(lane.provider, HELLO)[:6]))), hang())


@lanes()
@pytest.mark.parametrize("way", ["FIN", "RST"])
@pytest.mark.parametrize("when", ["held", "in the answer"])
async def test_F_071_a_client_that_leaves_takes_the_upstream_along(
    lane: Lane, way: str, when: str
) -> None:
    await lane.world.anew(lane.name)
    lane.play(hang() if when == "held" else begun(lane))
    before = len(lane.upstream.requests)
    async with connected(lane.world) as (reader, writer):
        lane.world.asked += 1
        writer.write(request(lane, lane.body(streamed=True)))
        if when == "held":
            await lane.upstream.wait_for(requests=before + 1)
        else:
            await reader.readuntil(b"\r\n\r\n")
            await reader.read(1)
        if way == "RST":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort() if way == "RST" else writer.close()
    (turn,) = await lane.world.settle(1)
    assert turn["status"] == "cancelled"
    assert (await lane.world.provider(lane.name))["failures"] == 0


@lanes([("native", M), ("crossed", M)])
async def test_F_072_F_078_a_slow_reader_slows_the_vendor_and_costs_no_memory(lane: Lane) -> None:
    await lane.world.anew(lane.name)
    event = events(lane.provider, HELLO)[3]
    opened = events(lane.provider, HELLO)[:3]
    sent = 0

    async def flood(peer: object) -> None:
        nonlocal sent
        await send(SSE_HEAD + b"".join(map(chunk, opened)))(peer)  # type: ignore[arg-type]
        while sent < 50 << 20:
            await send(chunk(event * 200))(peer)  # type: ignore[arg-type]
            sent += len(event) * 200

    lane.play(flood)
    before = _rss_kib(lane.world)
    async with connected(lane.world) as (reader, writer):
        lane.world.asked += 1
        writer.write(request(lane, lane.body(streamed=True)))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            await reader.read(1000)
            await asyncio.sleep(0.01)
        assert sent < 40 << 20, "the vendor was not slowed"
        assert _rss_kib(lane.world) - before < 24 << 10
        writer.transport.abort()
    (turn,) = await lane.world.settle(1)
    # It left while the gateway was blocked; the rest was not drained.
    assert turn["status"] == "cancelled"
    assert sent < 50 << 20


def _rss_kib(world: World) -> int:
    with open(f"/proc/{world.gateway.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@lanes([("native", M), ("native", C), ("crossed", R)])
async def test_F_074_a_connection_goes_on_after_an_error(lane: Lane) -> None:
    await lane.world.anew(lane.name)
    lane.play(lane.well)
    bad, good = request(lane, b"no JSON"), request(lane, lane.body(streamed=False))
    async with connected(lane.world) as (reader, writer):
        writer.write(bad + good + bad + good)
        lane.world.asked += 4
        statuses = []
        for _ in range(4):
            found = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in found.lower().split(b"\r\n")[1:-2])
            statuses.append(int(found.split()[1]))
            if b"content-length" in fields:
                await reader.readexactly(int(fields[b"content-length"]))
            else:
                await reader.readuntil(b"0\r\n\r\n")
            if fields.get(b"connection") == b"close":
                lane.world.asked -= 4 - len(statuses)
                break
    await lane.world.settle(len(statuses))
    assert statuses == [400, 200, 400, 200][: len(statuses)]


DEEP = b'{"model":"m","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
BODIES: dict[str, tuple[bytes, tuple[str, ...], tuple[int, ...]]] = {
    "a wrong length of gzip": (gzip.compress(b"{}")[:-4], ("Content-Encoding: gzip",), (400,)),
    "an unknown coding": (b"{}", ("Content-Encoding: br",), (400, 415)),
    "invalid UTF-8": (b'{"model":"\xff"}', (), (400,)),
    "depth 10,000": (DEEP, (), (400,)),
    "Infinity": (b'{"model":"m","max_tokens":Infinity}', (), (400,)),
    "a number of 5,000 digits": (b'{"model":"m","max_tokens":' + b"9" * 5000 + b"}", (), (400,)),
    "40 MiB": (b'{"a":"' + b"x" * (40 << 20) + b'"}', (), (413,)),
    "no object": (b"[1]", (), (400,)),
    "nothing": (b"", (), (400,)),
}


@lanes()
async def test_F_076_what_is_no_request_is_refused_and_goes_nowhere(lane: Lane) -> None:
    for name, (body, fields, statuses) in BODIES.items():
        if len(body) > 1 << 20 and lane.client is not M:
            continue
        before = len(lane.upstream.requests)
        await lane.world.anew(lane.name)
        call = await lane.world.call(TARGETS[lane.client], body, fields)
        await lane.world.settle(1)
        assert call.status in statuses, (name, call.status, bytes(call.body)[:200])
        error = json.loads(bytes(call.body))["error"]
        assert error["message"]
        assert len(lane.upstream.requests) == before, name


async def test_F_075_every_method_on_every_route(worlds: Worlds) -> None:
    world = await worlds.world("native")
    await world.anew()
    before = {name: len(up.requests) for name, up in world.upstreams.items()}
    for target in (*TARGETS.values(), "/v1/models", "/health", "/metrics", "/snapshot", "/"):
        for method in ("HEAD", "OPTIONS", "GET", "PUT", "DELETE", "TRACE", "PATCH"):
            async with connected(world) as (reader, writer):
                lines = [
                    f"{method} {target} HTTP/1.1",
                    f"Host: 127.0.0.1:{world.gateway.port}",
                    f"x-api-key: {GATEWAY_KEY}",
                    "Connection: close",
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode())
                found = await reader.read()
            first, _, body = found.partition(b"\r\n\r\n")
            status = int(first.split()[1])
            where = (method, target, found[:300])
            assert b"access-control" not in first.lower(), where
            if method == "HEAD":
                assert body == b"", where
            elif target in TARGETS.values():
                assert (status, b"allow: post" in first.lower()) == (405, True), where
                assert json.loads(body)["error"]["message"], where
            else:
                assert status in (200, 400, 404, 405, 415), where
    await world.settle(0)
    own = {b"/v1/models"}
    for name, upstream in world.upstreams.items():
        paths = [r.target.partition(b"?")[0] for r in upstream.requests[before[name] :]]
        assert set(paths) <= own | {b"/models"}, paths


async def test_F_077_two_hundred_clients_that_say_nothing(worlds: Worlds) -> None:
    world = await worlds.world("native")
    lane = await worlds.lane("native", M)
    await world.anew("anthropic")
    silent = [await asyncio.open_connection("127.0.0.1", world.gateway.port) for _ in range(200)]
    try:
        lane.play(lane.well)
        for _ in range(5):
            got = await lane.ask()
            assert got.told.text == HELLO.text
    finally:
        for _, writer in silent:
            writer.close()
    await until(lambda: world._no_socket_leaks(), "connections are left over")
    await world.settle(5)

"""Stale connections, vanishing and stubborn upstreams, cancellation at every await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fake_clock import FakeClock
from scripted_upstream import (
    Peer,
    Script,
    ScriptedUpstream,
    close,
    half_close,
    hang,
    head,
    in_turn,
    pause,
    reset,
    respond,
    send,
    sse,
    steps,
    stop_reading,
)

from providers._h1 import HIGH_WATER
from providers.errors import ConnectionDropped, UpstreamError, WriteFailed
from providers.transport import STALE_WINDOW_S, Origin, Transport, UpstreamResponse

SMALL_BUFFER = 4096
BIG = b"b" * 8_000_000
"""More than the kernel's socket buffers take."""


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


async def post(transport: Transport, upstream: ScriptedUpstream, body: bytes) -> UpstreamResponse:
    origin, _ = Origin.parse(upstream.base_url)
    return await transport.request(origin, b"POST", b"/", [], body)


async def fetch(transport: Transport, upstream: ScriptedUpstream, body: bytes = b"") -> bytes:
    async with await post(transport, upstream, body) as response:
        return await response.read_all(1 << 30)


async def turns(count: int) -> None:
    """Let everything else in the loop, both ends of the sockets included, run for a while."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- stale connections --------------------------------------------------------------------------

STALE: dict[str, Script] = {"closed": close(), "reset": reset(), "half closed": half_close()}


@pytest.mark.parametrize("case", STALE)
@pytest.mark.parametrize("body", [b"", b"small", BIG], ids=["none", "small", "big"])
async def test_stale_connection_is_replaced_once(
    transport: Transport, case: str, body: bytes
) -> None:
    route = in_turn(respond(200), STALE[case], respond(200, body=b"fresh"))
    async with ScriptedUpstream(route=route) as upstream:
        await fetch(transport, upstream)
        async with await post(transport, upstream, body) as response:
            assert not response.reused
            assert await response.read_all(10) == b"fresh"
        assert [request.connection for request in upstream.requests] == [0, 0, 1]
        assert [request.body for request in upstream.requests] == [b"", body, body]
        assert (transport.open_connections, transport.idle_connections) == (1, 1)


async def test_connection_dropped_while_idle_is_not_even_tried(transport: Transport) -> None:
    gate = asyncio.Event()
    route = in_turn(steps(respond(200), pause(gate), close()), respond(200))
    async with ScriptedUpstream(route=route) as upstream:
        await fetch(transport, upstream)
        gate.set()
        await upstream.peers[0].closed.wait()
        await turns(5)
        assert transport.open_connections == 0
        await fetch(transport, upstream)
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_replacement_is_not_replaced_again(transport: Transport) -> None:
    async with ScriptedUpstream(route=in_turn(respond(200), close())) as upstream:
        await fetch(transport, upstream)
        with pytest.raises(ConnectionDropped, match="before answering"):
            await fetch(transport, upstream)
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("case", STALE)
async def test_fresh_connection_is_never_retried(transport: Transport, case: str) -> None:
    async with ScriptedUpstream(STALE[case]) as upstream:
        with pytest.raises(ConnectionDropped, match=f"127.0.0.1:{upstream.port}") as caught:
            await fetch(transport, upstream)
        assert str(caught.value).endswith("connection before answering.")
        assert len(upstream.requests) == 1
        assert transport.open_connections == 0


async def test_accept_then_reset_is_a_dropped_connection(transport: Transport) -> None:
    async with ScriptedUpstream(on_connect=reset()) as upstream:
        with pytest.raises(ConnectionDropped):
            await fetch(transport, upstream)
        assert transport.open_connections == 0


async def test_interim_response_counts_as_an_answer_begun(transport: Transport) -> None:
    begun = steps(send(head(100)), close())
    async with ScriptedUpstream(route=in_turn(respond(200), begun)) as upstream:
        await fetch(transport, upstream)
        with pytest.raises(ConnectionDropped):
            await fetch(transport, upstream)
        assert len(upstream.requests) == 2


async def test_drop_long_after_the_request_is_no_stale_connection() -> None:
    clock = FakeClock()
    transport = Transport(clock=clock)
    gate = asyncio.Event()
    route = in_turn(respond(200), steps(pause(gate), close()))
    async with ScriptedUpstream(route=route) as upstream:
        await fetch(transport, upstream)
        request = asyncio.ensure_future(fetch(transport, upstream))
        await upstream.wait_for(requests=2)
        await clock.advance(STALE_WINDOW_S + 1)
        gate.set()
        with pytest.raises(ConnectionDropped):
            await request
        assert len(upstream.requests) == 2, "the upstream may have worked on it: not sent twice"
        await transport.aclose()


# -- writing ------------------------------------------------------------------------------------


async def test_upstream_that_stops_reading_is_given_up() -> None:
    transport = Transport(write_timeout_s=0.05)
    async with ScriptedUpstream(on_connect=steps(stop_reading(), hang())) as upstream:
        with pytest.raises(WriteFailed, match=r"took none of the request for 0\.05 seconds"):
            await fetch(transport, upstream, BIG)
        assert transport.open_connections == 0
        upstream.peers[0].start_reading()
        await upstream.all_gone()
        assert len(upstream.peers) == 1
        await transport.aclose()


async def test_slow_reader_is_waited_for(transport: Transport) -> None:
    async with ScriptedUpstream(respond(200, body=b"ok"), on_connect=stop_reading()) as upstream:
        task = asyncio.ensure_future(fetch(transport, upstream, BIG))
        await upstream.wait_for(peers=1)
        await turns(500)
        assert not task.done()
        upstream.peers[0].start_reading()
        assert await task == b"ok"
        assert upstream.requests[0].body == BIG


async def test_kept_connection_that_stops_reading_is_not_replaced() -> None:
    transport = Transport(write_timeout_s=0.05)
    async with ScriptedUpstream(steps(respond(200), stop_reading())) as upstream:
        await fetch(transport, upstream)
        with pytest.raises(WriteFailed, match="took none"):
            await fetch(transport, upstream, BIG)
        assert len(upstream.peers) == 1
        await transport.aclose()


@pytest.mark.parametrize("end", ["closed", "reset"])
async def test_break_while_writing_is_a_failed_write(transport: Transport, end: str) -> None:
    async with ScriptedUpstream(
        STALE[end], read_bodies=False, receive_buffer=SMALL_BUFFER
    ) as upstream:
        with pytest.raises(WriteFailed, match="while the request was sent"):
            await fetch(transport, upstream, BIG)
        assert transport.open_connections == 0


async def test_answer_before_the_body_was_read_is_returned(transport: Transport) -> None:
    early = steps(respond(413, body=b"too large"), hang())
    async with ScriptedUpstream(
        steps(stop_reading(), early), read_bodies=False, receive_buffer=SMALL_BUFFER
    ) as upstream:
        async with await post(transport, upstream, BIG) as response:
            assert response.status == 413
            assert await response.read_all(100) == b"too large"
        assert transport.open_connections == 0, "the rest of the body was never sent"
        assert len(upstream.requests) == 1


async def test_answer_and_close_before_the_body_was_read(transport: Transport) -> None:
    script = steps(respond(413, body=b"no"), half_close(), hang())
    async with ScriptedUpstream(script, read_bodies=False) as upstream:
        assert await fetch(transport, upstream, BIG) == b"no"
        assert transport.open_connections == 0


async def test_garbage_while_writing_is_reported_as_such(transport: Transport) -> None:
    script = steps(stop_reading(), send(b"nonsense\r\n\r\n"), hang())
    async with ScriptedUpstream(script, read_bodies=False) as upstream:
        with pytest.raises(UpstreamError, match=r"not HTTP/1\.1"):
            await fetch(transport, upstream, BIG)


# -- cancelling ---------------------------------------------------------------------------------


async def cancelled(task: asyncio.Future[bytes]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancel_while_writing_closes_the_socket(transport: Transport) -> None:
    async with ScriptedUpstream(
        steps(stop_reading(), hang()), read_bodies=False, receive_buffer=SMALL_BUFFER
    ) as upstream:
        task = asyncio.ensure_future(fetch(transport, upstream, BIG))
        await upstream.wait_for(requests=1)
        await turns(500)
        await cancelled(task)
        assert transport.open_connections == 0
        upstream.peers[0].start_reading()
        await upstream.all_gone()
        assert len(upstream.peers[0].received) < len(BIG)


async def test_cancel_while_the_head_is_awaited_closes_the_socket(transport: Transport) -> None:
    async with ScriptedUpstream(hang()) as upstream:
        task = asyncio.ensure_future(fetch(transport, upstream))
        await upstream.wait_for(requests=1)
        await cancelled(task)
        assert transport.open_connections == 0
        await upstream.all_gone()


async def test_cancel_while_the_body_is_awaited_closes_the_socket(transport: Transport) -> None:
    async with ScriptedUpstream(steps(sse([b"a"], end=False), hang())) as upstream:
        response = await post(transport, upstream, b"")
        assert await response.read() == b"a"
        reading = asyncio.ensure_future(response.read())
        await asyncio.sleep(0)
        await cancelled(reading)
        await upstream.all_gone()
        assert transport.open_connections == 0
        response.close_now()


async def test_cancel_of_a_retry_leaves_nothing(transport: Transport) -> None:
    route = in_turn(respond(200), close(), hang())
    async with ScriptedUpstream(route=route) as upstream:
        await fetch(transport, upstream)
        task = asyncio.ensure_future(fetch(transport, upstream))
        await upstream.wait_for(requests=3)
        await cancelled(task)
        await upstream.all_gone()
        assert transport.open_connections == 0


async def test_cancel_at_every_turn_of_the_loop_leaves_nothing(transport: Transport) -> None:
    """Cancel a whole exchange after n turns of the loop, for every n until it finishes."""
    async with ScriptedUpstream(sse([b"one", b"two"])) as upstream:
        count = 0
        while True:
            task = asyncio.ensure_future(fetch(transport, upstream, BIG[:200_000]))
            await turns(count)
            if task.done():
                break
            await cancelled(task)
            transport.drop_idle()
            assert transport.open_connections == 0
            await upstream.all_gone()
            count += 1
        assert count > 10
        assert await task == b"onetwo"


async def test_close_now_needs_no_loop_turn_of_the_caller(transport: Transport) -> None:
    async with ScriptedUpstream(steps(sse([b"a"], end=False), hang())) as upstream:
        response = await post(transport, upstream, b"")
        response.close_now()
        assert transport.open_connections == 0
        await upstream.all_gone()


# -- back-pressure ------------------------------------------------------------------------------


async def test_unread_body_stops_the_upstream(transport: Transport) -> None:
    """Nobody reads: the upstream's writes must block long before 64 MB are buffered here."""
    sent = 0
    piece = b"x" * 65536

    async def flood(peer: Peer) -> None:
        nonlocal sent
        for _ in range(1024):
            await peer.send(piece)
            sent += len(piece)

    announced = send(head(200, [(b"Content-Length", b"%d" % (1024 * len(piece)))]))
    async with ScriptedUpstream(steps(announced, flood)) as upstream:
        response = await post(transport, upstream, b"")
        before = -1
        while before != sent:
            before = sent
            await turns(200)
        assert HIGH_WATER < sent < 32 * 1024 * 1024
        first = await response.read()
        assert HIGH_WATER < len(first) <= 2 * HIGH_WATER
        rest = await response.read_all(1 << 30)
        assert len(first) + len(rest) == 1024 * len(piece)
        await response.aclose()
        assert transport.idle_connections == 1


async def test_drop_while_reading_is_paused_keeps_what_arrived(transport: Transport) -> None:
    piece = b"y" * 100_000
    script = steps(send(head(200, [(b"Content-Length", b"900000")]) + piece * 8), close())
    async with ScriptedUpstream(script) as upstream:
        response = await post(transport, upstream, b"")
        await upstream.peers[0].closed.wait()
        got = b""
        while len(got) < len(piece * 8):
            got += await response.read()
        assert got == piece * 8
        with pytest.raises(ConnectionDropped, match="mid-answer"):
            await response.read()
        await response.aclose()

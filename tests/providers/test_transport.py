"""The transport over real sockets: what it writes, what it returns, which connections it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fake_clock import FakeClock
from scripted_upstream import (
    Peer,
    Script,
    ScriptedUpstream,
    chunk,
    close,
    hang,
    head,
    in_turn,
    pause,
    respond,
    send,
    sse,
    steps,
)

from providers._h1 import WRITE_SLICE
from providers.transport import Origin, Transport, UpstreamResponse


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


def origin_of(upstream: ScriptedUpstream) -> Origin:
    return Origin.parse(upstream.base_url)[0]


async def get(transport: Transport, upstream: ScriptedUpstream, **more: bytes) -> UpstreamResponse:
    return await transport.request(origin_of(upstream), b"GET", b"/x", [], **more)


async def fetch(transport: Transport, upstream: ScriptedUpstream) -> tuple[bytes, bool]:
    """Body and ``reused`` of one GET."""
    async with await get(transport, upstream) as response:
        return await response.read_all(1 << 20), response.reused


# -- what is written ----------------------------------------------------------------------------


async def test_request_is_written_exactly_as_given(transport: Transport) -> None:
    headers = [(b"X-B", b"2"), (b"x-a", b""), (b"X-B", b"two words"), (b"user-agent", b"t\xe9st")]
    async with ScriptedUpstream() as upstream:
        async with await transport.request(
            origin_of(upstream), b"POST", b"/v1/messages?beta=true", headers, b'{"a":1}'
        ):
            pass
        request = upstream.requests[0]
        assert request.head == (
            b"POST /v1/messages?beta=true HTTP/1.1\r\n"
            b"Host: 127.0.0.1:%d\r\n"
            b"X-B: 2\r\nx-a: \r\nX-B: two words\r\nuser-agent: t\xe9st\r\n"
            b"Content-Length: 7\r\n\r\n" % upstream.port
        )
        assert request.body == b'{"a":1}'


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        (b"GET", b"", None),
        (b"HEAD", b"", None),
        (b"DELETE", b"", None),
        (b"POST", b"", b"0"),
        (b"PUT", b"", b"0"),
        (b"PATCH", b"", b"0"),
        (b"DELETE", b"ab", b"2"),
    ],
)
async def test_content_length_is_added_where_needed(
    transport: Transport, method: bytes, body: bytes, expected: bytes | None
) -> None:
    async with ScriptedUpstream(respond(204)) as upstream:
        async with await transport.request(origin_of(upstream), method, b"/", [], body):
            pass
        assert upstream.requests[0].header(b"content-length") == expected


async def test_given_host_and_length_are_kept_where_they_stand(transport: Transport) -> None:
    headers = [(b"a", b"1"), (b"content-length", b"2"), (b"HOST", b"elsewhere"), (b"b", b"2")]
    async with ScriptedUpstream() as upstream:
        async with await transport.request(origin_of(upstream), b"POST", b"/", headers, b"hi"):
            pass
        assert upstream.requests[0].headers == headers


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nInjected: 1"),
        (b"x", b"a\nb"),
        (b"x", b"a\x00b"),
        (b"x", b"\x1b[2J"),
        (b"x", b"a\x7f"),
        (b"x\r\ny", b"1"),
        (b"x y", b"1"),
        (b"x:", b"1"),
        (b"", b"1"),
        (b"x\xe9", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"7"),
    ],
)
async def test_dangerous_header_is_refused_before_anything_is_sent(
    transport: Transport, header: tuple[bytes, bytes]
) -> None:
    async with ScriptedUpstream() as upstream:
        with pytest.raises(ValueError):
            await transport.request(origin_of(upstream), b"POST", b"/", [header], b"hi")
        assert upstream.peers == []
        assert transport.open_connections == 0


async def test_two_lengths_are_refused_even_when_equal(transport: Transport) -> None:
    twice = [(b"Content-Length", b"2"), (b"content-length", b"2")]
    with pytest.raises(ValueError, match="Content-Length"):
        await transport.request(Origin("http", "127.0.0.1", 1), b"POST", b"/", twice, b"hi")


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"GET", b"/a b"), (b"GET", b"/\r\n"), (b"GET", b""), (b"G T", b"/"), (b"", b"/")],
)
async def test_malformed_request_line_is_refused(
    transport: Transport, method: bytes, target: bytes
) -> None:
    with pytest.raises(ValueError):
        await transport.request(Origin("http", "127.0.0.1", 1), method, target, [])


@pytest.mark.parametrize("size", [WRITE_SLICE, WRITE_SLICE + 1, 3_000_017])
async def test_body_of_any_size_arrives_whole(transport: Transport, size: int) -> None:
    body = bytes(i * 7 % 251 for i in range(1009)) * (size // 1009 + 1)
    async with ScriptedUpstream() as upstream:
        async with await transport.request(
            origin_of(upstream), b"POST", b"/", [], body[:size]
        ) as response:
            assert response.status == 200
        assert upstream.requests[0].body == body[:size]
        assert transport.idle_connections == 1


# -- what is returned ---------------------------------------------------------------------------


async def test_response_head_is_returned_raw(transport: Transport) -> None:
    fields = [(b"X-One", b"1"), (b"x-ONE", b"\xe9 2"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    async with (
        ScriptedUpstream(respond(529, fields, b"busy")) as upstream,
        await get(transport, upstream) as response,
    ):
        assert response.status == 529
        assert response.headers == [*fields, (b"Content-Length", b"4")]
        assert await response.read() == b"busy"
        assert await response.read() == b""
        assert await response.read() == b""


async def test_redirect_is_just_a_response(transport: Transport) -> None:
    location = (b"Location", b"http://127.0.0.1:1/")
    async with ScriptedUpstream(respond(307, [location])) as upstream:
        async with await get(transport, upstream) as response:
            assert response.status == 307
            assert location in response.headers
        assert len(upstream.requests) == 1


async def test_body_bytes_are_handed_out_as_they_arrive(transport: Transport) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    script = steps(
        send(head(200, [(b"Transfer-Encoding", b"chunked")])),
        pause(first),
        send(chunk(b"one") + chunk(b"two")),
        pause(second),
        send(chunk(b"three") + chunk(b"")),
    )
    async with ScriptedUpstream(script) as upstream, await get(transport, upstream) as response:
        first.set()
        assert await response.read() == b"onetwo"
        second.set()
        assert await response.read() == b"three"
        assert await response.read() == b""


async def test_content_coding_is_left_alone(transport: Transport) -> None:
    fields = [(b"Content-Encoding", b"gzip")]
    async with ScriptedUpstream(respond(200, fields, b"\x1f\x8b raw")) as upstream:
        assert await fetch(transport, upstream) == (b"\x1f\x8b raw", False)


async def test_interim_responses_are_swallowed(transport: Transport) -> None:
    script = steps(
        send(b"HTTP/1.1 100 Continue\r\n\r\n"),
        send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n"),
        respond(200, [(b"X", b"final")], b"ok"),
    )
    async with ScriptedUpstream(script) as upstream:
        async with await get(transport, upstream) as response:
            assert response.status == 200
            assert response.headers == [(b"X", b"final"), (b"Content-Length", b"2")]
            assert await response.read_all(10) == b"ok"
        assert transport.idle_connections == 1


async def test_trailers_do_not_become_headers(transport: Transport) -> None:
    script = send(
        head(200, [(b"Transfer-Encoding", b"chunked")])
        + chunk(b"body")
        + b"0\r\nX-Trailer: 1\r\nETag: 99\r\n\r\n"
    )
    async with ScriptedUpstream(script) as upstream:
        async with await get(transport, upstream) as response:
            assert await response.read_all(100) == b"body"
            assert response.headers == [(b"Transfer-Encoding", b"chunked")]
        assert transport.idle_connections == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_status_without_body_keeps_the_connection(transport: Transport, status: int) -> None:
    bare = send(b"HTTP/1.1 %d X\r\n\r\n" % status)
    async with ScriptedUpstream(route=in_turn(bare, respond(200, body=b"next"))) as upstream:
        assert await fetch(transport, upstream) == (b"", False)
        assert await fetch(transport, upstream) == (b"next", True)


async def test_head_response_has_no_body_whatever_its_length_says(transport: Transport) -> None:
    announced = send(head(200, [(b"Content-Length", b"1000")]))
    async with ScriptedUpstream(route=in_turn(announced, respond(200, body=b"next"))) as upstream:
        async with await transport.request(origin_of(upstream), b"HEAD", b"/", []) as response:
            assert await response.read() == b""
            assert (b"Content-Length", b"1000") in response.headers
        assert await fetch(transport, upstream) == (b"next", True)


async def test_read_all_refuses_more_than_its_limit(transport: Transport) -> None:
    async with ScriptedUpstream(respond(200, body=b"x" * 101)) as upstream:
        async with await get(transport, upstream) as response:
            with pytest.raises(Exception, match="larger than 100 bytes"):
                await response.read_all(100)
        await upstream.all_gone()
        assert transport.open_connections == 0


async def test_readable_waits_without_ending_the_read(transport: Transport) -> None:
    gate = asyncio.Event()
    script = steps(send(head(200, [(b"Content-Length", b"2")])), pause(gate), send(b"ok"))
    async with ScriptedUpstream(script) as upstream, await get(transport, upstream) as response:
        assert not await response.readable(0.001)
        gate.set()
        assert await response.readable(30)
        assert await response.read() == b"ok"
        assert await response.readable(0)
        assert await response.read() == b""


# -- which connections are kept -----------------------------------------------------------------


async def test_connection_is_reused_last_in_first_out(transport: Transport) -> None:
    async with ScriptedUpstream() as upstream:
        responses = [await get(transport, upstream) for _ in range(3)]
        assert (transport.open_connections, transport.idle_connections) == (3, 0)
        for response in responses:
            await response.aclose()
        assert (transport.open_connections, transport.idle_connections) == (3, 3)
        for _ in range(4):
            assert (await fetch(transport, upstream))[1]
        assert [request.connection for request in upstream.requests] == [0, 1, 2, 2, 2, 2, 2]


async def test_closing_twice_releases_once(transport: Transport) -> None:
    async with ScriptedUpstream() as upstream:
        response = await get(transport, upstream)
        await response.aclose()
        await response.aclose()
        response.close_now()
        assert (transport.open_connections, transport.idle_connections) == (1, 1)
        with pytest.raises(RuntimeError, match="closed"):
            await response.read()


UNUSABLE_AGAIN: dict[str, Script] = {
    "connection close": respond(200, [(b"Connection", b"close")], b"ok"),
    "http/1.0": send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "bytes after the body": send(head(200, [(b"Content-Length", b"2")]) + b"ok!"),
    "a second response": send((head(200, [(b"Content-Length", b"2")]) + b"ok") * 2),
    "close delimited": steps(send(head(200) + b"ok"), close()),
}


@pytest.mark.parametrize("case", UNUSABLE_AGAIN)
async def test_connection_is_not_reused_after(transport: Transport, case: str) -> None:
    route = in_turn(UNUSABLE_AGAIN[case], respond(200, body=b"next"))
    async with ScriptedUpstream(route=route) as upstream:
        assert await fetch(transport, upstream) == (b"ok", False)
        assert (transport.open_connections, transport.idle_connections) == (0, 0)
        assert await fetch(transport, upstream) == (b"next", False)
        assert len(upstream.peers) == 2


async def test_request_that_asks_for_close_is_honoured(transport: Transport) -> None:
    async with ScriptedUpstream() as upstream:
        async with await transport.request(
            origin_of(upstream), b"GET", b"/", [(b"Connection", b"close")]
        ) as response:
            await response.read_all(10)
        assert transport.open_connections == 0


async def test_bytes_on_an_idle_connection_close_it(transport: Transport) -> None:
    late = steps(respond(200, body=b"ok"), pause(0), send(b"HTTP/1.1 408 Timeout\r\n\r\n"))
    async with ScriptedUpstream(route=in_turn(late, respond(200, body=b"next"))) as upstream:
        assert await fetch(transport, upstream) == (b"ok", False)
        await upstream.peers[0].gone.wait()
        assert transport.open_connections == 0
        assert await fetch(transport, upstream) == (b"next", False)


async def test_unread_remainder_closes_the_connection(transport: Transport) -> None:
    async with ScriptedUpstream(respond(200, body=b"all of it arrived")) as upstream:
        response = await get(transport, upstream)
        assert await response.readable(30)
        await response.aclose()
        assert transport.open_connections == 0
        await upstream.all_gone()


async def test_half_read_body_closes_the_connection(transport: Transport) -> None:
    async with ScriptedUpstream(sse([b"a", b"b"], end=False)) as upstream:
        response = await get(transport, upstream)
        await response.read()
        await response.aclose()
        await upstream.all_gone()
        assert transport.open_connections == 0


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        (send(chunk(b"")), 1),
        (send(chunk(b": bye") + chunk(b""), split=[3]), 1),
        (send(b"no chunk"), 0),
        (close(), 0),
        (hang(), 0),
        (steps(*[send(chunk(b"x" * 8192))] * 64, hang()), 0),
    ],
    ids=["its end", "more and its end", "nonsense", "nothing", "silence", "too much"],
)
async def test_the_end_of_a_body_may_come_in_a_packet_of_its_own(
    transport: Transport, rest: Script, kept: int
) -> None:
    answer = send(head(200, [(b"Transfer-Encoding", b"chunked")]) + chunk(b"last word"))
    may_go_on = asyncio.Event()

    async def after(peer: Peer) -> None:
        await may_go_on.wait()
        await rest(peer)

    async with ScriptedUpstream(steps(answer, after)) as upstream:
        response = await get(transport, upstream)
        assert await response.read() == b"last word"
        assert not response.is_over
        ended = asyncio.ensure_future(response.end(0.2))
        may_go_on.set()
        await ended
        assert response.is_over
        assert transport.idle_connections == kept


async def test_idle_connections_expire() -> None:
    clock = FakeClock()
    transport = Transport(idle_expiry_s=60, clock=clock)
    async with ScriptedUpstream() as upstream:
        await fetch(transport, upstream)
        await clock.advance(59)
        assert (await fetch(transport, upstream))[1]
        await clock.advance(60)
        assert not (await fetch(transport, upstream))[1]
        assert (transport.open_connections, transport.idle_connections) == (1, 1)
        assert len(upstream.peers) == 2
        await transport.aclose()


async def test_no_more_idle_connections_than_allowed() -> None:
    transport = Transport(max_idle=2)
    async with ScriptedUpstream() as upstream:
        for response in [await get(transport, upstream) for _ in range(5)]:
            await response.aclose()
        assert (transport.open_connections, transport.idle_connections) == (2, 2)
        for peer in upstream.peers[:3]:
            await peer.gone.wait()
        await transport.aclose()


async def test_dropping_idle_connections_spares_those_in_use(transport: Transport) -> None:
    gate = asyncio.Event()
    slow = steps(send(head(200, [(b"Content-Length", b"2")])), pause(gate), send(b"ok"))
    async with ScriptedUpstream(route=in_turn(slow, respond())) as upstream:
        busy = await get(transport, upstream)
        for response in [await get(transport, upstream) for _ in range(2)]:
            await response.aclose()
        assert transport.drop_idle() == 2
        assert transport.drop_idle() == 0
        assert (transport.open_connections, transport.idle_connections) == (1, 0)
        gate.set()
        assert await busy.read_all(10) == b"ok"
        await busy.aclose()
        assert transport.open_connections == 0, "it may be dead: the network changed meanwhile"


async def test_origins_do_not_share_connections(transport: Transport) -> None:
    async with ScriptedUpstream() as one, ScriptedUpstream() as other:
        await fetch(transport, one)
        assert not (await fetch(transport, other))[1]
        assert (await fetch(transport, one))[1]
        assert transport.idle_connections == 2


async def test_closing_the_transport_ends_everything() -> None:
    transport = Transport()
    async with ScriptedUpstream(sse([b"a"], end=False)) as upstream:
        response = await get(transport, upstream)
        await response.read()
        waiting = asyncio.ensure_future(response.read())
        await asyncio.sleep(0)
        await transport.aclose()
        assert transport.open_connections == 0
        with pytest.raises(Exception, match="because the gateway stops"):
            await waiting
        response.close_now()
        with pytest.raises(RuntimeError, match="closed"):
            await get(transport, upstream)
        await upstream.all_gone()
        assert len(upstream.peers) == 1, "not even connected again"


async def test_forgotten_response_is_reported_and_closed(transport: Transport) -> None:
    async with ScriptedUpstream(sse([b"a"], end=False)) as upstream:
        response = await get(transport, upstream)
        with pytest.warns(ResourceWarning, match="not closed"):
            del response
        await upstream.all_gone()
        assert transport.open_connections == 0


# -- many at once -------------------------------------------------------------------------------


async def test_three_hundred_streams_at_once(transport: Transport) -> None:
    count, events = 300, 8
    gate = asyncio.Event()

    def stream(number: int) -> Script:
        parts = [b"data: %d.%d\n\n" % (number, event) for event in range(events)]
        return steps(pause(gate), sse(parts))

    async with ScriptedUpstream(
        route=lambda request: stream(int(request.target[1:])),
    ) as upstream:

        async def one(number: int) -> bytes:
            async with await transport.request(
                origin_of(upstream), b"POST", b"/%d" % number, [], b"x" * number
            ) as response:
                return await response.read_all(1 << 20)

        tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
        await upstream.wait_for(requests=count)
        assert transport.open_connections == count
        gate.set()
        for number, body in enumerate(await asyncio.gather(*tasks)):
            assert body == b"".join(b"data: %d.%d\n\n" % (number, e) for e in range(events))
        assert (transport.open_connections, transport.idle_connections) == (256, 256)

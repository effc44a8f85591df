"""Responses cut at every byte, and responses that are not what HTTP/1.1 allows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from scripted_upstream import (
    Script,
    ScriptedUpstream,
    chunk,
    close,
    half_close,
    hang,
    head,
    in_turn,
    reset,
    respond,
    send,
    steps,
)

from providers._h1_parser import MAX_HEAD_BYTES, MAX_HEADERS, MAX_INTERIM, Phase, ResponseParser
from providers.errors import ConnectionDropped, FramingError
from providers.transport import Origin, Transport

CHUNKED = [(b"Transfer-Encoding", b"chunked")]

WHOLE = {
    "length": (head(200, [(b"X", b"y"), (b"content-length", b"11")]) + b"data: a\n\nzz", True),
    "chunked": (
        head(200, [(b"X", b"y"), *CHUNKED]) + chunk(b"data: a\n\n") + b"2;e=1\r\nzz\r\n"
        b"0\r\nT: 1\r\n\r\n",
        True,
    ),
    "interim": (
        b"HTTP/1.1 103 Hints\r\nL: 1\r\n\r\n"
        + head(200, [(b"X", b"y"), (b"Content-Length", b"11")])
        + b"data: a\n\nzz",
        True,
    ),
    "until eof": (head(200, [(b"X", b"y")]) + b"data: a\n\nzz", False),
}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


async def fetch(transport: Transport, upstream: ScriptedUpstream) -> bytes:
    origin, _ = Origin.parse(upstream.base_url)
    async with await transport.request(origin, b"GET", b"/", []) as response:
        assert response.headers[0] == (b"X", b"y")
        return await response.read_all(1 << 20)


@pytest.mark.parametrize("case", WHOLE)
async def test_response_split_at_every_byte(transport: Transport, case: str) -> None:
    data, keeps = WHOLE[case]
    cuts = iter(range(1, len(data)))

    def cut() -> Script:
        once = send(data, split=[next(cuts)])
        return once if keeps else steps(once, close())

    async with ScriptedUpstream(route=lambda _: cut()) as upstream:
        for _ in range(len(data) - 1):
            assert await fetch(transport, upstream) == b"data: a\n\nzz"
        assert len(upstream.peers) == (1 if keeps else len(data) - 1)


@pytest.mark.parametrize("case", WHOLE)
async def test_response_sent_byte_by_byte(
    transport: Transport, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []
    feed = ResponseParser.feed

    def recording(self: ResponseParser, data: bytes | memoryview) -> bool:
        pieces.append(bytes(data))
        return feed(self, data)

    monkeypatch.setattr(ResponseParser, "feed", recording)
    data, keeps = WHOLE[case]
    script = send(data, split=range(1, len(data)))
    async with ScriptedUpstream(script if keeps else steps(script, close())) as upstream:
        assert await fetch(transport, upstream) == b"data: a\n\nzz"
    assert pieces == [data[n : n + 1] for n in range(len(data))]


async def test_ten_thousand_chunks_in_one_piece(transport: Transport) -> None:
    events = [b"data: %d\n\n" % n for n in range(10_000)]
    data = head(200, [(b"X", b"y"), *CHUNKED]) + b"".join(map(chunk, events)) + chunk(b"")
    async with ScriptedUpstream(send(data)) as upstream:
        assert await fetch(transport, upstream) == b"".join(events)
        assert transport.idle_connections == 1


async def test_padded_chunk_sizes_are_accepted(transport: Transport) -> None:
    data = head(200, [(b"X", b"y"), *CHUNKED]) + b"2  \r\nhi\r\n0\r\n\r\n"
    async with ScriptedUpstream(send(data)) as upstream:
        assert await fetch(transport, upstream) == b"hi"


async def test_white_space_after_a_value_is_not_part_of_it(transport: Transport) -> None:
    data = b"HTTP/1.1 200 OK\r\nX:  y \t \r\nContent-Length: 0\r\n\r\n"
    async with ScriptedUpstream(send(data)) as upstream:
        assert await fetch(transport, upstream) == b""


NOT_HTTP: dict[str, bytes] = {
    "junk": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
    "length and chunked": head(200, [(b"Content-Length", b"1"), *CHUNKED]) + chunk(b"a"),
    "chunked and length": head(200, [*CHUNKED, (b"Content-Length", b"1")]) + chunk(b"a"),
    "two lengths": head(200, [(b"Content-Length", b"1"), (b"Content-Length", b"1")]) + b"a",
    "negative length": head(200, [(b"Content-Length", b"-1")]),
    "huge length": head(200, [(b"Content-Length", b"9" * 30)]),
    "gzip transfer coding": head(200, [(b"Transfer-Encoding", b"gzip, chunked")]) + chunk(b"a"),
    "chunked twice": head(200, CHUNKED * 2) + chunk(b"a") + chunk(b""),
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "escape in a value": head(200, [(b"A", b"\x1b[2J"), (b"Content-Length", b"0")]),
    "nul in a value": head(200, [(b"A", b"a\0b"), (b"Content-Length", b"0")]),
    "switching protocols": head(101, [(b"Connection", b"upgrade"), (b"Upgrade", b"x")]) + b"raw",
    "bare 101": head(101) + b"raw",
    "too many fields": head(200, [(b"a", b"b")] * (MAX_HEADERS + 1)),
    "fields too large": head(200, [(b"a", b"b" * 30_000)] * 3),
    "one endless field": b"HTTP/1.1 200 OK\r\nA: " + b"b" * (MAX_HEAD_BYTES + 300_000),
    "endless interim": head(103) * (MAX_INTERIM + 1),
}


@pytest.mark.parametrize("case", NOT_HTTP)
async def test_unacceptable_head_is_a_framing_error(transport: Transport, case: str) -> None:
    async with ScriptedUpstream(steps(send(NOT_HTTP[case]), hang())) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        with pytest.raises(FramingError, match=f"^127.0.0.1:{upstream.port} sent ") as caught:
            await transport.request(origin, b"GET", b"/", [])
        assert str(caught.value).endswith(".")
        assert transport.open_connections == 0
        await upstream.all_gone()
        assert len(upstream.requests) == 1, "a fresh connection is not retried"


async def test_header_limits_are_inclusive(transport: Transport) -> None:
    fields = [(b"X", b"y"), *[(b"a", b"b")] * (MAX_HEADERS - 2)]
    async with ScriptedUpstream(respond(200, fields)) as upstream:
        assert await fetch(transport, upstream) == b""
        assert transport.idle_connections == 1


BROKEN_BODY: dict[str, tuple[Script, type[Exception]]] = {
    "length cut short": (
        steps(send(head(200, [(b"Content-Length", b"9")]) + b"good"), close()), ConnectionDropped),
    "length half closed": (
        steps(send(head(200, [(b"Content-Length", b"9")]) + b"good"), half_close()),
        ConnectionDropped),
    "length reset": (
        steps(send(head(200, [(b"Content-Length", b"9")]) + b"good"), reset()), ConnectionDropped),
    "chunked cut short": (
        steps(send(head(200, CHUNKED) + chunk(b"good")), close()), ConnectionDropped),
    "chunk cut short": (
        steps(send(head(200, CHUNKED) + b"9\r\ngood"), close()), ConnectionDropped),
    "reset until eof": (steps(send(head(200) + b"good"), reset()), ConnectionDropped),
    "bad chunk size": (
        steps(send(head(200, CHUNKED) + chunk(b"good") + b"zz\r\n"), hang()), FramingError),
    "endless trailers": (
        steps(send(head(200, CHUNKED) + chunk(b"good") + b"0\r\n"),
              send(b"T: " + b"t" * 1_000_000), hang()), FramingError),
    "endless chunk extension": (
        steps(send(head(200, CHUNKED) + chunk(b"good")), send(b"1;" + b"e" * 1_000_000), hang()),
        FramingError),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_BODY)
async def test_broken_body_raises_after_its_good_bytes(transport: Transport, case: str) -> None:
    script, expected = BROKEN_BODY[case]
    async with ScriptedUpstream(script) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        async with await transport.request(origin, b"GET", b"/", []) as response:
            assert await response.read() == b"good"
            for _ in range(2):
                with pytest.raises(expected, match=f"127.0.0.1:{upstream.port}"):
                    await response.read()
        assert transport.open_connections == 0
        await upstream.all_gone()


async def test_clean_close_ends_a_body_without_length(transport: Transport) -> None:
    script = steps(send(head(200, [(b"X", b"y")])), send(b"all of it"), close())
    async with ScriptedUpstream(script) as upstream:
        assert await fetch(transport, upstream) == b"all of it"
        assert transport.open_connections == 0


def test_chunk_sizes_arriving_alone_are_no_flood() -> None:
    parser = ResponseParser()
    parser.start(bodiless=False, keep_alive=True)
    assert parser.feed(head(200, CHUNKED))
    for _ in range(MAX_HEAD_BYTES // 3 + 1):
        assert not parser.feed(b"1\r\n")
        assert parser.feed(b"x\r\n")
    assert not parser.fault
    assert parser.buffered == len(parser.take()) == MAX_HEAD_BYTES // 3 + 1


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_parser_does_not_depend_on_how_bytes_are_cut(size: int) -> None:
    data, _ = WHOLE["chunked"]
    parser = ResponseParser()
    for _ in range(3):
        parser.start(bodiless=False, keep_alive=True)
        for start in range(0, len(data), size):
            parser.feed(data[start : start + size])
        assert parser.phase is Phase.COMPLETE
        assert parser.take() == b"data: a\n\nzz"
        assert parser.keep_alive
        assert not parser.fault


async def test_error_after_a_reused_connection_answered_is_not_retried(
    transport: Transport,
) -> None:
    route = in_turn(respond(200, [(b"X", b"y")]), steps(send(b"HTTP/1.1 200"), close()))
    async with ScriptedUpstream(route=route) as upstream:
        await fetch(transport, upstream)
        with pytest.raises(ConnectionDropped, match="before answering"):
            await fetch(transport, upstream)
        assert len(upstream.requests) == 2

"""What the HTTP/1.1 front refuses, old clients, odd targets, and vendors' own framing."""

from __future__ import annotations

import json

import pytest
from fault_world import HELLO, Lane, M
from front_client import FrontAnswer, NoAnswerError, Wire, front
from front_lane import judged, recount, settle, text_of
from scripted_upstream import chunk, close, head, respond, send, steps
from vendor_replies import JSON_TYPE, stream, whole

pytestmark = pytest.mark.asyncio(loop_scope="session")


def head_with(wire: Wire, *lines: bytes, body: bytes = b"", first: bytes = b"") -> bytes:
    """A request with raw lines in its head."""
    start = first or b"POST /v1/messages HTTP/1.1"
    fixed = [b"Host: " + wire.host.encode(), b"x-api-key: " + wire.key.encode()]
    return b"\r\n".join([start, *fixed, *lines, b"", b""]) + body


CODED = b"Transfer-Encoding: chunked"
HEADS: dict[str, tuple[bytes, ...]] = {
    "two framings": (b"Content-Length: 2", CODED),
    "two framings, turned": (CODED, b"Content-Length: 2"),
    "two lengths": (b"Content-Length: 2", b"Content-Length: 3"),
    "one length twice": (b"Content-Length: 2", b"Content-Length: 2"),
    "a list of lengths": (b"Content-Length: 2, 2",),
    "a signed length": (b"Content-Length: +2",),
    "a negative length": (b"Content-Length: -2",),
    "a length in hexadecimal": (b"Content-Length: 0x2",),
    "a length with a digit of another script": ("Content-Length: \u0662".encode(),),
    "a length with a space in it": (b"Content-Length: 2 2",),
    "no length in the field": (b"Content-Length:",),
    "an unknown coding": (b"Transfer-Encoding: x",),
    "identity": (b"Transfer-Encoding: identity",),
    "a coding below chunks": (b"Transfer-Encoding: gzip, chunked",),
    "chunks below a coding": (b"Transfer-Encoding: chunked, identity",),
    "chunks twice": (CODED, CODED),
    "a coding with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    "a quoted coding": (b'Transfer-Encoding: "chunked"',),
    "a vertical tab before the coding": (b"Transfer-Encoding: \x0bchunked",),
    "a space before the colon": (b"Transfer-Encoding : chunked",),
    "a folded coding": (b"Transfer-Encoding:", b" chunked"),
    "a folded length": (b"Content-Length: 2", b"\t2"),
    "a bare line feed": (b"A: b\nTransfer-Encoding: chunked",),
    "a bare carriage return": (b"A: b\rTransfer-Encoding: chunked",),
    "a NUL": (b"A: b\x00c",),
    "a control character": (b"A: b\x1bc",),
    "a field without a name": (b": b",),
    "a field without a colon": (b"field",),
    "a name with a space": (b"a b: c",),
    "a name with a bracket": (b"a[b]: c",),
    "two hosts": (b"Host: evil.example",),
    "an upgrade to HTTP/2": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
    "a WebSocket": (b"Connection: Upgrade", b"Upgrade: websocket"),
    "101 fields": tuple(b"A%d: b" % n for n in range(101)),
    "a field of 33 kB": (b"A: " + b"x" * 33_000,),
    "fields of 40 kB": tuple(b"A%d: " % n + b"x" * 800 for n in range(50)),
}
FIRST_LINES: dict[str, bytes] = {
    "HTTP/2": b"POST /v1/messages HTTP/2.0",
    "HTTP/1.2": b"POST /v1/messages HTTP/1.2",
    "no version": b"POST /v1/messages",
    "another name": b"POST /v1/messages ICY/1.1",
    "a lower-case name": b"POST /v1/messages http/1.1",
    "two spaces": b"POST  /v1/messages HTTP/1.1",
    "a space in the target": b"POST /v1/ messages HTTP/1.1",
    "a space at the end": b"POST /v1/messages HTTP/1.1 ",
    "a tab": b"POST\t/v1/messages\tHTTP/1.1",
    "no target": b"POST  HTTP/1.1",
    "letters beyond ASCII": "POST /v1/m\u00e9 HTTP/1.1".encode(),
    "NUL in the target": b"POST /v1/\x00messages HTTP/1.1",
    "a method that is none": b"PO(ST /v1/messages HTTP/1.1",
    "a target of 9 kB": b"POST /" + b"x" * 9_000 + b" HTTP/1.1",
}
CHUNKS: dict[str, bytes] = {
    "0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "less than nothing": b"-2\r\n{}\r\n0\r\n\r\n",
    "an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "only an extension": b";a=b\r\n{}\r\n0\r\n\r\n",
    "a space before": b" 2\r\n{}\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\n{}\r\n0\r\n\r\n",
    "seventeen digits": b"00000000000000002\r\n{}\r\n0\r\n\r\n",
    "a bare line feed": b"2\n{}\r\n0\r\n\r\n",
    "a bare carriage return": b"2\r{}\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "NUL in an extension": b"2;a\x00b\r\n{}\r\n0\r\n\r\n",
    "more than it says": b"2\r\n{}xx\r\n0\r\n\r\n",
    "less than it says": b"4\r\n{}\r\n\r\n0\r\n\r\n"[:9] + b"\n0\r\n\r\n",
    "no line end after the data": b"2\r\n{}0\r\n\r\n",
    "an extension of 20 kB": b"2;a=" + b"x" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a trailer that is no field": b"2\r\n{}\r\n0\r\nno field\r\n\r\n",
    "a bare line feed in the trailers": b"2\r\n{}\r\n0\r\nA: b\nC: d\r\n\r\n",
}


async def refused(lane: Lane, wire: Wire, name: str, data: bytes) -> FrontAnswer:
    """Send what must be refused, and behind it a request that must not be served."""
    hidden = wire.request(lane.body(streamed=False))
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        await peer.send(data + hidden)
        answer = await peer.answer()
        assert judged(answer) in (400, 404, 405, 414, 417, 426, 431, 501, 505), (name, answer)
        assert answer.closes, name
        assert await peer.ended() in ("closed", "reset"), name
    assert len(lane.upstream.requests) == before, name
    return answer


async def test_front_an_ambiguous_head_is_refused_with_all_that_follows(
    lane: Lane, wire: Wire
) -> None:
    for name, lines in HEADS.items():
        answer = await refused(lane, wire, name, head_with(wire, *lines, body=b"{}"))
        assert answer.body, name
    for name, first in FIRST_LINES.items():
        await refused(lane, wire, name, head_with(wire, first=first))
    assert await recount(lane) == []


async def test_front_a_broken_chunk_ends_the_connection(lane: Lane, wire: Wire) -> None:
    for name, body in CHUNKS.items():
        await refused(lane, wire, name, head_with(wire, CODED, body=body))
    assert set(await recount(lane)) <= {"cancelled", "rejected"}


async def test_front_what_is_not_http_disturbs_nobody(lane: Lane, wire: Wire) -> None:
    foreign = {
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/0.9": b"GET /health\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        "noughts": b"\x00" * 70_000,
        "a line without an end": b"x" * 70_000,
        "line ends": b"\r\n" * 35_000 + b"\n\n",
        "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "a proxy's preface": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n",
    }
    for name, data in foreign.items():
        async with front(wire.port) as peer, front(wire.port) as other:
            await peer.send(data)
            await other.send(wire.request(lane.body(streamed=False)))
            assert text_of(await other.answer()) == HELLO.text
            peer.half_close()
            try:
                assert judged(await peer.answer("GET")) >= 400, name
            except NoAnswerError:
                continue
    assert len(await recount(lane)) == len(foreign)


@pytest.mark.parametrize(
    "made",
    [
        b"GET / HTTP/1.1\r\nA: " + b"x" * (1 << 20),
        b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 200_000,
        b"GET /" + b"x" * (1 << 20),
        b"G" * (1 << 20),
    ],
    ids=["a field", "fields", "a target", "a method"],
)
async def test_front_a_head_without_an_end_is_answered_and_closed(
    lane: Lane, wire: Wire, made: bytes
) -> None:
    async with front(wire.port) as peer:
        await peer.send(made)
        assert judged(await peer.answer("GET")) in (400, 414, 431)
        assert await peer.ended() in ("closed", "reset")
    await settle(lane, 0)


async def test_front_a_body_that_is_too_large_is_said_to_be(lane: Lane, wire: Wire) -> None:
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        await peer.send(wire.request(b"{", "Content-Length: 99999999999"))
        assert judged(await peer.answer()) == 413
    async with front(wire.port) as peer:
        await peer.send(wire.request(b"", "Transfer-Encoding: chunked"))
        piece = chunk(b" " * (1 << 20))
        for _ in range(36):
            await peer.send(piece)
        assert judged(await peer.answer()) == 413
    assert len(lane.upstream.requests) == before
    assert set(await recount(lane)) == {"rejected"}


# ---------------------------------------------------------------------- targets and old clients


async def test_front_a_target_may_be_an_address_if_it_is_ours(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    before = len(lane.upstream.requests)
    good = [f"http://{wire.host}/v1/messages", f"HTTP://{wire.host}/v1/messages?beta=true"]
    bad = [
        "http://evil.example/v1/messages",
        f"http://evil.example:{wire.port}/v1/messages",
        f"http://user@{wire.host}/v1/messages",
        f"http://{wire.host}@evil.example/v1/messages",
        f"https://{wire.host}/v1/messages",
        "http:///v1/messages",
        f"http://{wire.host}",
        f"//{wire.host}/v1/messages",
        "v1/messages",
        "/v1/messages#x",
        "/v1//messages",
        "/v1/./messages",
        "/v1/messages/",
        "/v1/%6dessages",
        "/v1/messages;a",
        "*",
    ]
    async with front(wire.port) as peer:
        for target in good:
            await peer.send(wire.request(body, target=target))
            assert (await peer.answer()).status == 200, target
    assert [r.target for r in lane.upstream.requests[before:]] == [
        b"/v1/messages",
        b"/v1/messages?beta=true",
    ]
    for target in bad:
        async with front(wire.port) as peer:
            await peer.send(wire.request(body, target=target))
            assert judged(await peer.answer()) in (400, 403, 404), target
    for method, target in (("CONNECT", "evil.example:443"), ("OPTIONS", "*"), ("TRACE", "/")):
        async with front(wire.port) as peer:
            await peer.send(wire.get(target, method=method))
            answer = await peer.answer(method)
            assert judged(answer) in (400, 403, 404, 405, 501), (method, answer)
            assert wire.key.encode() not in answer.body
    assert len(lane.upstream.requests) == before + 2
    await settle(lane, 2)


async def test_front_an_old_client_gets_no_chunks(lane: Lane, wire: Wire) -> None:
    for streamed in (False, True):
        expected = stream(M, HELLO) if streamed else whole(M, HELLO)
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=streamed), version="1.0"))
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, expected)
            assert answer.framing in ("length", "close")
            assert await peer.ended() == "closed"
        async with front(wire.port) as peer:
            body = lane.body(streamed=streamed)
            await peer.send(wire.request(body, "Connection: keep-alive", version="1.0"))
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, expected)
            assert answer.framing in ("length", "close")
            if (answer.header("connection") or "").lower() != "keep-alive":
                assert await peer.ended() == "closed"
    async with front(wire.port) as peer:
        await peer.send(wire.get("/", method="HEAD", version="1.0"))
        assert (await peer.answer("HEAD")).status == 200
        assert await peer.ended() == "closed"
    async with front(wire.port) as peer:
        data = b"2\r\n{}\r\n0\r\n\r\n"
        await peer.send(wire.request(data, "Transfer-Encoding: chunked", version="1.0"))
        assert judged(await peer.answer()) == 400
        assert await peer.ended() in ("closed", "reset")
    await settle(lane, 4)


async def test_front_head_has_no_body_on_any_route(lane: Lane, wire: Wire) -> None:
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        for target in ("/", "/api/hello", "/health", "/metrics", "/v1/messages", "/nowhere"):
            await peer.send(wire.get(target, method="HEAD") + wire.get("/health"))
            assert (await peer.answer("HEAD")).status in (200, 404, 405), target
            answer = await peer.answer("GET")
            assert json.loads(answer.body)["service"], target
        await peer.send(wire.request(b"{}", "Content-Length: 2", method="HEAD"))
        assert (await peer.answer("HEAD")).status == 405
        await peer.send(wire.get("/health"))
        assert (await peer.answer("GET")).status == 200
    assert len(lane.upstream.requests) == before
    await settle(lane, 0)


# ---------------------------------------------------------------------- vendors' framing


async def test_front_a_vendors_framing_stays_with_the_vendor(lane: Lane, wire: Wire) -> None:
    data = whole(M, HELLO)
    length = (b"Content-Length", b"%d" % len(data))
    coded = (b"Transfer-Encoding", b"chunked")
    hops = [
        (b"Connection", b"close, X-Hop"),
        (b"Keep-Alive", b"timeout=1"),
        (b"X-Hop", b"1"),
        (b"Proxy-Connection", b"close"),
        (b"Upgrade", b"h2c"),
        (b"Alt-Svc", b'h3=":443"'),
    ]
    trailers = b"0\r\nX-Trailer: 1\r\n\r\n"
    answers = [
        respond(200, [*JSON_TYPE, *hops], data),
        send(head(200, [*JSON_TYPE, coded, (b"Trailer", b"X-Trailer")]) + chunk(data) + trailers),
        steps(send(head(200, JSON_TYPE).replace(b"HTTP/1.1", b"HTTP/1.0") + data), close()),
        send(head(100) + head(103, [(b"Link", b"</x>")]) + head(200, [*JSON_TYPE, length]) + data),
    ]
    lane.play(*answers)
    async with front(wire.port) as peer:
        for _ in answers:
            await peer.send(wire.request(lane.body(streamed=False)))
            answer = await peer.answer()
            assert (answer.status, answer.body, answer.interim) == (200, data, ())
            names = {name for name, _ in answer.fields}
            assert not answer.closes
            hidden = {"keep-alive", "x-hop", "proxy-connection", "upgrade", "alt-svc", "trailer"}
            assert not names & (hidden | {"x-trailer", "link"}), names
    assert await settle(lane, len(answers)) == ["completed"] * len(answers)


async def test_front_an_answer_without_a_body_has_none(lane: Lane, wire: Wire) -> None:
    lane.play(respond(404, JSON_TYPE, b""), send(head(204)), send(head(304)))
    async with front(wire.port) as peer:
        await peer.send(wire.request(lane.body(streamed=False)))
        assert (await peer.answer()).status in (404, 502)
        for _ in range(2):
            await peer.send(wire.request(lane.body(streamed=False)))
            assert (await peer.answer()).status in (204, 304, 502)
    lane.play(lane.well)
    async with front(wire.port) as peer:
        await peer.send(wire.request(lane.body(streamed=False)))
        assert text_of(await peer.answer()) == HELLO.text
    await recount(lane)

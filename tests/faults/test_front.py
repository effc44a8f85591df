"""The HTTP/1.1 front of the real program: framing, order and reuse of connections, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable

import pytest
from fault_world import HELLO, Lane, M
from front_client import NoAnswerError, Wire, front
from front_lane import judged, recount, settle, text_of
from scripted_upstream import Peer, Script, chunk, head, pause, respond, sse, steps
from vendor_replies import JSON_TYPE, Reply, answering, error_body, events, stream, whole

pytestmark = pytest.mark.asyncio(loop_scope="session")

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])


def saying(text: str) -> Script:
    """A whole answer with these words."""
    return answering(M, Reply(text), streamed=False)


# ---------------------------------------------------------------------- order and reuse


async def test_front_an_answer_is_passed_on_as_it_comes(lane: Lane, wire: Wire) -> None:
    parts = events(M, HELLO)
    gates = [asyncio.Event() for _ in parts]

    async def one_by_one(peer: Peer) -> None:
        await peer.send(SSE_HEAD)
        for part, gate in zip(parts, gates, strict=True):
            await gate.wait()
            await peer.send(chunk(part))
        await peer.send(chunk(b""))

    lane.play(one_by_one)
    async with front(wire.port) as peer:
        await peer.send(wire.request(lane.body(streamed=True)))
        found = b""
        for part, gate in zip(parts, gates, strict=True):
            gate.set()
            # What comes before the first content is held back until there is some.
            while b"content_block_delta" in found + part and part not in found:
                found += await peer.some()
        while not found.endswith(b"0\r\n\r\n"):
            found += await peer.some()
    assert await settle(lane, 1) == ["completed"]


async def test_front_pipelined_requests_keep_their_order(lane: Lane, wire: Wire) -> None:
    whole_body, streamed_body = lane.body(streamed=False), lane.body(streamed=True)
    asked = [
        ("POST", wire.request(whole_body), 200),
        ("HEAD", wire.get("/", method="HEAD"), 200),
        ("POST", wire.request(streamed_body), 200),
        ("GET", wire.get("/health"), 200),
        ("POST", wire.request(b"{no json"), 400),
        ("POST", wire.request(whole_body, key=False), 401),
        ("POST", wire.chunked(whole_body), 200),
        ("GET", wire.get("/nowhere"), 404),
        ("HEAD", wire.get("/health", method="HEAD"), 200),
        ("POST", wire.request(streamed_body), 200),
    ]
    data = b"".join(sent for _, sent, _ in asked)
    for pieces in ([data], [data[n : n + 100] for n in range(0, len(data), 100)]):
        scripts = [saying("one"), sse([stream(M, HELLO)]), saying("three")]
        lane.play(*scripts, sse([stream(M, HELLO)]))
        async with front(wire.port) as peer:
            await peer.send_pieces(pieces)
            answers = [await peer.answer(method) for method, _, _ in asked]
        assert [a.status for a in answers] == [status for _, _, status in asked]
        assert [text_of(answers[n]) for n in (0, 6)] == ["one", "three"]
        assert {answers[n].body for n in (2, 9)} == {stream(M, HELLO)}
        assert json.loads(answers[3].body)["service"]
    states = await settle(lane, 10)
    assert Counter(states) == {"completed": 8, "rejected": 2}


async def test_front_a_request_waits_its_turn(lane: Lane, wire: Wire) -> None:
    gate = asyncio.Event()
    lane.play(steps(pause(gate), saying("slow")), saying("quick"))
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        await peer.send(wire.request(lane.body(streamed=False)))
        await lane.upstream.wait_for(requests=before + 1)
        await peer.send(wire.request(lane.body(streamed=False)) + wire.get("/health"))
        async with front(wire.port) as other:
            await other.send(wire.get("/health"))
            assert (await other.answer("GET")).status == 200
        gate.set()
        found = [await peer.answer() for _ in range(3)]
    assert [text_of(answer) for answer in found[:2]] == ["slow", "quick"]
    assert await settle(lane, 2) == ["completed"] * 2


async def test_front_every_cut_of_a_request_is_the_same_request(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    data = b"\r\n" + wire.chunked(body[:9], body[9:10], body[10:], end=b"0\r\nX: y\r\n\r\n")
    cuts = [*range(1, 12), *range(data.index(b"\r\n\r\n") - 2, len(data))]
    cuts = cuts[:24] + cuts[24::9] + cuts[-12:]
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        for cut in cuts:
            await peer.send_pieces([data[:cut], data[cut:]])
            assert (await peer.answer()).status == 200
        await peer.send_pieces([data[n : n + 1] for n in range(len(data))])
        assert (await peer.answer()).status == 200
    found = lane.upstream.requests[before:]
    assert [r.body for r in found] == [body] * (len(cuts) + 1)
    await settle(lane, len(found))


async def test_front_a_connection_is_good_after_every_answer(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    big = b'{"pad": "' + b"x" * 1_000_000 + b'"}'
    bad: list[tuple[str, bytes, int, int]] = [
        ("no JSON", wire.request(b"{"), 400, 1),
        ("empty", wire.request(b""), 400, 1),
        ("no key", wire.request(body, key=False), 401, 0),
        ("no key, large", wire.request(big, key=False), 401, 0),
        ("no key, chunked", wire.chunked(big).replace(b"x-api-key", b"x-none"), 401, 0),
        ("origin", wire.request(body, "Origin: http://evil.example"), 403, 0),
        ("host", wire.request(body, host="evil.example"), 403, 0),
        ("no route", wire.request(big, target="/nowhere"), 404, 0),
        ("method", wire.get("/v1/messages"), 405, 0),
        ("method, body", wire.request(body, target="/health"), 405, 0),
        ("type", wire.request(body, "Content-Type: text/plain"), 415, 1),
        ("own endpoint", wire.request(b"{", target="/v1/route/explain"), 400, 0),
        ("a body where none belongs", wire.request(b"{}", method="GET", target="/health"), 200, 0),
        ("vendor's 429", wire.request(body), 429, 1),
        ("vendor breaks off", wire.request(lane.body(streamed=True)), 200, 1),
    ]
    rows = 0
    for name, sent, status, accepted in bad:
        await lane.world.json(f"/providers/{lane.name}/reset", b"{}")
        limited = respond(429, JSON_TYPE, error_body(M, "rate_limit_error", "slow down"))
        part = sse(events(M, HELLO)[:5])
        lane.play(*({"vendor's 429": [limited], "vendor breaks off": [part]}.get(name, [])))
        async with front(wire.port) as peer:
            if "\r\nContent-Length" not in sent.decode() and name.startswith("a body"):
                sent = sent.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n", 1)
            await peer.send(sent)
            first = await peer.answer(sent[:3].decode())
            assert first.status == status, (name, first)
            rows += accepted
            if first.closes:
                assert await peer.ended() == "closed", name
                continue
            await peer.send(wire.request(body))
            second = await peer.answer()
            assert (second.status, text_of(second)) == (200, HELLO.text), name
            rows += 1
    assert len(await recount(lane)) == rows


async def test_front_what_follows_a_last_request_is_not_served(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    before = len(lane.upstream.requests)
    for fields in (("Connection: close",), ("Connection: keep-alive, Close",)):
        async with front(wire.port) as peer:
            await peer.send(wire.request(body, *fields))
            answer = await peer.answer()
            assert (answer.status, answer.closes) == (200, True)
            assert await peer.ended() in ("closed", "reset")
    assert len(lane.upstream.requests) == before + 2
    await settle(lane, 2)


async def test_front_a_client_may_leave_with_the_last_byte(lane: Lane, wire: Wire) -> None:
    for number in range(24):
        streamed = bool(number % 2)
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=streamed)))
            assert (await peer.answer()).status == 200
            (peer.reset if number % 4 < 2 else peer.close)()
    assert await settle(lane, 24) == ["completed"] * 24


# ---------------------------------------------------------------------- bodies of requests


async def test_front_every_way_to_send_a_body_is_the_same_body(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    single = [body[n : n + 1] for n in range(len(body))]
    hexed = b"%s\r\n%s\r\n" % (b"%08X" % len(body), body)
    ways = {
        "length": wire.request(body),
        "chunks of one byte": wire.chunked(*single),
        "an extension": wire.chunked(body).replace(b"%x\r\n" % len(body), b"%x;a\r\n" % len(body)),
        "a quoted one": wire.chunked(body).replace(
            b"%x\r\n" % len(body), b'%x;a="b;c";d=e\r\n' % len(body)
        ),
        "an extension at the end": wire.chunked(body, end=b"0;z=1\r\n\r\n"),
        "leading zeros, capitals": wire.request(
            hexed + b"000\r\n\r\n", "Transfer-Encoding: chunked"
        ),
        "trailers": wire.chunked(
            body, end=b"0\r\nX-Sum: 1\r\nContent-Length: 3\r\nHost: evil.example\r\n\r\n"
        ),
        "capitals in the coding": wire.request(
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), "TRANSFER-encoding: \t Chunked \t"
        ),
        "white space round a length": wire.request(body, f"content-LENGTH: \t {len(body)} \t"),
        "empty lines before": b"\r\n\r\n" + wire.request(body),
        "letters beyond ASCII": wire.request(body, "X-Name: caf\xe9", "X-Empty:"),
        "no need to wait": wire.request(body, f"Content-Length: {len(body)}", "Expect: other"),
    }
    for name, sent in ways.items():
        before = len(lane.upstream.requests)
        async with front(wire.port) as peer:
            await peer.send(sent + wire.request(body) + sent)
            answers = [await peer.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3, (name, answers)
        for request in lane.upstream.requests[before:]:
            names = [n.lower() for n, _ in request.headers]
            assert request.body == body, name
            assert names.count(b"content-length") + names.count(b"transfer-encoding") == 1, name
            assert b"x-sum" not in names, name
            assert b"evil" not in request.head, name
    await settle(lane, 3 * len(ways))


async def test_front_a_large_body_arrives_in_small_pieces(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False, pad="x" * 3_000_000)
    parts = [body[n : n + 7_001] for n in range(0, len(body), 7_001)]
    for sent in (wire.request(body), wire.chunked(*parts)):
        async with front(wire.port) as peer:
            await peer.send_pieces([sent[n : n + 50_000] for n in range(0, len(sent), 50_000)])
            assert (await peer.answer()).status == 200
        found = lane.upstream.requests[-1].body
        assert hashlib.sha256(found).digest() == hashlib.sha256(body).digest()
    await settle(lane, 2)


async def test_front_no_body_at_all(lane: Lane, wire: Wire) -> None:
    before = len(lane.upstream.requests)
    nothing = [
        wire.request(b""),
        wire.request(b"", method="POST").replace(b"Content-Length: 0\r\n", b""),
        wire.chunked(),
    ]
    async with front(wire.port) as peer:
        for sent in nothing:
            await peer.send(sent + wire.get("/health"))
            assert judged(await peer.answer()) == 400
            assert (await peer.answer("GET")).status == 200
    assert len(lane.upstream.requests) == before
    assert await settle(lane, 3) == ["rejected"] * 3


async def test_front_what_is_beyond_a_length_is_no_part_of_the_body(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    before = len(lane.upstream.requests)
    async with front(wire.port) as peer:
        await peer.send(wire.request(body) + b"and a little more\r\n\r\n")
        assert (await peer.answer()).status == 200
        assert judged(await peer.answer()) == 400
        assert await peer.ended() == "closed"
    assert [r.body for r in lane.upstream.requests[before:]] == [body]
    await settle(lane, 1)


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
async def test_front_a_body_that_stops_is_never_sent_on(lane: Lane, wire: Wire, leave: str) -> None:
    body = lane.body(streamed=False)
    before = len(lane.upstream.requests)
    cut = [
        wire.request(body)[:-1],
        wire.request(body)[: -len(body)],
        wire.chunked(body)[:-1],
        wire.chunked(body)[:-5],
        wire.chunked(body[:20], body[20:])[:-30],
        wire.request(body)[:40],
        b"\r\n",
        b"",
    ]
    for sent in cut:
        async with front(wire.port) as peer:
            await peer.send(sent)
            await asyncio.sleep(0.005)
            leaving: Callable[[], None] = getattr(peer, leave)
            leaving()
            if leave == "half_close":
                with contextlib.suppress(NoAnswerError):
                    assert judged(await peer.answer()) in (400, 408)
    assert len(lane.upstream.requests) == before
    assert set(await recount(lane)) <= {"cancelled", "rejected"}


async def test_front_half_a_connection_is_enough_for_an_answer_or_ends_it(
    lane: Lane, wire: Wire
) -> None:
    for streamed in (False, True):
        async with front(wire.port) as peer:
            await peer.send(wire.request(lane.body(streamed=streamed)))
            peer.half_close()
            try:
                answer = await peer.answer()
            except NoAnswerError:
                continue
            expected = stream(M, HELLO) if streamed else whole(M, HELLO)
            assert (answer.status, answer.body) == (200, expected)
            assert await peer.ended() == "closed"
    states = await settle(lane, 2)
    assert set(states) <= {"completed", "cancelled"}


# ---------------------------------------------------------------------- Expect


async def test_front_a_client_that_waits_is_told_to_go_on(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    sent = wire.request(body, "Expect: 100-continue")
    async with front(wire.port) as peer:
        for _ in range(2):
            await peer.send(sent[: -len(body)])
            found = b""
            while not found.endswith(b"\r\n\r\n"):
                found += await peer.some()
            assert found.startswith(b"HTTP/1.1 100 "), found
            await peer.send(body)
            assert (await peer.answer()).status == 200
        await peer.send(sent)
        answer = await peer.answer()
        assert (answer.status, set(answer.interim)) in ((200, {100}), (200, set()))
    async with front(wire.port) as peer:
        old = wire.request(body, "Expect: 100-continue", version="1.0")
        await peer.send(old)
        assert (await peer.answer()).interim == ()
    assert await settle(lane, 4) == ["completed"] * 4


async def test_front_a_client_that_waits_in_vain_is_told_why(lane: Lane, wire: Wire) -> None:
    body = lane.body(streamed=False)
    size = f"Content-Length: {len(body)}"
    refused = [
        (wire.request(b"", size, "Expect: 100-continue", key=False), 401),
        (wire.request(b"", size, "Expect: 100-continue", target="/nowhere"), 404),
        (wire.request(b"", "Content-Length: 99999999999", "Expect: 100-continue"), 413),
    ]
    for sent, status in refused:
        async with front(wire.port) as peer:
            await peer.send(sent)
            answer = await peer.answer()
            assert judged(answer) == status
    assert set(await recount(lane)) <= {"rejected"}

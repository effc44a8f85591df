"""OpenAI's two protocols to a provider that speaks them: byte for byte, and read on the side."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import zstandard
from fake_clock import FakeClock
from live_gateway import KEY, Answer
from pair_world import KEYS, Pair, pair_name, pair_world
from scripted_upstream import chunk as http_chunk
from scripted_upstream import hang, head, respond, send, sse, steps
from vendor_replies import (
    CACHED,
    FRESH,
    JSON_TYPE,
    OUTPUT,
    THOUGHT,
    WRITTEN,
    Call,
    Reply,
    error_body,
    events,
    stream,
    whole,
)
from wire_readers import faults_of, read_stream

from providers.types import Headers, Protocol

pytestmark = pytest.mark.asyncio(loop_scope="module")

R, C = Protocol.RESPONSES, Protocol.CHAT
NATIVE = [(R, R), (C, C)]
TARGETS = {R: b"/v1/responses", C: b"/v1/chat/completions"}
REPLY = Reply(
    'Hello, wörld: 你好 \U0001f44b\U0001f3fd "quoted"\n\tand\u2028separated.',
    (Call("shell", {"command": ["ls", "-la", 'a "b"']}), Call("shell", {}, "call_2")),
)
STREAMS = {
    "as the vendor sends it": lambda p: stream(p, REPLY),
    "one character at a time": lambda p: stream(p, REPLY, size=1),
    "CRLF": lambda p: stream(p, REPLY).replace(b"\n", b"\r\n"),
    "BOM": lambda p: b"\xef\xbb\xbf" + stream(p, REPLY),
    "comments and unknown fields": lambda p: (
        b": hello\n\nid: 7\nretry: 10\n" + stream(p, REPLY) + b": bye\n\n"
    ),
    "events we do not know": lambda p: (
        b'data: {"type":"new.event","choices":[]}\n\n' + stream(p, REPLY)
    ),
    "events after the end": lambda p: stream(p, REPLY) * 2,
}
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])


@pytest_asyncio.fixture(params=NATIVE, ids=pair_name, scope="module", loop_scope="module")
async def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with pair_world(tmp_path_factory.mktemp("native") / "h", *request.param) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def pair(running: Pair) -> Pair:
    return await running.anew()


_numbers = itertools.count()


def body_of(pair: Pair, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": pair.driver.model, "stream": True, "n_unknown": 1e3} | more
    words = f"hi {next(_numbers)}"
    if pair.client is R:
        return asked | {"input": words, "store": False}
    return asked | {"messages": [{"role": "user", "content": words}]}


async def ask(
    pair: Pair, body: bytes | dict[str, Any] | None = None, headers: Headers | None = None
) -> Answer:
    target = TARGETS[pair.client].decode()
    sent = body_of(pair) if body is None else body
    return await pair.gateway.ask(target=target, body=sent, headers=headers)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


# ---------------------------------------------------------------- bytes down


@pytest.mark.parametrize("name", STREAMS)
async def test_streams_come_down_unchanged(name: str, pair: Pair) -> None:
    data = STREAMS[name](pair.provider)
    chance = random.Random(20261123)
    cuts = [[], list(range(7, len(data), 7))]
    cuts += [[chance.randrange(len(data)) for _ in range(12)] for _ in range(4)]
    for cut in cuts:
        pair.play(sse(pieces(data, cut)))
        got = await ask(pair)
        assert got.status == 200
        assert got.body == data


async def test_whole_answers_come_down_unchanged(pair: Pair) -> None:
    fields: Headers = [
        *JSON_TYPE,
        (b"x-request-id", b"req_1"),
        (b"openai-processing-ms", b"12"),
        (b"openai-brand-new", b"kept"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"set-cookie", b"a=b"),
    ]
    body = whole(pair.provider, REPLY).replace(b"{", b"{ ", 1) + b" \n"
    pair.play(respond(200, fields, body))
    got = await ask(pair, body_of(pair, stream=False))
    assert (got.status, got.body) == (200, body)
    for name, value in fields[:-1]:
        assert got.header(name.decode()) == value.decode()
    assert got.header("set-cookie") is None
    turn = (await pair.turns())[0]
    assert turn["attempts_detail"][0]["request_id"] == "req_1"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_errors_are_the_vendors_own_bytes(status: int, pair: Pair) -> None:
    body = error_body(pair.provider, "invalid_request_error", "Wörds that clients match") + b"\n "
    fields = [*JSON_TYPE, (b"retry-after", b"2"), (b"retry-after-ms", b"1900")]
    pair.play(respond(status, fields, body))
    # A refused key of ours is told otherwise, because it is not the client's to renew.
    own = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer sk-of-the-client")]
    target = TARGETS[pair.client].decode()
    got = await pair.gateway.ask(target=target, body=body_of(pair), headers=own, key=None)
    assert (got.status, got.body) == (status, body)
    assert (got.header("retry-after"), got.header("retry-after-ms")) == ("2", "1900")
    assert got.header("x-should-retry") is None
    turn = (await pair.turns())[0]
    assert (turn["status"], turn["http_status"]) == ("error", status)
    assert len(pair.requests) == 1


async def test_an_error_that_is_no_json_comes_down_too(pair: Pair) -> None:
    page = b"<html>upstream connect error"
    pair.play(respond(503, [(b"Content-Type", b"text/html")], page))
    got = await ask(pair)
    assert (got.status, got.body, got.header("content-type")) == (503, page, "text/html")


# ---------------------------------------------------------------- bytes up


async def test_requests_go_up_unchanged(pair: Pair) -> None:
    pair.play(sse([stream(pair.provider, REPLY)]))
    plain = json.dumps(body_of(pair), indent=3).encode() + b"\n\n"
    odd = plain.replace(b'"n_unknown": 1000.0', b'"n_unknown": 1e400, "e": "\\u00e9\xc3\xa9"')
    assert odd != plain
    for body in (plain, odd):
        fields = [(b"OpenAI-Beta", b"x=1"), (b"X-Brand-New", b"kept"), (b"originator", b"codex")]
        await ask(pair, body, fields)
        request = pair.requests[-1]
        assert request.body == body
        assert request.target == TARGETS[pair.client].removeprefix(b"/v1")
        for field in fields:
            assert field in request.headers
        assert request.header(b"authorization") == b"Bearer " + KEYS["OPENAI_API_KEY"].encode()
        assert KEY.encode() not in request.head


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_compressed_bodies_go_up_as_received(coding: str, pair: Pair) -> None:
    pair.upstream.route = None
    pair.upstream.script = sse([stream(pair.provider, REPLY)])
    plain = json.dumps(body_of(pair) | {"metadata": {"pad": "x" * 5000}}).encode()
    packed = gzip.compress(plain) if coding == "gzip" else zstandard.compress(plain)
    got = await ask(pair, packed, [(b"Content-Encoding", coding.encode())])
    assert got.status == 200
    request = pair.requests[-1]
    assert (request.body, request.header(b"content-encoding")) == (packed, coding.encode())
    turn = (await pair.turns())[0]
    assert (turn["model_asked"], turn["stream"]) == (pair.driver.model, True)


# ---------------------------------------------------------------- read on the side


@pytest.mark.parametrize("is_streamed", [True, False], ids=["streamed", "whole"])
async def test_usage_and_facts_are_read_beside_the_bytes(is_streamed: bool, pair: Pair) -> None:
    pair.play(REPLY)
    await ask(pair, body_of(pair, stream=is_streamed))
    turn = (await pair.turns())[0]
    assert (turn["input_tokens"], turn["output_tokens"]) == (FRESH, OUTPUT)
    assert (turn["cache_read_tokens"], turn["cache_write_5m_tokens"]) == (CACHED, WRITTEN)
    assert turn["usage_source"] == "provider_final"
    assert str(THOUGHT) in str(turn["usage_raw"])
    assert (turn["tool_calls"], turn["answer_kind"]) == (2, "mixed")
    assert turn["stop_reason"] == "tool_calls"
    assert turn["payer"] == "gateway key"


async def test_a_stream_without_usage_says_so(pair: Pair) -> None:
    if pair.client is R:
        data = stream(R, REPLY).replace(b'"usage":{', b'"no_usage":{')
    else:
        data = b"".join(e for e in events(C, REPLY) if b'"usage"' not in e)
    pair.play(sse([data]))
    assert (await ask(pair)).body == data
    turn = (await pair.turns())[0]
    assert (turn["status"], turn["usage_source"]) == ("completed", "none")
    assert turn["input_tokens"] is None


async def test_a_clients_own_key_pays_at_its_vendor(pair: Pair) -> None:
    pair.play(REPLY)
    fields = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer sk-mine")]
    target = TARGETS[pair.client].decode()
    await pair.gateway.ask(target=target, body=body_of(pair), headers=fields, key=None)
    assert pair.requests[-1].header(b"authorization") == b"Bearer sk-mine"
    assert (await pair.turns())[0]["payer"] == "client key"


# ---------------------------------------------------------------- streams that end badly


async def test_a_broken_stream_ends_in_an_event_about_the_same_response(pair: Pair) -> None:
    part = events(pair.provider, REPLY)[:6]
    pair.play(sse(part))
    got = await ask(pair)
    assert got.body.startswith(b"".join(part))
    assert faults_of(pair.client, got.body) == []
    told = read_stream(pair.client, got.body)
    assert "broke off" in (told.error or "")
    if pair.client is R:
        last = json.loads(got.body.rsplit(b"data: ", 1)[1])
        assert (last["response"]["id"], last["response"]["status"]) == ("resp_1", "failed")
        assert last["sequence_number"] == len(part)
    turn = (await pair.turns())[0]
    assert (turn["status"], turn["delivery"]) == ("partial", "partial")


async def test_the_end_counts_without_its_last_line_break(pair: Pair) -> None:
    data = stream(pair.provider, REPLY)[:-1]
    pair.play(sse([data]))
    assert (await ask(pair)).body == data
    assert (await pair.turns())[0]["status"] == "completed"


async def test_a_client_that_leaves_cancels_the_vendor(pair: Pair) -> None:
    part = b"".join(events(pair.provider, REPLY)[:6])
    pair.play(steps(send(SSE_HEAD + http_chunk(part)), hang()))
    response = await pair.gateway.open(target=TARGETS[pair.client].decode(), body=body_of(pair))
    await response.read()
    await response.aclose()
    await pair.upstream.all_gone()
    turn = (await pair.turns())[0]
    assert turn["status"] == "cancelled"
    health = pair.gateway.gateway.health_book.as_json("openai")
    assert (health["failures"], health["breaker"]) == (0, "closed")


# ---------------------------------------------------------------- silence


async def test_keep_alives_are_of_a_type_that_each_client_counts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    signs = {R: b'event: keepalive\ndata: {"type":"keepalive"}\n\n', C: b": keep-alive\n\n"}
    for protocol, sign in signs.items():
        clock = FakeClock()
        home = tmp_path_factory.mktemp("silence") / "h"
        async with pair_world(home, protocol, protocol, clock=clock) as pair:
            found = events(protocol, REPLY)
            gate = asyncio.Event()

            async def rest(peer: Any, found: list[bytes] = found, gate: Any = gate) -> None:
                await send(SSE_HEAD + http_chunk(b"".join(found[:6])))(peer)
                await gate.wait()
                await send(http_chunk(b"".join(found[6:])) + http_chunk(b""))(peer)

            pair.upstream.script = rest
            pair.upstream.route = None
            target = TARGETS[protocol].decode()
            response = await pair.gateway.open(target=target, body=body_of(pair))
            read = asyncio.ensure_future(response.read_all(2**20))
            active = pair.gateway.gateway.services.active
            while not any(exchange.watch.committed for exchange in active.values()):
                await asyncio.sleep(0)
            await clock.advance(40)
            gate.set()
            body = await read
            await response.aclose()
            assert body.count(sign) == 2
            assert body.replace(sign, b"") == b"".join(found)
            # What the client's own SDK makes of it, signs of life and all.
            assert faults_of(protocol, body) == []


async def test_the_sdk_reads_through_keep_alives(tmp_path_factory: Any) -> None:
    sign = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
    found = events(R, REPLY)
    home: Path = tmp_path_factory.mktemp("signs") / "h"
    async with pair_world(home, R, R, sse([*found[:6], sign, *found[6:]])) as pair:
        seen = await pair.driver.stream(pair.driver.user("hi"))
        assert (seen.text, seen.stop) == (REPLY.text, "tool")


@pytest.mark.parametrize("running", [(R, R)], indirect=True, ids=pair_name)
async def test_a_web_socket_is_refused_at_once(pair: Pair) -> None:
    ask_for_it = (
        f"GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1:{pair.gateway.origin.port}\r\n"
        f"Authorization: Bearer {KEY}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    got = await pair.gateway.raw(ask_for_it.encode())
    assert got.startswith(b"HTTP/1.1 426 ")
    assert pair.requests == []

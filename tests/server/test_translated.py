"""A translated answer's life at the gateway: silence, shutdown, estimates, limits, the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from pair_world import Pair, pair_world
from scripted_upstream import Script, chunk, hang, head, respond, send, sse, steps
from vendor_replies import JSON_TYPE, Call, Reply, events, whole
from wire_readers import faults_of, read_stream

from providers.types import Protocol

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
REPLY = Reply("Hello there, my friend.", (Call("shell", {"cmd": "ls"}),))
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
TARGETS = {M: "/v1/messages", R: "/v1/responses", C: "/v1/chat/completions"}
KEEPALIVES = {
    M: b'event: ping\ndata: {"type": "ping"}\n\n',
    R: b'event: keepalive\ndata: {"type":"keepalive"}\n\n',
    C: b": keep-alive\n\n",
}
clients = pytest.mark.parametrize(
    ("client", "provider"), [(M, C), (R, M), (C, M)], ids=["messages", "responses", "chat"]
)


def body_of(pair: Pair, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": pair.driver.model, "stream": True}
    if pair.client is R:
        return asked | {"input": "hi there", "store": False} | more
    return asked | {"max_tokens": 50, "messages": [{"role": "user", "content": "hi there"}]} | more


def begun(provider: Protocol, then: Script) -> Script:
    """The first words of an answer, and then what ``then`` does."""
    return steps(send(SSE_HEAD + chunk(b"".join(events(provider, REPLY)[:5]))), then)


async def reading(pair: Pair, when: Callable[[], Any]) -> bytes:
    """The bytes of an answer during which ``when`` happens, once it has begun."""
    response = await pair.gateway.open(target=TARGETS[pair.client], body=body_of(pair))
    read = asyncio.ensure_future(response.read_all(2**20))
    active = pair.gateway.gateway.services.active
    while not any(exchange.watch.committed for exchange in active.values()):
        await asyncio.sleep(0)
    await when()
    body = await read
    await response.aclose()
    return body


@clients
async def test_silence_is_filled_with_what_the_client_counts(
    client: Protocol, provider: Protocol, tmp_path: Path
) -> None:
    clock, gate = FakeClock(), asyncio.Event()

    async def rest(peer: Any) -> None:
        await gate.wait()
        await send(chunk(b"".join(events(provider, REPLY)[5:])) + chunk(b""))(peer)

    async def wait() -> None:
        await clock.advance(46)
        gate.set()

    script = begun(provider, rest)
    async with pair_world(tmp_path / "h", client, provider, script, clock=clock) as pair:
        got = await reading(pair, wait)
    sign = KEEPALIVES[client]
    assert got.count(sign) + got.count(sign.replace(b": ", b":")) in (2, 3)
    assert faults_of(client, got) == []
    told = read_stream(client, got)
    assert (told.text, told.stop) == (REPLY.text, "tool")


@clients
async def test_a_shutdown_ends_it_in_the_clients_own_words(
    client: Protocol, provider: Protocol, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", client, provider, begun(provider, hang())) as pair:
        got = await reading(pair, pair.gateway.gateway.stop)
    assert faults_of(client, got) == []
    told = read_stream(client, got)
    assert told.error == "the gateway is shutting down"
    assert (told.stop, told.calls) == (None, [])
    assert REPLY.text.startswith(told.text)


@clients
async def test_a_connection_is_kept_although_its_last_bytes_come_late(
    client: Protocol, provider: Protocol, tmp_path: Path
) -> None:
    """The client has the whole answer before the vendor's framing of it ends."""
    gate = asyncio.Event()

    async def late(peer: Any) -> None:
        await gate.wait()
        await send(chunk(b""))(peer)

    answer = send(SSE_HEAD + b"".join(map(chunk, events(provider, REPLY))))
    async with pair_world(tmp_path / "h", client, provider, steps(answer, late)) as pair:
        for _ in range(2):
            got = await pair.gateway.ask(target=TARGETS[client], body=body_of(pair))
            assert read_stream(client, got.body).text == REPLY.text
            gate.set()
            transport = pair.gateway.gateway.services.upstreams[pair.name].transport
            async with asyncio.timeout(10):
                while not transport.idle_connections:
                    await asyncio.sleep(0)
            gate.clear()
        assert transport.open_connections == 1


async def test_what_the_provider_does_not_count_is_marked_as_estimated(tmp_path: Path) -> None:
    found = [event for event in events(C, REPLY) if b'"usage"' not in event]
    async with pair_world(tmp_path / "h", M, C, sse(found)) as pair:
        await pair.gateway.ask(target=TARGETS[M], body=body_of(pair))
        turn = (await pair.turns())[0]
    assert turn["usage_source"] == "estimated"
    assert turn["output_tokens"] == (len(REPLY.text) + len('{"cmd": "ls"}')) // 4
    assert turn["input_tokens"] > 0


async def test_limits_ids_and_models_are_recorded(tmp_path: Path) -> None:
    fields = [
        *JSON_TYPE,
        (b"x-request-id", b"req_7"),
        (b"x-ratelimit-limit-tokens", b"8000"),
        (b"x-ratelimit-remaining-tokens", b"7400"),
    ]
    async with pair_world(tmp_path / "h", M, C, respond(200, fields, whole(C, REPLY))) as pair:
        got = await pair.gateway.ask(target=TARGETS[M], body=body_of(pair, stream=False))
        turn = (await pair.turns())[0]
    assert got.status == 200
    assert got.json["model"] == pair.driver.model
    assert got.header("x-gateway-model") == "openai/gpt-oss-120b"
    assert (turn["model_asked"], turn["model_served"]) == (pair.driver.model, "gpt-oss-120b")
    assert turn["attempts_detail"][0]["request_id"] == "req_7"
    (limits,) = turn["rate_limits"]
    assert limits["provider"] == "groq"
    assert "7400" in str(limits)
    assert (turn["tool_calls"], turn["stop_reason"], turn["delivery"]) == (1, "tool_calls", "full")


@pytest.mark.parametrize("client", [M, R], ids=["messages", "responses"])
async def test_a_prompt_beyond_the_window_is_refused_before_it_is_sent(
    client: Protocol, tmp_path: Path
) -> None:
    long = "word " * 130_000
    asked = {"input": long} if client is R else {"messages": [{"role": "user", "content": long}]}
    async with pair_world(tmp_path / "h", client, C, REPLY) as pair:
        got = await pair.gateway.ask(target=TARGETS[client], body=body_of(pair, **asked))
        turn = (await pair.turns())[0]
        assert pair.requests == []
    assert (got.status, turn["status"]) == (400, "rejected")
    # The words by which the agents know that they have to make their history shorter.
    said = got.json["error"]
    assert said["message"] == "prompt is too long: 162500 tokens > 131072 maximum of Groq"
    if client is R:
        assert said["code"] == "context_length_exceeded"

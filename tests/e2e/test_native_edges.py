"""Corners of the native route: slow clients, unread bodies, odd header fields, odd answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    PING,
    START_USAGE,
    TEXT,
    block_start,
    message_start,
    text_delta,
    text_start,
)
from fake_clock import FakeClock
from live_gateway import HELLO, KEY, VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, chunk, hang, head, pause, respond, send, steps

from server import connection, understanding
from server.http import body as request_body

JSON = [(b"Content-Type", b"application/json")]
MESSAGE = (
    b'{"type":"message","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":2}}'
)
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
START = message_start(START_USAGE)
PADDING = START + text_start(0) + b"".join(text_delta(0, "x" * 60_000) for _ in range(20))
WHOLE: dict[str, Any] = HELLO | {"stream": False}


def raw_request(
    gateway: LiveGateway,
    body: bytes = json.dumps(HELLO).encode(),
    fields: bytes = b"",
    *,
    line: bytes = b"POST /v1/messages",
    key: bytes = b"x-api-key: " + KEY.encode() + b"\r\n",
) -> bytes:
    """One request on the wire; ``fields`` are whole lines."""
    kind = b"" if b"content-type" in fields else b"content-type: application/json\r\n"
    port = gateway.origin.port
    return b"%s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: %d\r\n" % (
        line,
        port,
        len(body),
    ) + (kind + key + fields + b"\r\n" + body)


async def slow_client(gateway: LiveGateway, request: bytes) -> socket.socket:
    """A client that sent ``request``; hardly anything fits between the gateway and it."""
    listening = gateway.gateway._listener
    assert listening is not None
    listening._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (gateway.origin.host, gateway.origin.port))
    await loop.sock_sendall(client, request)
    return client


async def until(clock: FakeClock, holds: Callable[[], bool]) -> None:
    """Let the clock run until the condition holds."""
    for _ in range(1000):
        if holds():
            return
        await clock.advance(1.0)
        await asyncio.sleep(0.0005)
    raise AssertionError("the condition never held")


async def settled(holds: Callable[[], bool]) -> None:
    """Give the sockets time until the condition holds."""
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the condition never held")


def open_connections(gateway: LiveGateway) -> int:
    """Client connections the gateway still holds."""
    listener = gateway.gateway._listener
    assert listener is not None
    return len(listener._tasks)


# ---------------------------------------------------------------------- slow clients


async def test_a_client_that_is_slow_to_take_the_end_gets_nothing_after_it(tmp_path: Path) -> None:
    clock = FakeClock()
    answer = PADDING + TEXT.removeprefix(START + text_start(0))
    async with (
        ScriptedUpstream(send(SSE_HEAD + chunk(answer) + chunk(b""))) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        client = await slow_client(gateway, raw_request(gateway))
        loop = asyncio.get_running_loop()
        await upstream.wait_for(requests=1)
        got, was_blocked = b"", False
        while not got.endswith(b"0\r\n\r\n"):
            running = next(iter(gateway.gateway.services.active.values()), None)
            if running is not None and running.watch.terminal_at and not was_blocked:
                was_blocked = running.sink.writing_since is not None
                await clock.advance(10.0)
            data = await loop.sock_recv(client, 8192)
            assert data
            got += data
            await asyncio.sleep(0)
        client.close()
        turn = await gateway.turn()
    assert was_blocked
    assert b"event: error" not in got
    assert got.removesuffix(b"\r\n0\r\n\r\n").endswith(MESSAGE_STOP)
    assert turn["status"] == "completed"


async def test_a_slow_reader_of_a_large_answer_is_not_one_that_stalls(tmp_path: Path) -> None:
    clock = FakeClock()
    answer = json.dumps({"type": "message", "content": [], "pad": "x" * 2_000_000}).encode()
    async with (
        ScriptedUpstream(respond(200, JSON, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        request = raw_request(gateway, json.dumps(WHOLE).encode())
        client = await slow_client(gateway, request)
        begun = clock.monotonic()
        got = b""
        while not got.endswith(b'x"}'):
            data = await asyncio.get_running_loop().sock_recv(client, 65536)
            assert data, "the answer was cut"
            got += data
            await clock.advance(len(data) / 20_000)
        client.close()
        turn = await gateway.turn()
    assert clock.monotonic() - begun > 90
    assert got.partition(b"\r\n\r\n")[2] == answer
    assert (turn["status"], turn["delivery"]) == ("completed", "full")


async def test_a_client_that_stalls_for_good_does_not_keep_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_STALL_S", 0.05)
    clock = FakeClock()
    async with (
        ScriptedUpstream(steps(send(SSE_HEAD + chunk(PADDING)), hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        client = await slow_client(gateway, raw_request(gateway))
        await upstream.wait_for(requests=1)
        running = next(iter(gateway.gateway.services.active.values()))
        await settled(lambda: running.sink.writing_since is not None)
        await until(clock, running.done.is_set)
        await settled(lambda: open_connections(gateway) == 0)
        await upstream.all_gone()
        turn = await gateway.turn()
        client.close()
    assert (turn["status"], turn["error_type"]) == ("cancelled", "client_stalled")


# ---------------------------------------------------------------------- bodies nobody wants


@pytest.mark.parametrize(
    ("line", "key", "fields", "status"),
    [
        (b"POST /v1/messages", b"x-api-key: wrong\r\n", b"", b"401"),
        (b"POST /v1/messages", None, b"content-type: text/plain\r\n", b"415"),
        (b"POST /nowhere", None, b"", b"404"),
        (b"GET /v1/models", None, b"", b"200"),
    ],
)
async def test_a_large_body_that_is_not_wanted_is_taken_and_the_connection_goes_on(
    line: bytes, key: bytes | None, fields: bytes, status: bytes, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON, b'{"data":[]}')) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        first = raw_request(
            gateway, b"x" * 3_000_000, fields, line=line, **({"key": key} if key else {})
        )
        last = raw_request(gateway, b"", b"connection: close\r\n", line=b"HEAD /")
        answers = await asyncio.wait_for(gateway.raw(first + last), 20)
        await settled(lambda: open_connections(gateway) == 0)
        assert not gateway.gateway.services.active
    assert answers.startswith(b"HTTP/1.1 " + status)
    assert answers.count(b"HTTP/1.1 ") == 2


async def test_a_refused_client_that_never_stops_sending_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "UNREAD_S", 0.05)
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.origin.port)
        announced = b"content-type: text/plain\r\ntransfer-encoding: chunked\r\n"
        request = raw_request(gateway, b"", announced).replace(b"content-length: 0\r\n", b"")
        writer.write(request)

        async def keep_sending() -> None:
            while True:
                writer.write(chunk(b"x" * 65_536))
                await writer.drain()

        sending = asyncio.ensure_future(keep_sending())
        answer = await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionError):
            await sending
        writer.close()
        await settled(lambda: open_connections(gateway) == 0)
        turn = await gateway.turn()
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert (turn["status"], turn["http_status"]) == ("rejected", 415)


# ---------------------------------------------------------------------- timers


async def test_thinking_may_also_be_slow_to_begin(tmp_path: Path) -> None:
    clock = FakeClock()
    begin = send(SSE_HEAD + chunk(START + block_start(0, {"type": "thinking", "thinking": ""})))
    pings = [steps(pause(20.0), send(chunk(PING))) for _ in range(22)]
    rest = send(chunk(TEXT.removeprefix(START)) + chunk(b""))
    async with (
        ScriptedUpstream(steps(begin, *pings, rest), sleep=clock.sleep) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        thinking = HELLO | {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        asking = asyncio.ensure_future(gateway.ask(body=thinking))
        await until(clock, asking.done)
        got = await asking
    assert got.status == 200
    assert got.body.endswith(MESSAGE_STOP)


async def test_a_stream_that_nobody_asked_for_cannot_hang_either(tmp_path: Path) -> None:
    clock = FakeClock()
    opened = START + text_start(0) + text_delta(0, "hello")
    async with (
        ScriptedUpstream(steps(send(SSE_HEAD + chunk(opened)), hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        asking = asyncio.ensure_future(gateway.ask(body=WHOLE))
        await until(clock, asking.done)
        assert b"event: error" in (await asking).body
        turn = await gateway.turn()
    assert turn["status"] == "partial"


# ---------------------------------------------------------------------- credentials


async def test_the_gateway_key_goes_up_in_no_field(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON, MESSAGE)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        key = KEY.encode()
        fields = [(b"api-key", key), (b"X-Other", b"bearer  " + key), (b"X-Kept", b"a\tb")]
        got = await gateway.ask(body=WHOLE, headers=fields)
    assert got.status == 200
    assert key not in upstream.requests[0].head
    assert upstream.requests[0].header(b"x-kept") == b"a\tb"
    assert upstream.requests[0].header(b"x-api-key") == VENDOR_KEY.encode()


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
@pytest.mark.parametrize("blank", [b"", b"Bearer "])
async def test_an_empty_field_is_no_credential(name: bytes, blank: bytes, tmp_path: Path) -> None:
    if name == b"x-api-key" and blank:
        blank = b" "
    async with (
        ScriptedUpstream(respond(200, JSON, MESSAGE)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        fields = [(b"x-sbgw-key", KEY.encode()), (name, blank)]
        await gateway.ask(body=WHOLE, headers=fields, key=None)
        turn = await gateway.turn()
    assert upstream.requests[0].header(b"x-api-key") == VENDOR_KEY.encode()
    assert turn["payer"] == "gateway key"


async def test_a_clients_login_goes_to_no_other_vendor(tmp_path: Path) -> None:
    async with ScriptedUpstream(respond(200, JSON, MESSAGE)) as upstream:
        settings = (
            f'[providers.mine]\nkind = "anthropic-messages"\nbase_url = "{upstream.base_url}"\n'
            'api_key_env = "MINE_KEY"\n[routing.baseline]\nmessages = ["mine"]\n'
        )
        env = {"MINE_KEY": "mine-key"}
        async with live_gateway(
            tmp_path / "h", upstream.base_url, settings=settings, env=env
        ) as gateway:
            fields = [
                (b"x-sbgw-key", KEY.encode()),
                (b"authorization", b"Bearer sk-ant-oat01-login"),
            ]
            got = await gateway.ask(body=WHOLE, headers=fields, key=None)
            turn = await gateway.turn()
    assert got.status == 200
    assert b"sk-ant-oat" not in upstream.requests[0].head
    assert upstream.requests[0].header(b"x-api-key") == b"mine-key"
    assert turn["payer"] == "gateway key"


async def test_a_path_token_may_be_percent_encoded(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON, MESSAGE)) as upstream,
        live_gateway(
            tmp_path / "h", upstream.base_url, env={"STACKBILT_GATEWAY_KEY": "a/b+c%1"}
        ) as gateway,
    ):
        target = "/k/a%2Fb%2Bc%251/v1/messages?beta=true"
        got = await gateway.ask("POST", target, body=WHOLE, key=None)
    assert got.status == 200
    assert upstream.requests[0].target == b"/v1/messages?beta=true"


# ---------------------------------------------------------------------- shapes


async def test_count_tokens_is_whole_whatever_the_body_says(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON, b'{"input_tokens":7}')) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask("POST", "/v1/messages/count_tokens", body=HELLO)
    assert (got.status, got.body) == (200, b'{"input_tokens":7}')


async def test_only_the_settings_limit_a_body_that_is_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(understanding, "MAX_DECODED", 1000)
    async with (
        ScriptedUpstream(respond(200, JSON, MESSAGE)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=WHOLE | {"pad": "x" * 2000})
        packed = gzip.compress(json.dumps(WHOLE | {"pad": "x" * 2000}).encode())
        fields = [(b"content-encoding", b"gzip")]
        refused = await gateway.ask(body=packed, headers=fields)
    assert (got.status, refused.status) == (200, 413)


@pytest.mark.parametrize(
    "request_line",
    [b"POST /k/KEY/v1/responses", b"POST /v1/responses?x=1", b"POST /k/KEY/v1/chat/completions"],
)
@pytest.mark.parametrize("fault", [b"", b"transfer-encoding: chunked\r\n"])
async def test_openai_routes_get_openai_errors(
    request_line: bytes, fault: bytes, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        line = request_line.replace(b"KEY", KEY.encode())
        fields = fault + b"connection: close\r\n"
        got = await gateway.raw(raw_request(gateway, b"{}", fields, line=line))
    error = json.loads(got.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}


async def test_the_name_of_a_model_cannot_blow_up_the_answers_head(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(404, JSON, b'{"type":"error"}')) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=WHOLE | {"model": "m" * 100_000})
    assert got.status == 404
    assert len(got.header("x-gateway-model") or "") == 200

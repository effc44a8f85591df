"""What clients see, and the ledger keeps, when something goes wrong on the native route."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import (
    ANSWERS,
    MESSAGE_STOP,
    PING,
    START_USAGE,
    TEXT,
    THINKING_AND_TOOL,
    block_start,
    message_start,
    text_delta,
    text_start,
    tool_start,
)
from fake_clock import FakeClock
from live_gateway import HELLO, KEY, LiveGateway, live_gateway
from scripted_upstream import (
    ScriptedUpstream,
    chunk,
    hang,
    head,
    pause,
    reset,
    respond,
    send,
    sse,
    steps,
)

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
START = message_start(START_USAGE)
OPENED = START + text_start(0) + text_delta(0, "hello ")


def stream_of(*events: bytes) -> Any:
    """A stream that begins with ``events`` and has no end of its own."""
    return send(SSE_HEAD + b"".join(chunk(event) for event in events))


def error_of(body: bytes) -> dict[str, Any]:
    """The data of the last event, which must be an ``error`` event."""
    last = body.rstrip(b"\n").rpartition(b"\n\n")[2]
    name, data = last.split(b"\n", 1)
    assert name == b"event: error"
    parsed: dict[str, Any] = json.loads(data.removeprefix(b"data: "))
    return parsed


# ---------------------------------------------------------------------- before the answer


async def test_an_unreachable_upstream_is_a_503_in_shape(tmp_path: Path) -> None:
    async with ScriptedUpstream() as closed:
        url = closed.base_url
    async with live_gateway(tmp_path / "h", url) as gateway:
        got = await gateway.ask()
        turn = await gateway.turn()
        snapshot = await gateway.gateway.snapshot()
    assert got.status == 503
    assert got.json["type"] == "error"
    assert got.json["error"]["type"] == "api_error"
    assert "anthropic cannot be reached" in got.json["error"]["message"]
    assert got.json["request_id"] == turn["id"]
    assert (turn["status"], turn["attempts_detail"][0]["outcome"]) == ("failed", "connect")
    provider = next(p for p in snapshot["providers"] if p["name"] == "anthropic")
    assert provider["status"] == "failing"
    assert provider["since"] == pytest.approx(turn["at"], abs=5)
    assert "127.0.0.1" in provider["last_error"]


async def test_a_connection_that_drops_before_any_answer_is_a_502(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(reset()) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert (got.status, got.json["error"]["type"]) == (502, "api_error")
    assert [a["outcome"] for a in turn["attempts_detail"]] == ["dropped", "dropped"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (respond(200, [(b"Content-Type", b"text/html")], b"<html>Sign in</html>"), "web page"),
        (respond(302, [(b"Location", b"http://127.0.0.1:1/")], b""), "redirect"),
        (respond(200, [(b"Content-Type", b"application/json")], b"{}"), "did not stream"),
        (sse([START, PING]), "broke off"),
        (send(b"NOT HTTP AT ALL\r\n\r\n"), ""),
    ],
)
async def test_an_unusable_answer_is_a_502_not_a_broken_200(
    script: Any, words: str, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert got.status == 502
    assert words in got.json["error"]["message"]
    assert turn["status"] == "failed"


async def test_a_cut_whole_answer_is_never_a_200(tmp_path: Path) -> None:
    cut = send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{}")
    async with (
        ScriptedUpstream(steps(cut, reset())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"stream": False})
    assert got.status == 502


async def test_nothing_reaches_the_client_before_the_first_semantic_event(tmp_path: Path) -> None:
    gate = asyncio.Event()
    script = steps(stream_of(START, PING, text_start(0)), pause(gate), stream_of_rest())
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        asking = asyncio.ensure_future(gateway.open())
        await upstream.wait_for(requests=1)
        await asyncio.sleep(0.05)
        assert not asking.done()
        gate.set()
        async with await asking as response:
            body = await response.read_all(10**6)
    assert response.status == 200
    assert body.startswith(START + PING + text_start(0))


def stream_of_rest() -> Any:
    rest = [text_delta(0, "x"), MESSAGE_STOP]
    return send(b"".join(chunk(event) for event in [*rest, b""]))


# ---------------------------------------------------------------------- in mid-answer


@pytest.mark.parametrize("how", ["reset", "clean end", "in the middle of an event"])
async def test_a_cut_stream_ends_with_an_error_event_and_keeps_its_usage(
    how: str, tmp_path: Path
) -> None:
    end: dict[str, Any] = {
        "reset": steps(stream_of(OPENED), reset()),
        "clean end": sse([OPENED]),
        "in the middle of an event": steps(
            stream_of(OPENED, b'event: content_block_delta\ndata: {"type":"content'), reset()
        ),
    }
    async with (
        ScriptedUpstream(end[how]) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert got.status == 200
    assert got.body.startswith(OPENED)
    assert error_of(got.body)["error"]["type"] == "api_error"
    assert b"message_stop" not in got.body
    assert got.body.count(b"event: error") == 1
    assert turn["status"] == "partial"
    assert turn["usage_source"] == "provider_partial"
    assert turn["input_tokens"] == START_USAGE["input_tokens"]
    assert turn["cost_is_estimate"] is True
    assert turn["cost_usd"] > 0
    assert len(upstream.requests) == 1


async def test_a_tool_call_that_breaks_off_is_never_closed(tmp_path: Path) -> None:
    cut = THINKING_AND_TOOL[: THINKING_AND_TOOL.rindex(b"input_json_delta") + 40]
    async with (
        ScriptedUpstream(sse([cut])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
    tool_starts = got.body.count(b'"tool_use"')
    assert tool_starts >= 1
    whole = THINKING_AND_TOOL.count(b"content_block_stop")
    assert got.body.count(b"event: content_block_stop") < whole
    assert error_of(got.body)["type"] == "error"


async def test_a_native_error_event_is_relayed_verbatim(tmp_path: Path) -> None:
    answer = ANSWERS["mid-stream error"]
    async with (
        ScriptedUpstream(sse([answer])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert got.body == answer
    assert (turn["status"], turn["error_type"]) == ("error", "overloaded_error")


async def test_a_reset_after_the_terminator_is_still_a_success(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(steps(stream_of(TEXT), reset())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert got.body == TEXT
    assert turn["status"] == "completed"


# ---------------------------------------------------------------------- the client


@pytest.mark.parametrize("moment", ["while held", "in mid-stream"])
async def test_a_client_that_goes_cancels_the_upstream(moment: str, tmp_path: Path) -> None:
    first = stream_of(START) if moment == "while held" else stream_of(OPENED)
    async with (
        ScriptedUpstream(steps(first, hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.origin.port)
        writer.write(raw_request(gateway))
        await upstream.wait_for(requests=1)
        if moment == "in mid-stream":
            await reader.readuntil(b"hello ")
        writer.transport.abort()
        await upstream.all_gone()
        turn = await gateway.turn()
    assert turn["status"] == "cancelled"
    assert turn["delivery"] == ("none" if moment == "while held" else "partial")
    assert turn["attempts_detail"][0]["outcome"] == "cancelled"


def raw_request(gateway: LiveGateway, body: dict[str, Any] = HELLO, extra: str = "") -> bytes:
    data = json.dumps(body).encode()
    lines = (
        f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{gateway.origin.port}\r\n"
        f"x-api-key: {KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n{extra}\r\n"
    )
    return lines.encode() + data


# ---------------------------------------------------------------------- timers


async def until(clock: FakeClock, condition: Any, step_s: float = 1.0, limit: int = 2000) -> None:
    """Move the clock on until ``condition()`` holds, letting real sockets work in between."""
    for _ in range(limit):
        if condition():
            return
        await clock.advance(step_s)
        await asyncio.sleep(0.0005)
    raise AssertionError("the condition never held")


async def test_an_answer_that_never_begins_is_a_504_before_the_client_gives_up(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream(hang()) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        begun = clock.monotonic()
        asking = asyncio.ensure_future(gateway.ask(headers=[(b"X-Stainless-Timeout", b"30")]))
        await upstream.wait_for(requests=1)
        await until(clock, upstream.peers[0].gone.is_set)
        assert 24 <= clock.monotonic() - begun <= 27
        got = await asking
    assert (got.status, got.json["error"]["type"]) == (504, "timeout_error")


async def test_silence_in_mid_stream_gets_pings_and_then_an_error(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream(steps(stream_of(OPENED), hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        async with await gateway.open() as response:
            begun = clock.monotonic()
            reading = asyncio.ensure_future(response.read_all(10**6))
            await until(clock, upstream.peers[0].gone.is_set)
            waited = clock.monotonic() - begun
            body = await reading
        turn = await gateway.turn()
    assert body.startswith(OPENED)
    assert 285 <= waited <= 300
    assert 17 <= body.count(b"event: ping") <= 20
    assert error_of(body)["error"]["type"] == "timeout_error"
    assert turn["status"] == "partial"
    assert turn["attempts_detail"][0]["outcome"] == "stalled"


async def test_upstream_pings_alone_do_not_hold_a_client_for_ever(tmp_path: Path) -> None:
    clock = FakeClock()
    pinging = steps(*(steps(pause(20.0), send(chunk(PING))) for _ in range(40)))
    script = steps(stream_of(OPENED), pinging)
    async with (
        ScriptedUpstream(script, sleep=clock.sleep) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
        await gateway.open() as response,
    ):
        begun = clock.monotonic()
        reading = asyncio.ensure_future(response.read_all(10**6))
        await until(clock, upstream.peers[0].gone.is_set)
        waited = clock.monotonic() - begun
        body = await reading
    assert 295 <= waited <= 310
    assert error_of(body)["error"]["type"] == "timeout_error"


async def test_a_thinking_answer_may_take_longer(tmp_path: Path) -> None:
    clock = FakeClock()
    thinking = START + block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
    pinging = [steps(pause(20.0), send(chunk(PING))) for _ in range(22)]
    rest = send(chunk(TEXT.removeprefix(message_start(START_USAGE))) + chunk(b""))
    begin = stream_of(thinking + block_delta_thinking())
    async with (
        ScriptedUpstream(steps(begin, *pinging, rest), sleep=clock.sleep) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        reading = asyncio.ensure_future(gateway.ask())
        await until(clock, reading.done)
        body = (await reading).body
    assert b"event: error" not in body
    assert body.rstrip().endswith(MESSAGE_STOP.rstrip())


def block_delta_thinking() -> bytes:
    from anthropic_streams import thinking_delta

    return thinking_delta(0, "hm")


async def test_a_complete_answer_is_not_held_open_by_its_connection(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream(steps(stream_of(TEXT), hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        reading = asyncio.ensure_future(gateway.ask())
        await until(clock, reading.done)
        assert (await reading).body == TEXT
        turn = await gateway.turn()
    assert turn["status"] == "completed"


async def test_a_request_body_that_stops_arriving_is_a_408(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.origin.port)
        writer.write(raw_request(gateway)[:-20])
        await writer.drain()
        answer = asyncio.ensure_future(reader.read())
        await until(clock, answer.done)
        writer.close()
    assert (await answer).startswith(b"HTTP/1.1 408 ")
    assert upstream.requests == []


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{bad", 400, "JSON"),
        (b"", 400, "JSON"),
        (b"[]", 400, "object"),
        (b'{"messages":[]}', 400, "model"),
        (b'{"model":5,"messages":[]}', 400, "model"),
        (b'{"model":"m"}', 400, "messages"),
        (b'{"model":"m","messages":"x"}', 400, "messages"),
        (b"\xff\xfe", 400, "UTF-8"),
    ],
)
async def test_a_body_that_is_no_request_is_a_400_with_one_row(
    body: bytes, status: int, words: str, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=body)
        turn = await gateway.turn()
    assert got.status == status
    assert got.json["error"]["type"] == "invalid_request_error"
    assert words in got.json["error"]["message"]
    assert (turn["status"], turn["http_status"]) == ("rejected", status)
    assert upstream.requests == []


async def test_an_oversized_body_is_a_413_that_the_client_can_read(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(
            tmp_path / "h", upstream.base_url, env={"SBGW_SERVER__MAX_BODY_MB": "1"}
        ) as gw,
    ):
        got = await gw.ask(body=b'{"pad":"' + b"x" * 3_000_000 + b'"}')
        chunked = await gw.raw(chunked_request(gw, b"y" * 3_000_000))
    assert (got.status, got.json["error"]["type"]) == (413, "request_too_large")
    assert chunked.startswith(b"HTTP/1.1 413 ")
    assert upstream.requests == []


def chunked_request(gateway: LiveGateway, data: bytes) -> bytes:
    lines = (
        f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{gateway.origin.port}\r\n"
        f"x-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    parts = [chunk(data[i : i + 50_000]) for i in range(0, len(data), 50_000)]
    return lines.encode() + b"".join(parts) + chunk(b"")


async def test_a_wrong_content_type_is_a_415(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(headers=[(b"Content-Type", b"text/plain")])
    assert got.status == 415
    assert upstream.requests == []


async def test_no_credential_anywhere_is_a_401_that_says_what_to_set(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, env={"ANTHROPIC_API_KEY": ""}) as gateway,
    ):
        got = await gateway.ask()
        turn = await gateway.turn()
    assert (got.status, got.json["error"]["type"]) == (401, "authentication_error")
    assert "ANTHROPIC_API_KEY" in got.json["error"]["message"]
    assert "sbgw-tui claude" in got.json["error"]["message"]
    assert turn["status"] == "rejected"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("head_lines", "status"),
    [
        ("Host: evil.example\r\n", 403),
        ("Host: 127.0.0.1:1\r\n", 403),
        ("Host: localhost.evil.example\r\n", 403),
        ("Host: {host}\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: {host}\r\nOrigin: null\r\n", 403),
        ("Host: {host}\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Host: {host}/#\r\n", 403),
        ("Host: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", 426),
        ("Host: {host}\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", 400),
        ("Host: {host}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: {host}\r\n", 401),
        ("Host: {host}\r\nx-api-key: wrong\r\n", 401),
    ],
)
async def test_requests_that_must_not_pass_are_refused_in_shape_and_counted(
    head_lines: str, status: int, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        host = f"127.0.0.1:{gateway.origin.port}"
        request = (
            "POST /v1/messages HTTP/1.1\r\n"
            + head_lines.format(host=host)
            + "Connection: close\r\n\r\n"
        )
        answer = await gateway.raw(request.encode())
        await asyncio.to_thread(gateway.gateway.services.ledger.flush, 5.0)
        reader = gateway.gateway.reader
        rejects = await asyncio.to_thread(reader.rejects)
        counters = gateway.gateway.stats.counters()
    first, _, rest = answer.partition(b"\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % status)
    body = json.loads(rest.partition(b"\r\n\r\n")[2])
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    assert sum(rejects.values()) == 1
    assert counters["rejected"] == 1
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("PUT", "/v1/messages", 405),
        ("DELETE", "/health", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1//messages", 404),
        ("GET", "/v1/%6dessages", 404),
        ("GET", "/events/../health", 404),
        ("GET", "/v1/responses", 405),
        ("GET", "/v1/models/a%2Fb", 404),
        ("OPTIONS", "/v1/messages", 405),
    ],
)
async def test_unknown_routes_and_methods_are_refused_in_shape(
    method: str, target: str, status: int, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(method, target)
        without_key = await gateway.ask(method, target, key=None)
    assert got.status == status
    assert "message" in got.json["error"]
    assert not any(name.lower().startswith(b"access-control") for name, _ in got.headers)
    if status == 405:
        assert got.header("allow")
    assert without_key.status in (401, 405 if target == "/health" else 401)
    assert upstream.requests == []


async def test_head_probes_are_cheap_and_need_no_key(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for target in ("/", "/api/hello", "/health"):
            got = await gateway.ask("HEAD", target, key=None)
            assert (got.status, got.body) == (200, b"")
    assert upstream.requests == []


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        one = raw_request(gateway)
        last = one.replace(b"x-api-key", b"Connection: close\r\nx-api-key", 1)
        answer = await gateway.raw(one + last)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"message_stop") == 2 * TEXT.count(b"message_stop")
    assert len(upstream.requests) == 2


def test_the_helpers_find_an_error_event() -> None:
    assert tool_start(0)
    assert error_of(b'x\n\nevent: error\ndata: {"type":"error"}\n\n') == {"type": "error"}


async def test_a_ledger_that_is_required_and_cannot_write_refuses_requests(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(home, upstream.base_url, settings="[ledger]\nrequired = true\n") as gateway,
    ):
        assert (await gateway.ask()).status == 200
        lock = sqlite3.connect(home / "state" / "ledger.sqlite3", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        try:
            answers = [(await gateway.ask()).status for _ in range(3)]
        finally:
            lock.execute("ROLLBACK")
            lock.close()
    assert answers[-1] == 503
    assert len(upstream.requests) < 4

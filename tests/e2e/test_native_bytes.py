"""Over real sockets: every byte up and down is the one that was sent."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import ANSWERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_gateway import HELLO, KEY, VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import (
    ScriptedUpstream,
    chunk,
    pause,
    reset,
    respond,
    send,
    sse,
    steps,
)

from providers.errors import ConnectionDropped

JSON_HEADERS = ((b"Content-Type", b"application/json"),)
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "hé"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5, "brand_new_counter": 3},
    "brand_new_field": {"x": [1, 2, 3.5e-7]},
}


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


@pytest.mark.parametrize("name", sorted(ANSWERS))
async def test_streams_come_down_unchanged(name: str, tmp_path: Path) -> None:
    answer = ANSWERS[name]
    async with (
        ScriptedUpstream(sse([answer])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask()
    assert got.status == 200
    assert got.body == answer


@pytest.mark.parametrize("name", ["thinking and tool", "CRLF", "BOM", "unknown events"])
async def test_streams_come_down_unchanged_when_cut_at_every_seventh_byte(
    name: str, tmp_path: Path
) -> None:
    answer = ANSWERS[name]
    chunks = pieces(answer, list(range(7, len(answer), 7)))
    async with (
        ScriptedUpstream(sse(chunks)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        assert (await gateway.ask()).body == answer


async def test_streams_come_down_unchanged_in_any_chunking(tmp_path: Path) -> None:
    chunks: list[bytes] = []
    async with (
        ScriptedUpstream(route=lambda _: sse(chunks)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        rng = random.Random(7)
        for answer in list(ANSWERS.values()) * 4:
            cuts = [rng.randrange(len(answer)) for _ in range(rng.randrange(12))]
            chunks[:] = pieces(answer, cuts)
            assert (await gateway.ask()).body == answer


async def test_a_close_delimited_stream_comes_down_unchanged(tmp_path: Path) -> None:
    answer = ANSWERS["text"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def script(peer: Any) -> None:
        await send(head + answer)(peer)
        peer.close()

    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        assert (await gateway.ask()).body == answer


ODD_BODIES = [
    json.dumps(HELLO).encode(),
    json.dumps(HELLO, indent=3).encode() + b"\n\n",
    b'{"stream":true,"model":"claude-opus-5-5","messages":[],"n":1e400,"n":1E+2,"e":"\\u00e9\xc3\xa9"}',
    b'{"model":"a","messages":[{"role":"system","content":[]},{"role":"x","content":[{"type":"?"}]}],'
    b'"unknown":{"deep":[[[[{"a":null}]]]]},"stream":false,"s":"\\ud83d"}',
]


@pytest.mark.parametrize("body", ODD_BODIES)
async def test_the_request_goes_up_unchanged(body: bytes, tmp_path: Path) -> None:
    answer = json.dumps(MESSAGE).encode()
    async with (
        ScriptedUpstream(respond(200, JSON_HEADERS, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        fields = [
            (b"Anthropic-Beta", b"one-2026-01-01,two-2026-02-02"),
            (b"anthropic-version", b"2023-06-01"),
            (b"X-Claude-Code-Session-Id", b"s-1"),
            (b"x-brand-new", b"kept"),
        ]
        await gateway.ask(target="/v1/messages?beta=true&x=%2F%20", body=body, headers=fields)
    request = upstream.requests[0]
    assert request.body == body
    assert request.target == b"/v1/messages?beta=true&x=%2F%20"
    sent = [pair for pair in request.headers if pair[0].lower() not in _OURS]
    assert sent == [
        *fields,
        (b"x-api-key", VENDOR_KEY.encode()),
        (b"content-type", b"application/json"),
    ]
    assert KEY.encode() not in request.head


_OURS = {b"host", b"content-length"}


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_json_beside_the_known_fields_goes_up_unchanged(
    body: Any, shared_gateway: tuple[ScriptedUpstream, LiveGateway]
) -> None:
    upstream, gateway = shared_gateway
    data = json.dumps({"extra": body} | HELLO | {"stream": False, "more": body}).encode()
    got = await gateway.ask(body=data)
    assert upstream.requests[-1].body == data
    assert got.json == MESSAGE


@pytest.fixture
async def shared_gateway(tmp_path: Path) -> Any:
    answer = json.dumps(MESSAGE).encode()
    async with (
        ScriptedUpstream(respond(200, JSON_HEADERS, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        yield upstream, gateway


async def test_whole_answers_and_their_headers_come_down_unchanged(tmp_path: Path) -> None:
    answer = json.dumps(MESSAGE, indent=1).encode() + b"\n"
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Request-Id", b"req_1"),
        (b"anthropic-ratelimit-tokens-remaining", b"7"),
        (b"x-brand-new", b"kept"),
        (b"Set-Cookie", b"no=1"),
    ]
    async with (
        ScriptedUpstream(respond(200, fields, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"stream": False})
        turn = await gateway.turn()
    assert got.body == answer
    names = {name.decode().lower(): value.decode() for name, value in got.headers}
    assert names["request-id"] == "req_1"
    assert names["anthropic-ratelimit-tokens-remaining"] == "7"
    assert names["x-brand-new"] == "kept"
    assert "set-cookie" not in names
    assert names["x-gateway-provider"] == "anthropic"
    assert names["x-gateway-request-id"] == turn["id"]
    assert (turn["input_tokens"], turn["output_tokens"]) == (10, 5)
    assert turn["usage_raw"]["brand_new_counter"] == 3
    assert turn["cost_usd"] == pytest.approx(10 * 4e-6 + 5 * 20e-6)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 529])
async def test_errors_come_down_verbatim(status: int, tmp_path: Path) -> None:
    body = b'{"type":"error",  "error":{"type":"some_error","message":"wording matters"}}'
    fields = [
        (b"Content-Type", b"application/json"),
        (b"retry-after", b"7"),
        (b"x-should-retry", b"true"),
    ]
    async with (
        ScriptedUpstream(respond(status, fields, body)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        # A refused key of ours is told otherwise, because it is not the client's to renew.
        own = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer sk-ant-of-the-client")]
        got = await gateway.ask(headers=own, key=None)
        turn = await gateway.turn()
    assert (got.status, got.body) == (status, body)
    assert got.header("retry-after") == "7"
    assert got.header("x-should-retry") == "true"
    assert (turn["status"], turn["http_status"]) == ("error", status)
    assert (turn["error_type"], turn["error_message"]) == ("some_error", "wording matters")
    assert (turn["cost_usd"], turn["unpriced"]) == (None, False)
    assert len(upstream.requests) == 1


async def test_a_compressed_request_goes_up_as_it_came(tmp_path: Path) -> None:
    data = gzip.compress(json.dumps(HELLO).encode())
    async with (
        ScriptedUpstream(sse([ANSWERS["text"]])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=data, headers=[(b"Content-Encoding", b"gzip")])
        turn = await gateway.turn()
    assert got.status == 200
    assert upstream.requests[0].body == data
    assert upstream.requests[0].header(b"content-encoding") == b"gzip"
    assert turn["model_asked"] == "claude-opus-5-5"


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_a_baseline_that_names_a_model_changes_nothing_else(
    is_compressed: bool, tmp_path: Path
) -> None:
    plain = json.dumps(HELLO | {"odd": [1.50, "é"]}, indent=2).encode()
    data = gzip.compress(plain) if is_compressed else plain
    fields = [(b"Content-Encoding", b"gzip")] if is_compressed else []
    routing = '[routing.baseline]\nmessages = ["anthropic/claude-other"]\n'
    async with (
        ScriptedUpstream(sse([ANSWERS["text"]])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, settings=routing) as gateway,
    ):
        got = await gateway.ask(body=data, headers=fields)
        turn = await gateway.turn()
    assert got.status == 200
    assert upstream.requests[0].body == plain.replace(b"claude-opus-5-5", b"claude-other")
    assert upstream.requests[0].header(b"content-encoding") is None
    assert (turn["model_asked"], got.header("x-gateway-model")) == (
        "claude-opus-5-5",
        "claude-other",
    )


async def test_a_compressed_answer_is_relayed_and_still_read(tmp_path: Path) -> None:
    answer = gzip.compress(json.dumps(MESSAGE).encode())
    fields = [*JSON_HEADERS, (b"Content-Encoding", b"gzip")]
    async with (
        ScriptedUpstream(respond(200, fields, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"stream": False})
        turn = await gateway.turn()
    assert got.body == answer
    assert got.header("content-encoding") == "gzip"
    assert turn["output_tokens"] == 5


async def test_a_compressed_stream_passes_as_it_comes(tmp_path: Path) -> None:
    answer = gzip.compress(ANSWERS["text"])
    fields = ((b"Content-Type", b"text/event-stream"), (b"Content-Encoding", b"gzip"))
    gate = asyncio.Event()
    first, rest = sse([answer[:40]], fields, end=False), send(chunk(answer[40:]) + chunk(b""))
    async with (
        ScriptedUpstream(steps(first, pause(gate), rest)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        async with await gateway.open() as response:
            assert await response.read() == answer[:40]
            gate.set()
            assert await response.read_all(10**6) == answer[40:]
        turn = await gateway.turn()
    assert (turn["status"], turn["usage_source"], turn["cost_usd"]) == ("completed", "none", None)


async def test_a_compressed_stream_that_breaks_off_is_cut_not_added_to(tmp_path: Path) -> None:
    answer = gzip.compress(ANSWERS["text"])
    fields = ((b"Content-Type", b"text/event-stream"), (b"Content-Encoding", b"gzip"))
    script = steps(sse([answer[:40]], fields, end=False), reset())
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        async with await gateway.open() as response:
            assert await response.read() == answer[:40]
            with pytest.raises(ConnectionDropped):
                await response.read()
        turn = await gateway.turn()
    assert turn["status"] == "partial"


async def test_large_bodies_pass_both_ways(tmp_path: Path) -> None:
    body = json.dumps(HELLO | {"stream": False, "pad": "x" * 9_000_000}).encode()
    answer = json.dumps(MESSAGE | {"pad": "y" * 9_000_000}).encode()
    async with (
        ScriptedUpstream(respond(200, JSON_HEADERS, answer)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=body)
    assert got.body == answer
    assert upstream.requests[0].body == body


_CAPTURES = Path(os.environ.get("SBGW_CAPTURES", "../shared/captures/claude")).resolve()


@pytest.mark.skipif(not _CAPTURES.is_dir(), reason="recorded client requests are not here")
async def test_recorded_client_requests_go_up_unchanged(tmp_path: Path) -> None:
    answer = ANSWERS["thinking and tool"]
    async with (
        ScriptedUpstream(sse([answer])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for file in sorted(_CAPTURES.glob("*.json")):
            capture = json.loads(file.read_text())
            if capture["method"] != "POST":
                continue
            body = json.dumps(capture["body"], ensure_ascii=False, separators=(",", ":")).encode()
            kept = [
                (name.encode(), value.encode())
                for name, value in capture["headers"].items()
                if name.lower() not in _REPLACED
            ]
            target = f"{capture['path']}?{capture['query']}"
            got = await gateway.ask(target=target, body=body, headers=kept)
            request = upstream.requests[-1]
            assert request.body == body, file.name
            assert request.target.decode() == target
            assert [p for p in request.headers if p in kept] == kept, file.name
            assert got.body == answer, file.name


_REPLACED = {
    "host",
    "content-length",
    "connection",
    "x-api-key",
    "authorization",
    "accept-encoding",
}

"""S10, S11, S23: a key goes to its own provider only, and a hostile provider does no harm."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import pytest
import zstandard
from anthropic_streams import PING, TEXT
from live_gateway import HELLO, KEY, VENDOR_KEY, Answer, live_gateway
from scripted_upstream import (
    Headers,
    Script,
    ScriptedUpstream,
    head,
    in_turn,
    respond,
    send,
    sse,
    steps,
)
from scripted_upstream import close as close_peer
from security_probe import ask_raw, canary

from server import relay

JSON_TYPE: Headers = [(b"Content-Type", b"application/json")]
WHOLE = json.dumps(HELLO | {"stream": False}).encode()


def is_plain_502(got: Answer) -> bool:
    """Whether the client got our own error, in the shape of its protocol."""
    body = got.json
    return (got.status, body["type"], body["error"]["type"]) == (502, "error", "api_error")


async def test_s10_a_redirect_is_not_followed(tmp_path: Path) -> None:
    statuses = [301, 302, 303, 307, 308, 300, 304]
    async with canary() as elsewhere:
        location = [(b"Location", elsewhere.url.encode() + b"/v1/messages")]
        scripts = [respond(status, location) for status in statuses for _ in range(2)]
        async with (
            ScriptedUpstream(route=in_turn(*scripts)) as upstream,
            live_gateway(tmp_path / "h", upstream.base_url) as gateway,
        ):
            for status in statuses:
                got = await gateway.ask()
                models = await gateway.get("/v1/models")
                assert is_plain_502(got), status
                assert is_plain_502(models), status
                assert elsewhere.url.encode() not in b"".join(v for _, v in models.headers)
        assert elsewhere.hits == 0
    assert len(upstream.requests) == len(scripts)


async def test_s10_a_challenge_gets_no_other_answer(tmp_path: Path) -> None:
    body = b'{"type":"error","error":{"type":"authentication_error","message":"no"}}'
    async with canary() as elsewhere:
        challenge = f'Bearer realm="{elsewhere.url}/token",service="x"'.encode()
        fields = [*JSON_TYPE, (b"WWW-Authenticate", challenge)]
        async with (
            ScriptedUpstream(respond(401, fields, body)) as upstream,
            live_gateway(tmp_path / "h", upstream.base_url) as gateway,
        ):
            own = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer sk-ant-own")]
            got = await gateway.ask(headers=own, key=None)
        assert elsewhere.hits == 0
    assert (got.status, got.body) == (401, body)
    assert len(upstream.requests) == 1


async def test_s10_no_credential_or_proxy_comes_from_the_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password netrc-password\n")
    netrc.chmod(0o600)
    async with canary() as elsewhere, ScriptedUpstream(sse([TEXT])) as upstream:
        env = {"HTTP_PROXY": elsewhere.url, "ALL_PROXY": elsewhere.url, "NETRC": str(netrc)}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
            monkeypatch.setenv(name.lower(), value)
        async with live_gateway(tmp_path / "h", upstream.base_url, env=env) as gateway:
            got = await gateway.ask()
        assert elsewhere.hits == 0
    assert got.status == 200
    sent = upstream.requests[0]
    assert sent.header(b"authorization") is None
    assert sent.header(b"x-api-key") == VENDOR_KEY.encode()


async def test_s10_a_key_stands_in_one_field_and_never_in_the_address(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        await gateway.ask(target=f"/k/{KEY}/v1/messages?beta=true", key=None)
    sent = upstream.requests[0]
    fields = b"\n".join(name + b": " + value for name, value in sent.headers)
    assert sent.target == b"/v1/messages?beta=true"
    assert fields.count(VENDOR_KEY.encode()) == 1
    assert KEY.encode() not in sent.head


# ---------------------------------------------------------------------- fields


CLIENT_FIELDS = [
    "x-a: b\x00c",
    "x-a: b\x01c",
    "x-a: b\x0bc",
    "x-a: b\x1b[31mc",
    "x-a: b\x7fc",
    "x-a: b\rc: d",
    "x-a: b\nx-b: c",
    "x a: b",
    "x-\x01a: b",
    "x\u00e4: b",
    ": b",
    "x-a\t: b",
    "anthropic-beta: a\x00b",
    "x-sbgw-project: a\x1bb",
]


async def test_s11_a_field_of_the_client_that_could_be_two_is_refused(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for field in CLIENT_FIELDS:
            fields = ["Host: {host}", f"x-api-key: {KEY}", field, f"Content-Length: {len(WHOLE)}"]
            got = await ask_raw(gateway, "POST /v1/messages HTTP/1.1", fields, WHOLE)
            assert got.status == 400, field
    assert upstream.requests == []


UPSTREAM_FIELDS = [
    b"x-a: b\x00c",
    b"x-a: b\x01c",
    b"x-a: b\x1b]0;title\x07c",
    b"x-a: b\x7fc",
    b"x-a: b\rx-b: c",
    b"x a: b",
    b"x-\x01a: b",
    b": b",
]


async def test_s11_a_field_of_the_upstream_that_could_be_two_is_refused(tmp_path: Path) -> None:
    lead = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    scripts = [send(lead + field + b"\r\n\r\n{}") for field in UPSTREAM_FIELDS]
    async with (
        ScriptedUpstream(route=in_turn(*scripts)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for field in UPSTREAM_FIELDS:
            assert is_plain_502(await gateway.ask(body=WHOLE)), field


# ---------------------------------------------------------------------- bounds


def fields_of(count: int, size: int = 1) -> Headers:
    return [(b"X-%d" % number, b"v" * size) for number in range(count)]


HOSTILE: dict[str, Script] = {
    "too many fields": respond(200, [*JSON_TYPE, *fields_of(1000)], b"{}"),
    "a field too long": respond(200, [*JSON_TYPE, (b"X", b"v" * 100_000)], b"{}"),
    "fields too large": respond(200, [*JSON_TYPE, *fields_of(150, 1000)], b"{}"),
    "a head without end": steps(send(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"v" * 300_000)),
    "interim answers without end": send(b"HTTP/1.1 103 Early\r\n\r\n" * 3000),
    "gzip that grows": respond(
        200,
        [*JSON_TYPE, (b"Content-Encoding", b"gzip")],
        gzip.compress(b" " * 20_000_000, 9),
    ),
    "deflate that grows": respond(
        200,
        [*JSON_TYPE, (b"Content-Encoding", b"deflate")],
        zlib.compress(b" " * 20_000_000, 9),
    ),
    "zstd that grows": respond(
        200,
        [*JSON_TYPE, (b"Content-Encoding", b"zstd")],
        zstandard.ZstdCompressor().compress(b" " * 20_000_000),
    ),
    "an error that grows": respond(
        500,
        [*JSON_TYPE, (b"Content-Encoding", b"gzip")],
        gzip.compress(b" " * 20_000_000, 9),
    ),
}


async def test_s23_an_answer_without_bounds_is_a_plain_502(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(route=in_turn(*HOSTILE.values())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for name in HOSTILE:
            got = await gateway.ask(body=WHOLE)
            assert is_plain_502(got), name
        turns = await gateway.turns(len(HOSTILE))
    assert {turn["status"] for turn in turns} == {"failed"}


async def test_s23_a_whole_answer_has_a_largest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relay.MAX_BUFFERED == 64 * 1024 * 1024
    monkeypatch.setattr(relay, "MAX_BUFFERED", 100_000)
    fits = b'{"a":"' + b"x" * 99_990 + b'"} '
    bodies = [fits[:100_000], fits + b" " * 100_000]
    endless = steps(send(head(200, JSON_TYPE) + b"x" * 300_000), close_peer())
    scripts = [*(respond(200, JSON_TYPE, body) for body in bodies), endless]
    async with (
        ScriptedUpstream(route=in_turn(*scripts)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        answers = [await gateway.ask(body=WHOLE) for _ in scripts]
    assert (answers[0].status, answers[0].body) == (200, bodies[0])
    assert is_plain_502(answers[1])
    assert is_plain_502(answers[2])


async def test_s23_a_compressed_answer_that_grows_as_text_does_is_relayed(tmp_path: Path) -> None:
    text = json.dumps({"type": "message", "model": "m", "pad": "word and word " * 100_000})
    packed = gzip.compress(text.encode(), 9)
    fields = [*JSON_TYPE, (b"Content-Encoding", b"gzip")]
    assert len(text) > 100 * len(packed)
    async with (
        ScriptedUpstream(respond(200, fields, packed)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=WHOLE)
        turn = await gateway.turn()
    assert (got.status, got.body) == (200, packed)
    assert turn["model_served"] == "m"


async def test_s23_a_stream_that_never_begins_is_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MAX_HELD", 50_000)
    pings = [PING * 100] * 40
    async with (
        ScriptedUpstream(sse([*pings, TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await asyncio.wait_for(gateway.ask(), 30)
    assert is_plain_502(got)
    assert "without beginning" in got.json["error"]["message"]

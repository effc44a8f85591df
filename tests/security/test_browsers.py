"""S4, S5: what a web page, or a name that leads here, can make a browser send."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from anthropic_streams import TEXT
from live_gateway import HELLO, KEY, live_gateway
from scripted_upstream import ScriptedUpstream, sse
from security_probe import ask_raw

from providers.transport import Origin
from server.http import routes

KEYED = f"x-api-key: {KEY}"
JSON_BODY = b'{"model":"m","max_tokens":1,"messages":[]}'
JSON_ENDPOINTS = [path.decode() for path, methods in routes._TABLE.items() if "POST" in methods]

BAD_HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.1:{port}0",
    "127.0.0.1:0{port}",
    "127.0.0.1:{port}/",
    "127.0.0.1:{port}/#",
    "127.0.0.1:{port}?",
    "127.0.0.1:{port}#",
    "127.0.0.1:{port}@evil.example",
    "evil.example@127.0.0.1:{port}",
    "127.0.0.1:{port}, evil.example",
    "127.0.0.1:{port} evil.example",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example:{port}",
    "localhost.:{port}",
    "127.1:{port}",
    "127.0.0.2:{port}",
    "0.0.0.0:{port}",
    "2130706433:{port}",
    "0x7f000001:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "[::1:{port}",
    "::1:{port}",
    "[fe80::1%25eth0]:{port}",
    ":{port}",
    "",
    "loc\u00e4lhost:{port}",
]


async def test_s04_a_host_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:
        for host in BAD_HOSTS:
            value = host.format(port=gateway.origin.port)
            keyed = ["Host: " + value, KEYED]
            got = await ask_raw(gateway, "GET /snapshot HTTP/1.1", keyed)
            openly = await ask_raw(gateway, "GET /health HTTP/1.1", keyed[:1])
            assert (got.status, openly.status) == (403, 403), host
            assert got.json["error"]["type"] == "permission_error"


async def test_s04_our_own_names_are_served(tmp_path: Path) -> None:
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:
        port = gateway.origin.port
        for host in ("127.0.0.1", "localhost", "LocalHost", "[::1]"):
            line = "GET /snapshot HTTP/1.1"
            got = await ask_raw(gateway, line, [f"Host: {host}:{port}", KEYED])
            assert got.status == 200, host


ONE_HOST = [
    ("GET /snapshot HTTP/1.1", []),
    ("GET /snapshot HTTP/1.1", ["Host: {host}", "Host: {host}"]),
    ("GET /snapshot HTTP/1.1", ["Host: {host}", "hOsT: evil.example"]),
    ("GET http://{host}/snapshot HTTP/1.1", ["Host: {host}", "Host: {host}"]),
    ("GET /snapshot HTTP/1.0", []),
    ("GET /snapshot HTTP/1.0", ["Host: evil.example"]),
]


async def test_s04_there_must_be_exactly_one_host(tmp_path: Path) -> None:
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:
        for line, fields in ONE_HOST:
            got = await ask_raw(gateway, line, [*fields, KEYED])
            assert got.status in (400, 403), (line, fields)


async def test_s04_listening_everywhere_serves_the_address_that_was_reached(
    tmp_path: Path,
) -> None:
    env = {"SBGW_SERVER__HOST": "0.0.0.0", "STACKBILT_GATEWAY_KEY": "a-key-of-ones-own-0123"}
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9", env=env) as gateway:
        port = gateway.origin.port
        gateway.origin, _ = Origin.parse(f"http://127.0.0.1:{port}")
        keyed = "x-api-key: a-key-of-ones-own-0123"
        line = "GET /snapshot HTTP/1.1"
        reached = await ask_raw(gateway, line, [f"Host: 127.0.0.1:{port}", keyed])
        rebound = await ask_raw(gateway, line, [f"Host: evil.example:{port}", keyed])
        another = await ask_raw(gateway, line, [f"Host: 127.0.0.9:{port}", keyed])
        default = await ask_raw(gateway, line, [f"Host: 127.0.0.1:{port}", KEYED])
    assert [reached.status, rebound.status, another.status] == [200, 403, 403]
    assert default.status == 401


PAGE_FIELDS = [
    "Origin: https://evil.example",
    "Origin: null",
    "Origin: http://{host}",
    "Origin:",
    "origin: http://localhost:3000",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: CROSS-SITE",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
]
PREFLIGHT = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-api-key"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
async def test_s05_what_a_page_asks_for_is_refused_with_the_right_key_too(
    method: str, tmp_path: Path
) -> None:
    targets = ("/v1/messages", "/snapshot", "/health", f"/k/{KEY}/snapshot", "/")
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for field, target in itertools.product(PAGE_FIELDS, targets):
            fields = ["Host: {host}", KEYED, field, "Content-Type: application/json", *PREFLIGHT]
            got = await ask_raw(gateway, f"{method} {target} HTTP/1.1", fields)
            assert got.status == 403, (field, target)
            names = {name.lower() for name, _ in got.headers}
            assert not [name for name in names if name.startswith(b"access-control")]
    assert upstream.requests == []


async def test_s05_programs_that_send_such_fields_are_served(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for field in ((b"Sec-Fetch-Site", b"none"), (b"Sec-Fetch-Mode", b"cors")):
            got = await gateway.ask(headers=[field])
            assert (got.status, got.body) == (200, TEXT)


FORMS = [
    "text/plain",
    "text/plain;charset=UTF-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain; application/json",
    "application/json, text/plain",
    "application/jsonx",
    "",
    "application/json\r\nContent-Type: text/plain",
]


async def test_s05_a_form_cannot_pass_for_json(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for target, kind, prefix in itertools.product(JSON_ENDPOINTS, FORMS, ("", f"/k/{KEY}")):
            fields = [f"Content-Type: {kind}", f"Content-Length: {len(JSON_BODY)}"]
            line = f"POST {prefix}{target} HTTP/1.1"
            keyed = [] if prefix else [KEYED]
            got = await ask_raw(gateway, line, ["Host: {host}", *keyed, *fields], JSON_BODY)
            assert got.status == 415, (line, kind)
    assert upstream.requests == []


async def test_s05_a_program_may_leave_the_type_out(tmp_path: Path) -> None:
    body = json.dumps(HELLO).encode()
    kinds = [
        [],
        ["Content-Type: application/json; charset=utf-8"],
        ["content-type: APPLICATION/JSON"],
        ["content-type:  application/json ;x=y"],
    ]
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for kind, target in itertools.product(kinds, ("/v1/messages", "/v1/route/explain")):
            fields = ["Host: {host}", KEYED, f"Content-Length: {len(body)}", *kind]
            got = await ask_raw(gateway, f"POST {target} HTTP/1.1", fields, body)
            assert got.status == 200, (kind, target)

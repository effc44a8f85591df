"""What other gateways got wrong, as attacks on this one; S1, S16 and S24 beside them.

Each row is a published weakness of another program. Where a rule's own tests go further, they are
named in ``test_rules``.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gateway_process import program
from live_gateway import HELLO, KEY, VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond, sse
from security_probe import ask_raw, canary, files_with
from settings_home import SettingsHome

from server.config import Settings
from server.http import routes
from tui.claude_setup import ClaudeSetup
from tui.launch_env import GatewayTarget, Labels, claude_environment

JSON_TYPE = [(b"content-type", b"application/json")]
WHOLE = b'{"type":"message","model":"m","content":[],"usage":{}}'
SQL = "' OR (SELECT 1 FROM turns); DROP TABLE turns;--"


def rows(home: Path) -> int:
    """Turns on record."""
    with sqlite3.connect(f"file:{home}/state/ledger.sqlite3?mode=ro", uri=True) as database:
        found: int = database.execute("SELECT count(*) FROM turns").fetchone()[0]
    database.close()
    return found


async def test_cve_2026_42208_no_key_is_a_part_of_sql(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with (
        ScriptedUpstream(respond(200, JSON_TYPE, WHOLE)) as upstream,
        live_gateway(home, upstream.base_url) as gateway,
    ):
        await gateway.ask(body=HELLO | {"stream": False})
        await gateway.turns(1)
        before = rows(home)
        for key in (SQL, "x" * 10_000, "ключ-🔑", "%27%20OR%201=1--"):
            field = f"Authorization: Bearer {key}".encode().decode("latin-1")
            got = await ask_raw(gateway, "POST /v1/messages HTTP/1.1", ["Host: {host}", field])
            assert got.status in (401, 429, 431)
            assert key[:20].encode() not in got.body
        assert rows(home) == before
        assert (await gateway.ask(body=HELLO | {"stream": False})).status == 200
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("host", ["x/#", "x/?", "{host}/#", "{host}/?", "x/health?", "{host}#@x"])
async def test_cve_2026_49468_no_address_is_made_of_the_host(host: str, tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON_TYPE, WHOLE)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for path in ("/snapshot", "/v1/messages", "/health"):
            for fields in ([], [f"x-api-key: {KEY}"]):
                lines = [f"Host: {host}", *fields]
                got = await ask_raw(gateway, f"GET {path} HTTP/1.1", lines)
                assert got.status in (400, 403, 421), (path, got.status)
    assert upstream.requests == []


PLACES = ["api_base", "base_url", "api_key", "endpoint", "proxy", "callback_url", "webhook"]


async def test_cve_2024_6587_no_field_moves_the_key_elsewhere(tmp_path: Path) -> None:
    async with canary() as elsewhere:
        leak: Any = dict.fromkeys(PLACES, elsewhere.url)
        nested = {"user_config": {"model_list": [{"litellm_params": leak}]}, "extra_body": leak}
        headers = {"extra_headers": {"Host": elsewhere.url, "x-forwarded-host": elsewhere.url}}
        async with (
            ScriptedUpstream(respond(200, JSON_TYPE, WHOLE)) as upstream,
            live_gateway(tmp_path / "h", upstream.base_url) as gateway,
        ):
            for more in (leak, nested, headers, {"metadata": nested}, {"tools": [leak]}):
                await gateway.ask(body=HELLO | {"stream": False} | more)
            assert elsewhere.hits == 0
            assert {r.target for r in upstream.requests} == {b"/v1/messages"}
            assert {r.header(b"x-api-key") for r in upstream.requests} == {VENDOR_KEY.encode()}


MODELS = [
    "../../../etc/passwd",
    "sha256:" + "../" * 8 + "x",
    "m?x=1#y",
    "m%2e%2e%2f",
    "http://127.0.0.1:1/x",
    "user:pass@evil",
    "m\r\nx-api-key: stolen",
    "m\x00",
]


@pytest.mark.parametrize("model", MODELS)
async def test_cve_2024_37032_no_model_is_a_path(model: str, tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(404, JSON_TYPE, b'{"type":"error"}')) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"model": model})
    assert got.status in (400, 404)
    for request in upstream.requests:
        assert request.target == b"/v1/messages"
        assert b"stolen" not in request.head


async def test_cve_2026_45339_both_ways_to_show_a_key_are_equally_checked(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for field in ("Authorization: Bearer nope", "x-api-key: nope", "x-sbgw-key: nope"):
            for path in ("/v1/models", "/snapshot", "/metrics"):
                got = await ask_raw(gateway, f"GET {path} HTTP/1.1", ["Host: {host}", field])
                assert got.status in (401, 429), (field, path)
    assert upstream.requests == []


async def test_cve_2026_45349_an_id_opens_nothing(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(200, JSON_TYPE, WHOLE)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"stream": False})
        turn = got.header("x-gateway-request-id")
        for path in (f"/events/{turn}", f"/events/{turn}?key={KEY}", "/events/stream"):
            found = await ask_raw(gateway, f"GET {path} HTTP/1.1", ["Host: {host}"])
            assert found.status == 401


async def test_cve_2025_63388_no_origin_is_reflected(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for origin in ("https://evil.example", "null", "http://localhost:3000"):
            fields = ["Host: {host}", f"x-api-key: {KEY}", f"Origin: {origin}"]
            for line in ("GET /snapshot HTTP/1.1", "OPTIONS /v1/messages HTTP/1.1"):
                got = await ask_raw(gateway, line, fields)
                assert got.status == 403
                assert not [n for n, _ in got.headers if b"access-control" in n.lower()]


async def test_cve_2024_12886_no_answer_grows_without_end(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (80 << 20), 9)
    fields = [*JSON_TYPE, (b"content-encoding", b"gzip")]
    async with (
        ScriptedUpstream(respond(200, fields, bomb)) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"stream": False})
    assert got.status == 502


def test_cve_2026_42271_there_is_no_endpoint_that_runs_anything() -> None:
    known = {path for path, methods in routes._TABLE.items() if {"POST", "PUT"} & set(methods)}
    words = (
        b"test",
        b"exec",
        b"run",
        b"eval",
        b"config",
        b"plugin",
        b"upload",
        b"mcp",
        b"guardrail",
    )
    assert known
    assert [path for path in known if any(word in path for word in words)] == []


# ---------------------------------------------------------------------- S1


def test_s01_nothing_but_this_machine_by_default(tmp_path: Path) -> None:
    assert Settings().server.host == "127.0.0.1"
    home = SettingsHome(tmp_path)
    assert home.load().settings.server.host == "127.0.0.1"
    for host in ("0.0.0.0", "::"):
        home.config(f'[server]\nhost = "{host}"\n')
        assert home.fails().key == "server.host"


async def test_s01_the_socket_is_on_the_loopback(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        port = gateway.origin.port
        listening = _sockets()
        mine = [line.split()[1] for line in listening if line.split()[3] == "0A"]
        assert [a for a in mine if a.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def _sockets() -> list[str]:
    return Path("/proc/net/tcp").read_text().splitlines()[1:]


# ---------------------------------------------------------------------- S16


def test_s16_no_secret_of_ours_enters_a_child(tmp_path: Path) -> None:
    """The user's own environment passes; what stands in our ``.env`` does not, nor in argv."""
    home = SettingsHome(tmp_path)
    home.dotenv("ANTHROPIC_API_KEY=sk-ant-canary-dotenv-0123456789\nGROQ_API_KEY=gsk_canary_0123\n")
    loaded = home.load()
    user = {"PATH": "/bin", "HOME": "/home/me", "TOKEN_OF_A_TOOL": "the user's own"}
    target = GatewayTarget("http://127.0.0.1:8787", "gw-key", "https://api.anthropic.com", True)
    child = claude_environment(user, ClaudeSetup(), target, Labels("p", None, None))
    text = json.dumps(dict(child.env))
    assert loaded.settings.provider("groq") is not None
    assert "canary" not in text
    assert user.items() <= dict(child.env).items()


def test_s16_no_command_takes_a_key_as_an_argument() -> None:
    said = subprocess.run(program("--help"), capture_output=True, text=True, check=True).stdout
    assert "--key" not in said
    assert "--api-key" not in said


# ---------------------------------------------------------------------- S24


async def test_s24_no_page_is_served_to_a_browser(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for path, methods in routes._TABLE.items():
            if "GET" not in methods or path == b"/events/stream":
                continue
            got = await gateway.get(path.decode())
            assert "html" not in (got.header("content-type") or ""), path
            assert b"<script" not in got.body.lower()


# ---------------------------------------------------------------------- one canary, every sink


async def test_s12_one_canary_in_every_input_is_in_no_sink(tmp_path: Path) -> None:
    """A credential in each place where a client can put one: none of them is kept or told."""
    secret = "sk-ant-api03-canaryEverywhere0123456789"
    async with (
        ScriptedUpstream(sse([b"event: error\ndata: {broken\n\n"])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        watcher = gateway.gateway.subscribe()
        own = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer " + secret.encode())]
        body = HELLO | {
            "model": f"m-{secret}",
            "metadata": {"user_id": secret},
            "system": secret,
            "tools": [{"name": "t", "description": secret, "input_schema": {"type": "object"}}],
            "stop_sequences": [secret],
        }
        places = [
            (b"user-agent", secret.encode()),
            (b"x-sbgw-project", secret.encode()),
            (b"x-sbgw-label", secret.encode()),
            (b"x-claude-code-session-id", secret.encode()),
        ]
        for more in ([], places):
            await gateway.ask(body=body, headers=[*own, *more], key=None)
        await gateway.ask(target=f"/v1/messages?x={secret}", body=b"{", headers=own, key=None)
        await gateway.ask(target=f"/{secret}", headers=own, key=None)
        turns = await gateway.turns(3)
        told = await _everything(gateway) + json.dumps(watcher.drain()) + json.dumps(turns)
        watcher.close()
        found = files_with(tmp_path, [secret])
    assert secret not in told
    assert found + files_with(tmp_path, [secret]) == []


async def _everything(gateway: LiveGateway) -> str:
    answers = [
        await gateway.get(path)
        for path in ("/snapshot", "/events/recent", "/metrics", "/providers", "/health?live=1")
    ]
    return "".join(answer.body.decode() for answer in answers)

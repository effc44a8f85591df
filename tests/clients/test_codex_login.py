"""The real Codex with a ChatGPT login, through the gateway to the login's own backend.

Run by ``make test-clients``. The login is made up; nothing leaves the machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import responses_streams
import zstandard
from chatgpt_login import ACCOUNT, seed, token
from codex_vendors import HELLO, R
from live_gateway import KEY, live_gateway
from real_codex import QUIET, CodexPlace, read_run
from scripted_upstream import Request, Script, ScriptedUpstream, respond, sse
from stop_gateway import stop_gateway
from vendor_replies import JSON_TYPE, stream

pytestmark = pytest.mark.clients

ROOT = Path(__file__).resolve().parents[2]
OURS = "sk-never-to-be-used"


def body_of(request: Request) -> bytes:
    if request.header(b"content-encoding") == b"zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(request.body)
    return request.body


def backend_route(request: Request) -> Script:
    if request.method == b"GET":
        return respond(200, JSON_TYPE, b'{"models":[]}')
    items = json.loads(body_of(request))["input"]
    if items[-1].get("type") == "compaction_trigger":
        item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VhbGVk"}
        return sse([responses_streams.stream_of(responses_streams.response(item))])
    return sse([stream(R, HELLO)])


def asked(backend: ScriptedUpstream) -> list[Request]:
    """The turns; each is the login's, at its own address."""
    found = [request for request in backend.requests if request.method == b"POST"]
    for request in backend.requests:
        assert request.target.startswith(b"/codex/")
        assert request.header(b"authorization") == f"Bearer {token()}".encode()
        assert request.header(b"chatgpt-account-id") == ACCOUNT
        assert b"x-sbgw" not in request.head.lower()
        assert KEY.encode() not in request.head
    return found


async def test_the_built_in_provider_with_compressed_bodies(
    place: CodexPlace, tmp_path: Path
) -> None:
    seed(place.codex_home)
    async with (
        ScriptedUpstream() as api,
        ScriptedUpstream(route=backend_route) as backend,
        live_gateway(
            tmp_path / "h",
            api.base_url,
            env={"OPENAI_API_KEY": OURS},
            settings=(
                f'[providers.openai]\nbase_url = "{api.base_url}"\n'
                f'login_base_url = "{backend.base_url}/codex"\n'
            ),
        ) as gateway,
    ):
        # The built-in provider takes no header of ours, so the key is in the path.
        own = {
            "openai_base_url": f"{gateway.url}/k/{KEY}/v1",
            "model_auto_compact_token_limit": "90",
            **QUIET,
        }
        first = await place.start(own, "--", "say hello")
        second = await place.start(own, "resume", "--last", "--", "and again")
        turns = await gateway.turns(3)
    for got in (first, second):
        assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    begun, compaction, after = asked(backend)
    assert {r.header(b"content-encoding") for r in (begun, compaction, after)} == {b"zstd"}
    assert b"say hello" in body_of(begun)
    assert b"c2VhbGVk" in body_of(after)
    assert api.requests == []
    assert {turn["payer"] for turn in turns} == {"login"}
    assert {turn["list_price_equivalent"] for turn in turns} == {True}
    assert [turn["kind"] for turn in turns][:2] == ["user_turn", "compaction"]


async def test_the_launcher_leaves_the_login_its_own(place: CodexPlace, tmp_path: Path) -> None:
    seed(place.codex_home)
    before = (place.codex_home / "auth.json").read_bytes()
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    async with (
        ScriptedUpstream() as api,
        ScriptedUpstream(route=backend_route) as backend,
    ):
        (home / "config.toml").write_text(
            f'[server]\nport = 0\n[providers.openai]\nbase_url = "{api.base_url}"\n'
            f'login_base_url = "{backend.base_url}/codex"\n'
        )
        env = place.env(SBGW_HOME=str(home), CODEX_HOME=str(place.codex_home), OPENAI_API_KEY=OURS)
        quiet = [part for name, value in QUIET.items() for part in ("-c", f"{name}={value}")]
        launch = [sys.executable, str(ROOT / "sbgw.py"), "codex", *quiet, "exec", "--json"]
        try:
            got = read_run(await place.run(*launch, "-m", "gpt-5.5", "--", "say hello", env=env))
        finally:
            await stop_gateway(home)
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    assert len(asked(backend)) == 1
    assert api.requests == []
    assert (place.codex_home / "auth.json").read_bytes() == before


async def test_a_login_that_ran_out_is_told_as_the_vendor_tells_it(
    place: CodexPlace, tmp_path: Path
) -> None:
    seed(place.codex_home)
    limit = {
        "error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}
    }
    answer = respond(429, JSON_TYPE, json.dumps(limit).encode())
    async with (
        ScriptedUpstream(answer) as backend,
        live_gateway(
            tmp_path / "h",
            backend.base_url,
            settings=f'[providers.openai]\nlogin_base_url = "{backend.base_url}/codex"\n',
        ) as gateway,
    ):
        own = {"openai_base_url": f"{gateway.url}/k/{KEY}/v1", **QUIET}
        got = await place.start(own, "--", "say hello")
    assert got.code != 0
    assert "usage limit" in got.error
    assert len(asked(backend)) == 1


async def test_its_session_goes_on_without_the_gateway(place: CodexPlace, tmp_path: Path) -> None:
    seed(place.codex_home)
    async with ScriptedUpstream(route=backend_route) as backend:
        settings = f'[providers.openai]\nlogin_base_url = "{backend.base_url}/codex"\n'
        async with live_gateway(tmp_path / "h", backend.base_url, settings=settings) as gateway:
            own = {"openai_base_url": f"{gateway.url}/k/{KEY}/v1", **QUIET}
            await place.start(own, "--", "say hello")
        alone = {"openai_base_url": f"{backend.base_url}/codex", **QUIET}
        got = await place.start(alone, "resume", "--last", "--", "and again")
        last = asked(backend)[-1]
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    assert HELLO.text.encode() in body_of(last)

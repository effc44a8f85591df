"""S12: a credential in every input, looked for in everything that is written, shown or printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateway_process import run_program
from live_gateway import HELLO, KEY, VENDOR_KEY, LiveGateway, live_gateway
from screen_text import press, settle, text_of
from scripted_upstream import ScriptedUpstream, in_turn, respond, sse
from security_probe import files_with
from vendor_replies import Reply, error_body, stream

from providers.types import Protocol
from tui.app import GatewayApp

pytestmark = pytest.mark.faults

CANARY = "sk-ant-api03-canaryInEveryInput0123456789"
OTHER = "gsk_canaryInEveryInput0123456789abcdef"
SECRETS = (CANARY, OTHER, VENDOR_KEY)
SETTINGS = """
[capture]
enabled = true
"""
COMMANDS = (
    ("report",),
    ("report", "--json"),
    ("report", "--csv"),
    ("report", "--html", "report.html"),
    ("config",),
    ("status",),
    ("logs",),
    ("doctor",),
    ("backtest",),
)


def body_with(secret: str) -> bytes:
    """A request that has ``secret`` wherever a client can put words."""
    tool = {"name": "t", "description": secret, "input_schema": {"type": "object"}}
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"key": secret}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": f"KEY={secret}"}
    # Names of models are masked where a secret is known; by its shape "hf.co/..." would be one too.
    model = f"claude-{secret}" if secret == CANARY else "claude-opus-5-5"
    body = HELLO | {
        "model": model,
        "metadata": {"user_id": secret},
        "system": [{"type": "text", "text": f"export ANTHROPIC_API_KEY={secret}"}],
        "tools": [tool],
        "stop_sequences": [secret],
        "messages": [
            {"role": "user", "content": secret},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result, {"type": "text", "text": f"use {secret}"}]},
        ],
        secret: secret,
    }
    return json.dumps(body).encode()


async def ask_with_all(gateway: LiveGateway) -> None:
    """The canaries in every field, path, query and body, answered well and badly."""
    credential = [(b"x-sbgw-key", KEY.encode()), (b"authorization", b"Bearer " + CANARY.encode())]
    places = [
        (name, value.encode())
        for name, value in (
            (b"user-agent", f"claude-cli/9.9.9 ({CANARY})"),
            (b"x-sbgw-project", f"/home/{CANARY}"),
            (b"x-sbgw-branch", OTHER),
            (b"x-sbgw-label", CANARY),
            (b"x-claude-code-session-id", CANARY),
            (b"anthropic-beta", OTHER),
            (b"x-stainless-lang", CANARY),
            (b"cookie", f"session={CANARY}"),
            (b"x-request-id", OTHER),
        )
    ]
    for secret in (CANARY, OTHER):
        for fields in (credential, [*credential, *places]):
            for _ in range(3):
                await gateway.ask(body=body_with(secret), headers=fields, key=None)
    await gateway.ask(target=f"/v1/messages?key={CANARY}", body=b"{", headers=credential, key=None)
    for target in (f"/{CANARY}", f"/k/{CANARY}/v1/messages", f"/v1/models/{OTHER}"):
        await gateway.ask(target=target, body=body_with(OTHER), headers=places, key=None)
    await gateway.ask(target="/v1/route/explain", body=body_with(CANARY))
    await gateway.ask(target="/v1/context/compact", body=body_with(CANARY))


async def seen_on_every_screen(gateway: LiveGateway) -> str:
    """What the screen shows of all that, page by page and in detail."""
    found = ""
    app = GatewayApp(gateway.gateway, paint_s=None)
    async with app.run_test(size=(160, 48)):
        await settle(app)
        for key in ("1", "enter", "G", "escape", "2", "3", "enter", "escape", "4", "6", "G", "1"):
            await press(app, key)
            await settle(app)
            found += text_of(app)
    return found


async def test_s12_a_credential_in_every_input_is_nowhere_to_be_found(tmp_path: Path) -> None:
    good = sse([stream(Protocol.MESSAGES, Reply(f"your key is {CANARY}"))])
    bad = respond(
        400,
        [(b"content-type", b"application/json"), (b"request-id", CANARY.encode())],
        error_body(Protocol.MESSAGES, "invalid_request_error", f"bad key {CANARY} {VENDOR_KEY}"),
    )
    cut = sse([stream(Protocol.MESSAGES, Reply(CANARY))[:-80]])
    home = tmp_path / "h"
    async with (
        ScriptedUpstream(route=in_turn(good, bad, cut, good, bad, good)) as upstream,
        live_gateway(home, upstream.base_url, settings=SETTINGS) as gateway,
    ):
        watcher = gateway.gateway.subscribe()
        await ask_with_all(gateway)
        turns = await gateway.turns(12)
        assert len(upstream.requests) >= 12
        told = json.dumps(watcher.drain()) + json.dumps(turns)
        watcher.close()
        for path in ("/snapshot", "/events/recent", "/metrics", "/providers", "/shadow/stats"):
            told += (await gateway.get(path)).body.decode()
        told += await seen_on_every_screen(gateway)
        assert files_with(tmp_path, SECRETS) == []
    env = {"SBGW_HOME": str(home), "ANTHROPIC_API_KEY": VENDOR_KEY}
    for command in COMMANDS:
        done = run_program(*command, env=env, cwd=tmp_path)
        told += done.stdout.decode() + done.stderr.decode()
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert list((home / "state" / "captures").iterdir()), "nothing was kept at all"
    assert files_with(tmp_path, SECRETS) == []
    assert [secret for secret in SECRETS if secret in told] == []

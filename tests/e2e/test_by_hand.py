"""Clients and keys that a user sets by hand, in variables, as the reference's README has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from live_gateway import KEY, VENDOR_KEY, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, respond

JSON_TYPE = ((b"Content-Type", b"application/json"),)
KEYS = {
    "ANTHROPIC_API_KEY": VENDOR_KEY,
    "OPENAI_API_KEY": "sk-openai-own",
    "GROQ_API_KEY": "gsk-groq-own",
    "CEREBRAS_API_KEY": "csk-cerebras-own",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5.5",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
    ],
}


def vendor(request: Request) -> Script:
    """Every vendor at once."""
    if request.method == b"GET":
        return respond(200, JSON_TYPE, b'{"data": []}')
    body = COMPLETION if request.target.endswith(b"/chat/completions") else MESSAGE
    return respond(200, JSON_TYPE, json.dumps(body).encode())


def others(url: str) -> str:
    """Settings that bring all but Anthropic to ``url``."""
    names = ("openai", "groq", "cerebras")
    return "".join(f'[providers.{name}]\nbase_url = "{url}/{name}/v1"\n' for name in names)


async def test_claudes_two_variables_lead_here_and_our_key_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        ScriptedUpstream(route=vendor) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", gateway.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        async with anthropic.AsyncAnthropic(max_retries=0) as client:
            answer: Any = await client.messages.create(
                model="claude-opus-5-5",
                max_tokens=9,
                messages=[{"role": "user", "content": "hi"}],
            )
        turn = await gateway.turn()
    assert answer.content[0].text == "hello"
    assert upstream.requests[0].header(b"x-api-key") == VENDOR_KEY.encode()
    assert turn["payer"] == "gateway key"


async def test_openais_two_variables_lead_here_and_our_key_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedUpstream(route=vendor) as upstream:
        settings = others(upstream.base_url)
        async with live_gateway(
            tmp_path / "h", upstream.base_url, env=KEYS, settings=settings
        ) as gateway:
            monkeypatch.setenv("OPENAI_BASE_URL", f"{gateway.url}/v1")
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            async with openai.AsyncOpenAI(max_retries=0) as client:
                answer = await client.chat.completions.create(
                    model="gpt-5.5", messages=[{"role": "user", "content": "hi"}]
                )
    assert answer.choices[0].message.content == "hello"
    asked = upstream.requests[0]
    assert asked.target == b"/openai/v1/chat/completions"
    assert asked.header(b"authorization") == b"Bearer sk-openai-own"


async def test_each_variable_is_its_providers_key(tmp_path: Path) -> None:
    async with ScriptedUpstream(route=vendor) as upstream:
        settings = others(upstream.base_url)
        async with live_gateway(
            tmp_path / "h", upstream.base_url, env=KEYS, settings=settings
        ) as gateway:
            for variable in KEYS:
                name = variable.partition("_")[0].lower()
                probed = await gateway.ask(target=f"/providers/{name}/probe", body=b"")
                assert probed.status == 200, probed.body
    shown = {
        request.header(b"x-api-key") or request.header(b"authorization")
        for request in upstream.requests
    }
    bearers = {f"Bearer {key}".encode() for name, key in KEYS.items() if "ANTH" not in name}
    assert shown == {VENDOR_KEY.encode(), *bearers}


async def test_without_a_key_the_variable_and_its_file_are_named(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with (
        ScriptedUpstream(route=vendor) as upstream,
        live_gateway(home, upstream.base_url, env={"ANTHROPIC_API_KEY": ""}) as gateway,
    ):
        refused = await gateway.ask()
    assert refused.status == 401
    said = refused.json["error"]["message"]
    assert f"put ANTHROPIC_API_KEY=... into {home / '.env'}" in said
    assert upstream.requests == []


async def test_errors_have_the_shape_of_their_protocol(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(route=vendor) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        message = await gateway.ask(target="/v1/messages", key="wrong")
        others = [
            await gateway.ask(target=path, key="wrong")
            for path in ("/v1/responses", "/v1/chat/completions")
        ]
    assert (message.status, set(message.json)) == (401, {"type", "error", "request_id"})
    assert set(message.json["error"]) == {"type", "message"}
    for refused in others:
        assert (refused.status, set(refused.json)) == (401, {"error"})
        assert set(refused.json["error"]) == {"type", "message", "param", "code"}

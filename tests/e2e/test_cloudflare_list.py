"""A preference list that begins with Cloudflare: account, path and order as the user wrote them."""

from __future__ import annotations

import json
from pathlib import Path

from agent_bodies import background_call
from failover_world import AGENT, CHEAP, GOOD, TITLE
from live_gateway import live_gateway
from pair_world import KEYS
from scripted_upstream import ScriptedUpstream, respond
from vendor_replies import JSON_TYPE
from wire_readers import read_stream

from providers.types import Protocol

SETTINGS = """[routing]
shadow = false
[routing.kinds]
title = ["cloudflare", "groq"]
[providers.groq]
base_url = "{groq}"
[providers.cloudflare]
base_url = "{cloudflare}/client/v4/accounts/{{account_id}}/ai/v1"
"""
ENV = {"CLOUDFLARE_ACCOUNT_ID": "acc-0123", "CLOUDFLARE_API_TOKEN": "cf-token-0123456789"}


async def test_cloudflare_comes_first_and_the_next_takes_over(tmp_path: Path) -> None:
    async with ScriptedUpstream(GOOD) as cloudflare, ScriptedUpstream(GOOD) as groq:
        settings = SETTINGS.format(groq=groq.base_url, cloudflare=cloudflare.base_url)
        home = live_gateway(tmp_path / "h", "http://127.0.0.1:9", env=KEYS | ENV, settings=settings)
        async with home as gateway:
            first, second = (
                background_call(TITLE, f"<session>\ntask {n}\n</session>") for n in (1, 2)
            )
            answer = await gateway.ask(headers=AGENT, body=first)
            assert read_stream(Protocol.MESSAGES, answer.body).text == CHEAP.text
            assert answer.header("x-gateway-provider") == "cloudflare"
            request = cloudflare.requests[0]
            assert request.target == b"/client/v4/accounts/acc-0123/ai/v1/chat/completions"
            assert request.header(b"authorization") == b"Bearer cf-token-0123456789"
            assert json.loads(request.body)["model"] == "@cf/zai-org/glm-4.7-flash"
            assert groq.requests == []

            cloudflare.script = respond(404, JSON_TYPE, b'{"errors": [{"message": "no"}]}')
            answer = await gateway.ask(headers=AGENT, body=second)
            assert read_stream(Protocol.MESSAGES, answer.body).text == CHEAP.text
            assert answer.header("x-gateway-provider") == "groq"

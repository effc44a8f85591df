"""A client that picks ``provider/model`` from the list gets that model; nothing else is reachable."""

from __future__ import annotations

import json
from pathlib import Path

from live_gateway import HELLO, live_gateway
from scripted_upstream import ScriptedUpstream, respond

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-oss-120b",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "hi there"},
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
).encode()
LIVE = "[routing]\nshadow = false\n"
JSON = [(b"Content-Type", b"application/json")]


async def test_a_listed_model_can_be_asked_for_once_live(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as vendor,
        ScriptedUpstream(respond(200, JSON, ANSWER)) as groq,
        live_gateway(
            tmp_path / "h",
            vendor.base_url,
            env={"GROQ_API_KEY": "gsk_x"},
            settings=LIVE + f'[providers.groq]\nbase_url = "{groq.base_url}"\n',
        ) as gateway,
    ):
        listed = [m["id"] for m in (await gateway.get("/v1/models")).json["data"]]
        body = HELLO | {"model": "groq/openai/gpt-oss-120b", "stream": False}
        got = await gateway.ask(body=body)
        turn = (await gateway.turns(1))[0]
    assert "groq/openai/gpt-oss-120b" in listed
    assert got.status == 200
    assert got.json["content"] == [{"type": "text", "text": "hi there"}]
    sent = [r for r in groq.requests if r.method == b"POST"]
    assert json.loads(sent[0].body)["model"] == "openai/gpt-oss-120b"
    assert (turn["provider"], turn["proposal"]) == ("groq", None)
    assert turn["candidates"][0]["reason"] == "the client asked for it by name"


async def test_what_no_route_names_goes_to_the_vendor_as_it_is(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(404, JSON, b'{"type":"error"}')) as vendor,
        ScriptedUpstream() as groq,
        live_gateway(
            tmp_path / "h",
            vendor.base_url,
            env={"GROQ_API_KEY": "gsk_x"},
            settings=LIVE + f'[providers.groq]\nbase_url = "{groq.base_url}"\n',
        ) as gateway,
    ):
        got = await gateway.ask(body=HELLO | {"model": "groq/another-model", "stream": False})
    assert got.status == 404
    assert groq.requests == []
    assert json.loads(vendor.requests[0].body)["model"] == "groq/another-model"


async def test_in_shadow_it_is_neither_offered_nor_served(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(respond(404, JSON, b'{"type":"error"}')) as vendor,
        ScriptedUpstream() as groq,
        live_gateway(
            tmp_path / "h",
            vendor.base_url,
            env={"GROQ_API_KEY": "gsk_x"},
            settings=f'[providers.groq]\nbase_url = "{groq.base_url}"\n',
        ) as gateway,
    ):
        listed = (await gateway.get("/v1/models")).body
        body = HELLO | {"model": "groq/openai/gpt-oss-120b", "stream": False}
        got = await gateway.ask(body=body)
    assert b"groq/" not in listed
    assert got.status == 404
    assert [r for r in groq.requests if r.method == b"POST"] == []

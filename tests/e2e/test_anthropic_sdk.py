"""The official Anthropic SDK through the gateway, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam
from anthropic_streams import (
    ANSWERS,
    MESSAGE_STOP,
    START_USAGE,
    block_stop,
    input_json_delta,
    message_delta,
    message_start,
    text_delta,
    text_start,
    tool_start,
)
from live_gateway import KEY, LiveGateway, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, respond, sse

MODEL = "claude-opus-5-5"
ASK: list[MessageParam] = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TOOL_CALL = (
    message_start(START_USAGE)
    + tool_start(0, "get_weather", "toolu_1")
    + input_json_delta(0, '{"city": ')
    + input_json_delta(0, '"Oslo"}')
    + block_stop(0)
    + message_delta("tool_use", {"output_tokens": 21})
    + MESSAGE_STOP
)
FINAL = (
    message_start(START_USAGE)
    + text_start(0)
    + text_delta(0, "It rains")
    + text_delta(0, " in Oslo.")
    + block_stop(0)
    + message_delta("end_turn", {"output_tokens": 9})
    + MESSAGE_STOP
)
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
JSON_TYPE = ((b"Content-Type", b"application/json"),)


def vendor(request: Request) -> Script:
    """A vendor that counts, calls the tool once, and answers once it has the result."""
    if request.target.startswith(b"/v1/messages/count_tokens"):
        return respond(200, JSON_TYPE, b'{"input_tokens": 42}')
    if request.target.startswith(b"/v1/models"):
        models = {
            "data": [
                {
                    "type": "model",
                    "id": MODEL,
                    "display_name": "Opus",
                    "created_at": "2026-02-19T00:00:00Z",
                }
            ],
            "has_more": False,
            "first_id": MODEL,
            "last_id": MODEL,
        }
        return respond(200, JSON_TYPE, json.dumps(models).encode())
    body = json.loads(request.body)
    if not body.get("stream"):
        return respond(200, JSON_TYPE, json.dumps(WHOLE).encode())
    return sse([FINAL if b"tool_result" in request.body else TOOL_CALL])


@pytest.fixture
async def setup(
    tmp_path: Path,
) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, ScriptedUpstream, LiveGateway]]:
    async with (
        ScriptedUpstream(route=vendor) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
    ):
        yield client, upstream, gateway


async def test_it_streams_and_runs_a_tool_loop(setup: Any) -> None:
    client, upstream, gateway = setup
    messages = list(ASK)
    async with client.messages.stream(
        model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER]
    ) as stream:
        first = await stream.get_final_message()
    call = first.content[0]
    assert (first.stop_reason, call.name, call.input) == (
        "tool_use",
        "get_weather",
        {"city": "Oslo"},
    )
    messages.append(
        {"role": "assistant", "content": [block.model_dump() for block in first.content]}
    )
    result: ToolResultBlockParam = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": "rain",
    }
    messages.append({"role": "user", "content": [result]})
    texts: list[str] = []
    async with client.messages.stream(
        model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER]
    ) as stream:
        async for text in stream.text_stream:
            texts.append(text)
        second = await stream.get_final_message()
    assert texts == ["It rains", " in Oslo."]
    assert second.stop_reason == "end_turn"
    assert second.usage.output_tokens == 9
    turns = await gateway.turns(2)
    assert [turn["tool_calls"] for turn in turns] == [1, 0]
    assert [turn["route"] for turn in turns][1] == "tool_loop"
    assert all(turn["client"] == "anthropic-sdk" for turn in turns)
    assert len(upstream.requests) == 2


async def test_it_counts_tokens_and_lists_models(setup: Any) -> None:
    client, _, gateway = setup
    counted = await client.messages.count_tokens(model=MODEL, messages=ASK, tools=[WEATHER])
    assert counted.input_tokens == 42
    models = [model.id async for model in client.models.list(limit=10)]
    assert models == [MODEL]
    turn = await gateway.turn()
    assert (turn["kind"], turn["cost_usd"]) == ("count_tokens", 0.0)


async def test_it_gets_whole_answers_and_the_raw_request_id(setup: Any) -> None:
    client, _, gateway = setup
    raw = await client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=ASK)
    message = await raw.parse()
    assert message.content[0].text == "hello"
    turn = await gateway.turn()
    assert raw.headers["x-gateway-request-id"] == turn["id"]


async def test_errors_become_the_sdks_own_exceptions(tmp_path: Path) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
    script = respond(429, [*JSON_TYPE, (b"retry-after", b"1")], body)
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        async with anthropic.AsyncAnthropic(
            base_url=gateway.url, api_key=KEY, max_retries=0
        ) as client:
            with pytest.raises(anthropic.RateLimitError, match="slow down"):
                await client.messages.create(model=MODEL, max_tokens=1, messages=ASK)
        async with anthropic.AsyncAnthropic(
            base_url=gateway.url, api_key="wrong", max_retries=0
        ) as client:
            with pytest.raises(anthropic.AuthenticationError, match="gateway key"):
                await client.messages.create(model=MODEL, max_tokens=1, messages=ASK)


async def test_a_cut_stream_is_an_exception_not_a_short_answer(tmp_path: Path) -> None:
    whole = ANSWERS["thinking and tool"]
    async with (
        ScriptedUpstream(sse([whole[: len(whole) * 2 // 3]])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
    ):
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=ASK) as stream:
                await stream.get_final_message()

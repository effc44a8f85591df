"""The simulated vendors speak their protocols well enough for the official clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from fake_clock import FakeClock

from providers.errors import ConnectFailed
from providers.transport import Origin, Transport
from server.clock import SystemClock
from server.demo.answers import ANSWER_HEADER, Answer, ToolCall, Trouble, pack, unpack
from server.demo.upstream import CHAT_MODELS, SimulatedUpstream


class QuickClock(SystemClock):
    """Does not wait."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def upstream() -> AsyncIterator[SimulatedUpstream]:
    found = SimulatedUpstream(QuickClock())
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def claude(upstream: SimulatedUpstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=upstream.base_url, api_key="k", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def groq(upstream: SimulatedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    url = upstream.base_url + "/groq/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        yield client


ANSWER = Answer(
    "Two words and then some more of them.",
    "First a thought.",
    (ToolCall("Read", "toolu_1", {"file_path": "src/a.py"}),),
    input_tokens=5,
    cache_read=700,
    cache_write=40,
    ttl="1h",
)


def scripted(answer: Answer) -> dict[str, str]:
    return {ANSWER_HEADER.decode(): pack(answer).decode()}


def test_an_answer_travels_whole() -> None:
    assert unpack(pack(ANSWER)) == ANSWER


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_messages(claude: anthropic.AsyncAnthropic, is_streamed: bool) -> None:
    ask: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "hello"}],
        "extra_headers": scripted(ANSWER),
    }
    if is_streamed:
        async with claude.messages.stream(**ask) as stream:
            message = await stream.get_final_message()
    else:
        message = await claude.messages.create(**ask)
    thinking, text, call = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == ANSWER.thinking
    assert thinking.signature
    assert text.type == "text"
    assert text.text == ANSWER.text
    assert call.type == "tool_use"
    assert call.input == {"file_path": "src/a.py"}
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (5, 700)
    assert usage.cache_creation is not None
    assert usage.cache_creation.ephemeral_1h_input_tokens == 40
    assert usage.output_tokens == ANSWER.output_tokens


async def test_limits_shrink_and_are_reported(claude: anthropic.AsyncAnthropic) -> None:
    left = []
    for _ in range(2):
        raw = await claude.messages.with_raw_response.create(
            model="m",
            max_tokens=9,
            messages=[{"role": "user", "content": "hello"}],
            extra_headers=scripted(ANSWER),
        )
        assert int(raw.headers["anthropic-ratelimit-input-tokens-limit"]) == 600_000
        left.append(int(raw.headers["anthropic-ratelimit-input-tokens-remaining"]))
    assert left == [600_000 - 45, 600_000 - 90]


async def test_scripted_trouble(claude: anthropic.AsyncAnthropic) -> None:
    async def ask(trouble: Trouble) -> None:
        async with claude.messages.stream(
            model="m",
            max_tokens=9,
            messages=[{"role": "user", "content": "hello"}],
            extra_headers=scripted(Answer("many words " * 20, trouble=trouble)),
        ) as stream:
            await stream.get_final_message()

    with pytest.raises(anthropic.APIStatusError) as refused:
        await ask(Trouble(529))
    assert refused.value.status_code == 529
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await ask(Trouble(error_after=3))
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask(Trouble(cut_after=3))


async def test_chat_whole(groq: openai.AsyncOpenAI) -> None:
    done = await groq.chat.completions.create(
        model=CHAT_MODELS["groq"], messages=[{"role": "user", "content": "hello"}]
    )
    choice = done.choices[0]
    assert choice.message.content
    assert choice.finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0


async def test_chat_streamed_ends_with_its_usage(groq: openai.AsyncOpenAI) -> None:
    stream = await groq.chat.completions.create(
        model=CHAT_MODELS["groq"],
        messages=[{"role": "user", "content": "hello"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(said) > 100
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


async def test_chat_calls_the_tool_it_must_call(groq: openai.AsyncOpenAI) -> None:
    done = await groq.chat.completions.create(
        model=CHAT_MODELS["groq"],
        messages=[{"role": "user", "content": "hello"}],
        tools=[{"type": "function", "function": {"name": "look", "parameters": {}}}],
        tool_choice="required",
    )
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = (choice.message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == "look"


async def test_chat_answers_in_the_json_form_it_is_given(groq: openai.AsyncOpenAI) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"title": {}}}
    done = await groq.chat.completions.create(
        model=CHAT_MODELS["groq"],
        messages=[{"role": "user", "content": "hello"}],
        response_format={"type": "json_schema", "json_schema": {"name": "t", "schema": schema}},
    )
    assert (done.choices[0].message.content or "").startswith('{"title":"')


async def test_models_are_listed(groq: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in groq.models.list()] == [CHAT_MODELS["groq"]]


async def test_while_it_is_down_its_port_refuses_and_stays_its_own() -> None:
    clock = FakeClock()
    upstream = SimulatedUpstream(clock)
    await upstream.start()
    transport = Transport()
    origin, _ = Origin.parse(upstream.base_url)

    async def models() -> int:
        async with await transport.request(origin, b"GET", b"/groq/v1/models", [], b"") as found:
            await found.read_all(10_000)
            return found.status

    try:
        assert await models() == 200
        upstream.go_down(5.0)
        with pytest.raises(ConnectFailed):
            await models()
        await clock.advance(4.9)
        with pytest.raises(ConnectFailed):
            await models()
        await clock.advance(0.2)
        assert await models() == 200
    finally:
        await transport.aclose()
        await upstream.stop()

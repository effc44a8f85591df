"""Answers read by the official SDKs, without a network."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk

Json = dict[str, Any]


def _transport(content_type: str, body: bytes, status: int = 200) -> httpx2.Client:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": content_type}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def _anthropic(http: httpx2.Client) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key="k", base_url="http://upstream.test", http_client=http, max_retries=0
    )


def _openai(http: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="k", base_url="http://upstream.test/v1", http_client=http, max_retries=0
    )


def messages_stream(body: bytes) -> Message:
    """What the SDK makes of a Messages stream; raises its errors."""
    with _transport("text/event-stream", body) as http, _anthropic(http) as client:
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()


def messages_answer(status: int, body: bytes) -> Message:
    """What the SDK makes of a whole Messages answer; raises its errors."""
    with _transport("application/json", body, status) as http, _anthropic(http) as client:
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        message: Message = client.messages.create(**asked)
        return message


def chat_stream(body: bytes) -> list[ChatCompletionChunk]:
    """The chunks the SDK reads; raises its errors."""
    with _transport("text/event-stream", body) as http, _openai(http) as client:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        with client.chat.completions.create(**asked, stream=True) as stream:
            return list(stream)


def chat_answer(status: int, body: bytes) -> ChatCompletion:
    """What the SDK makes of a whole Chat answer; raises its errors."""
    with _transport("application/json", body, status) as http, _openai(http) as client:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        completion: ChatCompletion = client.chat.completions.create(**asked)
        return completion


def as_param(message: Message) -> Json:
    """The answer as the client puts it into its history, the way the agents do it."""
    dumped = json.loads(message.to_json())
    kept = ("type", "text", "id", "name", "input", "thinking", "signature", "data")
    content = [{k: block[k] for k in kept if k in block} for block in dumped["content"]]
    return {"role": "assistant", "content": content}

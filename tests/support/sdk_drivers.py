"""The official SDKs as clients of a gateway, with one face: ask, stream, and say what was seen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from live_gateway import KEY

from providers.types import Protocol

Json = dict[str, Any]

SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
"""A PNG of one pixel, as base64."""


@dataclass(slots=True)
class Seen:
    """One answer as the SDK gave it to its caller."""

    text: str = ""
    deltas: str = ""
    """What arrived piece by piece; the same text where it was streamed."""
    calls: list[tuple[str, Json]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    stop: str = ""
    """``end``, ``tool``, ``max_tokens`` or ``refusal``."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    turn: list[Json] = field(default_factory=list)
    """The answer as the client puts it into its history."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gave back; ``image`` adds a picture to it."""

    text: str
    is_error: bool = False
    image: bool = False


class Driver:
    """One SDK; a subclass for each protocol."""

    protocol: Protocol
    model: str

    def __init__(self, client: Any) -> None:
        self.client = client
        self.errors: Any = anthropic if self.protocol is Protocol.MESSAGES else openai

    def user(self, text: str) -> list[Json]:
        """A history of one question."""
        return [{"role": "user", "content": text}]

    def results(self, seen: Seen, *results: Result) -> list[Json]:
        """The results of the calls of ``seen``, in order."""
        raise NotImplementedError

    async def ask(self, history: list[Json], **more: Any) -> Seen:
        """A whole answer."""
        raise NotImplementedError

    async def stream(self, history: list[Json], **more: Any) -> Seen:
        """A streamed answer, through the SDK's helper."""
        raise NotImplementedError

    def tools(self, *names: str) -> list[Json]:
        """Tools of these names."""
        raise NotImplementedError


class MessagesDriver(Driver):
    """``anthropic``."""

    protocol = Protocol.MESSAGES
    model = "claude-opus-5-5"
    _STOPS: Mapping[str, str] = {"end_turn": "end", "tool_use": "tool"}

    def tools(self, *names: str) -> list[Json]:
        return [{"name": n, "description": n, "input_schema": SCHEMA} for n in names]

    def results(self, seen: Seen, *results: Result) -> list[Json]:
        blocks = []
        for call_id, result in zip(seen.ids, results, strict=True):
            content: Any = result.text
            if result.image:
                source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
                content = [
                    {"type": "text", "text": result.text},
                    {"type": "image", "source": source},
                ]
            block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
            blocks.append(block | ({"is_error": True} if result.is_error else {}))
        return [{"role": "user", "content": blocks}]

    async def ask(self, history: list[Json], **more: Any) -> Seen:
        asked = {"model": self.model, "max_tokens": 1000, "messages": history} | more
        return self._seen(await self.client.messages.create(**asked))

    async def stream(self, history: list[Json], **more: Any) -> Seen:
        asked = {"model": self.model, "max_tokens": 1000, "messages": history} | more
        deltas = ""
        async with self.client.messages.stream(**asked) as stream:
            async for text in stream.text_stream:
                deltas += text
            seen = self._seen(await stream.get_final_message())
        seen.deltas = deltas
        return seen

    def _seen(self, message: Any) -> Seen:
        calls = [block for block in message.content if block.type == "tool_use"]
        usage = message.usage
        cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
        return Seen(
            text="".join(block.text for block in message.content if block.type == "text"),
            calls=[(call.name, call.input) for call in calls],
            ids=[call.id for call in calls],
            stop=self._STOPS.get(message.stop_reason, message.stop_reason),
            prompt_tokens=usage.input_tokens + (cached or 0) + (written or 0),
            cached_tokens=cached,
            output_tokens=usage.output_tokens,
            turn=[
                {
                    "role": "assistant",
                    "content": [block.model_dump(exclude_none=True) for block in message.content],
                }
            ],
        )


class ChatDriver(Driver):
    """``openai``, Chat Completions."""

    protocol = Protocol.CHAT
    model = "gpt-5.5"
    _STOPS: Mapping[str, str] = {
        "stop": "end",
        "tool_calls": "tool",
        "length": "max_tokens",
        "content_filter": "refusal",
    }

    def tools(self, *names: str) -> list[Json]:
        made = []
        for name in names:
            function = {"name": name, "description": name, "parameters": SCHEMA}
            made.append({"type": "function", "function": function})
        return made

    def results(self, seen: Seen, *results: Result) -> list[Json]:
        return [
            {"role": "tool", "tool_call_id": call_id, "content": result.text}
            for call_id, result in zip(seen.ids, results, strict=True)
        ]

    async def ask(self, history: list[Json], **more: Any) -> Seen:
        asked = {"model": self.model, "messages": history} | more
        return self._seen(await self.client.chat.completions.create(**asked))

    async def stream(self, history: list[Json], **more: Any) -> Seen:
        asked = {
            "model": self.model,
            "messages": history,
            "stream_options": {"include_usage": True},
        } | more
        deltas = ""
        # The helper raises for answers that were cut short, so these are read chunk by chunk.
        async with self.client.chat.completions.stream(**asked) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    deltas += event.delta
            seen = self._seen(await stream.get_final_completion())
        seen.deltas = deltas
        return seen

    def _seen(self, completion: Any) -> Seen:
        (choice,) = completion.choices
        message, usage = choice.message, completion.usage
        calls = message.tool_calls or []
        details = usage.prompt_tokens_details if usage else None
        turn: Json = {"role": "assistant", "content": message.content}
        if calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    },
                }
                for call in calls
            ]
        return Seen(
            text=message.content or message.refusal or "",
            calls=[(c.function.name, json.loads(c.function.arguments)) for c in calls],
            ids=[call.id for call in calls],
            stop=self._STOPS[choice.finish_reason],
            prompt_tokens=usage.prompt_tokens if usage else None,
            cached_tokens=details.cached_tokens if details else None,
            output_tokens=usage.completion_tokens if usage else None,
            turn=[turn],
        )


class ResponsesDriver(Driver):
    """``openai``, Responses."""

    protocol = Protocol.RESPONSES
    model = "gpt-5.5"

    def tools(self, *names: str) -> list[Json]:
        return [
            {"type": "function", "name": name, "description": name, "parameters": SCHEMA}
            for name in names
        ]

    def results(self, seen: Seen, *results: Result) -> list[Json]:
        made: list[Json] = []
        for call_id, result in zip(seen.ids, results, strict=True):
            output: Any = result.text
            if result.image:
                image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
                output = [{"type": "input_text", "text": result.text}, image]
            made.append({"type": "function_call_output", "call_id": call_id, "output": output})
        return made

    async def ask(self, history: list[Json], **more: Any) -> Seen:
        asked = {"model": self.model, "input": history, "store": False} | more
        return self._seen(await self.client.responses.create(**asked))

    async def stream(self, history: list[Json], **more: Any) -> Seen:
        asked = {"model": self.model, "input": history, "store": False} | more
        deltas, final = "", None
        async with self.client.responses.stream(**asked) as stream:
            async for event in stream:
                if event.type == "response.output_text.delta":
                    deltas += event.delta
                elif event.type == "response.incomplete":
                    # The helper has no final response for it.
                    final = event.response
                elif event.type == "response.failed":
                    raise StreamFailedError(event.response.error.message)
            seen = self._seen(final or await stream.get_final_response())
        seen.deltas = deltas
        return seen

    def _seen(self, response: Any) -> Seen:
        calls = [item for item in response.output if item.type == "function_call"]
        usage = response.usage
        stop = "tool" if calls else "end"
        if response.status == "incomplete":
            reason = response.incomplete_details.reason
            stop = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}[reason]
        turn = []
        for item in response.output:
            dumped = item.model_dump(exclude_none=True, warnings=False)
            turn.append({k: v for k, v in dumped.items() if k not in ("status", "parsed")})
        return Seen(
            text=response.output_text,
            calls=[(call.name, json.loads(call.arguments)) for call in calls],
            ids=[call.call_id for call in calls],
            stop=stop,
            prompt_tokens=usage.input_tokens if usage else None,
            cached_tokens=usage.input_tokens_details.cached_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            turn=turn,
        )


class StreamFailedError(Exception):
    """A ``response.failed`` event, which the SDK hands on as an event like any other."""


DRIVERS: Mapping[Protocol, type[Driver]] = {
    Protocol.MESSAGES: MessagesDriver,
    Protocol.RESPONSES: ResponsesDriver,
    Protocol.CHAT: ChatDriver,
}


@asynccontextmanager
async def driving(
    protocol: Protocol, url: str, *, retries: int = 0, key: str = KEY
) -> AsyncIterator[Driver]:
    """The SDK of ``protocol`` as a client of the gateway at ``url``."""
    if protocol is Protocol.MESSAGES:
        async with anthropic.AsyncAnthropic(
            base_url=url, api_key=key, max_retries=retries
        ) as client:
            yield MessagesDriver(client)
        return
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key=key, max_retries=retries
    ) as openai_client:
        yield DRIVERS[protocol](openai_client)

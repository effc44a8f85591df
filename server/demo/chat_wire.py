"""A vendor that speaks OpenAI Chat Completions: it reads the request and makes an answer up."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from server.demo.answers import tokens
from server.demo.wire import pieces
from server.demo.words import prose

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """One made-up answer: text, or one call of a tool the request insists on."""

    model: str
    text: str
    call: Json | None
    usage: Json
    is_streamed: bool
    wants_usage: bool
    id: str = field(default_factory=lambda: "chatcmpl-" + secrets.token_hex(12))

    @property
    def finish_reason(self) -> str:
        """Why it ends, in the protocol's words."""
        return "tool_calls" if self.call else "stop"


def complete(body: Json) -> Completion:
    """An answer to a Chat Completions request; the same request gets the same words."""
    model = str(body.get("model"))
    rng = random.Random(msgspec.json.encode(body.get("messages")))  # noqa: S311
    call = _forced_call(body)
    text = "" if call else _words(body, rng)
    prompt = tokens([body.get("messages"), body.get("tools")])
    said = tokens(call or text)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    options = body.get("stream_options")
    return Completion(
        model=model,
        text=text,
        call=call,
        usage=usage,
        is_streamed=body.get("stream") is True,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def whole(done: Completion) -> Json:
    """The answer as one object."""
    message: Json = {"role": "assistant", "content": done.text or None}
    if done.call:
        message["tool_calls"] = [done.call]
    choice = {"index": 0, "message": message, "finish_reason": done.finish_reason}
    return _envelope(done, "chat.completion") | {"choices": [choice], "usage": done.usage}


def chunks(done: Completion) -> Iterator[tuple[Json, bool]]:
    """The answer as chunks, each with whether it is one piece of the paced answer."""
    yield _chunk(done, {"role": "assistant", "content": ""}), False
    if done.call:
        yield _chunk(done, {"tool_calls": [{"index": 0} | done.call]}), True
    for piece in pieces(done.text) if done.text else ():
        yield _chunk(done, {"content": piece}), True
    yield _chunk(done, {}, done.finish_reason), False
    if done.wants_usage:
        empty: Json = {"choices": [], "usage": done.usage}
        yield _envelope(done, "chat.completion.chunk") | empty, False


def models(names: tuple[str, ...]) -> Json:
    """The list of models such a vendor has."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "demo"} for name in names]
    return {"object": "list", "data": rows}


def _envelope(done: Completion, kind: str) -> Json:
    return {"id": done.id, "object": kind, "created": 0, "model": done.model}


def _chunk(done: Completion, delta: Json, finish: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _envelope(done, "chat.completion.chunk") | {"choices": [choice]}


def _forced_call(body: Json) -> Json | None:
    """A call of the tool that ``tool_choice`` insists on, ``None`` when it leaves the choice."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if not isinstance(tools, list) or not tools:
        return None
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
    elif choice == "required":
        name = tools[0].get("function", {}).get("name")
    else:
        return None
    function = {"name": name, "arguments": "{}"}
    return {"id": "call_" + secrets.token_hex(12), "type": "function", "function": function}


def _words(body: Json, rng: random.Random) -> str:
    """Plain words, or a JSON object with the keys the request asks for."""
    asked = body.get("response_format")
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind not in ("json_schema", "json_object"):
        return prose(rng, 240)
    schema = (asked or {}).get("json_schema", {}).get("schema", {})
    names = schema.get("properties") or {"answer": {}}
    return msgspec.json.encode({name: prose(rng, 24) for name in names}).decode()

"""One answer, written by hand in the wire format of each vendor: whole, streamed, or an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import anthropic_streams as messages
import chat_streams as chat
import responses_streams as responses
from scripted_upstream import Script, respond, sse

from providers.types import Protocol

Json = dict[str, Any]

JSON_TYPE = ((b"Content-Type", b"application/json"),)
ENDPOINTS = {
    Protocol.MESSAGES: b"/v1/messages",
    Protocol.RESPONSES: b"/responses",
    Protocol.CHAT: b"/chat/completions",
}
"""Below the address that a provider of the protocol is configured with."""

FRESH, CACHED, WRITTEN, OUTPUT, THOUGHT = 40, 50, 10, 30, 8
"""What every answer used: input of three kinds, output, and the thinking in it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call."""

    name: str
    arguments: Json
    id: str = "call_1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says; ``stop`` is ``end``, ``tool``, ``max_tokens`` or ``refusal``."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    stop: str = ""

    @property
    def reason(self) -> str:
        """Why it ends."""
        return self.stop or ("tool" if self.calls else "end")


def stream(protocol: Protocol, reply: Reply, *, size: int = 5) -> bytes:
    """The events of ``reply``, its text in pieces of ``size`` characters."""
    return b"".join(events(protocol, reply, size=size))


def events(protocol: Protocol, reply: Reply, *, size: int = 5) -> list[bytes]:
    """The same, event by event."""
    if protocol is Protocol.MESSAGES:
        return _messages_events(reply, size)
    if protocol is Protocol.CHAT:
        return _chat_events(reply, size)
    whole_stream = responses.stream_of(_response(reply), size=size)
    return [part + b"\n\n" for part in whole_stream.split(b"\n\n") if part]


def whole(protocol: Protocol, reply: Reply) -> bytes:
    """The body of ``reply`` where it was not asked for as a stream."""
    if protocol is Protocol.MESSAGES:
        return json.dumps(_message(reply)).encode()
    if protocol is Protocol.CHAT:
        return json.dumps(_completion(reply)).encode()
    return json.dumps(_response(reply)).encode()


def answering(protocol: Protocol, reply: Reply, *, streamed: bool, size: int = 5) -> Script:
    """A script that gives ``reply`` in the asked form."""
    if streamed:
        return sse([stream(protocol, reply, size=size)])
    return respond(200, JSON_TYPE, whole(protocol, reply))


def error_body(protocol: Protocol, kind: str, message: str, code: str | None = None) -> bytes:
    """The body of an error response."""
    if protocol is Protocol.MESSAGES:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


def error_event(protocol: Protocol, message: str) -> bytes:
    """How the vendor ends a stream that it cannot complete."""
    if protocol is Protocol.MESSAGES:
        return messages.error("overloaded_error", message)
    if protocol is Protocol.CHAT:
        error = {"message": message, "type": "server_error", "code": None, "param": None}
        return chat.data({"error": error})
    failed = responses.response(
        status="failed", usage=None, error={"code": "server_error", "message": message}
    )
    body = {"type": "response.failed", "sequence_number": 99, "response": failed}
    return b"event: response.failed\ndata: " + json.dumps(body).encode() + b"\n\n"


# -- Messages -----------------------------------------------------------------------------------

_MESSAGES_STOPS = {
    "end": "end_turn",
    "tool": "tool_use",
    "max_tokens": "max_tokens",
    "refusal": "refusal",
}
_MESSAGES_USAGE: Json = {
    "input_tokens": FRESH,
    "cache_creation_input_tokens": WRITTEN,
    "cache_read_input_tokens": CACHED,
}


def _messages_events(reply: Reply, size: int) -> list[bytes]:
    found = [messages.message_start(_MESSAGES_USAGE | {"output_tokens": 1}), messages.PING]
    index = 0
    if reply.text:
        found.append(messages.text_start(index))
        found += [messages.text_delta(index, piece) for piece in _pieces(reply.text, size)]
        found.append(messages.block_stop(index))
        index += 1
    for call in reply.calls:
        found.append(messages.tool_start(index, call.name, call.id.replace("call", "toolu")))
        pieces = _pieces(json.dumps(call.arguments), size)
        found += [messages.input_json_delta(index, piece) for piece in pieces]
        found.append(messages.block_stop(index))
        index += 1
    found.append(messages.message_delta(_MESSAGES_STOPS[reply.reason], {"output_tokens": OUTPUT}))
    return [*found, messages.MESSAGE_STOP]


def _message(reply: Reply) -> Json:
    content: list[Json] = [{"type": "text", "text": reply.text}] if reply.text else []
    for call in reply.calls:
        call_id = call.id.replace("call", "toolu")
        content.append(
            {"type": "tool_use", "id": call_id, "name": call.name, "input": call.arguments}
        )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": content,
        "stop_reason": _MESSAGES_STOPS[reply.reason],
        "stop_sequence": None,
        "usage": _MESSAGES_USAGE | {"output_tokens": OUTPUT},
    }


# -- Chat Completions ---------------------------------------------------------------------------

_CHAT_STOPS = {
    "end": "stop",
    "tool": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
_PROMPT = FRESH + CACHED + WRITTEN
_CHAT_USAGE: Json = {
    "prompt_tokens": _PROMPT,
    "completion_tokens": OUTPUT,
    "total_tokens": _PROMPT + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
    "completion_tokens_details": {"reasoning_tokens": THOUGHT},
}


def _chat_events(reply: Reply, size: int) -> list[bytes]:
    found = [chat.ROLE, *map(chat.text, _pieces(reply.text, size))]
    for index, call in enumerate(reply.calls):
        found.append(chat.tool(index, "", name=call.name, call_id=call.id))
        found += [chat.tool(index, p) for p in _pieces(json.dumps(call.arguments), size)]
    finish = chat.chunk(finish=_CHAT_STOPS[reply.reason])
    return [*found, finish, chat.usage(_CHAT_USAGE), chat.DONE]


def _completion(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in reply.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _CHAT_STOPS[reply.reason]}
    head = chat.head() | {"object": "chat.completion"}
    return head | {"choices": [choice | {"logprobs": None}], "usage": _CHAT_USAGE}


# -- Responses ----------------------------------------------------------------------------------


def _response(reply: Reply) -> Json:
    output: list[Json] = []
    if reply.text:
        output.append(responses.message(reply.text))
    output += [responses.call(c.name, json.dumps(c.arguments), c.id) for c in reply.calls]
    usage = {
        "input_tokens": _PROMPT,
        "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
        "output_tokens": OUTPUT,
        "output_tokens_details": {"reasoning_tokens": THOUGHT},
        "total_tokens": _PROMPT + OUTPUT,
    }
    if reply.reason in ("end", "tool"):
        return responses.response(*output, usage=usage, **_RESPONSE_ECHO)
    reason = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}[reply.reason]
    return responses.response(
        *output,
        status="incomplete",
        incomplete_details={"reason": reason},
        usage=usage,
        **_RESPONSE_ECHO,
    )


_RESPONSE_ECHO: Json = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]

"""Scripted answers in the words of the Messages API, streamed and whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from server.demo.answers import Answer, ToolCall

Json = dict[str, Any]

_WORDS_A_PIECE = 3

Event = tuple[str, Json, bool]
"""Event name, data, and whether it is one piece of the paced answer."""


def events(answer: Answer, model: str) -> Iterator[Event]:
    """The whole stream of ``answer``."""
    message = _message(answer, model) | {"content": [], "stop_reason": None}
    message["usage"] = _usage(answer) | {"output_tokens": 1}
    yield "message_start", {"type": "message_start", "message": message}, False
    index = 0
    if answer.thinking:
        yield from _thinking(index, answer.thinking)
        index += 1
    if answer.text:
        yield from _text(index, answer.text)
        index += 1
    for call in answer.calls:
        yield from _call(index, call)
        index += 1
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    usage = {"output_tokens": answer.output_tokens}
    if answer.web_searches:
        usage |= _searches(answer)
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}, False
    yield "message_stop", {"type": "message_stop"}, False


def whole(answer: Answer, model: str) -> Json:
    """``answer`` as one message."""
    return _message(answer, model)


def error(kind: str, message: str) -> Json:
    """An error body, and the data of an ``error`` event."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def pieces(text: str) -> Iterator[str]:
    """``text`` in pieces of a few words; joined they are ``text`` again."""
    words = text.split(" ")
    for start in range(0, len(words), _WORDS_A_PIECE):
        part = " ".join(words[start : start + _WORDS_A_PIECE])
        yield part if start + _WORDS_A_PIECE >= len(words) else part + " "


def _message(answer: Answer, model: str) -> Json:
    content: list[Json] = []
    if answer.thinking:
        sign = secrets.token_hex(64)
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": sign})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
        for call in answer.calls
    ]
    return {
        "id": "msg_" + secrets.token_hex(12),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": _usage(answer) | (_searches(answer) if answer.web_searches else {}),
    }


def _usage(answer: Answer) -> Json:
    is_hour = answer.ttl == "1h"
    return {
        "input_tokens": answer.input_tokens,
        "cache_read_input_tokens": answer.cache_read,
        "cache_creation_input_tokens": answer.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if is_hour else answer.cache_write,
            "ephemeral_1h_input_tokens": answer.cache_write if is_hour else 0,
        },
        "output_tokens": answer.output_tokens,
        "service_tier": "standard",
    }


def _searches(answer: Answer) -> Json:
    return {"server_tool_use": {"web_search_requests": answer.web_searches}}


def _block(index: int, block: Json, deltas: Iterator[tuple[Json, bool]]) -> Iterator[Event]:
    start = {"type": "content_block_start", "index": index, "content_block": block}
    yield "content_block_start", start, False
    for delta, is_piece in deltas:
        event = {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_delta", event, is_piece
    yield "content_block_stop", {"type": "content_block_stop", "index": index}, False


def _thinking(index: int, text: str) -> Iterator[Event]:
    def deltas() -> Iterator[tuple[Json, bool]]:
        for piece in pieces(text):
            yield {"type": "thinking_delta", "thinking": piece}, True
        yield {"type": "signature_delta", "signature": secrets.token_hex(64)}, False

    return _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas())


def _text(index: int, text: str) -> Iterator[Event]:
    deltas = (({"type": "text_delta", "text": piece}, True) for piece in pieces(text))
    return _block(index, {"type": "text", "text": ""}, deltas)


def _call(index: int, call: ToolCall) -> Iterator[Event]:
    block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    written = msgspec.json.encode(call.input).decode()
    half = len(written) // 2
    deltas = (
        ({"type": "input_json_delta", "partial_json": part}, True)
        for part in ("", written[:half], written[half:])
    )
    return _block(index, block, deltas)

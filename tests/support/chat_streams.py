"""Chat Completions streams as providers send them, written by hand, as bytes."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"
USAGE: Json = {"prompt_tokens": 120, "completion_tokens": 14, "total_tokens": 134}


def data(value: Any, *, escaped: bool = False) -> bytes:
    """One data-only event; with ``escaped``, half characters can be escaped in it."""
    return b"data: " + json.dumps(value, ensure_ascii=escaped).encode() + b"\n\n"


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk with one choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return data(head() | {"choices": [choice]} | more)


def head() -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-oss-120b",
    }


def text(value: str) -> bytes:
    return chunk({"content": value})


def usage(value: Json | None = None) -> bytes:
    """The chunk without choices that ends a stream with ``include_usage``."""
    return data(head() | {"choices": [], "usage": USAGE if value is None else value})


def tool(
    index: int | None,
    arguments: Any = None,
    *,
    name: str | None = None,
    call_id: str | None = None,
    finish: str | None = None,
) -> bytes:
    """One tool delta; what is ``None`` is left out."""
    function: Json = {}
    if name is not None:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    call: Json = {"function": function}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call |= {"id": call_id, "type": "function"}
    return chunk({"tool_calls": [call]}, finish)


def end(finish: str = "stop") -> bytes:
    """Finish reason, usage and terminator."""
    return chunk(finish=finish) + usage() + DONE


ROLE = chunk({"role": "assistant", "content": ""})
"""How every stream of the vendor opens."""

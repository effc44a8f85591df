"""Messages event streams in the vendor's shape, written by hand, as bytes.

``event`` and the ``*_delta`` functions build single events; the constants are whole answers.
"""

from __future__ import annotations

import json
from typing import Any

from providers.sse import encode

JSON = dict[str, Any]


def event(name: str, data: JSON) -> bytes:
    """One event with compact JSON, as the vendor sends it."""
    body = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return encode(name.encode(), body.encode())


def message_start(usage: JSON | None = None, *, model: str = "claude-opus-5-5") -> bytes:
    message: JSON = {
        "id": "msg_test_01",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if usage is not None:
        message["usage"] = usage
    return event("message_start", {"type": "message_start", "message": message})


def block_start(index: int, block: JSON) -> bytes:
    return event(
        "content_block_start",
        {"type": "content_block_start", "index": index, "content_block": block},
    )


def text_start(index: int) -> bytes:
    return block_start(index, {"type": "text", "text": ""})


def tool_start(index: int, name: str = "Read", tool_id: str = "toolu_test_01") -> bytes:
    return block_start(index, {"type": "tool_use", "id": tool_id, "name": name, "input": {}})


def thinking_start(index: int) -> bytes:
    return block_start(index, {"type": "thinking", "thinking": "", "signature": ""})


def delta(index: int, content: JSON) -> bytes:
    return event(
        "content_block_delta", {"type": "content_block_delta", "index": index, "delta": content}
    )


def text_delta(index: int, text: str) -> bytes:
    return delta(index, {"type": "text_delta", "text": text})


def thinking_delta(index: int, text: str) -> bytes:
    return delta(index, {"type": "thinking_delta", "thinking": text})


def signature_delta(index: int, signature: str) -> bytes:
    return delta(index, {"type": "signature_delta", "signature": signature})


def input_json_delta(index: int, fragment: str) -> bytes:
    return delta(index, {"type": "input_json_delta", "partial_json": fragment})


def block_stop(index: int) -> bytes:
    return event("content_block_stop", {"type": "content_block_stop", "index": index})


def message_delta(stop_reason: str | None, usage: JSON | None = None, **more: Any) -> bytes:
    data: JSON = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason, "stop_sequence": None, **more},
    }
    if usage is not None:
        data["usage"] = usage
    return event("message_delta", data)


MESSAGE_STOP = event("message_stop", {"type": "message_stop"})
PING = b'event: ping\ndata: {"type": "ping"}\n\n'

START_USAGE: JSON = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 3000,
    "cache_read_input_tokens": 40000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
    "output_tokens": 1,
    "service_tier": "standard",
}


def error(kind: str, message: str) -> bytes:
    return event(
        "error",
        {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_test"},
    )


TEXT = (
    message_start(START_USAGE)
    + text_start(0)
    + PING
    + text_delta(0, "Hello")
    + text_delta(0, ", wörld: 你好 \U0001f44b\U0001f3fd")
    + text_delta(0, ' "quoted"\n\tand\u2028separated\u0085lines\x0b\x0c')
    + block_stop(0)
    + message_delta("end_turn", {"output_tokens": 25})
    + MESSAGE_STOP
)

THINKING_AND_TOOL = (
    message_start(START_USAGE)
    + PING
    + thinking_start(0)
    + thinking_delta(0, "The file must be read first.")
    + signature_delta(0, "EqQBCgYIBxgCKkB0" * 20)
    + block_stop(0)
    + text_start(1)
    + text_delta(1, "Reading it.")
    + block_stop(1)
    + tool_start(2)
    + input_json_delta(2, "")
    + input_json_delta(2, '{"file_path": "/a/b')
    + input_json_delta(2, '.py"}')
    + block_stop(2)
    + message_delta(
        "tool_use", {"output_tokens": 140, "output_tokens_details": {"thinking_tokens": 60}}
    )
    + MESSAGE_STOP
)

PARALLEL_TOOLS = (
    message_start(START_USAGE)
    + tool_start(0, "Read", "toolu_test_01")
    + input_json_delta(0, '{"file_path":"/a"}')
    + block_stop(0)
    + tool_start(1, "Bash", "toolu_test_02")
    + input_json_delta(1, '{"command":"ls"}')
    + block_stop(1)
    + message_delta("tool_use", {"output_tokens": 80})
    + MESSAGE_STOP
)

USAGE_REVISED = (
    message_start({"input_tokens": 0, "output_tokens": 0})
    + text_start(0)
    + text_delta(0, "a")
    + message_delta(None, {"output_tokens": 5, "input_tokens": 900})
    + text_delta(0, "b")
    + block_stop(0)
    + message_delta(
        "end_turn",
        {"output_tokens": 9, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 700},
    )
    + MESSAGE_STOP
)

SERVER_TOOLS = (
    message_start(START_USAGE)
    + block_start(
        0, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    )
    + input_json_delta(0, '{"query":"weather"}')
    + block_stop(0)
    + block_start(
        1,
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "url": "https://example.test", "title": "t"}],
        },
    )
    + block_stop(1)
    + text_start(2)
    + delta(2, {"type": "citations_delta", "citation": {"type": "x", "cited_text": "no count"}})
    + text_delta(2, "Sunny.")
    + block_stop(2)
    + message_delta(
        "end_turn",
        {
            "input_tokens": 2500,
            "output_tokens": 60,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        },
    )
    + MESSAGE_STOP
)

REFUSAL = (
    message_start(START_USAGE)
    + message_delta(
        "refusal", {"output_tokens": 0}, stop_details={"type": "refusal", "category": "x"}
    )
    + MESSAGE_STOP
)

MID_STREAM_ERROR = (
    message_start(START_USAGE)
    + text_start(0)
    + text_delta(0, "Half an ans")
    + error("overloaded_error", "Overloaded")
)

ERROR_FIRST = message_start(START_USAGE) + error("overloaded_error", "Overloaded")

UNKNOWN_EVENTS = (
    message_start(START_USAGE)
    + event("future_event", {"type": "future_event", "x": 1})
    + text_start(0)
    + delta(0, {"type": "future_delta", "bytes": "abc"})
    + text_delta(0, "ok")
    + block_stop(0)
    + message_delta("end_turn", {"output_tokens": 3})
    + MESSAGE_STOP
)

COMMENTS = b": hello\n\n" + TEXT.replace(b"event: ping", b": keep\nevent: ping") + b": bye\n\n"

MULTI_LINE_DATA = TEXT.replace(
    b'data: {"type":"message_delta",', b'id: 7\nretry: 10\ndata: {"type":\ndata:"message_delta",'
)

CRLF = TEXT.replace(b"\n", b"\r\n")
CR_ONLY = TEXT.replace(b"\n", b"\r")
BOM = b"\xef\xbb\xbf" + TEXT

MALFORMED = (
    message_start(START_USAGE)
    + text_start(0)
    + b'event: content_block_delta\ndata: {"type":"content_block_delta","ind\n\n'
    + b"event: message_delta\ndata: not json\n\n"
    + b"event: content_block_stop\ndata: [1]\n\n"
    + text_delta(0, "ok")
    + message_delta("end_turn", {"output_tokens": 3})
    + MESSAGE_STOP
)

ANSWERS: dict[str, bytes] = {
    "text": TEXT,
    "thinking and tool": THINKING_AND_TOOL,
    "parallel tools": PARALLEL_TOOLS,
    "usage revised": USAGE_REVISED,
    "server tools": SERVER_TOOLS,
    "refusal": REFUSAL,
    "mid-stream error": MID_STREAM_ERROR,
    "error first": ERROR_FIRST,
    "unknown events": UNKNOWN_EVENTS,
    "comments": COMMENTS,
    "multi-line data": MULTI_LINE_DATA,
    "CRLF": CRLF,
    "CR only": CR_ONLY,
    "BOM": BOM,
    "malformed": MALFORMED,
}
"""Every whole answer by name."""

"""What Codex sends, to providers of other protocols and back to it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from responses_streams import events_of, faults_of

from providers.call_ids import CallIds
from providers.neutral import CannotCarry, Pin, Request
from providers.protocols.anthropic import request_out as messages_out
from providers.protocols.anthropic import stream_in as messages_in
from providers.protocols.openai_chat import request_out as chat_out
from providers.protocols.openai_chat import stream_in as chat_in
from providers.protocols.openai_responses import request_out as responses_out
from providers.protocols.openai_responses.request_in import read_request
from providers.protocols.openai_responses.response_out import echo_of
from providers.protocols.openai_responses.stream_out import Encoder
from providers.sse import encode as encode_event
from providers.tool_book import encode
from providers.traits import Outgoing, Traits

CAPTURES = Path(__file__).resolve().parents[5] / "shared" / "captures" / "codex"
"""Scrubbed requests of the real client, where they are at hand."""

Json = dict[str, Any]

WIDE = Traits(
    vision=True,
    files=True,
    json_schema=True,
    parallel_control=True,
    strict_tools=True,
    max_output=64_000,
    efforts=("low", "medium", "high"),
)

PATCH = "*** Begin Patch\n*** Update File: a.py\n@@\n-\tx = \"a\"\n+\tx = 'b\\n'\n*** End Patch\n"
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'}
TOOLS: list[Json] = [
    {
        "type": "function",
        "name": "exec_command",
        "strict": False,
        "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
    },
    {"type": "custom", "name": "apply_patch", "description": "Edits.", "format": GRAMMAR},
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "tools": [{"type": "function", "name": "spawn_agent", "parameters": {"type": "object"}}],
    },
    {"type": "web_search", "external_web_access": True},
]


def codex_body(*more: Json) -> Json:
    return {
        "model": "gpt-5.5",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "input": [
            {"type": "message", "role": "developer", "content": "You are an agent."},
            {"type": "message", "role": "user", "content": "<environment_context>"},
            {"type": "message", "role": "user", "content": "fix it"},
            *more,
        ],
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }


def read(body: Json) -> Request:
    request = read_request(body)
    assert isinstance(request, Request), request
    return request


def to_chat(request: Request) -> Outgoing:
    outgoing = chat_out.write_request(request, "served", WIDE)
    assert isinstance(outgoing, Outgoing), outgoing
    return outgoing


def call_ids(request: Request) -> CallIds:
    numbers = itertools.count(1)
    return CallIds(request.call_ids, lambda: f"made{next(numbers)}")


def relay(stream: bytes, decoder: chat_in.Decoder | messages_in.Decoder, body: Json) -> list[Json]:
    encoder = Encoder(answer_id="resp_abc", model="seen", created_at=1, echo=echo_of(body))
    written = b""
    for event in [*decoder.feed(stream), *decoder.end()]:
        written += encoder.encode(event)
    assert encoder.is_done
    assert faults_of(written) == []
    return events_of(written)


def chunk(delta: Json, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return encode_event(b"", encode({"id": "c", "model": "oss", "choices": [choice]}))


def chat_call(index: int, call_id: str, name: str, arguments: Json) -> bytes:
    text = json.dumps(arguments)
    head = {"index": index, "id": call_id, "function": {"name": name, "arguments": ""}}
    out = chunk({"tool_calls": [head]})
    for start in range(0, len(text), 9):
        piece = {"index": index, "function": {"arguments": text[start : start + 9]}}
        out += chunk({"tool_calls": [piece]})
    return out


def done_items(events: list[Json]) -> list[Json]:
    return [event["item"] for event in events if event["type"] == "response.output_item.done"]


def test_a_patch_goes_through_a_chat_provider_and_back_unchanged() -> None:
    body = codex_body()
    request = read(body)
    outgoing = to_chat(request)
    names = [tool["function"]["name"] for tool in outgoing.body["tools"]]
    assert names == ["exec_command", "apply_patch", "multi_agent_v1__spawn_agent"]
    stream = (
        chunk({"role": "assistant", "content": "I fix it."})
        + chat_call(0, "call_1", "apply_patch", {"input": PATCH})
        + chat_call(1, "call_2", "exec_command", {"cmd": "ls"})
        + chat_call(2, "call_3", "multi_agent_v1__spawn_agent", {"n": 1})
        + chunk({}, "tool_calls")
        + b"data: [DONE]\n\n"
    )
    events = relay(stream, chat_in.Decoder(outgoing.book, call_ids(request)), body)
    message, patch, command, spawn = done_items(events)
    assert message["content"][0]["text"] == "I fix it."
    assert (patch["type"], patch["name"], patch["input"]) == (
        "custom_tool_call",
        "apply_patch",
        PATCH,
    )
    assert json.loads(command["arguments"]) == {"cmd": "ls"}
    assert "namespace" not in command
    assert (spawn["name"], spawn["namespace"]) == ("spawn_agent", "multi_agent_v1")
    outputs = [
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done."},
        {"type": "function_call_output", "call_id": "call_2", "output": "a.py"},
        {"type": "function_call_output", "call_id": "call_3", "output": "started"},
    ]
    again = to_chat(read(codex_body(message, patch, command, spawn, *outputs)))
    *_, assistant, first, _, last = again.body["messages"]
    assert assistant["content"] == "I fix it."
    calls = assistant["tool_calls"]
    assert [call["id"] for call in calls] == ["call_1", "call_2", "call_3"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"input": PATCH}
    assert calls[2]["function"]["name"] == "multi_agent_v1__spawn_agent"
    assert (first["tool_call_id"], first["content"]) == ("call_1", "Done.")
    assert last["tool_call_id"] == "call_3"


def test_a_turn_goes_through_anthropic_and_back() -> None:
    body = codex_body()
    request = read(body)
    outgoing = messages_out.write_request(request, "claude", WIDE)
    assert isinstance(outgoing, Outgoing), outgoing
    assert outgoing.body["max_tokens"] == 64_000
    frames: list[Json] = [
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 9}}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "hidden"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": "c2lnbmVk"},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {
                "type": "tool_use",
                "id": "toolu_01",
                "name": "apply_patch",
                "input": {},
            },
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": json.dumps({"input": PATCH})},
        },
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 3, "cache_read_input_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    stream = b"".join(encode_event(frame["type"].encode(), encode(frame)) for frame in frames)
    events = relay(stream, messages_in.Decoder(outgoing.book, call_ids(request)), body)
    (patch,) = done_items(events)
    assert (patch["call_id"], patch["input"]) == ("toolu_01", PATCH)
    assert b"hidden" not in encode(events)
    assert b"c2lnbmVk" not in encode(events)
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]) == (14, 5)
    output = {"type": "custom_tool_call_output", "call_id": "toolu_01", "output": "Done."}
    again = messages_out.write_request(read(codex_body(patch, output)), "claude", WIDE)
    assert isinstance(again, Outgoing)
    assistant, user = again.body["messages"][-2:]
    assert assistant["content"][0]["id"] == user["content"][0]["tool_use_id"] == "toolu_01"


def task(words: str) -> Json:
    opening = {"type": "input_text", "text": "Message Type: NEW_TASK\nPayload:\n"}
    sealed = {"type": "encrypted_content", "encrypted_content": words}
    return {
        "type": "agent_message",
        "author": "/root",
        "recipient": "/root/look",
        "content": [opening, sealed],
    }


def test_a_sub_agent_gets_its_task_from_a_model_that_wrote_it_in_plain_words() -> None:
    request = read(codex_body(task("Look at the code.")))
    assert to_chat(request).body["messages"][-1]["content"][-1]["text"] == (
        "Message Type: NEW_TASK\nPayload:\nLook at the code."
    )


@pytest.mark.parametrize("sealed", ["gAAAAABn" + "x_-9" * 30 + "==", "Zm9vYmFy" * 40])
def test_a_task_that_only_the_vendor_can_read_stays_there(sealed: str) -> None:
    found = read_request(codex_body(task(sealed)))
    assert found == CannotCarry(Pin.NATIVE_PART, "agent_message")


def test_a_broken_stream_gives_codex_no_call() -> None:
    request = read(codex_body())
    decoder = chat_in.Decoder(to_chat(request).book, call_ids(request))
    stream = chunk({"content": "I fix it."}) + chat_call(0, "c", "apply_patch", {"input": PATCH})
    events = relay(stream, decoder, codex_body())
    assert done_items(events) == []
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"


# ---------------------------------------------------------------------- the real client's requests

FILES = sorted(CAPTURES.glob("*.json")) if CAPTURES.is_dir() else []
PINNED = {
    "tool-search-and-image-outputs": (Pin.NATIVE_PART, "tool_search_call"),
}


@pytest.mark.skipif(not FILES, reason="no captured requests at hand")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_captured_requests_translate_or_name_their_pin(path: Path) -> None:
    capture = json.loads(path.read_text())
    body = capture.get("body")
    if not isinstance(body, dict):
        pytest.skip("no body")
    request = read_request(body)
    if capture["name"] in PINNED:
        assert request == CannotCarry(*PINNED[capture["name"]])
        return
    assert isinstance(request, Request)
    for writer in (chat_out, messages_out, responses_out):
        outgoing = writer.write_request(request, "served", WIDE)
        assert isinstance(outgoing, Outgoing), (writer, outgoing)
        if request.tools:
            assert len(outgoing.body["tools"]) == len(request.tools)
        encode(outgoing.body)

"""Clients of the other protocols on a Responses upstream."""

from __future__ import annotations

import json
from typing import Any

from agent_bodies import assistant as said
from agent_bodies import main_turn, tool_result, tool_use, user
from responses_streams import call, message, reasoning, response, stream_of

from providers.call_ids import CallIds
from providers.neutral import Request
from providers.protocols.anthropic import request_in as messages_in
from providers.protocols.anthropic import stream_out as messages_out
from providers.protocols.openai_chat import request_in as chat_in
from providers.protocols.openai_chat import stream_out as chat_out
from providers.protocols.openai_responses.request_out import write_request
from providers.protocols.openai_responses.stream_in import Decoder
from providers.sse import SseDecoder
from providers.traits import Outgoing, Traits

Json = dict[str, Any]

OPENAI = Traits(custom_tools=True, strict_tools=True, parallel_control=True, json_schema=True)
ANSWER = response(
    reasoning("hidden"),
    message("I read it."),
    call("Read", '{"path": "a"}', "call_x"),
    call("Read", '{"path": "b"}', "call_y"),
)


def write(request: Any) -> tuple[Outgoing, Decoder]:
    assert isinstance(request, Request), request
    outgoing = write_request(request, "gpt", OPENAI)
    assert isinstance(outgoing, Outgoing), outgoing
    return outgoing, Decoder(outgoing.book, CallIds(request.call_ids, lambda: "made"))


def frames(stream: bytes) -> list[Json]:
    events = SseDecoder().feed(stream)
    return [json.loads(event.data) for event in events if event.data != b"[DONE]"]


def test_claude_code_on_openai() -> None:
    body = main_turn(user("go"), said("I look.", tool_use()), user(tool_result("found")))
    outgoing, decoder = write(messages_in.read_request(body))
    kinds = [item["type"] for item in outgoing.body["input"]]
    assert kinds == ["message", "message", "function_call", "function_call_output"]
    assert outgoing.body["input"][2]["call_id"] == "toolu_1"
    assert [tool["name"] for tool in outgoing.body["tools"]] == ["Bash", "Edit", "Read", "Write"]
    encoder = messages_out.Encoder(message_id="msg_1", model="claude")
    stream = b"".join(encoder.encode(event) for event in decoder.feed(stream_of(ANSWER)))
    assert encoder.is_done
    assert b"hidden" not in stream
    blocks = [f["content_block"] for f in frames(stream) if f["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["text", "tool_use", "tool_use"]
    final = frames(stream)[-2]
    assert final["delta"]["stop_reason"] == "tool_use"
    assert (final["usage"]["input_tokens"], final["usage"]["cache_read_input_tokens"]) == (70, 40)
    ids = [block["id"] for block in blocks[1:]]
    assert all(each.startswith("toolu_") for each in ids)
    calls = [tool_use(call=each) for each in ids]
    results = [tool_result(call=each) for each in ids]
    again, _ = write(messages_in.read_request(main_turn(user("go"), said(*calls), user(*results))))
    sent = [item.get("call_id") for item in again.body["input"][1:]]
    assert sent == ["call_x", "call_y", "call_x", "call_y"]


def test_a_chat_client_on_a_responses_upstream() -> None:
    function = {"name": "Read", "parameters": {"type": "object"}, "strict": True}
    body = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "go"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
    }
    outgoing, decoder = write(chat_in.read_request(body))
    assert outgoing.body["instructions"] == "Be brief."
    assert outgoing.body["tools"] == [{"type": "function", **function}]
    assert outgoing.body["tool_choice"] == "required"
    encoder = chat_out.Encoder(answer_id="c", model="m", created=1)
    stream = b"".join(encoder.encode(event) for event in decoder.feed(stream_of(ANSWER)))
    deltas = [chunk["choices"][0] for chunk in frames(stream) if chunk["choices"]]
    calls = [c for choice in deltas for c in choice["delta"].get("tool_calls", [])]
    assert [c["id"] for c in calls if c.get("id")] == ["call_x", "call_y"]
    assert deltas[-1]["finish_reason"] == "tool_calls"
    assert b"hidden" not in stream

"""A session that visits another provider and comes home: its own vendor takes the history."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from anthropic_rules import check_history, check_stream, sign
from chat_streams import ROLE, chunk, end, text, tool
from sdk_readers import as_param, messages_stream
from translating import EVERYTHING, carried, ids, written

from providers.protocols.anthropic.request_in import read_request
from providers.protocols.anthropic.stream_out import Encoder
from providers.protocols.openai_chat.request_out import write_request
from providers.protocols.openai_chat.stream_in import Decoder
from providers.traits import Outgoing

Json = dict[str, Any]

SYSTEM = [{"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}]
TOOLS = [
    {"name": "Read", "input_schema": {"type": "object"}},
    {"name": "mcp__" + "x" * 80, "input_schema": {"type": "object"}},
]


class Session:
    """A Messages client with its history."""

    def __init__(self) -> None:
        self.messages: list[Json] = []

    def body(self) -> Json:
        messages = copy.deepcopy(self.messages)
        return {
            "model": "claude-x",
            "max_tokens": 100,
            "system": SYSTEM,
            "tools": TOOLS,
            "messages": messages,
            "stream": True,
        }

    def ask_chat(self, stream: bytes) -> Outgoing:
        """One turn that a Chat provider answers with ``stream``."""
        request = carried(read_request(self.body()))
        out = written(write_request(request, "gpt-oss-120b", EVERYTHING))
        decoder = Decoder(out.book, ids(request.call_ids))
        encoder = Encoder(message_id="msg_1", model="claude-x")
        events = decoder.feed(stream) + decoder.end()
        answer = b"".join(encoder.encode(event) for event in events)
        assert check_stream(answer) == []
        self.messages.append(as_param(messages_stream(answer)))
        return out

    def results(self, *texts: str) -> None:
        """Answer the calls of the last turn."""
        calls = [b["id"] for b in self.messages[-1]["content"] if b["type"] == "tool_use"]
        self.messages.append(
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call, "content": text}
                    for call, text in zip(calls, texts, strict=True)
                ],
            }
        )


NATIVE_TURN: Json = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": sign(SYSTEM, "hm")},
        {"type": "text", "text": "I read it."},
        {"type": "tool_use", "id": "toolu_01Genuine", "name": "Read", "input": {"p": 1}},
    ],
}


@pytest.fixture
def session() -> Session:
    """One that began with its own vendor, who thought and called a tool."""
    found = Session()
    found.messages = [{"role": "user", "content": "fix it"}, copy.deepcopy(NATIVE_TURN)]
    found.results("file")
    assert check_history(found.body()) == []
    return found


def test_the_vendor_takes_the_history_after_a_visit(session: Session) -> None:
    session.ask_chat(
        ROLE
        + chunk({"reasoning": "foreign thought"})
        + text("<think>is text here</think>Sure.")
        + tool(0, '{"p":2}', name="Read", call_id="functions.Read:0")
        + tool(1, '{"p":3', name="Read", call_id="functions.Read:0")
        + end("tool_calls")
    )
    session.results("two", "three")
    session.ask_chat(ROLE + text("Done.") + end())
    session.messages.append({"role": "user", "content": "thanks"})
    body = session.body()

    assert check_history(body) == []
    assert body["messages"][1] == NATIVE_TURN
    assert "foreign thought" not in json.dumps(body)
    kinds = [b["type"] for m in body["messages"][3:] for b in m["content"] if isinstance(b, dict)]
    assert "thinking" not in kinds


def test_a_check_that_would_notice(session: Session) -> None:
    body = session.body()
    body["messages"][1]["content"][0]["thinking"] = "hm!"
    assert check_history(body) == ["messages.1: invalid signature in thinking block"]

    body = session.body()
    body["messages"][2]["content"][0]["tool_use_id"] = "toolu_other"
    assert len(check_history(body)) == 2

    body = session.body() | {"system": "changed"}
    assert check_history(body) == ["messages.1: invalid signature in thinking block"]


def test_the_provider_gets_its_own_ids_back(session: Session) -> None:
    stream = tool(0, "{}", name="Read", call_id="functions.Read:0") + end("tool_calls")
    session.ask_chat(stream)
    session.results("ok")
    out = session.ask_chat(text("Done.") + end())
    call, result = out.body["messages"][-2:]

    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "functions.Read:0"
    assert out.body["messages"][2]["tool_calls"][0]["id"] == "toolu_01Genuine"


def test_a_provider_that_counts_its_ids_anew_in_each_answer(session: Session) -> None:
    stream = tool(0, "{}", name="Read", call_id="call_0") + end("tool_calls")
    for _ in range(4):
        session.ask_chat(stream)
        session.results("ok")
    made = [b["id"] for m in session.messages for b in m["content"] if b in _calls(m)]

    assert len(made) == len(set(made)) == 5
    assert check_history(session.body()) == []


def _calls(message: Json) -> list[Json]:
    content = message["content"]
    return [b for b in content if isinstance(b, dict) and b["type"] == "tool_use"]


def test_the_prefix_of_the_provider_stays_the_same_from_turn_to_turn(session: Session) -> None:
    stream = text("Next.") + tool(0, "{'a'", name="Read", call_id="x.0") + end("tool_calls")
    before = session.ask_chat(stream).body
    session.results("ok")
    after = session.ask_chat(stream).body

    count = len(before["messages"])
    assert after["messages"][:count] == before["messages"]
    assert after["tools"] == before["tools"]


def test_a_long_tool_name_is_the_clients_own_again(session: Session) -> None:
    name = str(TOOLS[1]["name"])
    wire = written(
        write_request(carried(read_request(session.body())), "m", EVERYTHING)
    ).book.wire_name(name)
    session.ask_chat(tool(0, "{}", name=wire, call_id="c") + end("tool_calls"))

    assert session.messages[-1]["content"][0]["name"] == name
    session.results("ok")
    out = session.ask_chat(text("Done.") + end())
    assert out.body["messages"][-2]["tool_calls"][0]["function"]["name"] == wire

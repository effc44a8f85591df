"""Requests that go through two protocols, and what the vendor says about the result."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic_rules import check_history
from hypothesis import given, settings
from message_bodies import bodies, broken_bodies
from translating import EVERYTHING, carried, written

from providers.history import tidy
from providers.protocols.anthropic import request_in as messages_in
from providers.protocols.anthropic import request_out as messages_out
from providers.protocols.openai_chat import request_in as chat_in
from providers.protocols.openai_chat import request_out as chat_out
from providers.tool_book import encode


def check_chat(messages: list[dict[str, Any]]) -> list[str]:
    """OpenAI's rule: each call is answered at once, and only calls are answered."""
    faults: list[str] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                faults.append("a tool message without its call")
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            faults.append("tool_call_ids did not have response messages")
        waiting = [call["id"] for call in message.get("tool_calls", [])]
        if not message["content"] and not waiting:
            faults.append("an empty message")
    return faults + (["calls without results at the end"] if waiting else [])


@settings(max_examples=30, deadline=None)
@given(bodies())
def test_messages_to_chat_and_back_keeps_everything(body: dict[str, Any]) -> None:
    before = carried(messages_in.read_request(body))
    out = written(chat_out.write_request(before, "m", EVERYTHING))
    after = carried(chat_in.read_request(out.body))

    assert out.book.wire_name("Read") == "Read"
    assert set(out.notes.degraded) <= {"tool_result.is_error"}
    assert check_chat(out.body["messages"]) == []
    assert tidy(after.messages)[0] == tidy(before.messages)[0]
    for name in ("system", "tools", "tool_choice", "max_tokens", "stop", "effort", "stream"):
        assert getattr(after, name) == getattr(before, name), name
    # Without tools there is nothing to call in parallel.
    assert after.parallel_tools == before.parallel_tools


@settings(max_examples=30, deadline=None)
@given(bodies())
def test_messages_to_chat_to_messages_is_a_request_the_vendor_takes(body: dict[str, Any]) -> None:
    assert check_history(body | {"tools": body["tools"] or [_ANY_TOOL]}) == []
    chat = written(chat_out.write_request(carried(messages_in.read_request(body)), "m", EVERYTHING))
    again = written(
        messages_out.write_request(carried(chat_in.read_request(chat.body)), "m", EVERYTHING)
    )
    assert check_history(again.body) == []
    assert encode(again.body)


@settings(max_examples=50, deadline=None)
@given(broken_bodies())
def test_a_broken_history_is_repaired_for_every_target(body: dict[str, Any]) -> None:
    request = carried(messages_in.read_request(body))
    chat = written(chat_out.write_request(request, "m", EVERYTHING))
    again = written(messages_out.write_request(request, "m", EVERYTHING))

    assert check_chat(chat.body["messages"]) == []
    assert check_history(again.body) == []


@settings(max_examples=25, deadline=None)
@given(broken_bodies())
def test_tidying_twice_changes_nothing(body: dict[str, Any]) -> None:
    once, _ = tidy(carried(messages_in.read_request(body)).messages)

    assert tidy(once) == (once, tidy(())[1])


_ANY_TOOL = {"name": "any", "input_schema": {"type": "object"}}


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_the_effort_goes_through(effort: str) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "reasoning_effort": effort,
    }
    request = carried(chat_in.read_request(body))
    out = written(messages_out.write_request(request, "m", EVERYTHING)).body

    if effort == "none":
        assert out["thinking"] == {"type": "disabled"}
        assert "output_config" not in out
    else:
        assert out["output_config"] == {"effort": effort}
        assert ("thinking" in out) == (effort == "minimal")

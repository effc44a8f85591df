"""Whole Chat bodies of all kinds of providers."""

from __future__ import annotations

from typing import Any

import pytest
from translating import ids, request

from providers.faults import Fault, FaultKind
from providers.neutral import Answer, Reasoning, Refusal, StopReason, Text, ToolCall
from providers.protocols.openai_chat.response_in import read_answer
from providers.tool_book import ToolBook

Json = dict[str, Any]


def read(body: Any) -> Answer | Fault:
    return read_answer(body, ToolBook(request()), ids())


def answered(message: Json, finish: str | None = "stop", **more: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c-1", "model": "m", "choices": [choice]} | more


def call(arguments: Any, call_id: str | None = "c1") -> Json:
    head = {} if call_id is None else {"id": call_id}
    return head | {"type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("body", "parts", "stop"),
    [
        (answered({"content": "a"}), (Text("a"),), StopReason.END),
        (answered({"content": "a"}, None), (Text("a"),), StopReason.END),
        (answered({"content": "a"}, "length"), (Text("a"),), StopReason.MAX_TOKENS),
        (
            answered({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}),
            (Text("ab"),),
            StopReason.END,
        ),
        (
            answered({"content": "\n", "tool_calls": [call("{}")]}),
            (ToolCall("c1", "f", "{}"),),
            StopReason.TOOL_CALLS,
        ),
        (
            answered({"content": None, "tool_calls": [call({"a": 1}, None)]}, "tool_calls"),
            (ToolCall("call_made1", "f", '{"a":1}'),),
            StopReason.TOOL_CALLS,
        ),
        (
            answered({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
            (ToolCall("call_made1", "f", "{}"),),
            StopReason.TOOL_CALLS,
        ),
        (
            answered({"reasoning_content": "hm", "content": "<think>x</think>a"}),
            (Reasoning("hmx"), Text("a")),
            StopReason.END,
        ),
        (answered({"content": None, "refusal": "No."}), (Refusal("No."),), StopReason.REFUSAL),
        (answered({"content": ""}, "content_filter"), (), StopReason.REFUSAL),
        ({"response": "a"}, (Text("a"),), StopReason.END),
        ({"result": {"response": "a"}, "success": True}, (Text("a"),), StopReason.END),
    ],
)
def test_answers(body: Json, parts: tuple[Any, ...], stop: StopReason) -> None:
    found = read(body)

    assert isinstance(found, Answer), found
    assert (found.parts, found.stop) == (parts, stop)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, FaultKind.MALFORMED),
        ("text", FaultKind.MALFORMED),
        ({}, FaultKind.MALFORMED),
        ({"choices": []}, FaultKind.MALFORMED),
        (answered({"content": ""}), FaultKind.EMPTY),
        (answered({"content": None, "reasoning": "hm"}, "length"), FaultKind.EMPTY),
        (answered({"tool_calls": [call('{"a')]}, "length"), FaultKind.EMPTY),
        ({"success": False, "errors": [{"code": 3036, "message": "x"}]}, FaultKind.QUOTA),
        ({"error": {"message": "x", "code": "queue_exceeded"}}, FaultKind.OVERLOADED),
    ],
)
def test_bodies_that_are_no_answer(body: Any, kind: FaultKind) -> None:
    found = read(body)

    assert isinstance(found, Fault), found
    assert found.kind is kind


def test_usage_model_and_id() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 0}
    found = read(answered({"content": "a"}, usage=usage))

    assert isinstance(found, Answer)
    assert (found.id, found.model) == ("c-1", "m")
    assert (found.usage.input_tokens, found.usage.output_tokens) == (10, 0)
    assert found.usage.cache_read_tokens is None
    groq = read(answered({"content": "a"}, x_groq={"usage": usage}))
    assert isinstance(groq, Answer)
    assert groq.usage == found.usage

"""Neutral requests to Messages bodies that the vendor takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic_rules import check_history
from pydantic import TypeAdapter
from translating import EVERYTHING, request, written

from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    OutputFormat,
    Part,
    Pin,
    Reasoning,
    Refusal,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from providers.protocols.anthropic.request_out import JSON_ONLY, OPENING, write_request
from providers.traits import Traits, traits_of

CLAUDE = traits_of("anthropic", "claude-opus-5-5")
CALL = ToolCall("functions.Read:0", "Read", '{"path":"x"}')
ASKED = Message(Role.USER, (Text("go"),))
CALLED = Message(Role.ASSISTANT, (CALL,))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


_params: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)


def result(*content: Text | Image | File, is_error: bool = False) -> Message:
    return Message(Role.USER, (ToolResult(CALL.id, content, is_error),))


def out(asked: Request, traits: Traits = CLAUDE, **more: Any) -> dict[str, Any]:
    body = written(write_request(asked, "claude-x", traits, **more)).body
    assert check_history(body) == []
    _params.validate_python({key: value for key, value in body.items() if key != "stream"})
    return body


def pin(asked: Request, traits: Traits = CLAUDE, **more: Any) -> Pin:
    found = write_request(asked, "claude-x", traits, **more)
    assert isinstance(found, CannotCarry), found
    return found.pin


def test_a_plain_question() -> None:
    body = out(request(system=("Help.",), max_tokens=5, stop=("x",), stream=True))

    assert body == {
        "model": "claude-x",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "Help."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stop_sequences": ["x"],
        "stream": True,
        "cache_control": {"type": "ephemeral"},
    }


def test_without_a_limit_the_model_may_say_all_it_can() -> None:
    assert out(request())["max_tokens"] == 64_000
    assert out(request(max_tokens=10**6))["max_tokens"] == 64_000
    assert pin(request(), replace(CLAUDE, max_output=None)) is Pin.MAX_TOKENS


def test_ids_of_other_vendors_are_encoded_in_calls_and_results_alike() -> None:
    body = out(request(ASKED, CALLED, result(Text("ok"))))
    call, answer = body["messages"][1]["content"][0], body["messages"][2]["content"][0]

    assert call == {
        "type": "tool_use",
        "id": answer["tool_use_id"],
        "name": "Read",
        "input": {"path": "x"},
    }
    assert call["id"].startswith("toolu_gw1")
    assert answer["content"] == "ok"
    assert "is_error" not in answer


def test_calls_without_tools_get_definitions_that_cannot_be_called() -> None:
    body = out(request(ASKED, CALLED, result(Text("ok"))))

    assert body["tools"] == [{"name": "Read", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_results_with_errors_and_pictures() -> None:
    picture = Image(data="iVBO", media_type="image/png")
    body = out(request(ASKED, CALLED, result(Text("a"), picture, is_error=True)))

    assert body["messages"][2]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": body["messages"][1]["content"][0]["id"],
        "content": [
            {"type": "text", "text": "a"},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
            },
        ],
        "is_error": True,
    }


def test_no_thinking_is_ever_sent() -> None:
    said = Message(Role.ASSISTANT, (Reasoning("of another model"), Text("yes")))
    body = out(request(ASKED, said, ASKED))

    assert "of another model" not in str(body)
    only = Message(Role.ASSISTANT, (Reasoning("nothing else"),))
    assert len(out(request(ASKED, only, ASKED))["messages"]) == 1


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Refusal("No."), {"type": "text", "text": "No."}),
        (
            Image(url="https://x/y.png"),
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ),
        (
            File(text="abc", name="T"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "abc"},
                "title": "T",
            },
        ),
        (
            File(data="JVB", media_type="application/pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVB"},
            },
        ),
    ],
)
def test_parts(part: Part, block: dict[str, Any]) -> None:
    role = Role.ASSISTANT if isinstance(part, Refusal) else Role.USER
    messages = [ASKED, Message(role, (part,)), ASKED]
    written_blocks = [b for m in out(request(*messages))["messages"] for b in m["content"]]

    assert block in written_blocks


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (File(data="x", media_type="application/zip"), Pin.FILES),
        (Image(data="x", media_type="image/tiff"), Pin.VISION),
    ],
)
def test_parts_that_cannot_be_carried(part: Part, expected: Pin) -> None:
    assert pin(request(Message(Role.USER, (part,)))) is expected


def test_instructions_in_the_middle() -> None:
    middle = Message(Role.DEVELOPER, (Text("Be brief."),))
    inside = out(request(ASKED, middle, system=("Help.",)))
    assert [m["role"] for m in inside["messages"]] == ["user", "system"]

    moved = out(request(ASKED, middle, system=("Help.",)), replace(CLAUDE, mid_system=False))
    assert [block["text"] for block in moved["system"]] == ["Help.", "Be brief."]
    assert [m["role"] for m in moved["messages"]] == ["user"]


def test_a_conversation_that_opens_with_the_assistant() -> None:
    said = Message(Role.ASSISTANT, (Text("Hello!"),))
    body = out(request(said, ASKED))

    assert body["messages"][0]["content"] == [{"type": "text", "text": OPENING}]


def test_a_conversation_must_end_with_the_user() -> None:
    assert pin(request(ASKED, Message(Role.ASSISTANT, (Text("So"),)))) is Pin.PREFILL
    assert pin(request(Message(Role.USER, (Text(" "),)))) is Pin.MALFORMED


CHOICES: list[tuple[ToolChoice | None, bool | None, dict[str, Any] | None]] = [
    (None, None, None),
    (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    (ToolChoice(Choice.AUTO), None, {"type": "auto"}),
    (ToolChoice(Choice.REQUIRED), True, {"type": "any", "disable_parallel_tool_use": False}),
    (ToolChoice(Choice.NONE), False, {"type": "none"}),
    (
        ToolChoice(Choice.NAMED, "f.x"),
        False,
        {"type": "tool", "name": "WIRE", "disable_parallel_tool_use": True},
    ),
]


@pytest.mark.parametrize(("choice", "parallel", "expected"), CHOICES)
def test_tool_choice(
    choice: ToolChoice | None, parallel: bool | None, expected: dict[str, Any] | None
) -> None:
    asked = request(tools=[Tool("f.x", "d", SCHEMA)], tool_choice=choice, parallel_tools=parallel)
    body = out(asked)
    wire = body["tools"][0]["name"]

    assert wire != "f.x"
    if expected and "name" in expected:
        expected = expected | {"name": wire}
    assert body.get("tool_choice") == expected


def test_free_text_tools_become_functions_of_one_string() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    call = ToolCall("c", "apply_patch", "*** Begin", is_custom=True)
    asked = request(
        ASKED,
        Message(Role.ASSISTANT, (call,)),
        Message(Role.USER, (ToolResult("c", (Text("done"),), is_custom=True),)),
        tools=[Tool("apply_patch", "Patches.", is_custom=True, grammar=grammar)],
    )
    body = out(asked)

    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    # Such tools say of themselves that they take no JSON, and only their grammar says what then.
    assert "the string argument `input`" in body["tools"][0]["description"]
    assert "start: X" in body["tools"][0]["description"]
    assert body["messages"][1]["content"][0]["input"] == {"input": "*** Begin"}


def test_sampling_follows_the_version_that_refuses_it() -> None:
    sampling = Sampling(temperature=1.5, top_p=0.5, top_k=3, seed=7)
    now = written(write_request(request(sampling=sampling), "m", CLAUDE))
    old = written(write_request(request(sampling=sampling), "m", replace(CLAUDE, sampling=True)))

    assert not {"temperature", "top_p", "top_k"} & now.body.keys()
    assert set(now.notes.dropped) == {"temperature", "top_p", "top_k", "seed"}
    assert (old.body["temperature"], old.body["top_p"], old.body["top_k"]) == (1, 0.5, 3)
    assert old.notes.degraded == ("temperature",)


def test_output_formats() -> None:
    body = out(request(output_format=OutputFormat(SCHEMA)))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert out(request(output_format=OutputFormat()))["system"][-1]["text"] == JSON_ONLY
    without = replace(CLAUDE, json_schema=False)
    assert pin(request(output_format=OutputFormat(SCHEMA)), without) is Pin.OUTPUT_FORMAT


def test_the_window() -> None:
    assert pin(request(), input_tokens=199_900) is Pin.CONTEXT
    assert out(request(max_tokens=50), input_tokens=199_900)["max_tokens"] == 50
    assert out(request(), input_tokens=190_000)["max_tokens"] == 10_000
    assert out(request(), EVERYTHING, input_tokens=10)["max_tokens"] == 64_000


def test_stop_sequences_beyond_the_limit() -> None:
    assert pin(request(stop=("a", "b")), replace(CLAUDE, stop_limit=1)) is Pin.STOP

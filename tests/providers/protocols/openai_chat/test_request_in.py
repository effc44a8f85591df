"""Chat requests to neutral ones: what is carried, dropped, and what stays with the vendor."""

from __future__ import annotations

from typing import Any

import pytest
from agent_bodies import any_json
from hypothesis import given, settings
from translating import carried

from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    OutputFormat,
    Part,
    Pin,
    Refusal,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from providers.protocols.openai_chat.request_in import DROPPED, NATIVE, read_request

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "hi"}
FUNCTION: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL: Json = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{ "a":1}'}}


def body(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "messages": list(messages) or [USER]} | fields


def called(*results: Json) -> Json:
    return body(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, *results)


def test_leading_instructions_are_the_system_prompt() -> None:
    request = carried(
        read_request(
            body(
                {"role": "system", "content": "A"},
                {"role": "developer", "content": [{"type": "text", "text": "B"}]},
                USER,
                {"role": "developer", "content": "C"},
            )
        )
    )
    assert request.system == ("A", "B")
    assert request.messages == (
        Message(Role.USER, (Text("hi"),)),
        Message(Role.DEVELOPER, (Text("C"),)),
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            Image(url="https://x/y.png", detail="low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,UklG"}},
            Image(data="UklG", media_type="image/webp"),
        ),
        (
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JV"},
            },
            File(data="JV", media_type="application/pdf", name="a.pdf"),
        ),
    ],
)
def test_user_parts(part: Json, expected: Part) -> None:
    request = carried(read_request(body({"role": "user", "content": [part]})))

    assert request.messages[0].parts == (expected,)


def test_calls_keep_their_arguments_byte_for_byte() -> None:
    request = carried(read_request(called({"role": "tool", "tool_call_id": "c1", "content": "ok"})))
    assert request.messages[1].parts == (ToolCall("c1", "f", '{ "a":1}'),)
    assert request.messages[2].parts == (ToolResult("c1", (Text("ok"),)),)


def test_a_failed_result_is_known_by_its_mark() -> None:
    request = carried(
        read_request(called({"role": "tool", "tool_call_id": "c1", "content": "[tool error] no"}))
    )
    assert request.messages[2].parts == (ToolResult("c1", (Text("no"),), is_error=True),)


def test_old_style_functions() -> None:
    request = carried(
        read_request(
            body(
                USER,
                {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "ok"},
                functions=[{"name": "f", "parameters": {"type": "object"}}],
                function_call={"name": "f"},
            )
        )
    )
    call, result = request.messages[1].parts[0], request.messages[2].parts[0]
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert call.id == result.call_id != ""
    assert request.tool_choice == ToolChoice(Choice.NAMED, "f")
    assert request.tools == (Tool("f", schema={"type": "object"}),)


def test_what_an_assistant_said() -> None:
    said = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
        "refusal": "c",
        "reasoning_content": "hm",
        "annotations": [],
    }
    request = carried(read_request(body(USER, said, USER)))

    assert request.messages[1].parts == (Text("a"), Refusal("b"), Refusal("c"))
    assert request.notes.dropped == ("thinking",)


def test_free_text_tools_and_calls() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    call = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}
    request = carried(
        read_request(
            body(
                USER,
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "ok"},
                tools=[{"type": "custom", "custom": {"name": "patch", "format": grammar}}],
                tool_choice={"type": "custom", "custom": {"name": "patch"}},
            )
        )
    )
    assert request.messages[1].parts == (ToolCall("c", "patch", "*** x", is_custom=True),)
    assert request.tools == (Tool("patch", is_custom=True, grammar=grammar),)
    assert request.tool_choice == ToolChoice(Choice.NAMED, "patch")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice(Choice.AUTO)),
        ("none", ToolChoice(Choice.NONE)),
        ("required", ToolChoice(Choice.REQUIRED)),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(Choice.NAMED, "f")),
    ],
)
def test_tool_choice(choice: Any, expected: ToolChoice) -> None:
    request = carried(read_request(body(tools=[FUNCTION], tool_choice=choice)))

    assert request.tool_choice == expected


def test_allowed_tools_cut_the_list() -> None:
    other = {"type": "function", "function": {"name": "g", "strict": True}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [other]}}
    request = carried(read_request(body(tools=[FUNCTION, other], tool_choice=choice)))

    assert [tool.name for tool in request.tools] == ["g"]
    assert request.tool_choice == ToolChoice(Choice.REQUIRED)
    assert request.notes.degraded == ("allowed_tools",)


def test_limits_sampling_and_output() -> None:
    schema = {"type": "object"}
    request = carried(
        read_request(
            body(
                max_tokens=3,
                max_completion_tokens=5,
                temperature=0,
                seed=7,
                stop="x",
                parallel_tool_calls=False,
                reasoning_effort="low",
                stream=True,
                stream_options={"include_usage": True},
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": schema, "strict": True},
                },
            )
        )
    )
    assert (request.max_tokens, request.stop, request.effort) == (5, ("x",), "low")
    assert (request.sampling.temperature, request.sampling.seed) == (0, 7)
    assert (request.parallel_tools, request.stream, request.wants_stream_usage) == (
        False,
        True,
        True,
    )
    assert request.output_format == OutputFormat(schema, "n", True)
    plain = carried(read_request(body(response_format={"type": "json_object"})))
    assert plain.output_format == OutputFormat()
    assert not plain.wants_stream_usage


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_harmless_fields_are_dropped_and_noted(name: str) -> None:
    assert carried(read_request(body(**{name: "x"}))).notes.dropped == (name,)


@pytest.mark.parametrize("name", NATIVE)
def test_native_fields_pin_unless_they_say_nothing(name: str) -> None:
    found = read_request(body(**{name: {"anything": 2}}))

    assert found == CannotCarry(Pin.NATIVE_FIELD, name)
    for value in (*NATIVE[name], None):
        assert isinstance(read_request(body(**{name: value})), Request)


PINS: list[tuple[Any, Pin, str]] = [
    ("", Pin.MALFORMED, "body"),
    ({"model": "m"}, Pin.MALFORMED, "messages"),
    (body({"role": "system", "content": "x"}), Pin.MALFORMED, "no user message"),
    (body({"role": "robot", "content": "x"}), Pin.MALFORMED, "messages.role"),
    (body({"role": "user", "content": 3}), Pin.MALFORMED, "messages.content"),
    (body({"role": "user", "content": "", "x": 1}), Pin.UNKNOWN_FIELD, "messages.x"),
    (body({"role": "tool", "content": "x"}), Pin.MALFORMED, "messages.tool_call_id"),
    (body(brand_new=1), Pin.UNKNOWN_FIELD, "brand_new"),
    (body(USER, {"role": "assistant", "content": "So"}), Pin.PREFILL, "messages"),
    (
        body({"role": "user", "content": [{"type": "input_audio"}]}),
        Pin.NATIVE_PART,
        "input_audio",
    ),
    (body({"role": "user", "content": [{"type": "new"}]}), Pin.UNKNOWN_PART, "new"),
    (
        body({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}),
        Pin.NATIVE_PART,
        "file.file_id",
    ),
    (
        body(USER, {"role": "assistant", "audio": {"id": "x"}}, USER),
        Pin.NATIVE_PART,
        "messages.audio",
    ),
    (
        body(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, USER),
        Pin.MALFORMED,
        "tool_calls",
    ),
    (body(tools=[{"type": "web_search"}]), Pin.SERVER_TOOL, "web_search"),
    (body(tools=[{"type": "function", "function": {}}]), Pin.MALFORMED, "tools.name"),
    (body(tool_choice="sometimes"), Pin.TOOL_CHOICE, "tool_choice.sometimes"),
    (body(tool_choice={"type": "mcp"}), Pin.TOOL_CHOICE, "tool_choice.mcp"),
    (body(response_format={"type": "xml"}), Pin.OUTPUT_FORMAT, "response_format.xml"),
]


@pytest.mark.parametrize(("found", "pin", "detail"), PINS)
def test_pins(found: Any, pin: Pin, detail: str) -> None:
    assert read_request(found) == CannotCarry(pin, detail)


@settings(max_examples=60, deadline=None)
@given(any_json)
def test_no_body_raises(found: Any) -> None:
    for whole in (found, body(messages=found), body(found), body(tools=found), body(stop=found)):
        assert isinstance(read_request(whole), Request | CannotCarry)

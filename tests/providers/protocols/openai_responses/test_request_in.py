from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from agent_bodies import any_body, any_json, codex_turn, item, steady
from hypothesis import given
from hypothesis import strategies as st

from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    OutputFormat,
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
from providers.protocols.openai_responses.request_in import read_request

Json = dict[str, Any]

HELLO = {"role": "user", "content": "hello"}
EXEC = {"type": "function", "name": "run", "description": "Runs.", "parameters": {"a": 1}}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
}


def read(*items: Any, **fields: Any) -> Request:
    request = read_request({"model": "m", "store": False, "input": list(items), **fields})
    assert isinstance(request, Request), request
    return request


def pin(*items: Any, **fields: Any) -> tuple[Pin, str]:
    found = read_request({"model": "m", "store": False, "input": list(items), **fields})
    assert isinstance(found, CannotCarry), found
    return found.pin, found.detail


def only(*items: Any, **fields: Any) -> Message:
    (message,) = read(*items, **fields).messages
    return message


def test_a_turn_of_codex_is_read_whole() -> None:
    body = codex_turn(
        item("user", "fix it"),
        metadata={"request_kind": "turn"},
        reasoning={"effort": "medium", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        parallel_tool_calls=True,
        text={"verbosity": "low"},
        store=False,
    )
    request = read_request(body)
    assert isinstance(request, Request)
    assert (request.model, request.stream, request.max_tokens) == ("gpt-5.5", True, None)
    assert (request.effort, request.verbosity, request.parallel_tools) == ("medium", "low", True)
    assert request.system
    assert request.messages[-1].parts[-1] == Text("fix it")
    dropped = {"client_metadata", "prompt_cache_key", "include", "reasoning.summary"}
    assert set(request.notes.dropped) == dropped


def test_a_string_is_one_user_message() -> None:
    request = read_request({"model": "m", "input": "hi", "store": False})
    assert isinstance(request, Request)
    assert request.messages == (Message(Role.USER, (Text("hi"),)),)


def test_leading_instructions_are_the_system_prompt_and_later_ones_stay() -> None:
    request = read(
        {"role": "developer", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "message", "role": "system", "content": "two"},
        HELLO,
        {"role": "developer", "content": "three"},
        HELLO,
        instructions="zero",
    )
    assert request.system == ("zero", "one", "two")
    roles = [message.role for message in request.messages]
    assert roles == [Role.USER, Role.DEVELOPER, Role.USER]


def test_neighbours_of_one_speaker_are_one_message() -> None:
    request = read(
        HELLO,
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "a", "name": "run", "arguments": '{"x": 1}'},
        {"type": "function_call", "call_id": "b", "name": "run", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": "one"},
        {"type": "function_call_output", "call_id": "b", "output": ""},
        {"role": "user", "content": "and now?"},
    )
    assert request.messages[1:] == (
        Message(
            Role.ASSISTANT,
            (Text("I look."), ToolCall("a", "run", '{"x": 1}'), ToolCall("b", "run", "{}")),
        ),
        Message(
            Role.USER,
            (ToolResult("a", (Text("one"),)), ToolResult("b"), Text("and now?")),
        ),
    )
    assert "reasoning" in request.notes.dropped


def test_free_text_calls_and_their_results_keep_every_character() -> None:
    patch = '*** Begin Patch\n+\t"quoted" \\n\r\n*** End Patch\n'
    request = read(
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": patch},
        {
            "type": "custom_tool_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "Done"}, {"type": "input_text", "text": ""}],
        },
        tools=[PATCH],
    )
    assert request.messages[0].parts == (ToolCall("c", "apply_patch", patch, True),)
    assert request.messages[1].parts == (ToolResult("c", (Text("Done"),), is_custom=True),)
    assert request.tools == (
        Tool("apply_patch", "Edits.", is_custom=True, grammar=PATCH["format"]),  # type: ignore[arg-type]
    )


def test_results_hold_pictures_and_files() -> None:
    pdf = base64.b64encode(b"%PDF").decode()
    output = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"},
        {"type": "input_image", "image_url": "https://pictures.example/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
    ]
    request = read({"type": "function_call_output", "call_id": "c", "output": output})
    (result,) = request.messages[0].parts
    assert isinstance(result, ToolResult)
    assert result.content == (
        Text("see"),
        Image(data="AAAA", media_type="image/png", detail="high"),
        Image(url="https://pictures.example/a.png", detail="low"),
        File(data=pdf, media_type="application/pdf", name="a.pdf"),
    )
    assert request.notes.dropped == ("image.detail",)


def test_a_text_file_is_its_text() -> None:
    data = base64.b64encode("größe".encode()).decode()
    block = {
        "type": "input_file",
        "filename": "a.txt",
        "file_data": f"data:text/plain;base64,{data}",
    }
    message = only({"role": "user", "content": [block]})
    assert message.parts == (File(text="größe", media_type="text/plain", name="a.txt"),)


def test_a_result_without_a_call_is_plain_text() -> None:
    request = read(HELLO, {"type": "function_call_output", "output": "by the way"})
    assert request.messages == (Message(Role.USER, (Text("hello"), Text("by the way"))),)
    assert request.notes.degraded == ("output.call_id",)


def test_a_refusal_in_the_history_stays_one() -> None:
    content = [{"type": "refusal", "refusal": "No."}]
    request = read(HELLO, {"role": "assistant", "content": content}, HELLO)
    assert request.messages[1].parts == (Refusal("No."),)


@pytest.mark.parametrize("arguments", ['{"a": 1,}', "[1]", "'a'", '{"a"'])
def test_broken_arguments_are_kept_whole(arguments: str) -> None:
    call = {"type": "function_call", "call_id": "a", "name": "run", "arguments": arguments}
    request = read(HELLO, call)
    (found,) = request.messages[1].parts
    assert isinstance(found, ToolCall)
    assert json.loads(found.arguments) == {"_raw": arguments}
    assert request.notes.degraded == ("arguments",)


def test_tools_come_from_the_top_from_an_item_and_from_namespaces() -> None:
    lite = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [
            {"type": "namespace", "name": "functions", "tools": [PATCH, EXEC]},
            {"type": "namespace", "name": "clock", "tools": [EXEC]},
        ],
    }
    call = {
        "type": "function_call",
        "call_id": "a",
        "name": "run",
        "namespace": "clock",
        "arguments": "{}",
    }
    request = read(lite, HELLO, call, tools=[{"type": "web_search"}, {**EXEC, "strict": True}])
    assert [(tool.namespace, tool.name, tool.strict) for tool in request.tools] == [
        (None, "run", None),
        (None, "apply_patch", None),
        ("clock", "run", None),
    ]
    assert request.messages[1].parts == (ToolCall("a", "run", "{}", namespace="clock"),)
    assert request.notes.degraded == ("tools.web_search",)


def test_a_tool_without_parameters_takes_none() -> None:
    (tool,) = read(HELLO, tools=[{"type": "function", "name": "now", "parameters": None}]).tools
    assert tool.schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("wanted", "choice"),
    [
        (None, None),
        ("auto", ToolChoice(Choice.AUTO)),
        ("none", ToolChoice(Choice.NONE)),
        ("required", ToolChoice(Choice.REQUIRED)),
        ({"type": "function", "name": "run"}, ToolChoice(Choice.NAMED, "run")),
        ({"type": "custom", "name": "apply_patch"}, ToolChoice(Choice.NAMED, "apply_patch")),
    ],
)
def test_tool_choices(wanted: Any, choice: ToolChoice | None) -> None:
    assert read(HELLO, tools=[EXEC, PATCH], tool_choice=wanted).tool_choice == choice


def test_without_tools_there_is_no_choice() -> None:
    assert read(HELLO, tools=[], tool_choice="auto").tool_choice is None


def test_allowed_tools_are_the_only_ones_left() -> None:
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "custom", "name": "apply_patch"}, {"type": "web_search"}],
    }
    request = read(HELLO, tools=[EXEC, PATCH], tool_choice=choice)
    assert [tool.name for tool in request.tools] == ["apply_patch"]
    assert request.tool_choice == ToolChoice(Choice.REQUIRED)
    assert "tool_choice.allowed_tools" in request.notes.degraded


def test_output_formats() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    wanted = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    assert read(HELLO, text={"format": wanted}).output_format == OutputFormat(schema, "n", True)
    assert read(HELLO, text={"format": {"type": "json_object"}}).output_format == OutputFormat()
    assert read(HELLO, text={"format": {"type": "text"}}).output_format is None


def test_sampling_and_limits() -> None:
    request = read(HELLO, temperature=0.5, top_p=1, max_output_tokens=99, service_tier="flex")
    assert (request.sampling.temperature, request.sampling.top_p) == (0.5, 1)
    assert request.max_tokens == 99
    assert request.notes.dropped == ("service_tier",)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"previous_response_id": "resp_1"}, (Pin.NATIVE_FIELD, "previous_response_id")),
        ({"conversation": "conv_1"}, (Pin.NATIVE_FIELD, "conversation")),
        ({"prompt": {"id": "p"}}, (Pin.NATIVE_FIELD, "prompt")),
        ({"background": True}, (Pin.NATIVE_FIELD, "background")),
        ({"store": True}, (Pin.NATIVE_FIELD, "store")),
        ({"truncation": "auto"}, (Pin.NATIVE_FIELD, "truncation")),
        ({"top_logprobs": 2}, (Pin.NATIVE_FIELD, "top_logprobs")),
        ({"context_management": [{"type": "x"}]}, (Pin.NATIVE_FIELD, "context_management")),
        ({"moderation": {"model": "m"}}, (Pin.NATIVE_FIELD, "moderation")),
        ({"include": ["message.output_text.logprobs"]}, (Pin.NATIVE_FIELD, "include.message")),
        ({"prompt_cache_options": {"prewarm": True}}, (Pin.PREWARM, "prompt_cache_options")),
        ({"reasoning": {"mode": "pro"}}, (Pin.NATIVE_FIELD, "reasoning.mode")),
        ({"text": {"format": {"type": "grammar"}}}, (Pin.NATIVE_FIELD, "text.format.grammar")),
        ({"text": {"format": {"type": "json_schema"}}}, (Pin.MALFORMED, "text.format.schema")),
        ({"brand_new": 1}, (Pin.UNKNOWN_FIELD, "brand_new")),
        ({"model": 5}, (Pin.MALFORMED, "model")),
        ({"temperature": "hot"}, (Pin.MALFORMED, "temperature")),
        ({"parallel_tool_calls": "yes"}, (Pin.MALFORMED, "parallel_tool_calls")),
        ({"tools": {}}, (Pin.MALFORMED, "tools")),
        ({"tools": [{"type": "file_search"}]}, (Pin.SERVER_TOOL, "file_search")),
        ({"tools": [{"type": "local_shell"}]}, (Pin.SERVER_TOOL, "local_shell")),
        ({"tools": [{"type": "brand_new"}]}, (Pin.SERVER_TOOL, "brand_new")),
        ({"tools": [{**EXEC, "async": True}]}, (Pin.NATIVE_FIELD, "tools.async")),
        (
            {"tools": [{**EXEC, "allowed_callers": ["programmatic"]}]},
            (Pin.NATIVE_FIELD, "tools.allowed_callers"),
        ),
        ({"tool_choice": "required"}, (Pin.TOOL_CHOICE, "tool_choice.required")),
        ({"tool_choice": {"type": "web_search"}}, (Pin.SERVER_TOOL, "tool_choice.web_search")),
        ({"tool_choice": {"type": "function", "name": "x"}}, (Pin.MALFORMED, "tool_choice.name")),
    ],
)
def test_fields_that_pin(fields: Json, expected: tuple[Pin, str]) -> None:
    found, detail = pin(HELLO, **fields)
    assert found is expected[0]
    assert detail.startswith(expected[1])


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": None},
        {"background": False, "truncation": "disabled", "top_logprobs": 0},
        {"context_management": [], "metadata": {}},
        {"reasoning": {"mode": "standard", "effort": None}},
    ],
)
def test_fields_that_ask_for_nothing_do_not_pin(fields: Json) -> None:
    assert read(HELLO, **fields).notes.degraded == ()


def test_an_answer_that_the_vendor_would_have_kept_is_noted() -> None:
    request = read_request({"model": "m", "input": "hi"})
    assert isinstance(request, Request)
    assert request.notes.degraded == ("store",)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "web_search_call", "id": "ws_1"}, (Pin.NATIVE_PART, "web_search_call")),
        ({"type": "compaction_trigger"}, (Pin.NATIVE_PART, "compaction_trigger")),
        ({"type": "item_reference", "id": "x"}, (Pin.NATIVE_PART, "item_reference")),
        ({"type": "agent_message"}, (Pin.MALFORMED, "agent_message")),
        (
            {"type": "agent_message", "content": [{"type": "input_image", "image_url": "x"}]},
            (Pin.NATIVE_PART, "agent_message"),
        ),
        ({"type": "tool_search_output"}, (Pin.NATIVE_PART, "tool_search_output")),
        ({"type": "brand_new"}, (Pin.UNKNOWN_PART, "brand_new")),
        ({"id": "x"}, (Pin.MALFORMED, "input")),
        ("words", (Pin.MALFORMED, "input")),
        ({"role": "robot", "content": "x"}, (Pin.MALFORMED, "message.role")),
        ({"role": "user", "content": 5}, (Pin.MALFORMED, "message.content")),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            (Pin.NATIVE_PART, "input_image.file_id"),
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]},
            (Pin.NATIVE_PART, "input_file"),
        ),
        (
            {"role": "user", "content": [{"type": "brand_new"}]},
            (Pin.UNKNOWN_PART, "brand_new"),
        ),
        (
            {"role": "developer", "content": [{"type": "input_image", "image_url": "https://x"}]},
            (Pin.NATIVE_PART, "developer.image"),
        ),
        (
            {"type": "function_call", "name": "run", "arguments": "{}"},
            (Pin.MALFORMED, "call"),
        ),
        (
            {"type": "function_call_output", "call_id": "a", "output": {"x": 1}},
            (Pin.MALFORMED, "output"),
        ),
        (
            {
                "type": "function_call",
                "call_id": "a",
                "name": "run",
                "arguments": "{}",
                "caller": {"type": "program", "caller_id": "p"},
            },
            (Pin.NATIVE_PART, "caller.program"),
        ),
    ],
)
def test_items_that_pin(item: Any, expected: tuple[Pin, str]) -> None:
    assert pin(HELLO, item) == expected


def test_left_out_tools_can_be_refused() -> None:
    body = {"model": "m", "input": "x", "tools": [{"type": "web_search"}]}
    found = read_request(body, left_out_tools=frozenset())
    assert found == CannotCarry(Pin.SERVER_TOOL, "web_search")


@pytest.mark.parametrize("body", [None, [], "x", {}, {"model": "m"}, {"model": "m", "input": []}])
def test_what_is_no_request_pins(body: Any) -> None:
    found = read_request(body)
    assert isinstance(found, CannotCarry)
    assert found.pin is Pin.MALFORMED


@steady
@given(any_json)
def test_nothing_is_ever_raised(body: object) -> None:
    assert isinstance(read_request(body), Request | CannotCarry)


FIELDS = [
    "type",
    "role",
    "content",
    "output",
    "arguments",
    "input",
    "name",
    "namespace",
    "call_id",
    "id",
    "summary",
    "tools",
    "caller",
    "text",
    "image_url",
    "detail",
    "file_data",
    "filename",
    "refusal",
    "annotations",
    "format",
    "parameters",
    "strict",
    "async",
    "encrypted_content",
    "allowed_callers",
    "defer_loading",
    "output_schema",
    "effort",
    "mode",
    "verbosity",
    "schema",
]
WORDS = [
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "additional_tools",
    "namespace",
    "function",
    "custom",
    "web_search",
    "input_text",
    "output_text",
    "input_image",
    "input_file",
    "refusal",
    "user",
    "assistant",
    "developer",
    "auto",
    "required",
    "allowed_tools",
    "json_schema",
    "grammar",
    "{}",
    "data:image/png;base64,AA",
]
scrap = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=8,
)
TOP = [
    "input",
    "tools",
    "tool_choice",
    "reasoning",
    "text",
    "include",
    "store",
    "instructions",
    "stream",
    "temperature",
]


@steady
@given(st.dictionaries(st.sampled_from(TOP), scrap, min_size=1))
def test_no_shape_of_the_known_words_is_raised_on(body: Json) -> None:
    assert isinstance(read_request({"model": "m", **body}), Request | CannotCarry)


@steady
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), scrap, min_size=1), max_size=4))
def test_no_item_is_raised_on(items: list[Json]) -> None:
    body = {"model": "m", "input": [HELLO, *items], "tools": items}
    assert isinstance(read_request(body), Request | CannotCarry)


@steady
@given(any_body("input"))
def test_no_input_is_raised_on(body: dict[str, object]) -> None:
    assert isinstance(read_request(body), Request | CannotCarry)

"""Neutral requests to Chat bodies, after the traits of the provider."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter
from translating import EVERYTHING, request, written

from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    OutputFormat,
    Pin,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from providers.protocols.openai_chat.request_out import write_request
from providers.tool_book import encode
from providers.traits import Traits, traits_of

GROQ = traits_of("groq", "openai/gpt-oss-120b")
CEREBRAS = traits_of("cerebras", "gpt-oss-120b")
CLOUDFLARE = traits_of("cloudflare", "@cf/zai-org/glm-4.7-flash")
UNKNOWN = traits_of("somebody", "model")
SCHEMA = {"$schema": "x", "type": "object", "properties": {"$schema": {"type": "string"}}}
TOOL = Tool("Read", "Reads.", SCHEMA)
ASKED = Message(Role.USER, (Text("go"),))
CALLED = Message(Role.ASSISTANT, (ToolCall("toolu_1", "Read", '{ "p":1}'),))
PICTURE = Image(data="iVBO", media_type="image/png")

_params: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)


def out(asked: Request, traits: Traits = EVERYTHING, **more: Any) -> dict[str, Any]:
    body = written(write_request(asked, "m", traits, **more)).body
    strict = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    _params.validate_python(strict)
    return body


def pin(asked: Request, traits: Traits, **more: Any) -> Pin:
    found = write_request(asked, "m", traits, **more)
    assert isinstance(found, CannotCarry), found
    return found.pin


def answered(*content: Text | Image | File, is_error: bool = False) -> tuple[Message, ...]:
    result = ToolResult("toolu_1", content, is_error)
    return ASKED, CALLED, Message(Role.USER, (Text("and"), result))


def test_a_plain_question() -> None:
    body = out(request(system=("A", "B"), max_tokens=5, stream=True), GROQ)

    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "A\n\nB"},
            {"role": "user", "content": "hi"},
        ],
        "max_completion_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_results_come_right_after_their_calls() -> None:
    messages = out(request(*answered(Text("ok"), is_error=True)))["messages"]

    assert messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "Read", "arguments": '{ "p":1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "[tool error] ok"},
        {"role": "user", "content": "and"},
    ]


def test_pictures_of_results_follow_in_a_user_message() -> None:
    messages = out(request(*answered(Text("see"), PICTURE)))["messages"]

    assert messages[2]["content"] == "see"
    assert messages[3] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "[Attached by tool call toolu_1:]"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
            {"type": "text", "text": "and"},
        ],
    }


def test_an_empty_result_is_an_empty_string() -> None:
    assert out(request(*answered()))["messages"][2]["content"] == ""


def test_documents() -> None:
    text = Message(Role.USER, (File(text="abc", name="T"),))
    pdf = Message(Role.USER, (File(data="JV", media_type="application/pdf"),))

    assert out(request(text), UNKNOWN)["messages"][0]["content"] == "[Document: T]\nabc"
    assert out(request(pdf))["messages"][0]["content"] == [
        {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JV"},
        }
    ]
    assert pin(request(pdf), GROQ) is Pin.FILES


def test_the_shape_of_messages_that_some_servers_need() -> None:
    two = Message(Role.USER, (Text("a"), Text("b")))
    asked = request(two, CALLED, *answered(Text("ok"))[2:], tools=[TOOL])

    normal, flat = out(asked, GROQ)["messages"], out(asked, CLOUDFLARE)["messages"]
    assert normal[0]["content"] == [{"type": "text", "text": t} for t in "ab"]
    assert flat[0]["content"] == "a\n\nb"
    assert (normal[1]["content"], flat[1]["content"]) == (None, "")


def test_instructions_in_the_middle() -> None:
    middle = Message(Role.SYSTEM, (Text("Be brief."),))
    asked = request(ASKED, middle, system=("Help.",))

    assert [m["role"] for m in out(asked)["messages"]] == ["system", "user", "system"]
    developer = out(asked, replace(EVERYTHING, system_role="developer"))["messages"]
    assert [m["role"] for m in developer] == ["developer", "user", "developer"]
    moved = out(asked, replace(EVERYTHING, mid_system=False))["messages"]
    assert moved[0]["content"] == "Help.\n\nBe brief."
    assert len(moved) == 2


PINS: list[tuple[str, Request, Traits, Pin]] = [
    ("picture", request(Message(Role.USER, (PICTURE,))), GROQ, Pin.VISION),
    ("picture of a tool", request(*answered(PICTURE)), GROQ, Pin.VISION),
    ("tools", request(tools=[TOOL]), traits_of("cloudflare", "other"), Pin.TOOLS),
    (
        "too many tools",
        request(tools=[Tool(f"t{n}") for n in range(129)]),
        GROQ,
        Pin.TOOLS,
    ),
    (
        "any tool",
        request(tools=[TOOL], tool_choice=ToolChoice(Choice.REQUIRED)),
        CLOUDFLARE,
        Pin.TOOL_CHOICE,
    ),
    (
        "named tool",
        request(tools=[TOOL], tool_choice=ToolChoice(Choice.NAMED, "Read")),
        CLOUDFLARE,
        Pin.TOOL_CHOICE,
    ),
    ("one call only", request(tools=[TOOL], parallel_tools=False), CEREBRAS, Pin.PARALLEL),
    ("five stops", request(stop=tuple("abcde")), GROQ, Pin.STOP),
    ("schema", request(output_format=OutputFormat(SCHEMA)), CLOUDFLARE, Pin.OUTPUT_FORMAT),
    ("prefill", request(ASKED, Message(Role.ASSISTANT, (Text("So"),))), GROQ, Pin.PREFILL),
    ("nothing", request(Message(Role.USER, ())), GROQ, Pin.MALFORMED),
]


@pytest.mark.parametrize(("name", "asked", "traits", "expected"), PINS)
def test_pins(name: str, asked: Request, traits: Traits, expected: Pin) -> None:
    assert pin(asked, traits) is expected
    if name not in ("prefill", "nothing"):
        written(write_request(asked, "m", EVERYTHING))


def test_the_window_and_the_output_limit() -> None:
    assert pin(request(), GROQ, input_tokens=131_000) is Pin.CONTEXT
    assert out(request(), GROQ, input_tokens=130_000)["max_completion_tokens"] == 1_072
    assert out(request(), GROQ)["max_completion_tokens"] == 65_536
    assert out(request(max_tokens=10**6), CEREBRAS)["max_completion_tokens"] == 32_768
    assert "max_tokens" not in out(request(), UNKNOWN)
    cut = written(write_request(request(max_tokens=10**6), "m", GROQ))
    assert cut.notes.degraded == ("max_tokens",)


def test_tools_and_choices() -> None:
    asked = request(
        tools=[TOOL, Tool("mcp/x.y", schema={}, strict=True)],
        tool_choice=ToolChoice(Choice.NAMED, "mcp/x.y"),
        parallel_tools=False,
    )
    body = out(asked)
    first, second = (tool["function"] for tool in body["tools"])

    # The keyword goes, a property that is called like it stays.
    assert first["parameters"] == {
        "type": "object",
        "properties": {"$schema": {"type": "string"}},
    }
    assert second == {
        "name": body["tool_choice"]["function"]["name"],
        "parameters": {"type": "object", "properties": {}},
        "strict": True,
    }
    assert body["parallel_tool_calls"] is False


def test_strict_is_the_same_on_all_tools_where_it_has_to_be() -> None:
    tools = [Tool("a", strict=True), Tool("b")]
    found = out(request(tools=tools), CEREBRAS)["tools"]

    assert [tool["function"]["strict"] for tool in found] == [False, False]
    assert "strict" not in out(request(tools=tools), GROQ)["tools"][0]["function"]


def test_free_text_tools_become_functions_of_one_string() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    patch = '*** Begin\n\t"x"\n'
    asked = request(
        ASKED,
        Message(Role.ASSISTANT, (ToolCall("c", "patch", patch, is_custom=True),)),
        Message(Role.USER, (ToolResult("c", (Text("ok"),), is_custom=True),)),
        tools=[Tool("patch", "Patches.", is_custom=True, grammar=grammar)],
    )
    body = out(asked)
    function = body["tools"][0]["function"]

    assert "the string argument `input`" in function["description"]
    assert "start: X" in function["description"]
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {
        "input": patch
    }


@pytest.mark.parametrize(
    ("wanted", "traits", "sent"),
    [
        ("medium", GROQ, "medium"),
        ("max", GROQ, "high"),
        ("minimal", GROQ, "low"),
        ("none", GROQ, "low"),
        ("high", CLOUDFLARE, None),
        ("brand_new", GROQ, "medium"),
    ],
)
def test_effort(wanted: str, traits: Traits, sent: str | None) -> None:
    found = written(write_request(request(effort=wanted), "m", traits))

    assert found.body.get("reasoning_effort") == sent
    assert found.notes.degraded == (() if sent == wanted else ("effort",))


def test_unsupported_fields_are_left_out_and_noted() -> None:
    sampling = Sampling(temperature=0.5, presence_penalty=1, top_k=4)
    found = written(write_request(request(sampling=sampling, verbosity="low"), "m", GROQ))

    assert found.body["temperature"] == 0.5
    assert set(found.notes.dropped) == {"presence_penalty", "top_k", "verbosity"}
    assert not set(found.notes.dropped) & found.body.keys()
    newer = written(write_request(request(sampling=sampling), "m", traits_of("openai", "gpt-5.5")))
    assert "temperature" not in newer.body


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (CLOSED | {"additionalProperties": True}, False),
        (CLOSED | {"required": []}, False),
        (CLOSED | {"properties": {"a": {"type": "object"}}}, False),
        (CLOSED | {"properties": {"a": {"type": "array", "items": CLOSED}}}, True),
    ],
)
def test_an_output_schema_is_strict_where_it_can_be(schema: dict[str, Any], strict: bool) -> None:
    found = out(request(output_format=OutputFormat(schema)))["response_format"]["json_schema"]

    assert found == {"name": "answer", "schema": schema, "strict": strict}
    told = out(request(output_format=OutputFormat(schema, "n", not strict)))["response_format"]
    assert told["json_schema"]["strict"] is not strict


def test_the_same_request_gives_the_same_bytes() -> None:
    asked = request(*answered(Text("ok")), tools=[TOOL, Tool("x" * 80), Tool("a.b")])

    assert encode(out(asked)) == encode(out(asked))

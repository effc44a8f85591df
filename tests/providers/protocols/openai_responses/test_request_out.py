from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from agent_bodies import steady
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
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from providers.protocols.openai_responses.request_in import read_request
from providers.protocols.openai_responses.request_out import write_request
from providers.tool_book import encode
from providers.traits import Outgoing, Traits

OPENAI = Traits(
    custom_tools=True,
    strict_tools=True,
    parallel_control=True,
    vision=True,
    files=True,
    json_schema=True,
    efforts=("none", "low", "medium", "high"),
)
HELLO = Message(Role.USER, (Text("hello"),))
PLAIN = Request("asked", (HELLO,))


def write(request: Request, traits: Traits = OPENAI, tokens: int | None = None) -> Outgoing:
    found = write_request(request, "served", traits, input_tokens=tokens)
    assert isinstance(found, Outgoing), found
    return found


def pin(request: Request, traits: Traits = OPENAI, tokens: int | None = None) -> Pin:
    found = write_request(request, "served", traits, input_tokens=tokens)
    assert isinstance(found, CannotCarry), found
    return found.pin


def test_a_plain_request() -> None:
    request = replace(PLAIN, system=("one", "two"), stream=True, effort="max", verbosity="low")
    outgoing = write(request)
    assert outgoing.body == {
        "model": "served",
        "instructions": "one\n\ntwo",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hello"}],
            }
        ],
        "reasoning": {"effort": "high"},
        "text": {"verbosity": "low"},
        "store": False,
        "stream": True,
    }
    assert outgoing.notes.degraded == ("effort",)


def test_calls_and_results_are_items_of_their_own() -> None:
    calls = Message(
        Role.ASSISTANT,
        (Text("I look."), ToolCall("a", "run", '{"x":1}'), ToolCall("b", "patch", "+x\n", True)),
    )
    results = Message(
        Role.USER,
        (
            ToolResult("a", (Text("no"),), is_error=True),
            ToolResult("b", (Text("done"), Image(data="AA", media_type="image/png")), False, True),
            Text("go on"),
        ),
    )
    outgoing = write(replace(PLAIN, messages=(HELLO, calls, results)))
    assert outgoing.body["input"][1:] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "a", "name": "run", "arguments": '{"x":1}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "+x\n"},
        {"type": "function_call_output", "call_id": "a", "output": "[tool error] no"},
        {
            "type": "custom_tool_call_output",
            "call_id": "b",
            "output": [
                {"type": "input_text", "text": "done"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,AA",
                    "detail": "auto",
                },
            ],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "go on"}],
        },
    ]
    assert outgoing.notes.degraded == ("tool_result.is_error",)


def test_a_free_text_tool_is_emulated_where_there_is_none() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    tool = Tool("patch", "No JSON!", is_custom=True, grammar=grammar)
    patch = '*** "x"\n\t\\'
    history = (
        HELLO,
        Message(Role.ASSISTANT, (ToolCall("b", "patch", patch, True),)),
        Message(Role.USER, (ToolResult("b", (Text("done"),), is_custom=True),)),
    )
    choice = ToolChoice(Choice.NAMED, "patch")
    request = Request("m", history, tools=(tool,), tool_choice=choice)
    outgoing = write(request, replace(OPENAI, custom_tools=False))
    (function,) = outgoing.body["tools"]
    assert function["type"] == "function"
    assert "No JSON!" in function["description"]
    assert "start: X" in function["description"]
    assert "`input`" in function["description"]
    assert outgoing.body["tool_choice"] == {"type": "function", "name": "patch"}
    call, result = outgoing.body["input"][1:]
    assert json.loads(call["arguments"]) == {"input": patch}
    assert result["type"] == "function_call_output"
    assert outgoing.book.call("c", "patch", call["arguments"]) == ToolCall(
        "c", "patch", patch, True
    )
    assert "custom_tool" in outgoing.notes.degraded


def test_free_text_tools_keep_their_grammar_where_they_exist() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    tool = Tool("patch", "Edits.", is_custom=True, grammar=grammar)
    request = replace(PLAIN, tools=(tool,), tool_choice=ToolChoice(Choice.NAMED, "patch"))
    body = write(request).body
    assert body["tools"] == [
        {"type": "custom", "name": "patch", "description": "Edits.", "format": grammar}
    ]
    assert body["tool_choice"] == {"type": "custom", "name": "patch"}


def test_functions_say_whether_they_are_strict_and_names_are_legal() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = (
        Tool("run", schema=schema, strict=True),
        Tool("mcp.server/tool", schema=schema),
        Tool("run", schema=schema, namespace="clock"),
    )
    choice = ToolChoice(Choice.NAMED, "run", "clock")
    outgoing = write(replace(PLAIN, tools=tools, tool_choice=choice, parallel_tools=False))
    names = [tool["name"] for tool in outgoing.body["tools"]]
    assert names[0::2] == ["run", "clock__run"]
    assert outgoing.book.call("c", names[1], "{}").name == "mcp.server/tool"
    assert [tool["strict"] for tool in outgoing.body["tools"]] == [True, False, False]
    assert outgoing.body["tool_choice"] == {"type": "function", "name": "clock__run"}
    assert outgoing.body["parallel_tool_calls"] is False


def test_instructions_in_the_middle() -> None:
    late = Message(Role.DEVELOPER, (Text("late"),))
    request = replace(PLAIN, messages=(HELLO, late, HELLO), system=("first",))
    assert [item["role"] for item in write(request).body["input"]] == ["user", "developer", "user"]
    outgoing = write(request, replace(OPENAI, mid_system=False))
    assert outgoing.body["instructions"] == "first\n\nlate"
    assert len(outgoing.body["input"]) == 1
    assert outgoing.notes.degraded == ("system_position",)


def test_a_history_is_repaired() -> None:
    calls = Message(Role.ASSISTANT, (ToolCall("a", "run", "{}"),))
    orphan = Message(Role.USER, (ToolResult("zzz", (Text("late"),)),))
    outgoing = write(replace(PLAIN, messages=(HELLO, calls, orphan)))
    kinds = [item["type"] for item in outgoing.body["input"]]
    assert kinds == ["message", "function_call", "function_call_output", "message"]
    assert set(outgoing.notes.degraded) >= {"orphan_result", "unanswered_call"}


def test_documents() -> None:
    parts = (
        File(text="words", name="a.txt"),
        File(data="JVBE", media_type="application/pdf", name="a.pdf"),
        Image(url="https://pictures.example/a.png", detail="low"),
    )
    (message,) = write(replace(PLAIN, messages=(Message(Role.USER, parts),))).body["input"]
    text, file, image = message["content"]
    assert text["type"] == "input_text"
    assert "words" in text["text"]
    assert "a.txt" in text["text"]
    assert file == {
        "type": "input_file",
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64,JVBE",
    }
    assert image["image_url"] == "https://pictures.example/a.png"
    assert image["detail"] == "low"


def test_output_formats() -> None:
    schema = {"type": "object"}
    outgoing = write(replace(PLAIN, output_format=OutputFormat(schema, strict=False)))
    assert outgoing.body["text"]["format"] == {
        "type": "json_schema",
        "name": "answer",
        "schema": schema,
        "strict": False,
    }
    outgoing = write(replace(PLAIN, output_format=OutputFormat()))
    assert outgoing.body["text"]["format"] == {"type": "json_object"}


def test_limits() -> None:
    traits = replace(OPENAI, max_output=1000, context=10_000)
    assert "max_output_tokens" not in write(PLAIN).body
    assert write(PLAIN, traits).body["max_output_tokens"] == 1000
    assert write(replace(PLAIN, max_tokens=50), traits).body["max_output_tokens"] == 50
    tiny = write(replace(PLAIN, max_tokens=1), traits)
    assert tiny.body["max_output_tokens"] == 16
    assert tiny.notes.degraded == ("max_tokens",)
    assert pin(PLAIN, traits, 10_000) is Pin.CONTEXT


def test_sampling_is_written_or_noted() -> None:
    request = replace(PLAIN, sampling=Sampling(temperature=0.5, top_p=0.9, top_k=3))
    outgoing = write(request)
    assert (outgoing.body["temperature"], outgoing.body["top_p"]) == (0.5, 0.9)
    assert outgoing.notes.dropped == ("top_k",)
    outgoing = write(request, replace(OPENAI, sampling=False))
    assert "temperature" not in outgoing.body
    assert set(outgoing.notes.dropped) == {"top_k", "temperature", "top_p"}


def test_what_a_server_refuses_inside_a_field_is_left_out() -> None:
    told = replace(OPENAI, unsupported=frozenset(["verbosity"]))
    made = write(replace(PLAIN, verbosity="low"), told)
    assert "text" not in made.body
    assert made.notes.dropped == ("verbosity",)


def test_what_a_server_refuses_is_left_out() -> None:
    traits = replace(OPENAI, unsupported=frozenset(["store"]), extra={"service_tier": "auto"})
    outgoing = write(PLAIN, traits)
    assert "store" not in outgoing.body
    assert outgoing.body["service_tier"] == "auto"
    assert outgoing.notes.dropped == ("store",)


TOOLS = (Tool("run"),)


@pytest.mark.parametrize(
    ("request_", "traits", "expected"),
    [
        (replace(PLAIN, stop=("x",)), OPENAI, Pin.STOP),
        (replace(PLAIN, tools=TOOLS), replace(OPENAI, tools=False), Pin.TOOLS),
        (replace(PLAIN, tools=TOOLS * 3), replace(OPENAI, max_tools=2), Pin.TOOLS),
        (
            replace(PLAIN, tools=TOOLS, tool_choice=ToolChoice(Choice.REQUIRED)),
            replace(OPENAI, tool_choices=frozenset(["auto"])),
            Pin.TOOL_CHOICE,
        ),
        (
            replace(PLAIN, tools=TOOLS, parallel_tools=False),
            replace(OPENAI, parallel_control=False),
            Pin.PARALLEL,
        ),
        (
            replace(PLAIN, messages=(Message(Role.USER, (Image(url="https://x"),)),)),
            replace(OPENAI, vision=False),
            Pin.VISION,
        ),
        (
            replace(
                PLAIN,
                messages=(Message(Role.USER, (File(data="x", media_type="application/pdf"),)),),
            ),
            replace(OPENAI, files=False),
            Pin.FILES,
        ),
        (
            replace(PLAIN, output_format=OutputFormat({"type": "object"})),
            replace(OPENAI, json_schema=False),
            Pin.OUTPUT_FORMAT,
        ),
        (
            replace(PLAIN, messages=(HELLO, Message(Role.ASSISTANT, (Text("Once"),)))),
            OPENAI,
            Pin.PREFILL,
        ),
        (replace(PLAIN, messages=()), OPENAI, Pin.MALFORMED),
    ],
)
def test_what_cannot_be_carried(request_: Request, traits: Traits, expected: Pin) -> None:
    assert pin(request_, traits) is expected


# ---------------------------------------------------------------------- round trips

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
names = st.sampled_from(["run", "read_file", "edit"])
objects = st.dictionaries(words, st.integers() | words, max_size=3)
texts = st.builds(Text, words)


@st.composite
def tool_turns(draw: st.DrawFn, number: int) -> tuple[Message, Message]:
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    for index in range(draw(st.integers(1, 3))):
        call_id, is_custom = f"call_{number}_{index}", draw(st.booleans())
        name = "patch" if is_custom else draw(names)
        arguments = draw(words) if is_custom else encode(draw(objects)).decode()
        calls.append(ToolCall(call_id, name, arguments, is_custom))
        content = draw(st.lists(texts, max_size=1).map(tuple))
        results.append(ToolResult(call_id, content, is_custom=is_custom))
    said = draw(st.lists(texts | st.builds(Refusal, words), max_size=2))
    after = draw(st.lists(texts, max_size=2))
    return Message(Role.ASSISTANT, (*said, *calls)), Message(Role.USER, (*results, *after))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    messages = [Message(Role.USER, tuple(draw(st.lists(texts, min_size=1, max_size=2))))]
    for number in range(draw(st.integers(0, 3))):
        messages += draw(tool_turns(number))
        if draw(st.booleans()):
            messages.append(Message(Role.DEVELOPER, (draw(texts),)))
            messages.append(Message(Role.USER, (draw(texts),)))
    tools = (
        Tool("run", "Runs.", {"type": "object", "properties": {}}, draw(st.booleans())),
        Tool("patch", None, is_custom=True),
    )
    return Request(
        model="served",
        messages=tuple(messages),
        system=tuple(draw(st.lists(words, max_size=1))),
        tools=tools,
        tool_choice=draw(st.sampled_from([None, ToolChoice(Choice.NAMED, "run")])),
        parallel_tools=draw(st.sampled_from([None, True, False])),
        max_tokens=draw(st.none() | st.integers(16, 9999)),
        sampling=Sampling(temperature=draw(st.none() | st.floats(0, 2))),
        effort=draw(st.sampled_from([None, "none", "low", "high"])),
        verbosity=draw(st.sampled_from([None, "low"])),
        output_format=draw(
            st.sampled_from([None, OutputFormat(), OutputFormat({"type": "object"}, "n", True)])
        ),
        stream=draw(st.booleans()),
    )


@steady
@given(requests())
def test_what_is_written_is_read_back(request: Request) -> None:
    body: Any = json.loads(encode(write(request).body))
    assert read_request(body) == request

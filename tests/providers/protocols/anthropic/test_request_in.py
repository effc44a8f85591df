"""Messages requests to neutral ones: what is carried, dropped, and what stays with the vendor."""

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
    Pin,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from providers.protocols.anthropic.request_in import read_request

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "hi"}
PNG: Json = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
}
CALL: Json = {"type": "tool_use", "id": "toolu_01A", "name": "Read", "input": {"b": 1, "a": [2]}}


def body(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "max_tokens": 9, "messages": list(messages) or [USER]} | fields


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def result(content: Any = "ok", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": "toolu_01A", "content": content} | more


def called(*results: Json) -> Json:
    return body(USER, {"role": "assistant", "content": [CALL]}, user(*results))


def parts(found: Request | CannotCarry, at: int = 0) -> tuple[Any, ...]:
    return carried(found).messages[at].parts


def test_a_plain_question() -> None:
    request = carried(read_request(body(stream=True, temperature=0.5, top_p=1, top_k=3)))

    assert request.messages == (Message(Role.USER, (Text("hi"),)),)
    assert (request.model, request.max_tokens, request.stream) == ("m", 9, True)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 1, 3)
    assert request.notes.dropped == request.notes.degraded == ()


def test_the_system_prompt_without_the_accounting_line() -> None:
    blocks = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cc_entrypoint=cli;"},
        {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}},
    ]
    request = carried(read_request(body(system=blocks)))

    assert request.system == ("You help.",)
    assert set(request.notes.dropped) == {"attribution", "cache_control"}
    assert carried(read_request(body(system="One."))).system == ("One.",)


def test_instructions_in_the_middle_keep_their_place() -> None:
    middle = {"role": "system", "content": [], "output_config": {"effort": "high"}}
    request = carried(read_request(body(USER, middle, output_config={"effort": "low"})))

    assert [message.role for message in request.messages] == [Role.USER, Role.SYSTEM]
    assert request.effort == "high"


def test_calls_and_results() -> None:
    request = carried(read_request(called(result(is_error=True), {"type": "text", "text": "and"})))

    assert request.messages[1].parts == (ToolCall("toolu_01A", "Read", '{"b":1,"a":[2]}'),)
    answer = ToolResult("toolu_01A", (Text("ok"),), is_error=True)
    assert request.messages[2].parts == (answer, Text("and"))
    assert request.call_ids == {"toolu_01A"}


def test_ids_that_came_from_another_provider_are_read_back() -> None:
    coded = {"type": "tool_use", "id": "toolu_gw0call_9", "name": "f", "input": {}}
    request = read_request(
        body(
            USER,
            {"role": "assistant", "content": [coded]},
            user(result() | {"tool_use_id": "toolu_gw0call_9"}),
        )
    )
    assert carried(request).call_ids == {"call_9"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", (Text(""),)),
        (None, ()),
        ([PNG], (Image(data="iVBO", media_type="image/png"),)),
        ([{"type": "text", "text": "a"}, PNG], (Text("a"), Image(None, "iVBO", "image/png"))),
        (
            [{"type": "search_result", "source": "s", "title": "t", "content": []}],
            (File(text="", name="t (s)"),),
        ),
    ],
)
def test_contents_of_results(content: Any, expected: tuple[Any, ...]) -> None:
    found = parts(read_request(called(result(content))), 2)[0]

    assert isinstance(found, ToolResult)
    assert found.content == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "abc"}, File(text="abc", name="T")),
        (
            {"type": "base64", "media_type": "application/pdf", "data": "JVB"},
            File(data="JVB", media_type="application/pdf", name="T"),
        ),
        ({"type": "content", "content": [{"type": "text", "text": "x"}]}, File(text="x", name="T")),
        ({"type": "content", "content": "y"}, File(text="y", name="T")),
    ],
)
def test_documents(source: Json, expected: File) -> None:
    document = {"type": "document", "title": "T", "source": source}

    assert parts(read_request(body(user(document)))) == (expected,)


def test_thinking_is_dropped_and_so_are_cache_marks() -> None:
    said = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "yes", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    request = carried(read_request(body(USER, {"role": "assistant", "content": said}, USER)))

    assert request.messages[1].parts == (Text("yes"),)
    assert request.notes.dropped == ("thinking", "cache_control")


@pytest.mark.parametrize(
    ("choice", "mode", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(Choice.AUTO), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(Choice.REQUIRED), False),
        ({"type": "none"}, ToolChoice(Choice.NONE), None),
        (
            {"type": "tool", "name": "f", "disable_parallel_tool_use": False},
            ToolChoice(Choice.NAMED, "f"),
            True,
        ),
    ],
)
def test_tool_choice(choice: Json, mode: ToolChoice, parallel: bool | None) -> None:
    request = carried(read_request(body(tool_choice=choice)))

    assert (request.tool_choice, request.parallel_tools) == (mode, parallel)


def test_tools() -> None:
    schema = {"type": "object", "$schema": "x"}
    tools = [
        {"name": "a", "description": "A", "input_schema": schema, "strict": True},
        {"name": "b", "type": "custom", "input_schema": {}, "cache_control": {"type": "ephemeral"}},
        {"name": "late", "input_schema": schema, "defer_loading": True},
    ]
    request = carried(read_request(body(tools=tools)))

    assert request.tools == (Tool("a", "A", schema, True), Tool("b", schema={}))
    assert request.notes.degraded == ("deferred_tools",)
    assert request.notes.dropped == ("cache_control",)


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "none"),
        ({"thinking": {"type": "enabled", "budget_tokens": 3999}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 15999}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16000}}, "high"),
    ],
)
def test_thinking_becomes_effort(fields: Json, effort: str | None) -> None:
    assert carried(read_request(body(**fields))).effort == effort


def test_the_output_format() -> None:
    schema = {"type": "object"}
    found = carried(
        read_request(body(output_config={"format": {"type": "json_schema", "schema": schema}}))
    )
    assert found.output_format == OutputFormat(schema=schema)


HARMLESS: dict[str, Any] = {
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "speed": "fast",
    "cache_control": {"type": "ephemeral"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_fields_are_dropped_and_noted(name: str) -> None:
    assert carried(read_request(body(**{name: HARMLESS[name]}))).notes.dropped == (name,)


def test_safeguards_are_noted_as_a_loss() -> None:
    found = carried(read_request(body(safeguards=[{"type": "dangerous_tool_use"}])))

    assert found.notes.degraded == ("safeguards",)


PINS: list[tuple[Any, Pin, str]] = [
    ([], Pin.MALFORMED, "body"),
    ({"model": "m"}, Pin.MALFORMED, "messages"),
    (body(messages=[]), Pin.MALFORMED, "messages"),
    (body({"role": "tool", "content": ""}), Pin.MALFORMED, "messages.role"),
    (body({"role": "user", "content": 3}), Pin.MALFORMED, "messages.content"),
    (body({"role": "user", "content": "", "x": 1}), Pin.UNKNOWN_FIELD, "messages.x"),
    (body(brand_new=1), Pin.UNKNOWN_FIELD, "brand_new"),
    (body(mcp_servers=[{}]), Pin.NATIVE_FIELD, "mcp_servers"),
    (body(container={"id": "c"}), Pin.NATIVE_FIELD, "container"),
    (body(inference_geo="us"), Pin.NATIVE_FIELD, "inference_geo"),
    (
        body(context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}),
        Pin.NATIVE_FIELD,
        "context_management.clear_tool_uses_20250919",
    ),
    (body(output_config={"task_budget": {}}), Pin.NATIVE_FIELD, "output_config.task_budget"),
    (body(output_config={"format": {"type": "regex"}}), Pin.OUTPUT_FORMAT, "output_config.format"),
    (body(max_tokens=0), Pin.PREWARM, "max_tokens"),
    (body(USER, {"role": "assistant", "content": "So"}), Pin.PREFILL, "messages"),
    (body(tools=[{"type": "web_search_20250305", "name": "w"}]), Pin.SERVER_TOOL, "web_search"),
    (body(tools=[{"type": "bash_20250124", "name": "bash"}]), Pin.SERVER_TOOL, "bash_20250124"),
    (body(tools=[{"name": "a", "brand_new": 1}]), Pin.UNKNOWN_FIELD, "tools.brand_new"),
    (
        body(tools=[{"name": "a", "allowed_callers": ["code_execution_20250825"]}]),
        Pin.NATIVE_FIELD,
        "tools.allowed_callers",
    ),
    (body(tool_choice={"type": "mystery"}), Pin.TOOL_CHOICE, "tool_choice.mystery"),
    (body(user({"type": "hologram"})), Pin.UNKNOWN_PART, "hologram"),
    (body(user({"type": "text", "text": "x", "new": 1})), Pin.UNKNOWN_FIELD, "text.new"),
    (body(user({"type": "image", "source": {"type": "file"}})), Pin.NATIVE_PART, "image.file"),
    (body(user({"type": "document", "source": {"type": "url"}})), Pin.NATIVE_PART, "document.url"),
    (
        body(user({"type": "document", "citations": {"enabled": True}, "source": {}})),
        Pin.NATIVE_PART,
        "document.citations",
    ),
    (body(user(CALL)), Pin.MALFORMED, "user.tool_use"),
    (body(USER, {"role": "system", "content": [PNG]}), Pin.NATIVE_PART, "system.image"),
    (
        body(USER, {"role": "assistant", "content": [{"type": "server_tool_use"}]}, USER),
        Pin.UNKNOWN_PART,
        "server_tool_use",
    ),
    (
        body(USER, {"role": "assistant", "content": [CALL | {"toolset_name": "x"}]}, USER),
        Pin.NATIVE_PART,
        "tool_use.toolset_name",
    ),
    (
        body(USER, {"role": "assistant", "content": [CALL | {"caller": {"type": "code"}}]}, USER),
        Pin.NATIVE_PART,
        "tool_use.caller",
    ),
    (
        called(result([{"type": "tool_reference", "tool_name": "W"}])),
        Pin.NATIVE_PART,
        "tool_result.tool_reference",
    ),
]


@pytest.mark.parametrize(("found", "pin", "detail"), PINS)
def test_pins(found: Any, pin: Pin, detail: str) -> None:
    answer = read_request(found)

    assert isinstance(answer, CannotCarry)
    assert answer.pin is pin
    assert answer.detail.startswith(detail)


@settings(max_examples=60, deadline=None)
@given(any_json)
def test_no_body_raises(found: Any) -> None:
    for whole in (found, body(messages=found), body(found), body(tools=found), body(system=found)):
        assert isinstance(read_request(whole), Request | CannotCarry)

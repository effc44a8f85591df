from __future__ import annotations

import json

import pytest
from agent_bodies import (
    any_body,
    any_json,
    assistant,
    encode,
    main_turn,
    steady,
    text,
    tool,
    tool_result,
    tool_use,
    user,
)
from hypothesis import given
from msgspec import Raw

from providers.protocols.anthropic.request import (
    BadRequest,
    read_message,
    read_request,
    replace_model,
)


def test_the_top_level_is_read() -> None:
    body = encode(
        main_turn(
            user("hello"),
            tool_choice={"type": "tool", "name": "Read"},
            tools=[
                tool("Read"),
                tool("mcp__files__list", defer_loading=True),
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            output_config={
                "effort": "high",
                "format": {"type": "json_schema", "schema": {"properties": {"title": {}}}},
            },
            metadata={"user_id": json.dumps({"session_id": "s-1", "device_id": "d"})},
            cache_control={"type": "ephemeral", "ttl": "1h"},
            a_field_from_the_future=1,
        )
    )
    request = read_request(body)
    assert (request.model, request.stream, request.max_tokens) == ("claude-opus-5-5", True, 128000)
    assert (request.thinking, request.effort, request.cache_ttl) == ("adaptive", "high", "1h")
    assert request.tool_choice_label == "tool:Read"
    assert (request.output_format, request.output_keys) == ("json_schema", ("title",))
    assert request.session_id == "s-1"
    assert request.unknown_fields == ("a_field_from_the_future",)
    assert request.body_size == len(body)
    assert [(t.name, t.type, t.deferred, t.is_mcp) for t in request.tools] == [
        ("Read", None, False, False),
        ("mcp__files__list", None, True, True),
        ("web_search", "web_search_20250305", False, False),
    ]
    assert request.tools[0].size == len(encode(tool("Read")))
    assert len(request.system) == 3
    assert request.system[2].text == "\nYou are an agent working with the user."


def test_a_string_system_is_one_block() -> None:
    request = read_request(encode({"model": "m", "messages": [], "system": "Be brief."}))
    assert [block.text for block in request.system] == ["Be brief."]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": []}, "model", "'model' is missing"),
        ({"model": 5, "messages": []}, "model", "'model' must be a string"),
        ({"model": None, "messages": []}, "model", "'model' must be a string"),
        ({"model": "m"}, "messages", "'messages' is missing"),
        ({"model": "m", "messages": "hi"}, "messages", "'messages' must be a list"),
        ({"model": "m", "messages": None}, "messages", "'messages' must be a list"),
    ],
)
def test_what_is_missing_is_named(body: object, param: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        read_request(encode(body))
    assert caught.value.param == param


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": "many", "stream": "yes", "thinking": 3, "tool_choice": "auto"},
        {"tools": {"a": 1}, "system": 7, "metadata": [], "output_config": "x"},
        {"tools": [1, None, "t", {}, {"name": 3, "type": []}], "system": [1, {"text": None}]},
        {"max_tokens": 10**400, "metadata": {"user_id": 5}},
        {},
    ],
)
def test_odd_fields_read_as_absent(extra: dict[str, object]) -> None:
    request = read_request(encode({"model": "m", "messages": [], **extra}))
    assert (request.max_tokens, request.stream, request.thinking) == (None, False, None)
    assert (request.user_id, request.session_id, request.tool_choice_label) == (None, None, None)
    assert all(block.text == "" for block in request.system)


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        ('{"session_id": "abc"}', "abc"),
        ("user_0f_account_aa_session_0000-4000-a", "0000-4000-a"),
        ("{broken", None),
        ('{"session_id": 5}', None),
        ("somebody", None),
        ("", None),
    ],
)
def test_the_session_is_found_in_both_shapes(user_id: str, session: str | None) -> None:
    body = {"model": "m", "messages": [], "metadata": {"user_id": user_id}}
    assert read_request(encode(body)).session_id == session


def read(message: object) -> list[tuple[str, object]]:
    return [(b.type, b.text or b.content) for b in read_message(Raw(encode(message))).blocks]


def test_messages_are_opened_block_by_block() -> None:
    assert read(user("hi")) == [("text", "hi")]
    assert read({"role": "system", "content": []}) == []
    assert read({"role": "user"}) == []
    assert read({"role": "user", "content": None}) == []
    assert read(assistant(text("a"), tool_use())) == [("text", "a"), ("tool_use", None)]
    parts = [{"type": "tool_reference", "tool_name": "X"}]
    assert read(user(tool_result(parts))) == [("tool_result", parts)]


def test_one_odd_block_does_not_hide_its_neighbours() -> None:
    message = {"role": "user", "content": [text("a"), 5, "loose", tool_result(), {"type": "new"}]}
    assert [kind for kind, _ in read(message)] == [
        "text",
        "unknown",
        "unknown",
        "tool_result",
        "new",
    ]
    huge = b'{"role":"user","content":[{"type":"tool_result","content":[1e999]},{"type":"text"}]}'
    assert [b.type for b in read_message(Raw(huge)).blocks] == ["tool_result", "text"]
    assert [b.type for b in read_message(Raw(b"5")).blocks] == ["unknown"]
    assert [b.type for b in read_message(Raw(b'{"role":1,"content":{}}')).blocks] == ["unknown"]


def refusal(body: object) -> str | None:
    try:
        read_request(encode(body))
    except BadRequest as error:
        return str(error)
    return None


@steady
@given(any_json)
def test_only_a_bad_request_is_ever_raised(body: object) -> None:
    words = refusal(body)
    if words is None:
        assert isinstance(body, dict)
        assert isinstance(body["model"], str)
    else:
        assert words.endswith(".")


@steady
@given(any_body("messages"))
def test_any_body_with_model_and_messages_is_read(body: dict[str, object]) -> None:
    request = read_request(encode(body))
    assert request.model == body["model"]
    messages = body["messages"]
    assert isinstance(messages, list)
    assert [json.loads(bytes(raw)) for raw in request.messages] == messages
    for raw in request.messages:
        assert isinstance(read_message(raw).role, str)
    assert json.loads(replace_model(encode(body), "new")) == {**body, "model": "new"}

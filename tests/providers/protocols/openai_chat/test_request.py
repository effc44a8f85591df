from __future__ import annotations

import json

import pytest
from agent_bodies import any_body, any_json, encode, steady
from hypothesis import given

from providers.protocols.openai_chat.request import BadRequest, read_message, read_request


def test_the_top_level_is_read() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "functions": [{"name": "older"}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "max_tokens": 5,
        "max_completion_tokens": 7,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"schema": {"properties": {"ok": {}}}},
        },
    }
    request = read_request(encode(body))
    assert (request.model, request.stream, request.max_tokens) == ("m", False, 7)
    assert [(tool.type, tool.name) for tool in request.tools] == [
        ("function", "look"),
        (None, "older"),
    ]
    assert request.tool_choice_label == "function:look"
    assert request.reasoning == "low"
    assert (request.output_format, request.output_keys) == ("json_schema", ("ok",))


def test_the_older_limit_counts_when_it_is_alone() -> None:
    assert read_request(encode({"model": "m", "messages": [], "max_tokens": 5})).max_tokens == 5


@pytest.mark.parametrize(
    ("choice", "label"), [("required", "required"), ({"name": "f"}, "function:f"), (5, None)]
)
def test_tool_choices_have_a_label(choice: object, label: str | None) -> None:
    request = read_request(encode({"model": "m", "messages": [], "function_call": choice}))
    assert request.tool_choice_label == label


@pytest.mark.parametrize(
    ("body", "param"), [({"messages": []}, "model"), ({"model": "m", "messages": {}}, "messages")]
)
def test_what_is_missing_is_named(body: object, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_request(encode(body))
    assert caught.value.param == param


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
    assert [json.loads(bytes(raw)) for raw in request.messages] == body["messages"]
    for raw in request.messages:
        read_message(raw)

from __future__ import annotations

import json

import pytest
from agent_bodies import any_body, any_json, codex_turn, encode, item, steady
from hypothesis import given
from msgspec import Raw

from providers.protocols.openai_responses.request import (
    BadRequest,
    read_item,
    read_request,
    replace_model,
)


def test_the_top_level_is_read() -> None:
    body = codex_turn(
        item("user", "hello"),
        metadata={"request_kind": "turn"},
        instructions="Be brief.",
        reasoning={"effort": "low"},
        max_output_tokens=99,
        prompt_cache_key="k",
        text={"format": {"type": "json_schema", "schema": {"properties": {"ok": {}}}}},
    )
    request = read_request(encode(body))
    assert (request.model, request.stream, request.max_tokens) == ("gpt-5.5", True, 99)
    assert (request.instructions, request.reasoning) == ("Be brief.", "low")
    assert (request.tool_choice_label, request.prompt_cache_key) == ("auto", "k")
    assert (request.output_format, request.output_keys) == ("json_schema", ("ok",))
    assert request.turn_metadata == {"request_kind": "turn"}
    assert [read_item(raw).role for raw in request.items] == ["developer", "user", "user"]


def test_tools_are_found_at_the_top_in_namespaces_and_in_an_item() -> None:
    search = {"type": "web_search"}
    run = {"type": "custom", "name": "exec"}
    wait = {"type": "function", "name": "wait", "defer_loading": True}
    namespace = {"type": "namespace", "name": "functions", "tools": [run, wait]}
    extra = {"type": "additional_tools", "role": "developer", "tools": [namespace]}
    request = read_request(encode({"model": "m", "input": [extra], "tools": [search]}))
    assert [(t.type, t.name, t.deferred) for t in request.tools] == [
        ("web_search", "", False),
        ("custom", "exec", False),
        ("function", "wait", True),
    ]


def test_a_string_input_is_one_user_message() -> None:
    request = read_request(encode({"model": "m", "input": 'say "hi"'}))
    (only,) = request.items
    assert (read_item(only).role, read_item(only).content) == ("user", 'say "hi"')


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_input_is_no_items(empty: object) -> None:
    assert read_request(encode({"model": "m", "input": empty})).items == ()
    assert read_request(encode({"model": "m"})).items == ()


def test_a_stored_prompt_may_bring_the_model() -> None:
    assert read_request(encode({"prompt": {"id": "p"}})).model == ""


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "model"),
        ({"model": 1}, "model"),
        ({"model": "m", "input": 123456}, "input"),
    ],
)
def test_what_is_missing_is_named(body: object, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_request(encode(body))
    assert caught.value.param == param


def test_items_without_a_type_are_messages() -> None:
    assert read_item(Raw(b'{"role":"user","content":"x"}')).kind == "message"
    assert read_item(Raw(b"{}")).kind == "unknown"
    assert read_item(Raw(b"[]")).kind == "unknown"
    assert read_item(Raw(b'{"type":"reasoning","content":[1e999]}')).kind == "reasoning"


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
        assert isinstance(body["model"], str) or "prompt" in body
    else:
        assert words.endswith(".")


@steady
@given(any_body("input"))
def test_any_body_with_model_and_input_is_read(body: dict[str, object]) -> None:
    request = read_request(encode(body))
    assert [json.loads(bytes(raw)) for raw in request.items] == body["input"]
    for raw in request.items:
        assert read_item(raw).kind
    assert json.loads(replace_model(encode(body), "new")) == {**body, "model": "new"}

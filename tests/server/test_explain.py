from __future__ import annotations

import json
from typing import Any

import pytest
from agent_bodies import (
    Json,
    any_json,
    assistant,
    codex_turn,
    encode,
    item,
    main_turn,
    steady,
    tool_result,
    tool_use,
    user,
)
from hypothesis import given

from providers.protocols.peek import BadRequest
from providers.types import Protocol
from server.explain import explain

STEP = main_turn(user("go"), assistant(tool_use()), user(tool_result()))
CHAT: Json = {"model": "gpt", "messages": [user("hi")], "max_completion_tokens": 5}


def test_the_answer_has_the_documented_keys() -> None:
    answer = explain({"request": STEP, "protocol": "anthropic-messages"})
    assert answer["route"] == "tool_loop"
    assert answer["kind"] == "tool_step"
    assert answer["offload"] is False
    assert answer["confidence"] > 0.9
    assert answer["confidenceLevel"] == "high"
    assert answer["reasons"]
    assert answer["decision"] == {
        "provider": "anthropic",
        "model": "claude-opus-5-5",
        "pinnedBy": "tool_result",
    }
    assert answer["estimatedInputTokens"] == sum(answer["estimates"].values()) > 0
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    ("body", "protocol", "provider"),
    [
        (STEP, "anthropic-messages", "anthropic"),
        ({"model": "m", "messages": []}, "anthropic-messages", "anthropic"),
        (
            {"model": "m", "messages": [user("hi")], "max_tokens": 9},
            "anthropic-messages",
            "anthropic",
        ),
        (codex_turn(item("user", "hi")), "openai-responses", "openai"),
        ({"model": "m", "input": "hi"}, "openai-responses", "openai"),
        (CHAT, "openai-chat", "openai"),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "openai-chat", "openai"),
        (
            {"model": "m", "messages": [], "tools": [{"type": "function", "function": {}}]},
            "openai-chat",
            "openai",
        ),
    ],
)
def test_a_bare_body_is_known_by_its_shape(body: Json, protocol: str, provider: str) -> None:
    bare, wrapped = explain(encode(body)), explain({"request": body})
    assert bare == wrapped == explain(body) == explain(encode(body).decode())
    assert (bare["protocol"], bare["decision"]["provider"]) == (protocol, provider)


def test_a_named_protocol_is_not_guessed() -> None:
    body = {"model": "m", "messages": [user("hi")]}
    assert explain({"request": body, "protocol": "openai-chat"})["protocol"] == "openai-chat"


def test_a_body_that_has_a_field_called_request_is_a_body() -> None:
    assert explain({**CHAT, "request": {"model": "x"}})["protocol"] == "openai-chat"


def test_the_decision_can_come_from_the_gateway() -> None:
    asked: list[tuple[str, str, bool]] = []

    def decide(protocol: Protocol, route: str, kind: str, offload: bool) -> dict[str, Any]:
        assert protocol is Protocol.CHAT
        asked.append((route, kind, offload))
        return {"provider": "groq", "model": None if len(asked) == 1 else "small"}

    assert explain(CHAT, decide)["decision"] == {"provider": "groq", "model": "gpt"}
    assert explain(CHAT, decide)["decision"] == {"provider": "groq", "model": "small"}
    assert asked == [("fallback_safe", "user_turn", False)] * 2


def test_explaining_looks_at_the_body_alone() -> None:
    assert explain(STEP)["kind"] == "tool_step"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "JSON object"),
        ({}, "'model' is missing"),
        ({"request": []}, "JSON object"),
        ({"request": {"messages": []}}, "'model' is missing"),
        ({"request": STEP, "protocol": "grpc"}, "protocol must be one of 'anthropic-messages'"),
        ({"request": STEP, "protocol": 5}, "protocol must be one of"),
        ({"request": STEP, "protocol": "openai-responses"}, None),
        ({"model": {1, 2}.__class__}, "cannot be written as JSON"),
    ],
)
def test_what_cannot_be_explained_says_why(payload: Any, words: str | None) -> None:
    if words is None:
        assert explain(payload)["kind"] == "unknown"
        return
    with pytest.raises(BadRequest, match=words):
        explain(payload)


@steady
@given(any_json)
def test_only_a_bad_request_is_ever_raised(payload: Any) -> None:
    try:
        answer = explain(encode(payload))
    except BadRequest:
        return
    assert answer["offload"] in (True, False)

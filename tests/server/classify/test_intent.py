from __future__ import annotations

import json
from typing import Any

import pytest
from agent_bodies import (
    AGENT_TOOLS,
    Json,
    any_body,
    assistant,
    background_call,
    codex_turn,
    encode,
    item,
    main_turn,
    steady,
    text,
    tool,
    tool_result,
    tool_use,
    user,
)
from hypothesis import given

from providers.protocols.anthropic.request import read_request
from providers.types import Protocol
from server.classify import ROUTES, ClientFacts, Intent, Score, classify
from server.classify import kinds as kinds_module
from server.classify.intent import confidence_level
from server.classify.outline import Outline
from server.explain import read_as

CLAUDE = ClientFacts(client="claude-code", is_known_agent=True, session="s-1", agent_id="a-1")
RENAME = background_call("Generate a short kebab-case name for this.", "conversation")


def eager(request: Outline) -> Score:
    """A scorer that would let everything go."""
    return Score("code_draft", offload=True, confidence=0.7, reason="It asks for code.")


def intent(body: Json, facts: ClientFacts | None = None) -> Intent:
    protocol = Protocol.RESPONSES if "input" in body else Protocol.MESSAGES
    return classify(read_as(protocol, encode(body)), facts, eager)


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}
PINNED: dict[str, tuple[str, Json]] = {
    "image": ("image", main_turn(user(text("see"), IMAGE))),
    "image in an earlier result": (
        "image",
        main_turn(
            user("go"),
            assistant(tool_use()),
            user(tool_result([IMAGE])),
            assistant("ok"),
            user("so"),
        ),
    ),
    "document": ("document", main_turn(user(text("read"), {"type": "document", "source": {}}))),
    "server tool": (
        "server_tool",
        main_turn(user("hi"), tools=[*AGENT_TOOLS, {"type": "code_execution_1", "name": "run"}]),
    ),
    "mcp at the vendor": ("server_tool", main_turn(user("hi"), mcp_servers=[{"url": "u"}])),
    "server tool in the history": (
        "server_tool",
        main_turn(user("hi"), assistant({"type": "server_tool_use", "id": "s"}), user("more")),
    ),
    "its result": (
        "server_tool",
        main_turn(user("hi"), assistant({"type": "web_search_tool_result"}), user("more")),
    ),
    "forced tool": ("forced_tool", main_turn(user("hi"), tool_choice={"type": "any"})),
    "named tool": ("forced_tool", main_turn(user("hi"), tool_choice={"type": "tool", "name": "x"})),
    "structured output": (
        "structured_output",
        main_turn(user("hi"), tools=[tool("StructuredOutput")]),
    ),
    "signed thinking": (
        "signed_thinking",
        main_turn(
            user("hi"),
            assistant({"type": "thinking", "thinking": "hm", "signature": "abc"}, text("ok")),
            user("more"),
        ),
    ),
    "hidden thinking": (
        "signed_thinking",
        main_turn(user("hi"), assistant({"type": "redacted_thinking", "data": "x"}), user("more")),
    ),
    "unknown block": ("unknown_block", main_turn(user(text("a"), {"type": "hologram"}))),
    "container": ("vendor_state", main_turn(user("hi"), container="c-1")),
    "codex web search": (
        "server_tool",
        codex_turn(item("user", "hi"), tools=[{"type": "web_search"}]),
    ),
    "codex reasoning": (
        "signed_thinking",
        codex_turn(
            {"type": "reasoning", "summary": [], "encrypted_content": "abc"},
            item("assistant", "ok"),
            item("user", "more"),
        ),
    ),
    "codex previous response": (
        "vendor_state",
        codex_turn(item("user", "hi"), previous_response_id="r-1"),
    ),
    "codex unknown item": ("unknown_block", codex_turn({"type": "hologram"}, item("user", "hi"))),
    "codex image": (
        "image",
        codex_turn({"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}),
    ),
    "codex required": ("forced_tool", codex_turn(item("user", "hi"), tool_choice="required")),
}


@pytest.mark.parametrize(("pin", "body"), PINNED.values(), ids=PINNED)
def test_what_only_the_vendor_can_do_stays_there(pin: str, body: Json) -> None:
    found = intent(body)
    assert (found.pinned_by, found.offload) == (pin, False)
    assert len(found.reasons) >= 2


@pytest.mark.parametrize(
    "body",
    [
        main_turn(user("hi")),
        main_turn(user("hi"), tool_choice={"type": "auto"}, container=None),
        main_turn(user("hi"), assistant({"type": "thinking", "thinking": "hm"}), user("more")),
        main_turn(
            user("go"), assistant(tool_use()), user(tool_result()), assistant("ok"), user("so")
        ),
        codex_turn(item("user", "hi"), background=False, previous_response_id=None),
    ],
)
def test_an_ordinary_turn_is_not_pinned_and_the_scorer_decides(body: Json) -> None:
    found = intent(body)
    assert (found.route, found.offload, found.pinned_by) == ("code_draft", True, None)
    assert (found.confidence, found.confidence_level) == (0.7, "medium")
    assert found.reasons[0] == "It asks for code."


@pytest.mark.parametrize(
    "body",
    [
        main_turn(user("x" * 48_001)),
        main_turn(user("go"), assistant(tool_use()), user(tool_result())),
        main_turn(user("hi"), system="You are a file search specialist for Claude Code."),
        main_turn(user("hi"), assistant("Shall I?"), user("yes")),
        main_turn(user("<bash-input>ls</bash-input>")),
        main_turn(user("hi"), max_tokens=0),
    ],
)
def test_no_scorer_overrules_structure_or_kind(body: Json) -> None:
    assert not intent(body).offload


def test_the_default_scorer_reads_the_words() -> None:
    found = classify(read_request(encode(main_turn(user("What is a mutex?")))), None)
    assert (found.route, found.kind, found.offload) == ("summary", "user_turn", True)
    assert found.reasons[:2] == (
        "The message asks for an explanation or a summary.",
        "It asks for general knowledge.",
    )
    assert found.features["says_explain"] == 1
    greeting = classify(read_request(encode(main_turn(user("hi")))), None)
    assert (greeting.route, greeting.offload) == ("fallback_safe", False)


def test_a_program_may_use_another_vendor_but_not_for_what_never_leaves() -> None:
    program = ClientFacts(client="anthropic-sdk")
    question = main_turn(user("What is a mutex?"), tools=[])
    assert intent(question, program).offload
    probe = intent({**question, "max_tokens": 1}, program)
    assert (probe.kind, probe.offload, probe.pinned_by) == ("app", False, "quota_probe")
    told = {**question, "messages": [user("[SUGGESTION MODE: what is next?]")]}
    assert not intent(told, program).offload


def test_an_image_pins_a_kind_that_may_leave() -> None:
    body = {**RENAME, "messages": [user(text("conversation"), IMAGE)]}
    assert intent(RENAME).offload
    assert (intent(body).kind, intent(body).offload) == ("rename", False)


def test_session_and_agent_come_from_the_headers_else_the_body() -> None:
    body = main_turn(user("hi"), metadata={"user_id": json.dumps({"session_id": "s-2"})})
    assert (intent(body, CLAUDE).session, intent(body, CLAUDE).agent) == ("s-1", "a-1")
    assert (intent(body).session, intent(body).agent) == ("s-2", None)


@pytest.mark.parametrize(
    ("confidence", "word"),
    [(1, "high"), (0.85, "high"), (0.84, "medium"), (0.6, "medium"), (0, "low")],
)
def test_confidence_has_a_word(confidence: float, word: str) -> None:
    assert confidence_level(confidence) == word


def test_features_tell_what_was_seen() -> None:
    features = intent(
        main_turn(
            user("go"),
            assistant(tool_use()),
            user(tool_result()),
            {"role": "system", "content": "Plan mode is active."},
            tools=[*AGENT_TOOLS, tool("mcp__a__b", defer_loading=True)],
            tool_choice={"type": "auto"},
            output_config={"format": {"type": "json_schema"}},
        )
    ).features
    expected: dict[str, Any] = {
        "protocol": "messages",
        "n_messages": 4,
        "n_tools": 5,
        "mcp_tools": 1,
        "deferred_tools": 1,
        "server_tools": 0,
        "has_tool_result": True,
        "tool_activity": True,
        "answered_before": True,
        "thinking": True,
        "stream": True,
        "plan_mode": True,
        "max_tokens": 128000,
        "tool_choice": "auto",
        "output_format": "json_schema",
        "interrupted": False,
        "continuation": False,
    }
    assert {name: features[name] for name in expected} == expected


def check(found: Intent, secret: str) -> None:
    assert found.route in ROUTES
    assert found.kind in kinds_module.KINDS
    assert 0 <= found.confidence <= 1
    assert set(found.estimates) == {"system", "tools", "history", "turn"}
    assert all(type(n) is int and n >= 0 for n in found.estimates.values())
    assert secret not in repr((found.reasons, found.features, found.pinned_by))
    for value in found.features.values():
        assert type(value) in (bool, int, str)
        assert not isinstance(value, str) or len(value) <= 20
    assert not (found.offload and found.pinned_by)


SECRET = "hunter2hunter2"


@steady
@given(any_body("messages"))
def test_any_messages_body_is_classified(body: Json) -> None:
    body["messages"] = [user(SECRET), *body["messages"]]
    body.setdefault("tool_choice", {"type": SECRET})
    for protocol in (Protocol.MESSAGES, Protocol.CHAT):
        check(classify(read_as(protocol, encode(body)), None, eager), SECRET)


@steady
@given(any_body("input"))
def test_any_responses_body_is_classified(body: Json) -> None:
    body["input"] = [item("user", SECRET), *body["input"]]
    check(intent(body), SECRET)


def test_a_failing_scorer_costs_nothing_but_the_judgement() -> None:
    def broken(request: Outline) -> Score:
        raise ZeroDivisionError(request.human)

    found = classify(read_request(encode(main_turn(user("hi")))), CLAUDE, broken)
    assert (found.route, found.kind, found.offload) == ("fallback_safe", "unknown", False)
    assert (found.pinned_by, found.confidence) == ("not_understood", 0.0)
    assert "could not be understood" in found.reasons[0]

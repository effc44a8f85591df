"""The two classes that structure decides alone: ``tool_loop`` and ``long_context``."""

from __future__ import annotations

from typing import Any

import pytest
from agent_bodies import (
    AGENT_TOOLS,
    ENVIRONMENT,
    REMINDER,
    Json,
    assistant,
    codex_turn,
    encode,
    item,
    main_turn,
    text,
    tool_result,
    tool_use,
    user,
)

from providers.types import Protocol
from server.classify import Intent, classify
from server.explain import read_as

ENV = {"role": "system", "content": [text(ENVIRONMENT)]}
CALL = assistant(text("I will look."), tool_use())
RESULT = user(tool_result("three lines"))
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "three lines"}
CODEX_CALL = {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"}


def intent(body: Json) -> Intent:
    if "input" in body:
        return classify(read_as(Protocol.RESPONSES, encode(body)), None)
    protocol = Protocol.MESSAGES if "max_tokens" in body else Protocol.CHAT
    return classify(read_as(protocol, encode(body)), None)


def messages(*turns: Json, **extra: Any) -> Json:
    return main_turn(user("fix the parser"), *turns, **extra)


PENDING = {
    "plain": messages(CALL, RESULT),
    "environment note last": messages(CALL, RESULT, ENV),
    "developer note last": messages(CALL, RESULT, {"role": "developer", "content": "note"}),
    "empty system message last": messages(CALL, RESULT, {"role": "system", "content": []}),
    "reminder in the message": messages(CALL, user(tool_result(), text(REMINDER))),
    "steering text": messages(CALL, user(tool_result(), text("use tabs, please"))),
    "steering in its own message": messages(CALL, RESULT, user("use tabs, please")),
    "image result": messages(CALL, user(tool_result([{"type": "image", "source": {}}]))),
    "refused call": messages(CALL, user(tool_result("The user refused.", is_error=True))),
    "interrupted, nothing new": messages(
        CALL, user(tool_result("[Request interrupted by user for tool use]"))
    ),
    "interrupted, only a reminder": messages(
        CALL, user(tool_result("[Request interrupted by user]"), text(REMINDER))
    ),
    "interrupted after steering, nothing new": messages(
        CALL,
        user(tool_result(), text("use tabs"), text("[Request interrupted by user for tool use]")),
    ),
    "prefill": messages(CALL, RESULT, assistant("{")),
    "codex": codex_turn(item("user", "fix it"), CODEX_CALL, OUTPUT),
    "codex, list output": codex_turn(
        CODEX_CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "x"}]}
    ),
    "codex, parallel": codex_turn(CODEX_CALL, CODEX_CALL, OUTPUT, OUTPUT),
    "codex, custom tool": codex_turn(
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
    ),
    "codex, tool search": codex_turn(
        {"type": "tool_search_call", "call_id": "c", "arguments": {}},
        {"type": "tool_search_output", "call_id": "c", "tools": []},
    ),
    "codex, without a call id": codex_turn(item("user", "go"), {**OUTPUT, "call_id": None}),
    "codex, developer note last": codex_turn(CODEX_CALL, OUTPUT, item("developer", "note")),
    "chat": {
        "model": "m",
        "messages": [
            user("go"),
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "x"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "done"},
        ],
    },
}


@pytest.mark.parametrize("body", PENDING.values(), ids=PENDING)
def test_a_pending_tool_result_is_a_tool_loop(body: Json) -> None:
    found = intent(body)
    assert (found.route, found.kind, found.offload) == ("tool_loop", "tool_step", False)
    assert found.pinned_by == "tool_result"
    assert "tool result" in found.reasons[0]
    assert found.features["has_tool_result"] is True


FREE = {
    "first turn": messages(),
    "first turn with notes": main_turn(user(text(REMINDER), text("fix the parser")), ENV),
    "answered": messages(CALL, RESULT, assistant("Fixed."), user("now the lexer")),
    "interrupted result, then news": messages(
        CALL, user(tool_result("[Request interrupted by user for tool use]"), text("do less"))
    ),
    "interrupted text, then news": messages(
        CALL,
        user(
            tool_result("not run", is_error=True),
            text("[Request interrupted by user for tool use]"),
            text("do less"),
        ),
    ),
    "interrupted, news in its own message": messages(
        CALL, user(tool_result("[Request interrupted by user]")), user("do less")
    ),
    "codex first turn": codex_turn(item("user", "fix it")),
    "codex answered": codex_turn(
        CODEX_CALL, OUTPUT, item("assistant", "Done."), item("user", "now c")
    ),
    "codex interrupted": codex_turn(
        CODEX_CALL, OUTPUT, item("user", "<turn_aborted>\nstopped"), item("user", "do less")
    ),
}


@pytest.mark.parametrize("body", FREE.values(), ids=FREE)
def test_new_text_of_the_user_is_no_tool_loop(body: Json) -> None:
    found = intent(body)
    assert (found.route, found.kind) != ("tool_loop", "tool_step")
    assert found.kind == "user_turn"


def test_an_unanswered_result_stays_even_after_an_interruption() -> None:
    found = intent(FREE["interrupted result, then news"])
    assert found.features["interrupted"] is True
    assert (found.pinned_by, found.offload) == ("tool_result", False)


@pytest.mark.parametrize("words", ["yes", "Continue.", "2", "weiter", "継続して", "继续", "да"])
def test_going_on_after_tools_continues_the_loop(words: str) -> None:
    asked = assistant("Shall I go on?")
    found = intent(messages(CALL, RESULT, asked, user(text(words), text(REMINDER))))
    assert (found.route, found.kind, found.offload) == ("tool_loop", "continuation", False)


def test_going_on_without_tools_is_just_a_message() -> None:
    found = intent(messages(assistant("Shall I go on?"), user("yes")))
    assert (found.route, found.kind) == ("fallback_safe", "continuation")
    assert not found.offload


def test_yes_as_the_first_word_continues_nothing() -> None:
    assert intent(main_turn(user("yes"))).kind == "user_turn"
    assert intent(main_turn(user("yes"), assistant("{"))).kind == "user_turn"


def test_going_on_in_a_long_conversation_is_long_context() -> None:
    found = intent(messages(CALL, RESULT, assistant("x" * 48_001), user("yes")))
    assert found.route == "long_context"


def sized(chars: int) -> dict[str, Json]:
    """Conversations of exactly ``chars`` characters."""
    return {
        "one pasted text": main_turn(user("x" * chars)),
        "history": main_turn(user("x" * (chars - 14)), assistant("y" * 10), user("zzzz")),
        "two bytes a character": main_turn(user("ж" * chars)),
        "escaped characters": main_turn(user("\n" * chars)),
        "codex": {"model": "m", "input": [item("user", "x" * chars)]},
        "codex string": {"model": "m", "input": "x" * chars},
        "chat": {"model": "m", "messages": [user("x" * chars)]},
        "earlier tool result": main_turn(
            assistant(tool_use("Read", path="ab")),
            user(tool_result("x" * (chars - 16))),
            assistant("yyy"),
            user("zzz"),
        ),
    }


@pytest.mark.parametrize("shape", sized(100))
def test_the_line_is_drawn_at_12000_tokens(shape: str) -> None:
    at, over = intent(sized(48_000)[shape]), intent(sized(48_001)[shape])
    assert at.route != "long_context"
    assert (over.route, over.offload) == ("long_context", False)
    assert over.estimates["history"] + over.estimates["turn"] >= 11_999
    assert "12,000" in over.reasons[0]


BULK = "x" * 100_000
NOT_COUNTED = {
    "system prompt": main_turn(user("hi"), system=BULK),
    "system message": main_turn(user("hi"), {"role": "system", "content": BULK}),
    "tools": main_turn(user("hi"), tools=[{**AGENT_TOOLS[0], "description": BULK}]),
    "image": main_turn(
        user(text("hi"), {"type": "image", "source": {"type": "base64", "data": BULK}})
    ),
    "signature": main_turn(
        user("hi"),
        assistant({"type": "thinking", "thinking": "", "signature": BULK}),
        user("go on"),
    ),
    "developer item": codex_turn(item("developer", BULK), item("user", "hi")),
    "instructions": codex_turn(item("user", "hi"), instructions=BULK),
    "max_tokens": main_turn(user("hi"), max_tokens=128_000),
}


@pytest.mark.parametrize("body", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_only_the_conversation_makes_it_long(body: Json) -> None:
    assert intent(body).route != "long_context"


def test_a_tool_result_beats_the_length() -> None:
    assert intent(messages(CALL, user(tool_result("x" * 60_000)))).route == "tool_loop"


def test_estimates_tell_the_parts_apart() -> None:
    body = main_turn(
        user("h" * 40), assistant("a" * 40), user("t" * 80), ENV, system="s" * 20, tools=[]
    )
    assert intent(body).estimates == {
        "system": (20 + len(ENVIRONMENT)) // 4,
        "tools": 0,
        "history": 20,
        "turn": 20,
    }

"""Broken conversations, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from providers.history import ORPHAN, UNANSWERED, tidy
from providers.neutral import (
    Image,
    Message,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)


def user(*parts: Text | ToolResult | Image) -> Message:
    return Message(Role.USER, parts)


def said(*parts: Text | ToolCall | Reasoning | Refusal) -> Message:
    return Message(Role.ASSISTANT, parts)


def told(text: str) -> Message:
    return Message(Role.SYSTEM, (Text(text),))


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id, "f", "{}")


def result(call_id: str, text: str = "ok") -> ToolResult:
    return ToolResult(call_id, (Text(text),))


def lost(call_id: str) -> ToolResult:
    return ToolResult(call_id, (Text(UNANSWERED),), is_error=True)


GO = user(Text("go"))
PICTURE = Image(url="u")

CASES: dict[str, tuple[list[Message], list[Message], tuple[str, ...]]] = {
    "nothing": ([], [], ()),
    "tidy": (
        [GO, said(call("a"), call("b")), user(result("a"), result("b"), Text("x"))],
        [GO, said(call("a"), call("b")), user(result("a"), result("b"), Text("x"))],
        (),
    ),
    "instructions stay apart": ([GO, told("x"), told("y")], [GO, told("x"), told("y")], ()),
    "same speaker": ([GO, user(Text("on"))], [user(Text("go"), Text("on"))], ()),
    "empty parts": (
        [user(Text("")), GO, said(Reasoning("hm"), Refusal("")), told("")],
        [GO],
        (),
    ),
    "other order": (
        [GO, said(call("a"), call("b")), user(result("b"), Text("x"), result("a"))],
        [GO, said(call("a"), call("b")), user(result("a"), result("b"), Text("x"))],
        (),
    ),
    "instructions between": (
        [GO, said(call("a")), told("x"), user(result("a"))],
        [GO, said(call("a")), user(result("a")), told("x")],
        (),
    ),
    "text between": (
        [GO, said(call("a")), said(Text("so")), user(result("a"))],
        [GO, said(call("a"), Text("so")), user(result("a"))],
        (),
    ),
    "results in two messages": (
        [GO, said(call("a"), call("b")), user(result("a")), user(result("b"))],
        [GO, said(call("a"), call("b")), user(result("a"), result("b"))],
        (),
    ),
    "unanswered": (
        [GO, said(call("a"), call("b")), user(result("b"), Text("x"))],
        [GO, said(call("a"), call("b")), user(lost("a"), result("b"), Text("x"))],
        ("unanswered_call",),
    ),
    "unanswered at the end": (
        [GO, said(call("a"))],
        [GO, said(call("a")), user(lost("a"))],
        ("unanswered_call",),
    ),
    "orphan": (
        [user(result("x", "old"), Text("go"))],
        [user(Text(f"{ORPHAN}\nold"), Text("go"))],
        ("orphan_result",),
    ),
    "orphan with a picture": (
        [user(ToolResult("x", (PICTURE,)))],
        [user(Text(ORPHAN), PICTURE)],
        ("orphan_result",),
    ),
    "answered twice": (
        [GO, said(call("a")), user(result("a"), result("a", "again"))],
        [GO, said(call("a")), user(result("a"), Text(f"{ORPHAN}\nagain"))],
        ("orphan_result",),
    ),
    "result before its call": (
        [user(result("a")), said(call("a")), GO],
        [user(Text(f"{ORPHAN}\nok")), said(call("a")), user(lost("a"), Text("go"))],
        ("orphan_result", "unanswered_call"),
    ),
    "one id twice": (
        [GO, said(call("a")), user(result("a", "1")), said(call("a")), user(result("a", "2"))],
        [GO, said(call("a")), user(result("a", "1")), said(call("a_2")), user(result("a_2", "2"))],
        ("repeated_call_id",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_tidy(name: str) -> None:
    before, after, degraded = CASES[name]
    found, notes = tidy(before)

    assert list(found) == after
    assert notes.degraded == degraded
    assert notes.dropped == ()


@pytest.mark.parametrize("name", CASES)
def test_what_is_tidy_stays(name: str) -> None:
    once, _ = tidy(CASES[name][0])
    again, notes = tidy(once)

    assert again == once
    assert notes.degraded == ()


def test_more_turns_do_not_change_the_earlier_ones() -> None:
    messages: Sequence[Message] = CASES["one id twice"][0]
    for count in range(1, len(messages) + 1, 2):
        shorter, _ = tidy(messages[:count])
        longer, _ = tidy(messages)
        assert longer[: len(shorter)] == shorter

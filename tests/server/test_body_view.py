"""Requests of all three protocols folded into blocks, and the first change between two."""

from __future__ import annotations

from typing import Any

import pytest

from server.body_view import Block, difference, fold, same_blocks

MESSAGES: dict[str, Any] = {
    "system": [{"type": "text", "text": "be good", "cache_control": {"type": "ephemeral"}}, "x"],
    "tools": [{"name": "Read", "description": "reads"}, {"name": "Bash", "description": "runs"}],
    "messages": [
        {"role": "user", "content": "fix it"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a\nb"}],
        },
    ],
}
CHAT: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "Read"}}],
    "messages": [
        {"role": "system", "content": "be good"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "Read", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "text"},
    ],
}
RESPONSES: dict[str, Any] = {
    "instructions": "be good",
    "tools": [{"type": "web_search"}],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "name": "shell", "arguments": "{}"},
        {"type": "function_call_output", "output": "done"},
    ],
}


def titles(body: Any) -> list[tuple[str, str]]:
    return [(block.part, block.title) for block in fold(body)]


def test_every_protocol_is_folded_in_the_order_of_the_cache() -> None:
    assert titles(MESSAGES) == [
        ("tools", "Read"),
        ("tools", "Bash"),
        ("system", "system 1"),
        ("system", "system 2"),
        ("messages", "user"),
        ("messages", "assistant thinks"),
        ("messages", "assistant calls Bash"),
        ("messages", "tool answers"),
    ]
    assert titles(CHAT) == [
        ("tools", "Read"),
        ("messages", "system"),
        ("messages", "assistant calls Read"),
        ("messages", "tool answers"),
    ]
    assert titles(RESPONSES) == [
        ("tools", "web_search"),
        ("system", "system 1"),
        ("messages", "user"),
        ("messages", "assistant calls shell"),
        ("messages", "tool answers"),
    ]
    assert titles({"input": "hi"}) == [("messages", "user")]


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {"messages": 3, "tools": "no"}, {"messages": [None, 3, {"content": 4}]},
     {"tools": [None, {"function": 3}], "system": 7, "messages": [{"content": [1, {}]}]}],
)  # fmt: skip
def test_nonsense_is_shown_as_it_is(body: Any) -> None:
    assert all(isinstance(block, Block) for block in fold(body))


def changed(**parts: Any) -> Any:
    return difference(fold(MESSAGES), fold(MESSAGES | parts))


def test_a_conversation_that_goes_on_changes_nothing() -> None:
    more = [*MESSAGES["messages"], {"role": "assistant", "content": "done"}]
    assert changed(messages=more) is None
    assert same_blocks(fold(MESSAGES), fold(MESSAGES | {"messages": more})) == 8
    marked = [MESSAGES["tools"][0], MESSAGES["tools"][1] | {"cache_control": {"type": "e"}}]
    assert changed(tools=marked) is None, "a cache mark is no change"


def test_the_first_change_names_the_tool_and_the_byte() -> None:
    tools = [MESSAGES["tools"][0], MESSAGES["tools"][1] | {"description": "rüns"}]
    found = changed(tools=tools)
    assert (found.name, found.how, found.index) == ("tool Bash", "changed", 1)
    text = fold(MESSAGES)[1].text
    assert text.encode()[: found.offset].decode() == text[: text.index("uns")]
    assert any(line.startswith("-") and "runs" in line for line in found.lines)
    assert any(line.startswith("+") and "rüns" in line for line in found.lines)


@pytest.mark.parametrize(
    ("parts", "name", "how"),
    [
        ({"tools": [MESSAGES["tools"][1]]}, "tool Read", "removed"),
        ({"tools": [{"name": "Zap"}, *MESSAGES["tools"]]}, "tool Zap", "added"),
        ({"tools": []}, "tool Read", "removed"),
        ({"system": "be bad"}, "system 1", "changed"),
        ({"system": ["be good", "x", "y"]}, "system 3", "added"),
        ({"messages": MESSAGES["messages"][:1]}, "message part 2 (assistant thinks)", "removed"),
        (
            {"messages": [{"role": "user", "content": "fix that"}]},
            "message part 1 (user)",
            "changed",
        ),
    ],
)
def test_what_was_added_removed_or_changed(parts: Any, name: str, how: str) -> None:
    found = changed(**parts)
    assert (found.name, found.how) == (name, how)

"""Tool names and arguments there and back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translating import request

from providers.neutral import Message, Role, Text, Tool, ToolCall
from providers.tool_book import (
    ToolBook,
    arguments_object,
    arguments_text,
    encode,
    is_raw,
    scrub,
)

_names = st.text(min_size=1, max_size=90) | st.from_regex(r"[a-z_.]{55,80}", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.none() | st.just("ns"), _names), max_size=6, unique=True))
def test_every_name_is_legal_distinct_and_comes_back(tools: list[tuple[str | None, str]]) -> None:
    book = ToolBook(request(tools=[Tool(name, namespace=space) for space, name in tools]))
    wires = [book.wire_name(name, space) for space, name in tools]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", wire) for wire in wires)
    assert len(set(wires)) == len(tools)
    for (space, name), wire in zip(tools, wires, strict=True):
        call = book.call("c", wire, "{}")
        assert (call.namespace, call.name) == (space, name)


def test_legal_names_stay_whatever_else_there_is() -> None:
    names = ["a.b", "Read", "mcp__x__y", "a_b"]
    book = ToolBook(request(tools=[Tool(name) for name in names]))

    assert [book.wire_name(name) for name in names[1:]] == names[1:]


def test_a_made_name_never_takes_one_that_a_tool_has() -> None:
    made = ToolBook(request(tools=[Tool("a.b")])).wire_name("a.b")
    book = ToolBook(
        request(tools=[Tool("a.b"), Tool("f", namespace="ns"), Tool(made), Tool("ns__f")])
    )

    assert book.wire_name(made) == made
    assert book.wire_name("ns__f") == "ns__f"
    assert len({book.wire_name("a.b"), book.wire_name("f", "ns"), made, "ns__f"}) == 4


def test_a_name_depends_on_itself_alone() -> None:
    few = ToolBook(request(tools=[Tool("a.b")]))
    many = ToolBook(request(tools=[Tool("x"), Tool("y.z"), Tool("a.b")]))

    assert few.wire_name("a.b") == many.wire_name("a.b")
    assert few.wire_name("not.there") == many.wire_name("not.there")


def test_a_flattened_name_never_takes_a_tools_own() -> None:
    book = ToolBook(request(tools=[Tool("f", namespace="ns"), Tool("ns__f")]))

    assert book.wire_name("f", "ns") != book.wire_name("ns__f")
    for tool in (("f", "ns"), ("ns__f", None)):
        call = book.call("c", book.wire_name(*tool), "{}")
        assert (call.name, call.namespace) == tool


def test_tools_of_the_history_count_too() -> None:
    past = Message(Role.ASSISTANT, (ToolCall("c", "old.tool", "{}"), Text("x")))
    book = ToolBook(request(past))

    assert book.call("d", book.wire_name("old.tool"), "{}").name == "old.tool"
    assert book.call("d", "never_heard_of", "{}").name == "never_heard_of"


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("functions.Read", "Read"),
        ("Read<|channel|>commentary", "Read"),
        ("functions.mcp/x<|c|>", "functions_mcp_x__c__"),
        ("", "unnamed_tool"),
        ("no such tool!", "no_such_tool_"),
        ("x" * 99, "x" * 64),
    ],
)
def test_names_that_a_model_made_up(wire: str, name: str) -> None:
    book = ToolBook(request(tools=[Tool("Read")]))

    assert book.call("c", wire, "{}").name == name


@pytest.mark.parametrize("text", ["", "a\n\t\"quoted\" \\ 'x'", "é👋\u2028", "{}", '{"input":"x"}'])
def test_free_text_survives(text: str) -> None:
    book = ToolBook(request(tools=[Tool("patch", is_custom=True)]))
    wire = book.wire_arguments(ToolCall("c", "patch", text, is_custom=True))

    assert json.loads(wire) == {"input": text}
    assert book.call("c", "patch", wire) == ToolCall("c", "patch", text, is_custom=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("*** plain", "*** plain"),
        ('{"patch": "x"}', '{"patch": "x"}'),
        ('{"input": 3}', '{"input": 3}'),
        ("{}", ""),
        (None, ""),
    ],
)
def test_free_text_that_came_in_another_form_is_kept_whole(
    arguments: str | None, text: str
) -> None:
    book = ToolBook(request(tools=[Tool("patch", is_custom=True)]))

    assert book.call("c", "patch", arguments).arguments == text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a":1,"a":2}', '{"a":1,"a":2}'),
        ({"b": 1, "a": [None]}, '{"b":1,"a":[null]}'),
        ([1], '{"_raw":"[1]"}'),
        (3, '{"_raw":"3"}'),
        ("[1]", '{"_raw":"[1]"}'),
        ("{" * 5000, None),
        ('{"a":' * 3000 + "1" + "}" * 3000, None),
    ],
)
def test_arguments_are_always_one_object(arguments: object, expected: str | None) -> None:
    found = arguments_text(arguments)

    assert found == (expected or encode({"_raw": arguments}).decode())
    assert isinstance(json.loads(found), dict)
    assert is_raw(found) == ("_raw" in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('{"a":1.0}', {"a": 1.0}),
        ('{"a":1e999}', {"_raw": '{"a":1e999}'}),
        ('{"a":' + "9" * 5000 + "}", {"_raw": '{"a":' + "9" * 5000 + "}"}),
    ],
)
def test_numbers_that_json_allows(text: str, expected: dict[str, object]) -> None:
    assert arguments_object(text) == expected
    assert json.loads(encode(arguments_object(text))) == expected


def test_half_characters_never_leave() -> None:
    value = {"a\ud83d": ["x\udc00y", ("\ud83d\ude00",)]}

    assert scrub(value) == {"a\ufffd": ["x\ufffdy", ["😀"]]}
    assert json.loads(encode(value)) == scrub(value)

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from agent_bodies import (
    AGENT_TOOLS,
    BILLING,
    IDENTITY,
    Json,
    any_body,
    assistant,
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
from hypothesis import strategies as st

from providers.protocols.anthropic.request import read_request
from providers.protocols.peek import BadRequest
from providers.types import Protocol
from server.prefix import (
    FLAG_DEFERRED,
    FLAG_MCP,
    FLAG_SERVER,
    IMAGE_TOKENS,
    Digester,
    PrefixBlock,
    body_digest,
    digest_body,
    unpack,
)

KEY = b"k" * 32
MARK = {"type": "ephemeral"}


def blocks(
    body: Json, protocol: Protocol = Protocol.MESSAGES, key: bytes = KEY
) -> list[PrefixBlock]:
    return unpack(digest_body(encode(body), key, protocol)[0])


def body_hash(body: Any, protocol: Protocol = Protocol.MESSAGES, key: bytes = KEY) -> str:
    return digest_body(body if isinstance(body, bytes) else encode(body), key, protocol)[1]


def shared(one: Json, other: Json) -> int:
    """How many leading blocks two requests have in common."""
    count = 0
    for a, b in zip(blocks(one), blocks(other), strict=False):
        if a.digest != b.digest:
            break
        count += 1
    return count


FIRST = main_turn(user(text("fix the parser", cache_control=MARK)))
SECOND = main_turn(
    user("fix the parser"), assistant(tool_use()), user(tool_result("done", cache_control=MARK))
)


def test_every_block_is_listed_in_cache_order() -> None:
    found = blocks(SECOND)
    assert [b.tag for b in found] == ["t"] * 4 + ["s"] * 2 + ["m"] * 3
    assert [b.role for b in found if b.tag == "m"] == ["user", "assistant", "user"]
    assert all(len(b.digest) == 8 for b in found)
    assert len({b.digest for b in found}) == len(found)


def test_the_next_turn_shares_the_whole_prefix_although_its_marks_moved() -> None:
    assert shared(FIRST, SECOND) == len(blocks(FIRST)) == 7


SAME: dict[str, tuple[Json, Json]] = {
    "string and list content": (user("hello"), user(text("hello"))),
    "cache mark": (user(text("hello")), user(text("hello", cache_control=MARK))),
    "key order": (
        user(text("hello")),
        {"content": [{"text": "hello", "type": "text"}], "role": "user"},
    ),
    "result as string and list": (user(tool_result("a")), user(tool_result([text("a")]))),
    "mark inside a result": (
        user(tool_result([text("a", cache_control=MARK)])),
        user(tool_result("a", cache_control={"type": "ephemeral", "ttl": "1h"})),
    ),
    "escapes": (user("grüße"), json.loads(json.dumps(user("gr\u00fc\u00dfe")))),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_what_a_prompt_cache_treats_alike_is_alike(one: Json, other: Json) -> None:
    assert blocks(main_turn(one)) == blocks(main_turn(other))
    assert body_hash(main_turn(one)) == body_hash(main_turn(other))


OTHER: dict[str, tuple[Json, Json]] = {
    "words": (user("hello"), user("hello ")),
    "role": (user("hello"), assistant("hello")),
    "two blocks": (user("ab"), user(text("a"), text("b"))),
    "number of blocks": (user("a"), user(text("a"), text("a"))),
    "arguments": (assistant(tool_use(a=1)), assistant(tool_use(a=2))),
    "error mark": (user(tool_result("a")), user(tool_result("a", is_error=True))),
    "effort": ({**user("a"), "output_config": {"effort": "low"}}, user("a")),
}


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_what_differs_for_the_model_differs(one: Json, other: Json) -> None:
    assert blocks(main_turn(one))[-1].digest != blocks(main_turn(other))[-1].digest
    assert body_hash(main_turn(one)) != body_hash(main_turn(other))


def test_the_accounting_block_is_left_out() -> None:
    other = {**FIRST, "system": [text(BILLING.replace("abc", "xyz")), *FIRST["system"][1:]]}
    without = {**FIRST, "system": FIRST["system"][1:]}
    assert blocks(FIRST) == blocks(other) == blocks(without)
    assert body_hash(FIRST) == body_hash(other) == body_hash(without)


def test_a_string_system_equals_one_block() -> None:
    assert blocks({**FIRST, "system": IDENTITY}) == blocks({**FIRST, "system": [text(IDENTITY)]})


def test_tools_have_a_name_digest_and_flags() -> None:
    tools = [
        tool("Read"),
        tool("Read", description="other words"),
        tool("mcp__files__list", defer_loading=True),
        {"type": "web_search_1", "name": "web_search"},
    ]
    read, again, mcp, search = [b for b in blocks(main_turn(tools=tools)) if b.tag == "t"]
    assert read.name_digest == again.name_digest != mcp.name_digest
    assert read.digest != again.digest
    assert [b.flags for b in (read, mcp, search)] == [0, FLAG_MCP | FLAG_DEFERRED, FLAG_SERVER]
    assert (mcp.is_mcp, read.is_mcp) == (True, False)
    assert read.tokens > 0
    moved = main_turn(tools=[tool("Read", cache_control=MARK)])
    assert blocks(moved)[0] == read


def test_tokens_are_characters_of_text_over_four() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "A" * 40_000}}
    found = blocks(
        main_turn(
            user("ж" * 400),
            assistant({"type": "thinking", "thinking": "t" * 40, "signature": "s" * 4000}),
            user(tool_result([text("r" * 80), image])),
            system="s" * 200,
            tools=[],
        )
    )
    assert [b.tokens for b in found] == [50, 100, 10, 20 + IMAGE_TOKENS]


def test_without_the_key_a_digest_tells_nothing() -> None:
    mine, other = blocks(SECOND), blocks(SECOND, key=b"o" * 32)
    assert {b.digest for b in mine}.isdisjoint(b.digest for b in other)
    assert {b.name_digest for b in mine[:4]}.isdisjoint(b.name_digest for b in other)
    assert body_hash(SECOND) != body_hash(SECOND, key=b"o" * 32)
    packed, _ = digest_body(encode(SECOND), KEY)
    assert b"parser" not in packed
    assert b"Read" not in packed


def test_the_non_streaming_fall_back_is_the_same_body() -> None:
    again = {**FIRST, "stream": False, "max_tokens": 64000, "metadata": {"user_id": "x"}}
    assert body_hash(again) == body_hash(FIRST)
    assert body_digest(read_request(encode(again)), KEY) == body_hash(FIRST)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "claude-haiku-5-5"},
        {"thinking": {"type": "disabled"}},
        {"tool_choice": {"type": "any"}},
        {"tools": AGENT_TOOLS[:-1]},
        {"messages": [user("fix the lexer")]},
        {"system": "other"},
        {"new_field": 1},
    ],
)
def test_any_other_change_is_another_body(change: Json) -> None:
    assert body_hash({**FIRST, **change}) != body_hash(FIRST)


def test_blocks_do_not_move_between_lists_unseen() -> None:
    one = {"model": "m", "messages": [], "system": [text("a")]}
    other = {"model": "m", "messages": [], "tools": [text("a")]}
    assert blocks(one)[0].digest == blocks(other)[0].digest
    assert body_hash(one) != body_hash(other)


def test_codex_items_are_blocks_without_their_ids() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "o" * 40}
    body = codex_turn(item("user", "go"), call, output, instructions="i" * 40)
    found = blocks(body, Protocol.RESPONSES)
    assert [(b.tag, b.role) for b in found] == [
        ("t", None),
        ("s", None),
        ("m", "developer"),
        ("m", "user"),
        ("m", "user"),
        ("m", "assistant"),
        ("m", "tool"),
    ]
    assert (found[1].tokens, found[-1].tokens) == (10, 10)
    renamed = copy.deepcopy(body)
    for number, entry in enumerate(renamed["input"]):
        entry["id"] = f"msg_{number}"
    assert blocks(renamed, Protocol.RESPONSES) == found
    renamed["client_metadata"] = {"turn_id": "t"}
    assert body_hash(renamed, Protocol.RESPONSES) == body_hash(body, Protocol.RESPONSES)


def test_tools_that_travel_as_an_item_are_counted_once() -> None:
    tools = [{"type": "function", "name": "a", "description": "d" * 4000}]
    body = {"model": "m", "input": [{"type": "additional_tools", "tools": tools}]}
    found = blocks(body, Protocol.RESPONSES)
    assert [b.tag for b in found] == ["t", "m"]
    assert found[0].tokens > 1000
    assert found[1].tokens == 0


def test_chat_messages_are_blocks() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "a" * 40},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": "b" * 39}}],
            },
            {"role": "tool", "content": "c" * 40},
        ],
    }
    found = blocks(body, Protocol.CHAT)
    assert [(b.role, b.tokens) for b in found] == [("system", 10), ("assistant", 10), ("tool", 10)]


def test_the_mcp_server_of_a_tool_is_on_record_by_name() -> None:
    long = "mcp__" + "ж" * 40 + "__list"
    tools = [
        tool("mcp__files__list"),
        tool("mcp__claude_ai_Jira__get_issue"),
        tool("Read"),
        {"type": "mcp_toolset", "mcp_server_name": "wiki"},
        tool(long),
    ]
    found = blocks(main_turn(tools=tools))[:5]
    assert [b.server for b in found] == ["files", "claude_ai_Jira", None, "wiki", "ж" * 20]
    assert [b.is_mcp for b in found] == [True, True, False, True, True]


def test_codex_names_the_server_in_the_tool_its_namespace_or_its_label() -> None:
    same = {"type": "function", "name": "list", "parameters": {}}
    tools = [
        {"type": "namespace", "name": "mcp__files__", "tools": [same]},
        {"type": "namespace", "name": "mcp__wiki", "tools": [same]},
        {"type": "namespace", "name": "multi_agent", "tools": [same]},
        {"type": "mcp", "server_label": "deploys"},
        {"type": "function", "name": "mcp__mail__send", "parameters": {}},
    ]
    found = blocks({"model": "m", "input": "go", "tools": tools}, Protocol.RESPONSES)
    assert [b.server for b in found[:5]] == ["files", "wiki", None, "deploys", "mail"]


def test_blocks_of_the_version_before_are_read() -> None:
    packed, _ = digest_body(encode(FIRST), KEY)
    whole = unpack(packed)
    assert all(b.server is None and not b.file_tokens for b in whole)
    assert unpack(b"\x01" + packed[1:]) == whole


FILE = "x" * 400
READS = {
    "messages": (
        Protocol.MESSAGES,
        main_turn(
            user("go"),
            assistant(tool_use("Read", "a"), tool_use("Bash", "b")),
            user(tool_result(FILE, "a"), tool_result(FILE, "b")),
            tools=[],
            system=[],
        ),
    ),
    "responses": (
        Protocol.RESPONSES,
        {
            "model": "m",
            "input": [
                {"type": "function_call", "call_id": "a", "name": "read_file", "arguments": ""},
                {"type": "function_call", "call_id": "b", "name": "exec", "arguments": ""},
                {"type": "function_call_output", "call_id": "a", "output": FILE},
                {"type": "function_call_output", "call_id": "b", "output": FILE},
            ],
        },
    ),
    "chat": (
        Protocol.CHAT,
        {
            "model": "m",
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "a", "function": {"name": "mcp__fs__read_file", "arguments": ""}},
                        {"id": "b", "function": {"name": "run", "arguments": ""}},
                    ],
                },
                {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": FILE}]},
                {"role": "tool", "tool_call_id": "b", "content": FILE},
            ],
        },
    ),
}


@pytest.mark.parametrize(("protocol", "body"), READS.values(), ids=READS)
def test_what_a_tool_read_from_files_is_told_apart(protocol: Protocol, body: Json) -> None:
    found = blocks(body, protocol)
    assert sum(b.file_tokens for b in found) == 100
    assert sum(b.tokens for b in found) >= 200


def test_a_file_that_was_read_before_is_known_again() -> None:
    digester = Digester(KEY)
    _, body = READS["messages"]
    first = {**body, "messages": body["messages"][:-1]}
    digester.digest(read_request(encode(first)))
    packed, _ = digester.digest(read_request(encode(body)))
    assert unpack(packed)[-1].file_tokens == 100
    assert packed == digest_body(encode(body), KEY)[0]


def test_odd_values_are_digested_as_they_are() -> None:
    bodies = [
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","x":1e999}]}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}],"tools":[{"name":"\\udc00"}]}',
        b'{"model":"m","messages":[1,null,[],"x"],"system":[5],"tools":[null]}',
    ]
    for body in bodies:
        assert unpack(digest_body(body, KEY)[0])
        assert body_hash(body) == body_hash(body.replace(b'"model":"m"', b'"model" : "m"'))
    with pytest.raises(BadRequest):
        digest_body(b"[]", KEY)


@pytest.mark.parametrize(
    "packed",
    [b"", b"\x03", b"\x01t", b"\x02t" + b"\x01" + b"\0" * 20 + b"\x05ab", b"\x01x" + b"\0" * 13],
)
def test_a_damaged_list_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"known version|cut or damaged|unknown tag"):
        unpack(packed)


def test_every_cut_of_a_list_is_noticed_or_a_shorter_list() -> None:
    packed, _ = digest_body(encode(SECOND), KEY)
    whole = unpack(packed)
    lengths = set()
    for end in range(1, len(packed)):
        try:
            found = unpack(packed[:end])
        except ValueError:
            continue
        assert found == whole[: len(found)]
        lengths.add(len(found))
    assert lengths == set(range(len(whole)))


@steady
@given(any_body("messages"), st.randoms(use_true_random=False))
def test_any_body_has_a_normal_form(body: Json, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            pairs = [(k, shuffled(v)) for k, v in value.items()]
            random.shuffle(pairs)
            return dict(pairs)
        return [shuffled(v) for v in value] if isinstance(value, list) else value

    packed, whole = digest_body(encode(body), KEY)
    other = json.dumps(shuffled(body), indent=2, ensure_ascii=False).encode()
    assert digest_body(other, KEY) == (packed, whole)
    assert sum(b.tag == "m" for b in unpack(packed)) == len(body["messages"])


@steady
@given(any_body("input"))
def test_any_responses_body_is_digested(body: Json) -> None:
    found = blocks(body, Protocol.RESPONSES)
    assert sum(b.tag == "m" for b in found) == len(body["input"])

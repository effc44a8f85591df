"""Which block of a prompt broke the cache, from digests alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from past_ledger import write_ledger
from turn_factory import NOON, finished

from server.prefix import PrefixBlock, digest_body, unpack
from server.record import Turn
from server.tool_names import known_names
from server.turn_story import first_change, shared, story_of

KEY = b"k" * 32
TOOLS = (("Read", "reads"), ("mcp__github__search", "finds"), ("Bash", "runs"))


def packed(tools: Any = TOOLS, system: str = "be good", said: tuple[str, ...] = ("one",)) -> bytes:
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 10,
        "tools": [{"name": n, "description": d, "input_schema": {}} for n, d in tools],
        "system": system,
        "messages": [{"role": "user", "content": text} for text in said],
    }
    return digest_body(json.dumps(body).encode(), KEY)[0]


def blocks(**parts: Any) -> list[PrefixBlock]:
    return unpack(packed(**parts))


def test_a_prompt_that_goes_on_changes_nothing() -> None:
    old, new = blocks(), blocks(said=("one", "two"))
    assert first_change(old, new) is None
    assert shared(old, new) == len(old) == 5


@pytest.mark.parametrize(
    ("parts", "part", "index", "how", "label"),
    [
        ({"tools": (TOOLS[0], ("mcp__github__search", "seeks"), TOOLS[2])}, "tools", 1, "changed",
         "of the MCP server github"),
        ({"tools": (*TOOLS[:2], ("Bash", "executes"))}, "tools", 2, "changed", "Bash"),
        ({"tools": (("Glob", "x"), *TOOLS)}, "tools", 0, "added", "Glob"),
        ({"tools": TOOLS[1:]}, "tools", 0, "removed", "of the MCP server github"),
        ({"tools": TOOLS[:2]}, "tools", 2, "removed", "Bash"),
        ({"tools": (TOOLS[1], TOOLS[0], TOOLS[2])}, "tools", 0, "moved", "of the MCP server github"),
        ({"system": "be bad"}, "system", 0, "changed", None),
        ({"said": ("other",)}, "messages", 0, "changed", None),
    ],
)  # fmt: skip
def test_the_first_block_that_differs(
    parts: Any, part: str, index: int, how: str, label: str | None
) -> None:
    found = first_change(blocks(), blocks(**parts), known_names(KEY))
    assert found is not None
    assert (found.part, found.index, found.how) == (part, index, how)
    if how != "removed" or label == "Bash":
        assert found.label == label
    assert found.lost_tokens == sum(block.tokens for block in blocks()[shared(blocks(), blocks(**parts)):])  # fmt: skip
    assert json.dumps(found.as_json())


def test_names_are_known_only_to_who_has_the_key() -> None:
    changed = blocks(tools=(*TOOLS[:2], ("Bash", "executes")))
    found = first_change(blocks(), changed, known_names(b"x" * 32))
    assert found is not None
    assert found.label is None


def turn(number: int, **changes: Any) -> Turn:
    fields = {"blocks": packed(), "session": "s1", "kind": "tool_step"} | changes
    return finished(id=f"gw_{number:024x}", at=NOON + number * 10, **fields)


def test_a_turn_is_compared_with_the_call_of_its_own_conversation(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    write_ledger(
        path,
        [
            turn(1),
            turn(2, kind="title", blocks=packed(system="name it")),
            turn(3, agent="a1", blocks=packed(system="sub")),
            turn(4, session="s2"),
            turn(5, model_asked="model-b"),
            turn(6, kind="user_turn", blocks=packed(said=("one", "two"))),
            turn(7, blocks=packed(system="be bad", said=("one", "two"))),
            turn(8, session=None),
            turn(9, blocks=None),
        ],
    )  # fmt: skip
    on = story_of(path, turn(6).id)
    assert on is not None
    assert (on["previous"], on["change"], on["kept_blocks"]) == (turn(1).id, None, 5)
    assert [block["is_same"] for block in on["blocks"]] == [True] * 5 + [False]
    broken = story_of(path, turn(7).id, known_names(KEY))
    assert broken is not None
    assert broken["previous"] == turn(6).id
    assert broken["change"]["part"] == "system"
    assert [block["label"] for block in broken["blocks"][:3]] == ["Read", "of the MCP server github", "Bash"]  # fmt: skip
    for alone in (1, 3, 4, 8):
        found = story_of(path, turn(alone).id)
        assert found is not None
        assert found["previous"] is None
        assert found["change"] is None
    assert story_of(path, turn(9).id) is None
    assert story_of(path, "gw_none") is None
    assert story_of(tmp_path / "none", "gw_none") is None

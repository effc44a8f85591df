"""Transcripts, chunks and answers of context compaction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_bodies import assistant, tool_result, tool_use, user
from hypothesis import given
from hypothesis import strategies as st

from server.compact_text import (
    KEYS,
    LISTS,
    TEXT,
    BadAnswer,
    BadTranscript,
    cut,
    estimate_tokens,
    merged,
    read_answer,
    read_body,
)


def test_every_kind_of_message_is_told() -> None:
    body = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            user("fix it"),
            assistant({"type": "thinking", "thinking": "hm", "signature": "x"}, "I look."),
            assistant(tool_use("Bash", "t1", command="make")),
            user(tool_result("3 failed", "t1"), {"type": "image", "source": {}}),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "Read", "arguments": '{"path": "a"}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "text of a"},
            {"role": "assistant", "content": ""},
        ],
    }
    assert read_body(body) == [
        ("system", "Be brief."),
        ("user", "fix it"),
        ("assistant", "I look."),
        ("assistant", '[tool call Bash] {"command": "make"}'),
        ("user", "[tool result] 3 failed\n[image]"),
        ("assistant", '[tool call Read] {"path": "a"}'),
        ("tool", "text of a"),
    ]


def test_a_transcript_without_text_is_refused() -> None:
    with pytest.raises(BadTranscript, match="no text"):
        read_body({"messages": [{"role": "user", "content": []}]})


texts = st.text("ab \n", min_size=1, max_size=300)


@given(st.lists(texts, min_size=1, max_size=30), st.integers(80, 400), st.integers(1, 5))
def test_chunks_hold_the_newest_in_order(said: list[str], size: int, most: int) -> None:
    entries = [("user", f"{number}# {text}") for number, text in enumerate(said)]
    chunks = cut(entries, size, most)
    assert 1 <= len(chunks.parts) <= most
    assert all(part for part in chunks.parts)
    assert all(len(part) <= size + 100 for part in chunks.parts)
    whole = "".join(chunks.parts)
    numbers = [int(line.partition("#")[0]) for line in whole.split("[USER]\n")[1:]]
    assert numbers == list(range(len(said) - chunks.kept_messages, len(said)))
    assert chunks.kept_messages + chunks.omitted_messages == len(said)


def test_a_long_message_keeps_its_ends() -> None:
    chunks = cut([("user", "first " + "x" * 50_000 + " last")])
    assert chunks.clipped_messages == 1
    assert "first" in chunks.parts[0]
    assert "last" in chunks.parts[0]
    assert "characters left out" in chunks.parts[0]
    assert len(chunks.parts[0]) < 21_000


def test_the_estimate_is_of_everything() -> None:
    assert estimate_tokens([("user", "x" * 400), ("assistant", "y" * 40)]) == 110


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no complete JSON"),
        ("none here", "no complete JSON"),
        ('{"durable_facts": ["a"', "no complete JSON"),
        ('{"other": 1}', "none of the keys"),
        ('{"durable_facts": {"a": 1}}', "durable_facts is not a list"),
        ('{"durable_facts": [["a"]]}', "durable_facts is not a list"),
        ('{"context_to_discard": 5}', "context_to_discard is not a text"),
        ("{" * 100_000, "no complete JSON"),
    ],
)
def test_a_wrong_answer_is_told_in_words(text: str, problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        read_answer(text)


def test_what_can_be_read_is_read() -> None:
    found = read_answer(
        '{"x": {}} then {"next_actions": "one", "open_questions": null, "files_changed": [" "],'
        ' "context_to_discard": ["a", "b"], "more": 1}'
    )
    assert set(found) == set(KEYS)
    assert found["next_actions"] == ["one"]
    assert found["open_questions"] == found["files_changed"] == []
    assert found[TEXT] == "a\nb"


compacts = st.fixed_dictionaries(
    {key: st.lists(st.text("abc", min_size=1, max_size=3), max_size=3) for key in LISTS}
    | {TEXT: st.text("abc", max_size=3)}
)


@given(st.lists(compacts, min_size=1, max_size=4))
def test_merging_loses_nothing_and_repeats_nothing(found: list[dict[str, Any]]) -> None:
    whole = merged(found)
    assert read_answer(json.dumps(whole)) == whole
    for key in LISTS:
        assert set(whole[key]) == {item for compact in found for item in compact[key]}
        assert len(set(whole[key])) == len(whole[key])

"""Hypothesis strategies for Messages requests: good ones, and ones that clients really send."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

words = st.text(min_size=1, max_size=12).filter(str.strip)
call_ids = st.integers(1, 9999).map("toolu_01{:04d}".format)
names = st.sampled_from(["Read", "Edit", "mcp__files__list-all", "a", "x" * 64])
arguments = st.dictionaries(words, st.integers() | words | st.none() | st.booleans(), max_size=3)
PNG = "iVBORw0KGgo="


def text(value: str) -> Json:
    return {"type": "text", "text": value}


images: st.SearchStrategy[Json] = st.just(
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
)
user_blocks = st.lists(words.map(text) | images, min_size=1, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """User and assistant in turn, calls answered in order; ends with the user."""
    messages: list[Json] = [{"role": "user", "content": draw(user_blocks)}]
    used: set[str] = set()
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            messages.append({"role": "system", "content": [text(draw(words))]})
        found = draw(st.lists(call_ids.filter(lambda each: each not in used), max_size=3))
        calls = list(dict.fromkeys(found))
        used.update(calls)
        said = [text(draw(words))] if draw(st.booleans()) or not calls else []
        made = [
            {"type": "tool_use", "id": call, "name": draw(names), "input": draw(arguments)}
            for call in calls
        ]
        messages.append({"role": "assistant", "content": [*said, *made]})
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call,
                "content": draw(words | st.lists(words.map(text), min_size=1, max_size=1)),
                **({"is_error": True} if draw(st.booleans()) else {}),
            }
            for call in calls
        ]
        follow = draw(user_blocks) if draw(st.booleans()) or not calls else []
        messages.append({"role": "user", "content": [*results, *follow]})
    return messages


@st.composite
def bodies(draw: st.DrawFn) -> Json:
    """A request whose every field Chat Completions can hold as well."""
    tools = draw(st.lists(names, max_size=3, unique=True))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body: Json = {
        "model": "m",
        "max_tokens": draw(st.integers(1, 5000)),
        "messages": draw(conversations()),
        "system": [text(draw(words)) for _ in range(draw(st.integers(0, 1)))],
        "tools": [
            {"name": name, "description": draw(words), "input_schema": schema} for name in tools
        ],
        "stop_sequences": draw(st.lists(words, max_size=3)),
        "stream": draw(st.booleans()),
        "output_config": {"effort": draw(st.sampled_from(["low", "medium", "high"]))},
    }
    if tools:
        kinds = [{"type": "auto"}, {"type": "any"}, {"type": "none"}]
        named = {"type": "tool", "name": tools[0], "disable_parallel_tool_use": True}
        body["tool_choice"] = draw(st.sampled_from([*kinds, named]))
    return body


@st.composite
def broken_bodies(draw: st.DrawFn) -> Json:
    """Histories as clients leave them behind: pieces lost, doubled, emptied or out of order."""
    body = draw(bodies())
    messages = body["messages"]
    for _ in range(draw(st.integers(0, 4))):
        message = draw(st.sampled_from(messages))
        blocks = message["content"]
        match draw(st.sampled_from(["drop", "swap", "double", "empty", "remove"])):
            case "drop" if blocks:
                blocks.pop(draw(st.integers(0, len(blocks) - 1)))
            case "swap":
                blocks.reverse()
            case "double" if blocks:
                blocks.append(dict(blocks[0]))
            case "empty":
                blocks.insert(0, text(draw(st.sampled_from(["", " \n"]))))
            case "remove" if len(messages) > 2:
                messages.remove(message)
            case _:
                pass
    messages.append({"role": "user", "content": "go on"})
    return body

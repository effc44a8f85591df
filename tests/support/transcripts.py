"""Generated conversations and answers, written down in each protocol, and read back by hand."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from vendor_replies import Call, Reply

from providers.types import Protocol

Json = dict[str, Any]

TOOLS = ("Read", "run_command", "mcp__server__a_tool_with_a_rather_long_name_of_its_own_indeed_yes")
"""The last one is longer than OpenAI's protocols take."""

words = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()))
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=8), _values, max_size=3)


@dataclass(frozen=True, slots=True)
class Step:
    """The model calls tools and is told what they gave."""

    text: str
    calls: tuple[Call, ...]
    results: tuple[str, ...]


Turn = str | Step
"""A question of the user's that is answered with a text, or a step."""


@st.composite
def conversations(draw: st.DrawFn) -> list[Turn]:
    """What went before, without the last question."""
    turns: list[Turn] = []
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            turns.append(draw(words))
            continue
        calls, results = [], []
        for _ in range(draw(st.integers(1, 3))):
            number += 1
            name = draw(st.sampled_from(TOOLS))
            calls.append(Call(name, draw(arguments), f"call_{number}"))
            results.append(draw(words))
        turns.append(Step(draw(st.just("") | words), tuple(calls), tuple(results)))
    return turns


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Any answer that is one."""
    names = st.sampled_from(TOOLS)
    count = draw(st.integers(0, 3))
    calls = tuple(Call(draw(names), draw(arguments), f"call_new_{n}") for n in range(count))
    text = draw(words if not calls else st.just("") | words)
    stop = "" if calls else draw(st.sampled_from(["", "", "max_tokens", "refusal"]))
    return Reply(text, calls, stop)


def cuts_of(draw: st.DrawFn | Any, data: bytes) -> list[bytes]:
    """``data`` in pieces."""
    marks = draw(st.lists(st.integers(0, len(data)), max_size=12))
    bounds = [0, *sorted(marks), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


def request(protocol: Protocol, turns: list[Turn], question: str, *, stream: bool) -> Json:
    """The body of a client that has had ``turns`` and now asks ``question``."""
    write = {
        Protocol.MESSAGES: _messages_body,
        Protocol.RESPONSES: _responses_body,
        Protocol.CHAT: _chat_body,
    }[protocol]
    return write(turns, question) | {"model": "m", "stream": stream}


Line = tuple[str, ...]


def lines_of(turns: list[Turn], question: str) -> list[Line]:
    """The conversation in the form that ``lines_in`` finds in a body."""
    lines: list[Line] = []
    for turn in turns:
        if isinstance(turn, str):
            lines += [("user", turn), ("assistant", "noted")]
            continue
        lines.append(("user", "go on"))
        if turn.text:
            lines.append(("assistant", turn.text))
        lines += [("call", c.name, json.dumps(c.arguments, sort_keys=True)) for c in turn.calls]
        lines += [("result", text) for text in turn.results]
    return [*lines, ("user", question)]


def lines_in(protocol: Protocol, body: Json, names: dict[str, str]) -> list[Line]:
    """What a provider reads in a body; ``names`` turns its tools' names into the client's."""
    read = {
        Protocol.MESSAGES: _messages_lines,
        Protocol.RESPONSES: _responses_lines,
        Protocol.CHAT: _chat_lines,
    }[protocol]
    found: list[Line] = []
    for line in read(body):
        if line[0] == "call":
            found.append(("call", names[line[1]], json.dumps(json.loads(line[2]), sort_keys=True)))
        else:
            found.append(line)
    return found


_SCHEMA: Json = {"type": "object", "properties": {}}


def _messages_body(turns: list[Turn], question: str) -> Json:
    messages: list[Json] = []
    for turn in turns:
        if isinstance(turn, str):
            messages.append({"role": "user", "content": turn})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": "noted"}]})
            continue
        messages.append({"role": "user", "content": "go on"})
        content: list[Json] = [{"type": "text", "text": turn.text}] if turn.text else []
        content += [
            {"type": "tool_use", "id": f"toolu_{c.id}", "name": c.name, "input": c.arguments}
            for c in turn.calls
        ]
        messages.append({"role": "assistant", "content": content})
        results = [
            {"type": "tool_result", "tool_use_id": f"toolu_{c.id}", "content": text}
            for c, text in zip(turn.calls, turn.results, strict=True)
        ]
        messages.append({"role": "user", "content": results})
    messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
    tools = [{"name": n, "input_schema": _SCHEMA} for n in TOOLS]
    return {"messages": messages, "tools": tools, "max_tokens": 100}


def _messages_lines(body: Json) -> list[Line]:
    lines: list[Line] = []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for block in content:
            match block["type"]:
                case "text":
                    lines.append((message["role"], block["text"]))
                case "tool_use":
                    lines.append(("call", block["name"], json.dumps(block["input"])))
                case "tool_result":
                    lines.append(("result", _text_of(block["content"])))
    return lines


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def _chat_body(turns: list[Turn], question: str) -> Json:
    messages: list[Json] = []
    for turn in turns:
        if isinstance(turn, str):
            messages.append({"role": "user", "content": turn})
            messages.append({"role": "assistant", "content": "noted"})
            continue
        messages.append({"role": "user", "content": "go on"})
        calls = []
        for call in turn.calls:
            function = {"name": call.name, "arguments": json.dumps(call.arguments)}
            calls.append({"id": call.id, "type": "function", "function": function})
        messages.append({"role": "assistant", "content": turn.text or None, "tool_calls": calls})
        for call, text in zip(turn.calls, turn.results, strict=True):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
    messages.append({"role": "user", "content": question})
    tools = [{"type": "function", "function": {"name": n, "parameters": _SCHEMA}} for n in TOOLS]
    return {"messages": messages, "tools": tools, "stream_options": {"include_usage": True}}


def _chat_lines(body: Json) -> list[Line]:
    lines: list[Line] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            lines.append(("result", _text_of(message["content"])))
            continue
        if message.get("content"):
            lines.append((message["role"], _text_of(message["content"])))
        for call in message.get("tool_calls") or []:
            lines.append(("call", call["function"]["name"], call["function"]["arguments"]))
    return lines


def _responses_body(turns: list[Turn], question: str) -> Json:
    items: list[Json] = []
    for turn in turns:
        if isinstance(turn, str):
            items += [_item("user", turn), _item("assistant", "noted")]
            continue
        items.append(_item("user", "go on"))
        if turn.text:
            items.append(_item("assistant", turn.text))
        for call in turn.calls:
            items.append(
                {
                    "type": "function_call",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": json.dumps(call.arguments),
                }
            )
        for call, text in zip(turn.calls, turn.results, strict=True):
            items.append({"type": "function_call_output", "call_id": call.id, "output": text})
    items.append(_item("user", question))
    tools = [{"type": "function", "name": n, "parameters": _SCHEMA} for n in TOOLS]
    return {"input": items, "tools": tools, "store": False}


def _item(role: str, text: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def _responses_lines(body: Json) -> list[Line]:
    lines: list[Line] = []
    for item in body["input"]:
        match item.get("type", "message"):
            case "message":
                content = item["content"]
                parts = [content] if isinstance(content, str) else [p["text"] for p in content]
                lines += [(item["role"], text) for text in parts]
            case "function_call":
                lines.append(("call", item["name"], item["arguments"]))
            case "function_call_output":
                lines.append(("result", _text_of(item["output"])))
    return lines

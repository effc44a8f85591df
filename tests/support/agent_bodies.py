"""Request bodies in the shape of the real clients, in words of our own."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Json = dict[str, Any]

steady = settings(
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
"""For property tests: no judgement by the wall clock, nothing written to disk."""

IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
BILLING = "x-anthropic-billing-header: cc_version=9.9.9.abc; cc_entrypoint=cli;"
REMINDER = (
    "<system-reminder>\nPlan, explain and create only what was asked for.\n</system-reminder>"
)
ENVIRONMENT = "# Environment\nWorking directory: /home/user/project"


def text(words: str, **extra: Any) -> Json:
    """A text block of the Messages API."""
    return {"type": "text", "text": words, **extra}


def user(*blocks: Json | str) -> Json:
    """A user message: one string, or blocks."""
    if len(blocks) == 1 and isinstance(blocks[0], str):
        return {"role": "user", "content": blocks[0]}
    return {"role": "user", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def assistant(*blocks: Json | str) -> Json:
    """An assistant message."""
    return {**user(*blocks), "role": "assistant"}


def tool_use(name: str = "Read", call: str = "toolu_1", **arguments: Any) -> Json:
    """A call of a tool."""
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def tool_result(content: Any = "done", call: str = "toolu_1", **extra: Any) -> Json:
    """A tool's answer."""
    return {"type": "tool_result", "tool_use_id": call, "content": content, **extra}


def tool(name: str, **extra: Any) -> Json:
    """A tool definition."""
    return {
        "name": name,
        "description": f"Runs {name}.",
        "input_schema": {"type": "object"},
        **extra,
    }


AGENT_TOOLS = [tool(name) for name in ("Bash", "Edit", "Read", "Write")]


def main_turn(*messages: Json, **extra: Any) -> Json:
    """A request of Claude Code's main loop."""
    return {
        "model": "claude-opus-5-5",
        "messages": list(messages),
        "system": [
            text(BILLING),
            text(IDENTITY),
            text("\nYou are an agent working with the user."),
        ],
        "tools": AGENT_TOOLS,
        "max_tokens": 128000,
        "thinking": {"type": "adaptive"},
        "stream": True,
        **extra,
    }


def background_call(system: str, words: str, **extra: Any) -> Json:
    """A small side request of Claude Code: no tools, no thinking, one question."""
    return {
        "model": "claude-haiku-5-5",
        "messages": [user(text(words))],
        "system": [text(BILLING), text(IDENTITY), text(system)],
        "tools": [],
        "max_tokens": 128000,
        "stream": True,
        **extra,
    }


def item(role: str, words: str) -> Json:
    """A message item of the Responses API."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}]}


def codex_turn(*items: Json, metadata: Json | None = None, **extra: Any) -> Json:
    """A request of Codex; ``metadata`` is its turn metadata."""
    body: Json = {
        "model": "gpt-5.5",
        "stream": True,
        "input": [
            item("developer", "You are Codex."),
            item("user", "<environment_context>\n  <cwd>/home/user/project</cwd>"),
            *items,
        ],
        "tools": [{"type": "function", "name": "exec_command", "parameters": {}}],
        "tool_choice": "auto",
        "store": False,
        **extra,
    }
    if metadata is not None:
        body["client_metadata"] = {"x-codex-turn-metadata": json.dumps(metadata)}
    return body


def encode(body: Any) -> bytes:
    """The body as bytes, written as compactly as the clients do."""
    return json.dumps(body, separators=(",", ":")).encode()


_NAMES = st.sampled_from(
    [
        "type",
        "text",
        "role",
        "content",
        "tool_result",
        "tool_use",
        "thinking",
        "image",
        "input",
        "output",
        "source",
        "system",
        "tools",
        "name",
        "model",
        "messages",
        "cache_control",
        "ttl",
        "message",
        "function_call",
        "reasoning",
        "arguments",
    ]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | _NAMES
    | st.sampled_from(["user", "assistant", "developer", "tool", "additional_tools"])
)
any_json = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_NAMES | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)
"""Any JSON value, made of the words that mean something to a reader of requests."""

_TOP = st.sampled_from(
    [
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "thinking",
        "output_config",
        "metadata",
        "instructions",
        "text",
        "input",
        "prompt",
        "reasoning",
        "client_metadata",
        "functions",
        "response_format",
        "messages",
        "mcp_servers",
    ]
)


def any_body(conversation: str) -> st.SearchStrategy[Json]:
    """Any body with a string model and a list under ``conversation``."""
    return st.builds(
        lambda rest, messages, model: {**rest, conversation: messages, "model": model},
        st.dictionaries(_TOP | st.text(max_size=4), any_json, max_size=5),
        st.lists(any_json, max_size=5),
        st.text(max_size=8),
    )

"""Requests in the shape Claude Code gives them: system blocks, tools, reminders, cache marks."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

from server.demo.words import prose

Json = dict[str, Any]

_TOOLS = (
    ("Agent", "description", "prompt", "subagent_type"),
    ("Bash", "command", "timeout", "description"),
    ("Edit", "file_path", "old_string", "new_string"),
    ("Glob", "pattern", "path"),
    ("Grep", "pattern", "path", "output_mode"),
    ("NotebookEdit", "notebook_path", "new_source"),
    ("Read", "file_path", "offset", "limit"),
    ("Skill", "name", "arguments"),
    ("TodoWrite", "todos"),
    ("WebFetch", "url", "prompt"),
    ("WebSearch", "query"),
    ("Write", "file_path", "content"),
)
_SEARCH_TOOLS = ("Bash", "Glob", "Grep", "Read", "WebFetch", "WebSearch")
_SERVERS = ("tracker", "wiki", "database", "browser", "calendar", "deploy", "metrics", "files")
_VERBS = ("list", "get", "create", "update", "delete", "search", "comment_on", "export")
_NOUNS = ("items", "pages", "records", "events")

IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."


def text(words: str, **more: Any) -> Json:
    """A text block."""
    return {"type": "text", "text": words, **more}


def user(*blocks: Json | str) -> Json:
    """A user message of blocks; strings become text blocks."""
    return {"role": "user", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def reminder(words: str) -> Json:
    """A note the client puts beside what the user typed."""
    return text(f"<system-reminder>\n{words}\n</system-reminder>")


def billing(session: str, *, is_subagent: bool = False) -> Json:
    """The accounting block that opens the client's system prompt; another one each session."""
    more = " cc_is_subagent=true;" if is_subagent else ""
    version = f"cc_version=2.1.330.{session[:3]}"
    return text(f"x-anthropic-billing-header: {version}; cc_entrypoint=cli;{more}")


def mark(ttl: str) -> Json:
    """A cache mark; five minutes is what is meant without a lifetime."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def system(session: str, guide: str, ttl: str, *, is_subagent: bool = False) -> list[Json]:
    """The system prompt: accounting, identity, and ``guide``."""
    return [
        billing(session, is_subagent=is_subagent),
        text(IDENTITY, cache_control=mark(ttl)),
        text(guide, cache_control=mark(ttl)),
    ]


@cache
def main_guide() -> str:
    """The long part of the main conversation's system prompt."""
    opening = "\nYou are an agent working with the user. Work in small steps and say what you did."
    return f"{opening}\n\n# Habits\n{prose(random.Random(1), 6_800)}"  # noqa: S311


@cache
def environment(project: str) -> str:
    """What the client tells about the machine, in a message of its own."""
    facts = f"# Environment\n - Working folder: /home/user/{project}\n - System: linux"
    return f"{facts}\n\n{prose(random.Random(project), 8_600)}"  # noqa: S311


@cache
def agent_tools() -> tuple[Json, ...]:
    """The tools of the main conversation, with descriptions of a realistic length."""
    return tuple(_tool(name, fields, 2_300) for name, *fields in _TOOLS)


@cache
def search_tools() -> tuple[Json, ...]:
    """The tools of a sub-agent that only looks."""
    return tuple(tool for tool in agent_tools() if tool["name"] in _SEARCH_TOOLS)


@cache
def many_tools() -> tuple[Json, ...]:
    """The main tools and those of several tool servers: what makes a prefix large."""
    names = [f"mcp__{s}__{v}_{n}" for s in _SERVERS for v in _VERBS for n in _NOUNS[:1]]
    extra = tuple(_tool(name, ["id", "fields", "page"], 2_150) for name in names)
    return agent_tools() + extra


def _tool(name: str, fields: list[str], chars: int) -> Json:
    rng = random.Random(name)  # noqa: S311
    return {
        "name": name,
        "description": f"{name}: {prose(rng, chars - 120 * len(fields))}",
        "input_schema": {
            "type": "object",
            "properties": {f: {"type": "string", "description": prose(rng, 60)} for f in fields},
            "required": fields[:1],
            "additionalProperties": False,
        },
    }


def structured(*names: str) -> Json:
    """``output_config`` for an answer that must be a JSON object with these keys."""
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": list(names),
        "additionalProperties": False,
    }
    return {"effort": "medium", "format": {"type": "json_schema", "schema": schema}}


def user_id(session: str) -> Json:
    """``metadata`` as the client fills it: a JSON string inside JSON."""
    ids = {"device_id": "demo-device", "account_uuid": "", "session_id": session}
    return {"user_id": json.dumps(ids, separators=(",", ":"))}


def with_mark(messages: list[Json], ttl: str) -> list[Json]:
    """``messages`` with a cache mark on the newest block; the others stay as they are."""
    if not messages:
        return []
    last = dict(messages[-1])
    content = last["content"]
    blocks = [text(content)] if isinstance(content, str) else [dict(b) for b in content]
    blocks[-1]["cache_control"] = mark(ttl)
    last["content"] = blocks
    return [*messages[:-1], last]

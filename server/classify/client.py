"""Who is asking, by the request headers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.types import Headers

_MAX_VALUE = 200
_MAX_METADATA = 64 * 1024
_VERSION = re.compile(r"\d+(?:\.\d+){0,3}(?:[-+.][0-9A-Za-z.]{1,20})?")

_AGENTS = (
    # Tokens that open a User-Agent, in the order they are tried.
    (re.compile(r"claude-(?:cli|code)/", re.I), "claude-code"),
    (re.compile(r"codex[\w-]*/", re.I), "codex"),
    (re.compile(r"(?:Async)?Anthropic(?:Bedrock|Vertex)?/(?:[A-Za-z]+ )?", re.I), "anthropic-sdk"),
    (re.compile(r"(?:Async)?(?:Azure)?OpenAI/(?:[A-Za-z]+ )?", re.I), "openai-sdk"),
)
_KNOWN_AGENTS = frozenset({"claude-code", "codex"})


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What the headers of a request say about its sender; no value is a secret."""

    client: str = "other"
    """``claude-code``, ``codex``, ``anthropic-sdk``, ``openai-sdk`` or ``other``."""
    version: str | None = None
    entrypoint: str | None = None
    """How Claude Code was started: ``cli``, ``sdk-cli`` ..."""
    is_known_agent: bool = False
    """Claude Code or Codex themselves, not a program they started."""
    session: str | None = None
    agent_id: str | None = None
    """Sub-agent id; ``None`` on the main thread."""
    subagent: str | None = None
    """``x-openai-subagent``: ``review``, ``collab_spawn`` ..."""
    turn_metadata: Mapping[str, Any] = field(default_factory=dict)
    """``x-codex-turn-metadata`` decoded; empty for other clients."""
    path: str = ""


def client_facts(headers: Headers, path: str) -> ClientFacts:
    """Read the sender from raw request headers; never raises, whatever they hold."""
    fields: dict[str, str] = {}
    for name, raw in headers:
        key = name.decode("latin-1").lower()
        limit = _MAX_METADATA if key == "x-codex-turn-metadata" else _MAX_VALUE
        fields.setdefault(key, raw[: limit + 1].decode("utf-8", "replace").strip())
    client, version = _client(fields, path)
    metadata = _metadata(fields.get("x-codex-turn-metadata", ""))
    return ClientFacts(
        client=client,
        version=version,
        entrypoint=_entrypoint(fields.get("user-agent", "")) if client == "claude-code" else None,
        is_known_agent=client in _KNOWN_AGENTS,
        session=_token(fields.get("x-claude-code-session-id") or fields.get("session-id")),
        agent_id=_token(fields.get("x-claude-code-agent-id")) or _codex_agent(metadata),
        subagent=_token(fields.get("x-openai-subagent")),
        turn_metadata=metadata,
        path=path,
    )


def _client(fields: Mapping[str, str], path: str) -> tuple[str, str | None]:
    user_agent = fields.get("user-agent", "")
    for pattern, name in _AGENTS:
        if found := pattern.match(user_agent):
            version = _VERSION.match(user_agent, found.end())
            return name, version[0] if version else None
    # An SDK under another User-Agent still sends its Stainless headers.
    if "x-stainless-lang" in fields:
        name = "anthropic-sdk" if path.startswith("/v1/messages") else "openai-sdk"
        version = _VERSION.match(fields.get("x-stainless-package-version", ""))
        return name, version[0] if version else None
    return "other", None


def _entrypoint(user_agent: str) -> str | None:
    found = re.search(r"\((?:external|internal|[a-z]+), ([a-z][a-z0-9-]{1,30})", user_agent)
    return found[1] if found else None


def _metadata(text: str) -> Mapping[str, Any]:
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _codex_agent(metadata: Mapping[str, Any]) -> str | None:
    """The thread of a Codex sub-agent; its parent's session id is shared, the thread is its own."""
    if metadata.get("thread_source") != "subagent":
        return None
    thread = metadata.get("thread_id")
    return _token(thread) if isinstance(thread, str) else None


def _token(value: str | None) -> str | None:
    """An identifier that is safe to store and show."""
    if not value or len(value) > _MAX_VALUE or not value.isprintable():
        return None
    return value

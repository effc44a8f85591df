"""An Anthropic Messages request (``POST /v1/messages``), parsed, to a neutral one.

Fails closed: a field, block or tool type that is not named here keeps the request with Anthropic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.neutral import (
    CannotCarry,
    Choice,
    Message,
    Notes,
    OutputFormat,
    Pin,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from providers.protocols.anthropic.blocks_in import read_blocks
from providers.protocols.anthropic.request import ATTRIBUTION
from providers.protocols.translate import Stop, items, mapping, number, text, whole

CARRIED = frozenset(
    [
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "thinking",
        "output_config",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "context_management",
    ]
)
"""Top-level fields that the neutral request can hold, each as far as its reader says."""

DROPPED = frozenset(["metadata", "cache_control", "service_tier", "speed", "diagnostics"])
"""Top-level fields that do not change the answer: accounting, caching, speed."""

DEGRADED = frozenset(["safeguards"])
"""Checks that only Anthropic makes; without them the agent asks its user more often."""

NATIVE = frozenset(
    [
        "container",
        "mcp_servers",
        "compaction",
        "thread",
        "fallbacks",
        "fallback_credit_token",
        "billing_policy",
        "inference_geo",
        "user_profile_id",
        "workspace_id",
        "betas",
    ]
)
"""Top-level fields that mean something at Anthropic alone."""

_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_MESSAGE_FIELDS = frozenset(["role", "content", "output_config"])
_TOOL_DROPPED = frozenset(["cache_control", "eager_input_streaming"])
_TOOL_FIELDS = _TOOL_DROPPED | {
    "type",
    "name",
    "description",
    "input_schema",
    "strict",
    "defer_loading",
    "input_examples",
    "allowed_callers",
}
_CHOICES = {
    "auto": Choice.AUTO,
    "any": Choice.REQUIRED,
    "none": Choice.NONE,
    "tool": Choice.NAMED,
}
_HARMLESS_EDIT = "clear_thinking_"
_LOW_BUDGET, _MEDIUM_BUDGET = 4_000, 16_000
"""Tokens of ``budget_tokens`` below which the effort is low, and below which it is medium."""


def read_request(body: Any) -> Request | CannotCarry:
    """The request, or what keeps it with Anthropic."""
    try:
        return _Reader(body).read()
    except Stop as stop:
        return stop.reason


class _Reader:
    def __init__(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise Stop(Pin.MALFORMED, "body")
        self._body: Mapping[str, Any] = body
        self._dropped: list[str] = []
        self._degraded: list[str] = []

    def read(self) -> Request:
        body = self._body
        self._check_fields()
        messages = self._messages()
        choice, parallel = self._tool_choice()
        return Request(
            model=text(body.get("model")) or "",
            messages=messages,
            system=self._system(),
            tools=self._tools(),
            tool_choice=choice,
            parallel_tools=parallel,
            max_tokens=self._max_tokens(),
            stop=tuple(stop for stop in items(body.get("stop_sequences")) if text(stop)),
            sampling=Sampling(
                temperature=number(body.get("temperature")),
                top_p=number(body.get("top_p")),
                top_k=whole(body.get("top_k")),
            ),
            effort=self._effort(),
            output_format=self._output_format(),
            stream=body.get("stream") is True,
            notes=Notes(tuple(dict.fromkeys(self._dropped)), tuple(dict.fromkeys(self._degraded))),
        )

    def _check_fields(self) -> None:
        for name, value in self._body.items():
            if name in CARRIED or value is None:
                continue
            if name in DROPPED:
                self._dropped.append(name)
            elif name in DEGRADED:
                self._degraded.append(name)
            elif name in NATIVE:
                raise Stop(Pin.NATIVE_FIELD, name)
            else:
                raise Stop(Pin.UNKNOWN_FIELD, name)
        for edit in items(mapping(self._body.get("context_management")).get("edits")):
            kind = text(mapping(edit).get("type")) or ""
            if not kind.startswith(_HARMLESS_EDIT):
                raise Stop(Pin.NATIVE_FIELD, f"context_management.{kind}")
            self._dropped.append("context_management")

    def _max_tokens(self) -> int | None:
        limit = whole(self._body.get("max_tokens"))
        if limit is not None and limit <= 0:
            raise Stop(Pin.PREWARM, "max_tokens")
        return limit

    # ------------------------------------------------------------------ conversation

    def _system(self) -> tuple[str, ...]:
        found = self._body.get("system")
        blocks = [found] if isinstance(found, str) else []
        for block in items(found):
            if mapping(block).get("type") != "text":
                raise Stop(Pin.UNKNOWN_PART, f"system.{mapping(block).get('type')}")
            if mapping(block).get("cache_control"):
                self._dropped.append("cache_control")
            blocks.append(text(mapping(block).get("text")) or "")
        return tuple(kept for block in blocks if (kept := self._without_attribution(block)))

    def _without_attribution(self, block: str) -> str:
        """Claude Code's accounting line differs between sessions and would defeat any cache."""
        if not block.startswith(ATTRIBUTION):
            return block
        self._dropped.append("attribution")
        return block.partition("\n")[2]

    def _messages(self) -> tuple[Message, ...]:
        found = self._body.get("messages")
        if not isinstance(found, list) or not found:
            raise Stop(Pin.MALFORMED, "messages")
        messages = tuple(self._message(message) for message in found)
        if messages[-1].role is Role.ASSISTANT:
            raise Stop(Pin.PREFILL, "messages")
        return messages

    def _message(self, found: Any) -> Message:
        fields = mapping(found)
        role = _ROLES.get(text(fields.get("role")) or "")
        if role is None:
            raise Stop(Pin.MALFORMED, "messages.role")
        for name in fields:
            if name not in _MESSAGE_FIELDS:
                raise Stop(Pin.UNKNOWN_FIELD, f"messages.{name}")
        content = fields.get("content")
        if isinstance(content, str):
            return Message(role, (Text(content),))
        if not isinstance(content, list):
            raise Stop(Pin.MALFORMED, "messages.content")
        blocks = read_blocks(content, role)
        self._dropped += blocks.dropped
        self._degraded += blocks.degraded
        return Message(role, tuple(blocks.parts))

    # ------------------------------------------------------------------ tools

    def _tools(self) -> tuple[Tool, ...]:
        tools = (self._tool(mapping(tool)) for tool in items(self._body.get("tools")))
        return tuple(tool for tool in tools if tool is not None)

    def _tool(self, fields: Mapping[str, Any]) -> Tool | None:
        kind = text(fields.get("type"))
        name = text(fields.get("name"))
        if kind not in (None, "custom"):
            raise Stop(Pin.SERVER_TOOL, kind or "")
        if not name:
            raise Stop(Pin.MALFORMED, "tools.name")
        for field in fields:
            if field not in _TOOL_FIELDS:
                raise Stop(Pin.UNKNOWN_FIELD, f"tools.{field}")
            if field in _TOOL_DROPPED:
                self._dropped.append(field)
        if fields.get("defer_loading") is True:
            # The model has not been shown it yet, and nobody but Anthropic would hide it.
            self._degraded.append("deferred_tools")
            return None
        if fields.get("allowed_callers") not in (None, ["direct"]):
            raise Stop(Pin.NATIVE_FIELD, "tools.allowed_callers")
        if fields.get("input_examples"):
            self._degraded.append("input_examples")
        return Tool(
            name=name,
            description=text(fields.get("description")),
            schema=mapping(fields.get("input_schema")),
            strict=fields["strict"] if isinstance(fields.get("strict"), bool) else None,
        )

    def _tool_choice(self) -> tuple[ToolChoice | None, bool | None]:
        found = self._body.get("tool_choice")
        if found is None:
            return None, None
        fields = mapping(found)
        mode = _CHOICES.get(text(fields.get("type")) or "")
        if mode is None:
            raise Stop(Pin.TOOL_CHOICE, f"tool_choice.{fields.get('type')}")
        parallel = None
        if isinstance(fields.get("disable_parallel_tool_use"), bool):
            parallel = not fields["disable_parallel_tool_use"]
        return ToolChoice(mode, text(fields.get("name"))), parallel

    # ------------------------------------------------------------------ thinking and output

    def _effort(self) -> str | None:
        thinking = mapping(self._body.get("thinking"))
        kind = thinking.get("type")
        if kind == "disabled":
            return "none"
        if kind is not None:
            self._degraded.append("thinking")
        effort = text(mapping(self._body.get("output_config")).get("effort"))
        for message in items(self._body.get("messages")):
            effort = text(mapping(mapping(message).get("output_config")).get("effort")) or effort
        if effort is None and kind == "enabled":
            budget = whole(thinking.get("budget_tokens")) or 0
            effort = "low" if budget < _LOW_BUDGET else "high"
            effort = "medium" if _LOW_BUDGET <= budget < _MEDIUM_BUDGET else effort
        return effort

    def _output_format(self) -> OutputFormat | None:
        output = mapping(self._body.get("output_config"))
        for name, value in output.items():
            if name not in ("effort", "format") and value is not None:
                raise Stop(Pin.NATIVE_FIELD, f"output_config.{name}")
        found = output.get("format")
        if found is None:
            return None
        fields = mapping(found)
        if fields.get("type") != "json_schema" or not isinstance(fields.get("schema"), dict):
            raise Stop(Pin.OUTPUT_FORMAT, f"output_config.format.{fields.get('type')}")
        return OutputFormat(schema=fields["schema"], name=text(fields.get("name")))

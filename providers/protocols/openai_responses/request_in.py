"""A Responses request (``POST /v1/responses``) as a neutral ``Request``.

Codex sends the whole history each time (``store: false``) in one of three dialects: tools at the
top level, tools in an ``additional_tools`` item, or function tools alone; all three are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from providers.neutral import (
    NO_NOTES,
    CannotCarry,
    Message,
    Notes,
    OutputFormat,
    Part,
    Pin,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from providers.protocols.openai_responses.items_in import ItemReader
from providers.protocols.openai_responses.tools_in import LEFT_OUT_TOOLS, ToolReader
from providers.protocols.translate import Stop, items, mapping, number, text, whole

_NEVER: frozenset[Any] = frozenset()

NATIVE_FIELDS: Mapping[str, frozenset[Any]] = MappingProxyType(
    {
        "access_programs": _NEVER,
        "background": frozenset([False]),
        "background_options": _NEVER,
        "context_management": _NEVER,
        "conversation": _NEVER,
        "image": _NEVER,
        "moderation": _NEVER,
        "previous_response_id": _NEVER,
        "prompt": _NEVER,
        "store": frozenset([False]),
        "top_logprobs": frozenset([0]),
        "truncation": frozenset(["disabled"]),
    }
)
"""Fields that only OpenAI has, with the values under which they ask for nothing."""

DROPPED_FIELDS = frozenset(
    [
        "client_metadata",
        "max_tool_calls",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream_options",
        "user",
    ]
)
"""Fields whose absence changes no answer: labels, caching, billing, the number of tools that the
vendor itself runs."""

CARRIED_FIELDS = frozenset(
    [
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "model",
        "parallel_tool_calls",
        "reasoning",
        "stream",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
    ]
)

_DROPPED_REASONING = frozenset(["context", "generate_summary", "summary"])
_DROPPED_INCLUDES = frozenset(["reasoning.encrypted_content"])


def read_request(
    body: Any, *, left_out_tools: frozenset[str] = LEFT_OUT_TOOLS
) -> Request | CannotCarry:
    """Read a parsed body.

    ``left_out_tools`` are the types of vendor-run tools that may be taken from the list where the
    history has not used them; each one is noted as degraded. All other vendor-run tools pin.
    """
    try:
        return _Reader(mapping(body), left_out_tools).request()
    except Stop as stop:
        return stop.reason


@dataclass(slots=True)
class _Reader:
    body: Mapping[str, Any]
    left_out_tools: frozenset[str]
    dropped: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)

    def request(self) -> Request:
        body = self.body
        model = text(body.get("model"))
        self._check_fields()
        if model is None:
            raise Stop(Pin.MALFORMED, "model")
        effort = self._effort()
        output_format, verbosity = self._text()
        tools, choice, system, messages = self._conversation()
        return Request(
            model=model,
            messages=messages,
            system=system,
            tools=tools,
            tool_choice=choice,
            parallel_tools=self._flag("parallel_tool_calls"),
            max_tokens=self._typed("max_output_tokens", whole),
            sampling=Sampling(
                temperature=self._typed("temperature", number),
                top_p=self._typed("top_p", number),
            ),
            effort=effort,
            output_format=output_format,
            verbosity=verbosity,
            stream=self._flag("stream") is True,
            notes=NO_NOTES | Notes(tuple(self.dropped), tuple(self.degraded)),
        )

    def _check_fields(self) -> None:
        for name, value in self.body.items():
            if name in CARRIED_FIELDS or value is None or value == [] or value == {}:
                continue
            if name in NATIVE_FIELDS:
                harmless = NATIVE_FIELDS[name]
                if not isinstance(value, bool | int | str) or value not in harmless:
                    raise Stop(Pin.NATIVE_FIELD, name)
            elif name not in DROPPED_FIELDS:
                raise Stop(Pin.UNKNOWN_FIELD, name)
            elif name == "prompt_cache_options" and mapping(value).get("prewarm") is True:
                raise Stop(Pin.PREWARM, "prompt_cache_options.prewarm")
            else:
                self.dropped.append(name)
        if self.body.get("store") is None:
            # The vendor keeps an answer unless told not to; a later turn could refer to it.
            self.degraded.append("store")
        self._check_includes()

    def _check_includes(self) -> None:
        for found in items(self._typed("include", _list)):
            name = text(found)
            if name not in _DROPPED_INCLUDES:
                raise Stop(Pin.NATIVE_FIELD, f"include.{name}")
            self.dropped.append("include")

    def _effort(self) -> str | None:
        reasoning = mapping(self._typed("reasoning", _object))
        for name, value in reasoning.items():
            if name == "effort" or value is None or (name, value) == ("mode", "standard"):
                continue
            if name not in _DROPPED_REASONING:
                raise Stop(Pin.NATIVE_FIELD, f"reasoning.{name}")
            self.dropped.append(f"reasoning.{name}")
        effort: str | None = _typed(reasoning.get("effort"), text, "reasoning.effort")
        return effort

    def _text(self) -> tuple[OutputFormat | None, str | None]:
        settings = mapping(self._typed("text", _object))
        for name, value in settings.items():
            if name not in ("format", "verbosity") and value is not None:
                raise Stop(Pin.NATIVE_FIELD, f"text.{name}")
        verbosity = _typed(settings.get("verbosity"), text, "text.verbosity")
        return _output_format(_typed(settings.get("format"), _object, "text.format")), verbosity

    def _conversation(
        self,
    ) -> tuple[tuple[Tool, ...], ToolChoice | None, tuple[str, ...], tuple[Message, ...]]:
        tool_reader = ToolReader(self.left_out_tools)
        tool_reader.add(self._typed("tools", _list))
        item_reader = ItemReader(tool_reader)
        given = self.body.get("input")
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        for item in items(_typed(given, _list, "input")):
            item_reader.add(item)
        choice = tool_reader.choice(self.body.get("tool_choice"))
        self.dropped += [*tool_reader.dropped, *item_reader.dropped]
        self.degraded += [*tool_reader.degraded, *item_reader.degraded]
        instructions = self._typed("instructions", text)
        system, messages = _split_leading(group(item_reader.turns))
        if instructions:
            system = (instructions, *system)
        if not messages:
            raise Stop(Pin.MALFORMED, "input")
        return tool_reader.tools(), choice, system, messages

    def _typed(self, name: str, convert: Callable[[Any], Any]) -> Any:
        return _typed(self.body.get(name), convert, name)

    def _flag(self, name: str) -> bool | None:
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise Stop(Pin.MALFORMED, name)
        return value


def _typed(value: Any, convert: Callable[[Any], Any], name: str) -> Any:
    """``convert(value)``; a value of another type is the vendor's to judge."""
    found = convert(value) if value is not None else None
    if found is None and value is not None:
        raise Stop(Pin.MALFORMED, name)
    return found


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _output_format(wanted: Mapping[str, Any] | None) -> OutputFormat | None:
    if wanted is None:
        return None
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return OutputFormat()
        case "json_schema" if isinstance(wanted.get("schema"), dict):
            return OutputFormat(
                schema=wanted["schema"],
                name=text(wanted.get("name")),
                strict=wanted.get("strict") is True,
                description=text(wanted.get("description")),
            )
        case "json_schema":
            raise Stop(Pin.MALFORMED, "text.format.schema")
        case kind:
            raise Stop(Pin.NATIVE_FIELD, f"text.format.{kind}")


def group(turns: list[tuple[Role, tuple[Part, ...]]]) -> tuple[Message, ...]:
    """Messages out of single items: the neighbours of one speaker make one message."""
    messages: list[Message] = []
    for role, parts in turns:
        if not parts:
            continue
        if messages and messages[-1].role is role and role in (Role.USER, Role.ASSISTANT):
            messages[-1] = Message(role, messages[-1].parts + parts)
        else:
            messages.append(Message(role, parts))
    return tuple(messages)


def _split_leading(
    messages: tuple[Message, ...],
) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """Instructions before the first turn belong to the system prompt."""
    count = 0
    blocks: list[str] = []
    for message in messages:
        if message.role not in (Role.SYSTEM, Role.DEVELOPER):
            break
        blocks += [part.text for part in message.parts if isinstance(part, Text)]
        count += 1
    return tuple(blocks), messages[count:]

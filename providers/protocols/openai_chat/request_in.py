"""An OpenAI Chat Completions request (``POST /v1/chat/completions``), parsed, to a neutral one.

Fails closed: a field, part or tool type that is not named here keeps the request with OpenAI.
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
from providers.protocols.openai_chat.messages_in import MessageReader
from providers.protocols.translate import Stop, items, mapping, number, text, whole

CARRIED = frozenset(
    [
        "model",
        "messages",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "reasoning_effort",
        "verbosity",
    ]
)
"""Top-level fields that the neutral request can hold, each as far as its reader says."""

DROPPED = frozenset(
    [
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "user",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "moderation",
    ]
)
"""Top-level fields that do not change the answer: accounting, caching, storage."""

NATIVE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "audio": (),
    "modalities": (["text"],),
    "prediction": (),
    "web_search_options": (),
}
"""Top-level fields only some providers have, and the values that say nothing."""

_CHOICES = {"auto": Choice.AUTO, "none": Choice.NONE, "required": Choice.REQUIRED}


def read_request(body: Any) -> Request | CannotCarry:
    """The request, or what keeps it with its own provider."""
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
        system, messages = self._messages()
        choice, tools = self._choice_and_tools()
        parallel = body.get("parallel_tool_calls")
        asked = whole(body.get("max_completion_tokens"))
        return Request(
            model=text(body.get("model")) or "",
            messages=messages,
            system=system,
            tools=tools,
            tool_choice=choice,
            parallel_tools=parallel if isinstance(parallel, bool) else None,
            max_tokens=whole(body.get("max_tokens")) if asked is None else asked,
            stop=self._stop(),
            sampling=Sampling(
                temperature=number(body.get("temperature")),
                top_p=number(body.get("top_p")),
                seed=whole(body.get("seed")),
                presence_penalty=number(body.get("presence_penalty")),
                frequency_penalty=number(body.get("frequency_penalty")),
            ),
            effort=text(body.get("reasoning_effort")),
            output_format=self._output_format(),
            verbosity=text(body.get("verbosity")),
            stream=body.get("stream") is True,
            wants_stream_usage=mapping(body.get("stream_options")).get("include_usage") is True,
            notes=Notes(tuple(dict.fromkeys(self._dropped)), tuple(dict.fromkeys(self._degraded))),
        )

    def _check_fields(self) -> None:
        for name, value in self._body.items():
            if name in CARRIED or value is None:
                continue
            if name in DROPPED:
                self._dropped.append(name)
            elif name not in NATIVE:
                raise Stop(Pin.UNKNOWN_FIELD, name)
            elif value not in NATIVE[name]:
                raise Stop(Pin.NATIVE_FIELD, name)

    def _messages(self) -> tuple[tuple[str, ...], tuple[Message, ...]]:
        found = self._body.get("messages")
        if not isinstance(found, list) or not found:
            raise Stop(Pin.MALFORMED, "messages")
        reader = MessageReader()
        messages = [reader.read(mapping(message)) for message in found]
        self._dropped += reader.dropped
        self._degraded += reader.degraded
        first = next((i for i, message in enumerate(messages) if not _instructs(message)), None)
        if first is None:
            raise Stop(Pin.MALFORMED, "no user message")
        if messages[-1].role is Role.ASSISTANT:
            raise Stop(Pin.PREFILL, "messages")
        system = tuple(
            part.text
            for message in messages[:first]
            for part in message.parts
            if isinstance(part, Text) and part.text
        )
        return system, tuple(messages[first:])

    def _stop(self) -> tuple[str, ...]:
        found = self._body.get("stop")
        if isinstance(found, str):
            return (found,)
        return tuple(stop for stop in items(found) if isinstance(stop, str) and stop)

    # ------------------------------------------------------------------ tools

    def _choice_and_tools(self) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
        tools = [self._tool(mapping(tool)) for tool in items(self._body.get("tools"))]
        tools += [_function(mapping(found)) for found in items(self._body.get("functions"))]
        found = self._body.get("tool_choice")
        if found is None:
            found = self._body.get("function_call")
        if found is None:
            return None, tuple(tools)
        if isinstance(found, str):
            if found not in _CHOICES:
                raise Stop(Pin.TOOL_CHOICE, f"tool_choice.{found}")
            return ToolChoice(_CHOICES[found]), tuple(tools)
        fields = mapping(found)
        if fields.get("type") == "allowed_tools":
            return self._allowed(mapping(fields.get("allowed_tools")), tools)
        name = _name_of(fields)
        if name is None:
            raise Stop(Pin.TOOL_CHOICE, f"tool_choice.{fields.get('type')}")
        return ToolChoice(Choice.NAMED, name), tuple(tools)

    def _allowed(
        self, fields: Mapping[str, Any], tools: list[Tool]
    ) -> tuple[ToolChoice, tuple[Tool, ...]]:
        """``allowed_tools`` keeps the list for the cache's sake; elsewhere it has to be cut."""
        self._degraded.append("allowed_tools")
        names = {_name_of(mapping(tool)) for tool in items(fields.get("tools"))}
        mode = _CHOICES.get(text(fields.get("mode")) or "", Choice.AUTO)
        return ToolChoice(mode), tuple(tool for tool in tools if tool.name in names)

    def _tool(self, fields: Mapping[str, Any]) -> Tool:
        match fields.get("type"):
            case "function":
                return _function(mapping(fields.get("function")))
            case "custom":
                custom = mapping(fields.get("custom"))
                name = text(custom.get("name"))
                if not name:
                    raise Stop(Pin.MALFORMED, "tools.name")
                grammar = custom.get("format")
                return Tool(
                    name=name,
                    description=text(custom.get("description")),
                    is_custom=True,
                    grammar=grammar if isinstance(grammar, dict) else None,
                )
            case kind:
                raise Stop(Pin.SERVER_TOOL, f"{kind}")

    def _output_format(self) -> OutputFormat | None:
        fields = mapping(self._body.get("response_format"))
        match fields.get("type"):
            case None | "text":
                return None
            case "json_object":
                return OutputFormat()
            case "json_schema":
                schema = mapping(fields.get("json_schema"))
                strict = schema.get("strict")
                return OutputFormat(
                    schema=mapping(schema.get("schema")),
                    name=text(schema.get("name")),
                    strict=strict if isinstance(strict, bool) else None,
                    description=text(schema.get("description")),
                )
            case kind:
                raise Stop(Pin.OUTPUT_FORMAT, f"response_format.{kind}")


def _instructs(message: Message) -> bool:
    return message.role in (Role.SYSTEM, Role.DEVELOPER)


def _name_of(fields: Mapping[str, Any]) -> str | None:
    inner = mapping(fields.get("function")) or mapping(fields.get("custom")) or fields
    return text(inner.get("name"))


def _function(fields: Mapping[str, Any]) -> Tool:
    name = text(fields.get("name"))
    if not name:
        raise Stop(Pin.MALFORMED, "tools.name")
    strict = fields.get("strict")
    return Tool(
        name=name,
        description=text(fields.get("description")),
        schema=mapping(fields.get("parameters")),
        strict=strict if isinstance(strict, bool) else None,
    )

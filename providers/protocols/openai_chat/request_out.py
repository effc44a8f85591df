"""A neutral request to a Chat Completions body, after the traits of the provider's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.history import tidy
from providers.neutral import (
    CannotCarry,
    Choice,
    Message,
    Notes,
    Pin,
    Request,
    Role,
    Text,
    Tool,
)
from providers.protocols.openai_chat.messages_out import MessageWriter
from providers.protocols.translate import Stop
from providers.tool_book import ToolBook
from providers.traits import Outgoing, Traits, output_limit

FORMAT_NAME = "answer"
"""Name of a schema where the client gave none."""


def write_request(
    request: Request, model: str, traits: Traits, *, input_tokens: int | None = None
) -> Outgoing | CannotCarry:
    """The body for ``model``, or why there is none.

    ``input_tokens`` is an estimate of the whole input; without it the window is not checked.
    """
    try:
        return _Writer(request, model, traits, input_tokens).write()
    except Stop as stop:
        return stop.reason


class _Writer:
    def __init__(
        self, request: Request, model: str, traits: Traits, input_tokens: int | None
    ) -> None:
        self._request = request
        self._model = model
        self._traits = traits
        self._input_tokens = input_tokens
        self._book = ToolBook(request)
        self._dropped: list[str] = []
        self._degraded: list[str] = []

    def write(self) -> Outgoing:
        request, traits = self._request, self._traits
        body: dict[str, Any] = {"model": self._model, "messages": self._messages()}
        body |= self._tools()
        limit, is_cut = output_limit(request, traits, self._input_tokens)
        if limit is not None:
            body[traits.max_tokens_field] = limit
        if is_cut:
            self._degraded.append("max_tokens")
        if request.stop:
            if traits.stop_limit is not None and len(request.stop) > traits.stop_limit:
                raise Stop(Pin.STOP, "stop")
            body["stop"] = list(request.stop)
        body |= self._sampling() | self._output()
        if request.stream:
            # The ledger needs the usage, whether the client asked for it or not.
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= traits.extra
        for name in sorted(traits.unsupported & body.keys()):
            del body[name]
            self._dropped.append(name)
        notes = Notes(tuple(self._dropped), tuple(dict.fromkeys(self._degraded)))
        return Outgoing(body, self._book, request.notes | notes)

    def _messages(self) -> list[dict[str, Any]]:
        system, messages = self._placed()
        history, notes = tidy(messages)
        self._degraded += notes.degraded
        writer = MessageWriter(self._book, self._traits)
        written: list[dict[str, Any]] = []
        if system:
            written.append({"role": self._traits.system_role, "content": "\n\n".join(system)})
        for message in history:
            written += writer.write(message)
        self._degraded += writer.degraded
        if not any(message["role"] in ("user", "tool") for message in written):
            raise Stop(Pin.MALFORMED, "no user message")
        if written[-1]["role"] == "assistant":
            raise Stop(Pin.PREFILL, "messages")
        return written

    def _placed(self) -> tuple[list[str], list[Message]]:
        """Leading instructions, and the conversation with or without instructions inside."""
        system, messages = list(self._request.system), list(self._request.messages)
        if self._traits.mid_system:
            return system, messages
        inside = [m for m in messages if m.role in (Role.SYSTEM, Role.DEVELOPER)]
        if inside:
            self._degraded.append("system_position")
        system += [part.text for m in inside for part in m.parts if isinstance(part, Text)]
        return system, [m for m in messages if m.role in (Role.USER, Role.ASSISTANT)]

    # ------------------------------------------------------------------ tools

    def _tools(self) -> dict[str, Any]:
        request, traits = self._request, self._traits
        if not request.tools:
            return {}
        if not traits.tools:
            raise Stop(Pin.TOOLS, "tools")
        if traits.max_tools is not None and len(request.tools) > traits.max_tools:
            raise Stop(Pin.TOOLS, f"more than {traits.max_tools} tools")
        found: dict[str, Any] = {"tools": [self._tool(tool) for tool in request.tools]}
        found |= self._choice()
        may_call = request.tool_choice is None or request.tool_choice.mode is not Choice.NONE
        if request.parallel_tools is False and may_call:
            if not traits.parallel_control:
                raise Stop(Pin.PARALLEL, "parallel_tool_calls")
            found["parallel_tool_calls"] = False
        elif request.parallel_tools and traits.parallel_control:
            found["parallel_tool_calls"] = True
        return found

    def _choice(self) -> dict[str, Any]:
        choice = self._request.tool_choice
        if choice is None:
            return {}
        if choice.mode not in self._traits.tool_choices:
            raise Stop(Pin.TOOL_CHOICE, f"tool_choice.{choice.mode}")
        if choice.mode is not Choice.NAMED:
            return {"tool_choice": choice.mode.value}
        name = self._book.wire_name(choice.name or "", choice.namespace)
        return {"tool_choice": {"type": "function", "function": {"name": name}}}

    def _tool(self, tool: Tool) -> dict[str, Any]:
        if tool.is_custom:
            self._degraded.append("custom_tool")
        function: dict[str, Any] = {"name": self._book.wire_name(tool.name, tool.namespace)}
        if description := self._book.description(tool):
            function["description"] = description
        function["parameters"] = self._schema(self._book.schema(tool))
        if self._traits.strict_tools and (strict := self._strict(tool)) is not None:
            function["strict"] = strict
        return {"type": "function", "function": function}

    def _strict(self, tool: Tool) -> bool | None:
        """Some providers refuse a mixture; the loosest one is right for all."""
        if not self._traits.uniform_strict:
            return tool.strict
        known = [each.strict for each in self._request.tools]
        return None if all(each is None for each in known) else all(known)

    def _schema(self, schema: Any) -> Any:
        """The schema without the keywords that the provider refuses, at every depth."""
        drops = self._traits.schema_drops
        if isinstance(schema, list):
            return [self._schema(inner) for inner in schema]
        if not isinstance(schema, dict):
            return schema
        kept: dict[str, Any] = {}
        for name, value in schema.items():
            if name in drops:
                # ``$schema`` only says which draft the rest is written in.
                (self._dropped if name == "$schema" else self._degraded).append(f"schema.{name}")
            elif name in _MAPS and isinstance(value, dict):
                # The keys in here are names of the client's, not keywords.
                kept[name] = {key: self._schema(inner) for key, inner in value.items()}
            elif name in _LITERALS:
                kept[name] = value
            else:
                kept[name] = self._schema(value)
        return kept

    # ------------------------------------------------------------------ sampling and output

    def _sampling(self) -> dict[str, Any]:
        sampling = self._request.sampling
        wanted = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        if sampling.top_k is not None:
            self._dropped.append("top_k")
        if self._traits.sampling:
            return given
        self._dropped += given
        return {}

    def _output(self) -> dict[str, Any]:
        request, traits = self._request, self._traits
        found: dict[str, Any] = {}
        if request.effort is not None:
            effort = traits.choose_effort(request.effort)
            if effort != request.effort:
                self._degraded.append("effort")
            found |= {"reasoning_effort": effort} if effort else {}
        if request.verbosity is not None:
            found["verbosity"] = request.verbosity
        wanted = request.output_format
        if wanted is None:
            return found
        if wanted.schema is None:
            return found | {"response_format": {"type": "json_object"}}
        if not traits.json_schema:
            raise Stop(Pin.OUTPUT_FORMAT, "json_schema")
        schema: dict[str, Any] = {
            "name": wanted.name or FORMAT_NAME,
            "schema": self._schema(dict(wanted.schema)),
        }
        # Messages always enforces its schema; a server that refuses open ones must not.
        schema["strict"] = _is_closed(wanted.schema) if wanted.strict is None else wanted.strict
        if wanted.description:
            schema["description"] = wanted.description
        return found | {"response_format": {"type": "json_schema", "json_schema": schema}}


_MAPS = frozenset(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"])
_LITERALS = frozenset(["enum", "const", "default", "examples", "required"])


def _is_closed(schema: Any) -> bool:
    """Whether strict decoding takes the schema: no object in it has optional or unnamed keys."""
    if isinstance(schema, list):
        return all(_is_closed(inner) for inner in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, Mapping):
        required = schema.get("required")
        names = set(properties) if isinstance(properties, Mapping) else set()
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if names != {name for name in required if isinstance(name, str)}:
            return False
    return all(
        _is_closed(list(inner.values()) if name in _MAPS and isinstance(inner, Mapping) else inner)
        for name, inner in schema.items()
        if name not in _LITERALS
    )

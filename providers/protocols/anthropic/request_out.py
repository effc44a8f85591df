"""A neutral request to an Anthropic Messages body that the vendor accepts.

Nothing is ever put where thinking or a signature would be: only Anthropic can make those.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.call_ids import to_messages
from providers.history import tidy
from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    Notes,
    Part,
    Pin,
    Refusal,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from providers.protocols.translate import Stop
from providers.tool_book import ToolBook, arguments_object
from providers.traits import Outgoing, Traits, output_limit

JSON_ONLY = "Answer with one JSON object and nothing else."
"""Stands for a JSON mode without a schema, which Messages does not have."""
OPENING = "(The conversation continues.)"
"""A conversation must open with the user."""
IMAGE_TYPES = frozenset(["image/png", "image/jpeg", "image/gif", "image/webp"])
PDF = "application/pdf"
OPEN_SCHEMA = {"type": "object", "properties": {}}

_CHOICES = {
    Choice.AUTO: "auto",
    Choice.REQUIRED: "any",
    Choice.NONE: "none",
    Choice.NAMED: "tool",
}


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
        self._system = list(request.system)

    def write(self) -> Outgoing:
        request, traits = self._request, self._traits
        limit, is_cut = output_limit(request, traits, self._input_tokens)
        if limit is None:
            raise Stop(Pin.MAX_TOKENS, "no output limit is known for this model")
        if is_cut:
            self._degraded.append("max_tokens")
        messages, history = self._messages()
        body: dict[str, Any] = {"model": self._model, "max_tokens": limit, "messages": messages}
        body |= self._output_config()
        if self._system:
            body["system"] = [{"type": "text", "text": text} for text in self._system]
        body |= self._tools(history)
        if request.stop:
            if traits.stop_limit is not None and len(request.stop) > traits.stop_limit:
                raise Stop(Pin.STOP, "stop")
            body["stop_sequences"] = list(request.stop)
        body |= self._sampling()
        if request.stream:
            body["stream"] = True
        body |= traits.extra
        for name in traits.unsupported & body.keys():
            del body[name]
            self._dropped.append(name)
        notes = Notes(tuple(self._dropped), tuple(dict.fromkeys(self._degraded)))
        return Outgoing(body, self._book, request.notes | notes)

    # ------------------------------------------------------------------ messages

    def _messages(self) -> tuple[list[dict[str, Any]], tuple[Message, ...]]:
        history, notes = tidy(self._placed(self._request.messages))
        self._degraded += notes.degraded
        written: list[dict[str, Any]] = []
        for message in history:
            content = [block for part in message.parts for block in self._blocks(part)]
            if content:
                written.append({"role": _role(message.role), "content": content})
        if not any(message["role"] == "user" for message in written):
            raise Stop(Pin.MALFORMED, "no user message")
        if next(message["role"] for message in written if message["role"] != "system") != "user":
            self._degraded.append("opening")
            written.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
        if written[-1]["role"] == "assistant":
            raise Stop(Pin.PREFILL, "messages")
        return written, history

    def _placed(self, messages: Iterable[Message]) -> list[Message]:
        """Instructions in the middle stay there, or join the leading ones."""
        placed: list[Message] = []
        for message in messages:
            if message.role in (Role.USER, Role.ASSISTANT) or (self._traits.mid_system and placed):
                placed.append(message)
            else:
                self._degraded.append("system_position")
                self._system += [part.text for part in message.parts if isinstance(part, Text)]
        return placed

    def _blocks(self, part: Part) -> list[dict[str, Any]]:
        match part:
            case Text(text) | Refusal(text):
                # The vendor refuses text blocks that are empty or all white space.
                return [{"type": "text", "text": text}] if text.strip() else []
            case Image():
                return [self._image(part)]
            case File():
                return [self._file(part)]
            case ToolCall():
                return [
                    {
                        "type": "tool_use",
                        "id": to_messages(part.id),
                        "name": self._book.wire_name(part.name, part.namespace),
                        "input": arguments_object(self._book.wire_arguments(part)),
                    }
                ]
            case ToolResult():
                return [self._result(part)]
            case _:
                return []

    def _result(self, result: ToolResult) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": to_messages(result.call_id)}
        match result.content:
            case (Text(text),):
                block["content"] = text
            case ():
                pass
            case content:
                block["content"] = [inner for part in content for inner in self._blocks(part)]
        if result.is_error:
            block["is_error"] = True
        return block

    def _image(self, image: Image) -> dict[str, Any]:
        if not self._traits.vision:
            raise Stop(Pin.VISION, "image")
        if image.data is None:
            return {"type": "image", "source": {"type": "url", "url": image.url or ""}}
        if image.media_type not in IMAGE_TYPES:
            raise Stop(Pin.VISION, image.media_type or "image")
        source = {"type": "base64", "media_type": image.media_type, "data": image.data}
        return {"type": "image", "source": source}

    def _file(self, file: File) -> dict[str, Any]:
        if file.text is not None:
            source = {"type": "text", "media_type": "text/plain", "data": file.text}
        elif file.media_type == PDF and file.data is not None and self._traits.files:
            source = {"type": "base64", "media_type": PDF, "data": file.data}
        else:
            raise Stop(Pin.FILES, file.media_type or "file")
        title = {"title": file.name} if file.name else {}
        return {"type": "document", "source": source} | title

    # ------------------------------------------------------------------ tools and output

    def _tools(self, history: Iterable[Message]) -> dict[str, Any]:
        request, book = self._request, self._book
        tools = [
            {
                "name": book.wire_name(tool.name, tool.namespace),
                **({"description": words} if (words := book.description(tool)) else {}),
                "input_schema": book.schema(tool),
                **({"strict": True} if tool.strict and self._traits.strict_tools else {}),
            }
            for tool in request.tools
        ]
        if any(tool.is_custom for tool in request.tools):
            self._degraded.append("custom_tool")
        if not tools:
            return self._past_tools(history)
        choice = self._choice()
        return {"tools": tools} | ({"tool_choice": choice} if choice else {})

    def _choice(self) -> dict[str, Any]:
        asked, parallel = self._request.tool_choice, self._request.parallel_tools
        if asked is None and parallel is not False:
            return {}
        choice: dict[str, Any] = {"type": _CHOICES[asked.mode] if asked else "auto"}
        if asked is not None and asked.mode is Choice.NAMED:
            choice["name"] = self._book.wire_name(asked.name or "", asked.namespace)
        if parallel is not None and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = not parallel
        return choice

    def _past_tools(self, history: Iterable[Message]) -> dict[str, Any]:
        """The vendor wants tools to be defined where the history holds calls."""
        names = dict.fromkeys(
            self._book.wire_name(part.name, part.namespace)
            for message in history
            for part in message.parts
            if isinstance(part, ToolCall)
        )
        if not names:
            return {}
        self._degraded.append("history_tools")
        tools = [{"name": name, "input_schema": OPEN_SCHEMA} for name in names]
        return {"tools": tools, "tool_choice": {"type": "none"}}

    def _output_config(self) -> dict[str, Any]:
        request = self._request
        found: dict[str, Any] = {}
        config: dict[str, Any] = {}
        if request.effort in ("none", "minimal"):
            found["thinking"] = {"type": "disabled"}
        if request.effort not in (None, "none"):
            effort = self._traits.choose_effort(request.effort or "")
            if effort != request.effort:
                self._degraded.append("effort")
            config |= {"effort": effort} if effort else {}
        if request.output_format is not None and request.output_format.schema is not None:
            if not self._traits.json_schema:
                raise Stop(Pin.OUTPUT_FORMAT, "json_schema")
            config["format"] = {"type": "json_schema", "schema": request.output_format.schema}
        elif request.output_format is not None:
            self._degraded.append("json_object")
            self._system.append(JSON_ONLY)
        if request.verbosity is not None:
            self._dropped.append("verbosity")
        return found | ({"output_config": config} if config else {})

    def _sampling(self) -> dict[str, Any]:
        sampling = self._request.sampling
        wanted = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        others = ("seed", "presence_penalty", "frequency_penalty")
        self._dropped += [name for name in others if getattr(sampling, name) is not None]
        if self._traits.sampling:
            if given.get("temperature", 0) > 1:
                given["temperature"] = 1
                self._degraded.append("temperature")
            return given
        self._dropped += given
        return {}


def _role(role: Role) -> str:
    return "system" if role is Role.DEVELOPER else role.value

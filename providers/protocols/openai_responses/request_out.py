"""A neutral request as a Responses body that OpenAI, and servers after it, accept.

``store`` is always ``false``: what passes through here leaves nothing behind at the vendor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.call_ids import to_openai
from providers.history import tidy
from providers.neutral import (
    CannotCarry,
    Choice,
    File,
    Image,
    Message,
    Notes,
    OutputFormat,
    Part,
    Pin,
    Refusal,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from providers.protocols.openai_chat.marks import ERROR_MARK, document
from providers.protocols.translate import Stop
from providers.tool_book import ToolBook
from providers.traits import Outgoing, Traits, output_limit

MIN_OUTPUT_TOKENS = 16
"""The smallest ``max_output_tokens`` that the vendor takes."""

DEFAULT_FORMAT_NAME = "answer"
"""Name of a schema that its client did not name."""


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
        self._system = list(request.system)
        self._dropped: list[str] = []
        self._degraded: list[str] = []

    def write(self) -> Outgoing:
        request, traits = self._request, self._traits
        written = self._input()
        body: dict[str, Any] = {"model": self._model, "input": written}
        if self._system:
            body = {
                "model": self._model,
                "instructions": "\n\n".join(self._system),
                "input": written,
            }
        body |= self._tools()
        body |= self._limits()
        body |= self._style()
        body["store"] = False
        if request.stream:
            body["stream"] = True
        body |= traits.extra
        for name in sorted(traits.unsupported & body.keys()):
            del body[name]
            self._dropped.append(name)
        notes = Notes(tuple(self._dropped), tuple(self._degraded))
        return Outgoing(body, self._book, request.notes | notes)

    # ------------------------------------------------------------------ input

    def _input(self) -> list[dict[str, Any]]:
        history, notes = tidy(self._placed(self._request.messages))
        self._degraded += notes.degraded
        if history and history[-1].role is Role.ASSISTANT:
            raise Stop(Pin.PREFILL, "messages")
        written = [item for message in history for item in self._items(message)]
        if not any(item.get("role") == "user" or "output" in item for item in written):
            raise Stop(Pin.MALFORMED, "no user message")
        return written

    def _placed(self, messages: Iterable[Message]) -> list[Message]:
        """Instructions in the middle stay there, or join the leading ones."""
        if self._traits.mid_system:
            return list(messages)
        placed: list[Message] = []
        for message in messages:
            if message.role in (Role.USER, Role.ASSISTANT):
                placed.append(message)
            else:
                self._degraded.append("system_position")
                self._system += [part.text for part in message.parts if isinstance(part, Text)]
        return placed

    def _items(self, message: Message) -> Iterable[dict[str, Any]]:
        """Calls and results are items of their own; what stands between them, messages."""
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, ToolCall | ToolResult):
                if content:
                    yield _message(message.role, content)
                    content = []
                yield self._call(part) if isinstance(part, ToolCall) else self._result(part)
            else:
                content.append(self._block(message.role, part))
        if content:
            yield _message(message.role, content)

    def _block(self, role: Role, part: Part) -> dict[str, Any]:
        match part:
            case Text(text) if role is Role.ASSISTANT:
                return {"type": "output_text", "text": text, "annotations": []}
            case Text(text):
                return {"type": "input_text", "text": text}
            case Refusal(text):
                return {"type": "refusal", "refusal": text}
            case Image():
                return self._image(part)
            case File():
                return self._file(part)
            case _:
                raise Stop(Pin.UNKNOWN_PART, type(part).__name__.lower())

    def _image(self, image: Image) -> dict[str, Any]:
        if not self._traits.vision:
            raise Stop(Pin.VISION, "image")
        address = image.url
        if image.data is not None:
            address = f"data:{image.media_type or 'image/png'};base64,{image.data}"
        return {
            "type": "input_image",
            "image_url": address or "",
            "detail": image.detail or "auto",
        }

    def _file(self, file: File) -> dict[str, Any]:
        if file.text is not None:
            self._degraded.append("document")
            return {"type": "input_text", "text": document(file.name, file.text)}
        if not self._traits.files or file.data is None:
            raise Stop(Pin.FILES, file.media_type or "file")
        media_type = file.media_type or "application/pdf"
        return {
            "type": "input_file",
            "filename": file.name or "document.pdf",
            "file_data": f"data:{media_type};base64,{file.data}",
        }

    def _call(self, call: ToolCall) -> dict[str, Any]:
        name, call_id = self._book.wire_name(call.name, call.namespace), to_openai(call.id)
        if call.is_custom and self._traits.custom_tools:
            return {
                "type": "custom_tool_call",
                "call_id": call_id,
                "name": name,
                "input": call.arguments,
            }
        return {
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": self._book.wire_arguments(call),
        }

    def _result(self, result: ToolResult) -> dict[str, Any]:
        is_custom = result.is_custom and self._traits.custom_tools
        mark = ""
        if result.is_error:
            self._degraded.append("tool_result.is_error")
            mark = ERROR_MARK
        output: str | list[dict[str, Any]]
        if all(isinstance(part, Text) for part in result.content):
            output = mark + result.text
        else:
            output = [self._block(Role.USER, part) for part in result.content]
            if mark:
                output.insert(0, {"type": "input_text", "text": mark.strip()})
        return {
            "type": "custom_tool_call_output" if is_custom else "function_call_output",
            "call_id": to_openai(result.call_id),
            "output": output,
        }

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
        if request.tool_choice is not None:
            found["tool_choice"] = self._choice()
        may_call = request.tool_choice is None or request.tool_choice.mode is not Choice.NONE
        if request.parallel_tools is not None and traits.parallel_control:
            found["parallel_tool_calls"] = request.parallel_tools
        elif request.parallel_tools is False and may_call:
            raise Stop(Pin.PARALLEL, "parallel_tool_calls")
        return found

    def _tool(self, tool: Tool) -> dict[str, Any]:
        named: dict[str, Any] = {"name": self._book.wire_name(tool.name, tool.namespace)}
        if tool.description:
            named["description"] = tool.description
        if tool.is_custom and self._traits.custom_tools:
            grammar = {"format": dict(tool.grammar)} if tool.grammar else {}
            return {"type": "custom"} | named | grammar
        if tool.is_custom:
            self._degraded.append("custom_tool")
            named["description"] = self._book.description(tool)
        schema = self._book.schema(tool)
        # The vendor turns strictness on where the field is missing, and then refuses most schemas.
        strict = tool.strict is True and self._traits.strict_tools
        return {"type": "function"} | named | {"parameters": schema, "strict": strict}

    def _choice(self) -> Any:
        choice = self._request.tool_choice
        assert choice is not None  # noqa: S101
        if choice.mode.value not in self._traits.tool_choices:
            raise Stop(Pin.TOOL_CHOICE, choice.mode.value)
        if choice.mode is not Choice.NAMED:
            return choice.mode.value
        wanted = (choice.namespace, choice.name)
        is_custom = self._traits.custom_tools and any(
            tool.is_custom for tool in self._request.tools if (tool.namespace, tool.name) == wanted
        )
        name = self._book.wire_name(choice.name or "", choice.namespace)
        return {"type": "custom" if is_custom else "function", "name": name}

    # ------------------------------------------------------------------ limits and style

    def _limits(self) -> dict[str, Any]:
        request = self._request
        if request.stop:
            raise Stop(Pin.STOP, "stop")
        limit, is_cut = output_limit(request, self._traits, self._input_tokens)
        if limit is not None and limit < MIN_OUTPUT_TOKENS:
            limit, is_cut = MIN_OUTPUT_TOKENS, True
        if is_cut:
            self._degraded.append("max_tokens")
        found: dict[str, Any] = {} if limit is None else {"max_output_tokens": limit}
        sampling = request.sampling
        others = ("top_k", "seed", "presence_penalty", "frequency_penalty")
        self._dropped += [name for name in others if getattr(sampling, name) is not None]
        for name in ("temperature", "top_p"):
            value = getattr(sampling, name)
            if value is not None and self._traits.sampling:
                found[name] = value
            elif value is not None:
                self._dropped.append(name)
        return found

    def _style(self) -> dict[str, Any]:
        request, traits = self._request, self._traits
        found: dict[str, Any] = {}
        if request.effort is not None:
            effort = traits.choose_effort(request.effort)
            if effort != request.effort:
                self._degraded.append("effort")
            if effort is not None:
                found["reasoning"] = {"effort": effort}
        settings: dict[str, Any] = {}
        if request.output_format is not None:
            settings["format"] = self._format(request.output_format)
        if request.verbosity is not None and "verbosity" in traits.unsupported:
            self._dropped.append("verbosity")
        elif request.verbosity is not None:
            settings["verbosity"] = request.verbosity
        return found | ({"text": settings} if settings else {})

    def _format(self, wanted: OutputFormat) -> dict[str, Any]:
        if wanted.schema is None:
            return {"type": "json_object"}
        if not self._traits.json_schema:
            raise Stop(Pin.OUTPUT_FORMAT, "json_schema")
        found: dict[str, Any] = {
            "type": "json_schema",
            "name": wanted.name or DEFAULT_FORMAT_NAME,
            "schema": dict(wanted.schema),
            # Messages always enforces its schema, so no word about it means strict.
            "strict": True if wanted.strict is None else wanted.strict,
        }
        if wanted.description is not None:
            found["description"] = wanted.description
        return found


def _message(role: Role, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "message", "role": role.value, "content": content}

"""Requests and answers in no vendor's words: what the translators read into and write from.

A translator knows one protocol and one direction. Every function here and there is pure: bodies
go in and out as parsed JSON, ids come from a factory that the caller passes.

    client body -> read_request -> Request -> write_request -> provider body
    provider answer -> read_answer -> Answer -> write_answer -> client body
    provider stream -> StreamDecoder -> events -> StreamEncoder -> client stream

Whatever the second party cannot express makes the translator return ``CannotCarry``; nothing is
lost silently. What may be left out without changing the answer is listed as data beside each
reader, and every use of that list is noted in ``Request.notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from providers.types import Usage

IdFactory = Callable[[], str]
"""Gives a new, unique id on every call: letters, digits, ``_`` and ``-``, at most 40 of them."""


class Role(StrEnum):
    """Who speaks. A tool's result is a part of a ``USER`` message, as in Anthropic Messages."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    """Instructions in the middle of the conversation; leading ones are ``Request.system``."""
    DEVELOPER = "developer"


class StopReason(StrEnum):
    """Why an answer ended."""

    END = "end"
    """The model had said all, or met one of its own stop tokens."""
    TOOL_CALLS = "tool_calls"
    MAX_TOKENS = "max_tokens"
    CONTEXT_FULL = "context_full"
    """The context window was full before ``max_tokens`` was reached."""
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"


class Choice(StrEnum):
    """Whether the model may, must or must not call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    """Any tool, but at least one."""
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text; never empty after ``providers.history.tidy``."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, inline or by address; an address is passed on and never fetched."""

    url: str | None = None
    data: str | None = None
    """Base64."""
    media_type: str | None = None
    """Such as ``image/png``; set whenever ``data`` is."""
    detail: str | None = None
    """OpenAI's ``low``, ``high``, ``auto``."""


@dataclass(frozen=True, slots=True)
class File:
    """A document: plain ``text``, or base64 ``data`` with its media type (PDF)."""

    text: str | None = None
    data: str | None = None
    media_type: str | None = None
    name: str | None = None
    """Title or file name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the model says where it declines (OpenAI ``refusal``); text everywhere else."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Thinking that a provider showed. It is counted, never given to a client.

    A client would send it back to its own vendor, who accepts only what it has signed itself.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model makes.

    ``id`` is the provider's own id, or one we made where it gave none or gave one twice; what a
    client's vendor would not accept is encoded by the writers, see ``providers.call_ids``.
    """

    id: str
    name: str
    """As the client defined it."""
    arguments: str
    """JSON text of one object, always valid; the free text itself where ``is_custom``."""
    is_custom: bool = False
    """The tool takes free text (OpenAI ``custom_tool_call``)."""
    namespace: str | None = None
    """Group of tools the client defined it in (OpenAI Responses ``namespace``)."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the client says a call gave."""

    call_id: str
    content: tuple[Text | Image | File, ...] = ()
    is_error: bool = False
    is_custom: bool = False
    """The answer to a call of a free-text tool (OpenAI ``custom_tool_call_output``)."""

    @property
    def text(self) -> str:
        """Its texts, joined by line feeds."""
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


Part = Text | Image | File | Refusal | Reasoning | ToolCall | ToolResult
"""``USER``: Text, Image, File, ToolResult. ``ASSISTANT``: Text, Refusal, Reasoning, ToolCall.
``SYSTEM`` and ``DEVELOPER``: Text."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of one speaker."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool the client runs itself; tools that a vendor runs are never carried."""

    name: str
    description: str | None = None
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the arguments, as the client wrote it; unused where ``is_custom``."""
    strict: bool | None = None
    is_custom: bool = False
    """Takes free text; ``grammar`` may say which."""
    grammar: Mapping[str, Any] | None = None
    """OpenAI ``custom.format``, as received."""
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What the client says about calling tools."""

    mode: Choice
    name: str | None = None
    """The tool of ``NAMED``, as the client defined it."""
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The answer must be JSON: after ``schema``, or any object where that is ``None``."""

    schema: Mapping[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; ``None`` leaves the provider's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    """What a translation left out or changed, in short stable words such as ``cache_control``."""

    dropped: tuple[str, ...] = ()
    """Harmless: the answer is the same without it."""
    degraded: tuple[str, ...] = ()
    """The meaning survives, the form does not (``tool_result.is_error``)."""

    def __or__(self, other: Notes) -> Notes:
        """Both, each word once, in order."""
        return Notes(
            tuple(dict.fromkeys(self.dropped + other.dropped)),
            tuple(dict.fromkeys(self.degraded + other.degraded)),
        )


NO_NOTES = Notes()


@dataclass(frozen=True, slots=True)
class Request:
    """One request for an answer."""

    model: str
    """As the client asked; writers take the provider's model as an argument of their own."""
    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    """Leading instructions, block by block."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    """``False``: at most one call in the answer."""
    max_tokens: int | None = None
    """``None``: as many as the model can give."""
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    effort: str | None = None
    """``none minimal low medium high xhigh max``; ``none`` means: do not think."""
    output_format: OutputFormat | None = None
    verbosity: str | None = None
    stream: bool = False
    wants_stream_usage: bool = True
    """Chat ``stream_options.include_usage``; other protocols always report usage."""
    notes: Notes = NO_NOTES

    @property
    def call_ids(self) -> frozenset[str]:
        """The ids of all calls and results in the history; an answer must use others."""
        return frozenset(
            part.id if isinstance(part, ToolCall) else part.call_id
            for message in self.messages
            for part in message.parts
            if isinstance(part, ToolCall | ToolResult)
        )


class Pin(StrEnum):
    """Why a request must stay with its own vendor, or cannot go to this provider."""

    MALFORMED = "malformed"
    """Not the protocol's shape; its own vendor shall say so."""
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_PART = "unknown_part"
    """A content block or input item we do not know: fail closed."""
    NATIVE_FIELD = "native_field"
    """A field only its own vendor has."""
    NATIVE_PART = "native_part"
    SERVER_TOOL = "server_tool"
    """A tool that the vendor runs."""
    PREFILL = "prefill"
    PREWARM = "prewarm"
    """``max_tokens: 0``: fills a cache, asks for no answer."""
    TOOLS = "tools"
    TOOL_CHOICE = "tool_choice"
    PARALLEL = "parallel"
    VISION = "vision"
    FILES = "files"
    STOP = "stop"
    OUTPUT_FORMAT = "output_format"
    CONTEXT = "context"
    """More input than the model takes."""
    MAX_TOKENS = "max_tokens"


@dataclass(frozen=True, slots=True)
class CannotCarry:
    """A translation that was not made, and why."""

    pin: Pin
    detail: str
    """The field, block or tool type at fault; no text of the user."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, or what a finished stream added up to."""

    parts: tuple[Part, ...]
    """Text, Refusal, Reasoning and ToolCall, in order."""
    stop: StopReason
    stop_sequence: str | None = None
    usage: Usage = field(default_factory=Usage)
    """Empty where the provider reported none: unknown, not zero."""
    id: str | None = None
    """The provider's id of the answer."""
    model: str | None = None
    """The model that the provider says it ran."""
    notes: Notes = NO_NOTES

    @property
    def is_empty(self) -> bool:
        """No text, no call and no refusal: an answer that no client may take for a success."""
        return self.stop is not StopReason.REFUSAL and not any(
            isinstance(part, ToolCall) or (isinstance(part, Text | Refusal) and part.text.strip())
            for part in self.parts
        )

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls the client has to run."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

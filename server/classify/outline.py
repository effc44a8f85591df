"""One request seen as a conversation: what the rules and the scorer look at.

The *turn* is what came after the model's last output: one or more user messages, tool results, or
both. System and developer messages are never part of it, wherever they stand, and neither are the
notes a client wraps around what a person typed. An answer begun by the client (a prefill) ends no
turn. Everything before the turn is *history*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.protocols import peek
from providers.protocols.anthropic.request import ATTRIBUTION, MessagesRequest
from providers.protocols.openai_responses.request import ResponsesRequest
from server.classify.entries import AnyRequest, Entry, entries

CHARS_PER_TOKEN = 4
"""The rough measure behind the 12,000-token line; money is counted with a better one."""

_SYSTEM_HEAD = 6_000
"""Characters of a system text in which its purpose is looked for."""
_FIRST_TEXTS = 4
_REMINDER = "<system-reminder>"
_REMINDERS = re.compile(r"<system-reminder>.*?(?:</system-reminder>|\Z)", re.S)
_INTERRUPTED = ("[Request interrupted by user", "<turn_aborted>")
_ABORTED_RESULTS = ("[Request interrupted by user", "aborted by user after ")
_CONTEXT_NOTES = (
    # What Codex puts into user messages of its own accord.
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<INSTRUCTIONS>",
    "<skill>",
    "<permissions instructions>",
)
_OPENAI_PLAIN_TOOLS = frozenset({None, "function", "custom"})
_ANTHROPIC_PLAIN_TOOLS = frozenset({None, "custom"})
_FORCED = frozenset({"any", "tool", "required", "function", "custom"})


@dataclass(frozen=True, slots=True)
class Outline:
    """Counts, flags and the few texts that decide; holds prompt text, so never store it."""

    protocol: str
    """``messages``, ``responses`` or ``chat``."""
    system: tuple[str, ...]
    """How each system or developer text begins."""
    opening: str
    """The first text of the conversation that is no client note."""
    last_text: str
    """The last text of the turn as sent, client notes included."""
    human: str
    """What a person wrote in this turn, client notes removed."""
    n_messages: int
    has_turn: bool
    has_tool_result: bool
    """The turn carries a tool's answer."""
    result_is_last: bool
    """The very last message of the turn does."""
    interrupted: bool
    """The turn says that the user broke off the last answer, and then asks something new."""
    answered_before: bool
    """The model has already spoken in this conversation."""
    tool_activity: bool
    """Tools were called earlier in this conversation."""
    prefill: bool
    plan_mode: bool
    chars: Mapping[str, int]
    """``system tools history turn``."""
    images: int
    documents: int
    server_blocks: int
    unknown_blocks: int
    signed_blocks: int
    n_tools: int
    server_tools: int
    """Tools only the vendor can run."""
    mcp_tools: int
    deferred_tools: int
    tool_names: frozenset[str]
    tool_choice: str | None
    forced_tool: bool
    thinking: str | None
    max_tokens: int | None
    stream: bool
    output_format: str | None
    output_keys: tuple[str, ...]
    marks_subagent: bool
    """The body itself says that a sub-agent is speaking."""
    native_fields: int
    """Top-level fields that bind the request to its vendor."""
    turn_metadata: Mapping[str, Any]

    @property
    def estimates(self) -> dict[str, int]:
        """Token estimates ``system tools history turn``."""
        return {name: chars // CHARS_PER_TOKEN for name, chars in self.chars.items()}

    @property
    def conversation_tokens(self) -> float:
        """History and turn together, without system prompt and tool schemas."""
        return (self.chars["history"] + self.chars["turn"]) / CHARS_PER_TOKEN


@dataclass(slots=True)
class _Fold:
    """The running state while a conversation is read, oldest message first."""

    turn: list[Entry] = field(default_factory=list)
    before_prefill: list[Entry] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    openings: list[str] = field(default_factory=list)
    n_messages: int = 0
    answers: int = 0
    trailing_answers: int = 0
    calls: int = 0
    results: int = 0
    system_chars: int = 0
    total_chars: int = 0
    images: int = 0
    documents: int = 0
    server: int = 0
    unknown: int = 0
    signed: int = 0
    plan_mode: bool = False

    def add(self, entry: Entry) -> None:
        self.n_messages += 1
        self.images += entry.images
        self.documents += entry.documents
        self.server += entry.server
        self.unknown += entry.unknown
        self.signed += entry.signed
        if entry.role == "system":
            self._add_system(entry)
            return
        self.total_chars += entry.chars
        self.calls += entry.calls
        self.results += len(entry.results)
        if entry.role == "assistant":
            self.answers += 1
            self.trailing_answers += 1
            if self.turn:
                self.before_prefill, self.turn = self.turn, []
            return
        self.trailing_answers = 0
        if entry.starts_task:
            self.turn = []
        self.turn.append(entry)
        if len(self.openings) < _FIRST_TEXTS:
            self.openings += [text for text in entry.texts if not is_note(text)][:1]

    def _add_system(self, entry: Entry) -> None:
        self.system_chars += entry.chars
        self.system += [text[:_SYSTEM_HEAD] for text in entry.texts]
        self.plan_mode = self.plan_mode or any("Plan mode is active." in t for t in entry.texts)


def is_note(text: str) -> bool:
    """Whether a user text is the client's own, from its beginning."""
    stripped = text.lstrip()
    return stripped.startswith(_CONTEXT_NOTES) or (
        stripped.startswith(_REMINDER) and not _REMINDERS.sub("", stripped).strip()
    )


def outline(request: AnyRequest) -> Outline:
    """Read a request once, from the first message to the last; never raises."""
    fold = _Fold()
    for entry in entries(request):
        fold.add(entry)
    prefill = not fold.turn and bool(fold.before_prefill)
    turn = fold.before_prefill if prefill else fold.turn
    texts = [text for entry in turn for text in entry.texts]
    results = [result for entry in turn for result in entry.results]
    human, interrupted = _human(texts, results)
    system, system_chars = _system(request)
    turn_chars = sum(entry.chars for entry in turn)
    tools = request.tools
    server_tools = _server_tools(request)
    return Outline(
        protocol=_protocol(request),
        system=(*system, *fold.system),
        opening=fold.openings[0] if fold.openings else "",
        last_text=texts[-1] if texts else "",
        human=human,
        n_messages=fold.n_messages,
        has_turn=bool(turn),
        has_tool_result=bool(results),
        result_is_last=bool(turn) and bool(turn[-1].results),
        interrupted=interrupted,
        answered_before=fold.answers > (fold.trailing_answers if prefill else 0),
        tool_activity=bool(fold.calls or fold.results),
        prefill=prefill,
        plan_mode=fold.plan_mode,
        chars={
            "system": system_chars + fold.system_chars,
            "tools": sum(tool.size for tool in tools),
            "history": fold.total_chars - turn_chars,
            "turn": turn_chars,
        },
        images=fold.images,
        documents=fold.documents,
        server_blocks=fold.server,
        unknown_blocks=fold.unknown,
        signed_blocks=fold.signed,
        n_tools=len(tools),
        server_tools=server_tools,
        mcp_tools=sum(tool.is_mcp for tool in tools),
        deferred_tools=sum(tool.deferred for tool in tools),
        tool_names=frozenset(tool.name for tool in tools),
        tool_choice=request.tool_choice.type if request.tool_choice else None,
        forced_tool=bool(request.tool_choice and request.tool_choice.type in _FORCED),
        thinking=_thinking(request),
        max_tokens=request.max_tokens,
        stream=request.stream,
        output_format=request.output_format,
        output_keys=request.output_keys,
        marks_subagent=any(
            text.startswith(ATTRIBUTION) and "cc_is_subagent=true" in text for text in system
        ),
        native_fields=_native_fields(request),
        turn_metadata=request.turn_metadata if isinstance(request, ResponsesRequest) else {},
    )


def _human(texts: Iterable[str], results: Iterable[str]) -> tuple[str, bool]:
    """What the person wrote, and whether it follows an interruption."""
    interrupted = any(result.startswith(_ABORTED_RESULTS) for result in results)
    parts: list[str] = []
    for text in texts:
        if text.lstrip().startswith(_INTERRUPTED):
            # What was typed before the interruption has been withdrawn by it.
            interrupted, parts = True, []
            continue
        cleaned = text
        if _REMINDER in text:
            cleaned = _REMINDERS.sub("", text)
        cleaned = cleaned.strip()
        if cleaned and not cleaned.startswith(_CONTEXT_NOTES):
            parts.append(cleaned)
    return "\n\n".join(parts), interrupted and bool(parts)


def _system(request: AnyRequest) -> tuple[list[str], int]:
    """How the system prompt's texts begin, and how long they are together."""
    if isinstance(request, MessagesRequest):
        texts = [block.text for block in request.system]
    elif isinstance(request, ResponsesRequest) and request.instructions:
        texts = [request.instructions]
    else:
        texts = []
    return [text[:_SYSTEM_HEAD] for text in texts], sum(map(len, texts))


def _protocol(request: AnyRequest) -> str:
    if isinstance(request, MessagesRequest):
        return "messages"
    return "responses" if isinstance(request, ResponsesRequest) else "chat"


def _server_tools(request: AnyRequest) -> int:
    is_messages = isinstance(request, MessagesRequest)
    plain = _ANTHROPIC_PLAIN_TOOLS if is_messages else _OPENAI_PLAIN_TOOLS
    count = sum(tool.type not in plain for tool in request.tools)
    return count + peek.is_set(request.fields.get("mcp_servers"))


def _thinking(request: AnyRequest) -> str | None:
    if isinstance(request, MessagesRequest):
        return request.thinking if request.thinking != "disabled" else None
    return request.reasoning if request.reasoning != "none" else None


def _native_fields(request: AnyRequest) -> int:
    names = ("container", "thread", "previous_response_id", "conversation", "prompt", "background")
    return sum(peek.is_set(request.fields.get(name)) for name in names if name in request.fields)

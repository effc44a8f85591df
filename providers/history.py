"""A conversation as every vendor takes it: speakers in turn, and each call with its result.

Histories arrive in other shapes: clients lose results when a user interrupts, put results in
another order than the calls, or slip an instruction between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from providers.call_ids import CallIds
from providers.neutral import (
    Message,
    Notes,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)

UNANSWERED = "This call was interrupted; it has no result."
ORPHAN = "[result of an earlier tool call]"

_SPEAKERS = frozenset([Role.USER, Role.ASSISTANT])
_Place = tuple[int, int]
"""Message and part, by position."""


def tidy(messages: Sequence[Message]) -> tuple[tuple[Message, ...], Notes]:
    """The same conversation with these properties, and what had to be changed for them.

    - No empty text, no reasoning, no message without parts.
    - No two messages of one role in a row, but for instructions.
    - The message after a call is a ``USER`` message that opens with the results of exactly the
      calls before it, in their order. A call without a result gets an error result; a result
      without its call becomes plain text.

    What has them all comes back equal, without notes.
    """
    kept = [_without_empty(message) for message in messages]
    merged = _merged(message for message in kept if message.parts)
    paired, degraded = _pair(merged)
    return tuple(_merged(paired)), Notes(degraded=tuple(dict.fromkeys(degraded)))


def _without_empty(message: Message) -> Message:
    parts = tuple(part for part in message.parts if not _is_empty(part))
    return message if len(parts) == len(message.parts) else replace(message, parts=parts)


def _is_empty(part: Part) -> bool:
    return isinstance(part, Reasoning) or (isinstance(part, Text | Refusal) and not part.text)


def _merged(messages: Iterable[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and last.role is message.role and message.role in _SPEAKERS:
            merged[-1] = replace(last, parts=last.parts + message.parts)
        else:
            merged.append(message)
    return merged


def _pair(messages: Sequence[Message]) -> tuple[list[Message], list[str]]:
    result_of, claimed = _match(messages)
    paired: list[Message] = []
    degraded: list[str] = []
    # Ids are only compared within one history, so that a new one needs no memory.
    unique = CallIds(frozenset(), lambda: "unnamed")
    for at, message in enumerate(messages):
        rest: list[Part] = []
        results: list[Part] = []
        for i, part in enumerate(message.parts):
            if isinstance(part, ToolCall):
                call = replace(part, id=unique.take(part.id))
                result = result_of.get((at, i)) or _interrupted(part)
                rest.append(call)
                results.append(replace(result, call_id=call.id))
                degraded += ["repeated_call_id"] if call.id != part.id else []
                degraded += ["unanswered_call"] if (at, i) not in result_of else []
            elif isinstance(part, ToolResult) and (at, i) not in claimed:
                rest += _orphan_as_text(part)
                degraded.append("orphan_result")
            elif not isinstance(part, ToolResult):
                rest.append(part)
        if rest:
            paired.append(replace(message, parts=tuple(rest)))
        if results:
            paired.append(Message(Role.USER, tuple(results)))
    return paired, degraded


def _interrupted(call: ToolCall) -> ToolResult:
    return ToolResult(call.id, (Text(UNANSWERED),), True, call.is_custom)


def _match(messages: Sequence[Message]) -> tuple[dict[_Place, ToolResult], set[_Place]]:
    """The result of each call by the call's place, and the places of those results.

    Of several calls with one id, a result belongs to the nearest before it.
    """
    open_calls: dict[str, _Place] = {}
    result_of: dict[_Place, ToolResult] = {}
    claimed: set[_Place] = set()
    for at, message in enumerate(messages):
        for i, part in enumerate(message.parts):
            if isinstance(part, ToolCall):
                open_calls[part.id] = (at, i)
            elif isinstance(part, ToolResult) and part.call_id in open_calls:
                result_of[open_calls.pop(part.call_id)] = part
                claimed.add((at, i))
    return result_of, claimed


def _orphan_as_text(result: ToolResult) -> list[Part]:
    text = Text(f"{ORPHAN}\n{result.text}".rstrip("\n"))
    return [text, *(inner for inner in result.content if not isinstance(inner, Text))]

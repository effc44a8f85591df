"""Whether a candidate's answer would have done, told without asking another model; pure.

``compare`` holds it against the real answer; ``alone`` judges an answer that has no other. A check
that does not apply is left out. Hard checks say that an answer cannot be used at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from providers.faults import Fault
from providers.neutral import Answer, File, Refusal, Request, StopReason, Text, ToolCall, ToolResult
from providers.tool_book import RAW_KEY, is_raw
from server.verification import wording
from server.verification.schema import fits

HARD: Final = frozenset({"transport", "arguments"})
TITLE_CHARS: Final = 80
LOG_RATIO: Final = 1.1
"""How far the logarithm of the lengths' ratio may be from 0: a third to three times."""
SHORT: Final = 160
"""Characters below which both answers are short, and their ratio says nothing."""
EXTRACTION: Final = 0.9
OVERLAP: Final = 0.6

EXTRACTING: Final = frozenset({"file_paths", "edited_files"})
TITLES: Final = frozenset({"title", "rename", "topic"})

_PATHS: Final = ("file_path", "path", "notebook_path", "filename", "file")
_COMMANDS: Final = ("command", "cmd", "script")
_OLD: Final = ("old_string", "old_str", "old_text")


@dataclass(frozen=True, slots=True)
class Score:
    """What the checks say of one answer; holds no text."""

    checks: Mapping[str, bool]
    """Those that apply, by name."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Reported, never decisive: ``length_ratio`` and ``overlap``."""

    @property
    def passed(self) -> bool:
        """Whether every check that applies does."""
        return all(self.checks.values())

    @property
    def hard_failed(self) -> bool:
        """Whether the answer cannot be used at all."""
        return any(not self.checks[name] for name in HARD & self.checks.keys())

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [name for name, is_good in self.checks.items() if not is_good]


def compare(request: Request, kind: str, real: Answer, candidate: Answer | Fault) -> Score:
    """Hold the candidate's answer against the real one; ``kind`` as in ``server.record.Turn``."""
    if not is_whole(candidate):
        return Score({"transport": False})
    assert isinstance(candidate, Answer)  # noqa: S101 - is_whole
    checks = {"transport": True, "answer_kind": bool(real.tool_calls) == bool(candidate.tool_calls)}
    figures: dict[str, float] = {}
    checks |= dict(_calls(request, real, candidate))
    checks |= dict(_own(request, kind, candidate, real))
    if not real.tool_calls and not candidate.tool_calls:
        found, wanted = text_of(candidate), text_of(real)
        checks |= dict(_against(request, kind, found, wanted))
        figures["length_ratio"] = round((len(found) + 1) / (len(wanted) + 1), 3)
        if names := wording.names_in(wanted):
            shared = len(names & wording.names_in(found))
            figures["overlap"] = round(shared / len(names), 3)
    return Score(checks, figures)


def alone(request: Request, kind: str, answer: Answer | Fault) -> Score:
    """Judge an answer by itself, such as a real one that the candidate gave."""
    if not is_whole(answer):
        return Score({"transport": False})
    assert isinstance(answer, Answer)  # noqa: S101 - is_whole
    checks = {"transport": True}
    if answer.tool_calls:
        checks |= dict(_usable(request, answer.tool_calls))
    return Score(checks | dict(_own(request, kind, answer, None)))


def is_whole(answer: Answer | Fault) -> bool:
    """Whether an answer came, and came to its end."""
    if isinstance(answer, Fault) or answer.is_empty:
        return False
    return answer.stop not in (StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL)


def text_of(answer: Answer) -> str:
    """What the user would read."""
    return "\n".join(part.text for part in answer.parts if isinstance(part, Text | Refusal)).strip()


# ---------------------------------------------------------------------- calls


def _calls(request: Request, real: Answer, candidate: Answer) -> Iterator[tuple[str, bool]]:
    made = candidate.tool_calls
    if not made:
        return
    yield from _usable(request, made)
    if real.tool_calls:
        wanted = real.tool_calls[0]
        is_same = (made[0].name, made[0].namespace) == (wanted.name, wanted.namespace)
        yield "tool_choice", is_same
        if is_same:
            yield from _agree(request, wanted, made[0])


def _usable(request: Request, calls: tuple[ToolCall, ...]) -> Iterator[tuple[str, bool]]:
    known = {(tool.namespace, tool.name): tool for tool in request.tools}
    yield "known_tool", all((call.namespace, call.name) in known for call in calls)
    checked = [(call, known.get((call.namespace, call.name))) for call in calls]
    yield (
        "arguments",
        all(
            call.is_custom or (not is_raw(call.arguments) and fits(_object(call), tool.schema))
            for call, tool in checked
            if tool is not None
        ),
    )


def _agree(request: Request, wanted: ToolCall, made: ToolCall) -> Iterator[tuple[str, bool]]:
    if wanted.is_custom or made.is_custom:
        return
    real, found = _object(wanted), _object(made)
    path, other = _first(real, _PATHS), _first(found, _PATHS)
    if path is not None:
        yield "same_path", path == other
    command = _first(real, _COMMANDS)
    if command is not None:
        yield "same_command", command.split()[:1] == (_first(found, _COMMANDS) or "").split()[:1]
    if _first(real, _OLD):
        old = _first(found, _OLD) or ""
        yield "edit_applies", bool(old) and any(old in text for text in _seen(request))


def _object(call: ToolCall) -> dict[str, Any]:
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {RAW_KEY: call.arguments}


def _first(arguments: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((v for n in names if isinstance(v := arguments.get(n), str)), None)


def _seen(request: Request) -> Iterator[str]:
    """Every text of the conversation, each as it stands in its file where a reader numbered it."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield part.text
                yield _without_numbers(part.text)
            elif isinstance(part, Text | File):
                yield part.text or ""


def _without_numbers(text: str) -> str:
    """Without the line numbers that agents' readers put before a tab or an arrow."""
    lines = []
    for line in text.split("\n"):
        for mark in ("\t", "→"):
            number, found, rest = line.partition(mark)
            if found and number.strip().isdecimal():
                line = rest
                break
        lines.append(line)
    return "\n".join(lines)


# ---------------------------------------------------------------------- texts


def _own(
    request: Request, kind: str, answer: Answer, real: Answer | None
) -> Iterator[tuple[str, bool]]:
    """What an answer must be, whatever the other one was."""
    text = text_of(answer)
    other = text_of(real) if real is not None else ""
    declines = answer.stop is StopReason.REFUSAL or wording.is_refusal(text)
    may_decline = real is not None and (
        real.stop is StopReason.REFUSAL or wording.is_refusal(other)
    )
    yield "no_refusal", may_decline or not declines
    yield "no_markup", not wording.leaked(text) - wording.leaked(other)
    if answer.tool_calls:
        return
    if request.output_format is not None:
        yield "format", _is_format(text, request.output_format.schema)
    if kind in TITLES:
        yield "title", _is_title(text)
    if blocks := wording.code_blocks(text):
        yield "code", all(wording.parses(*block) is not False for block in blocks)


def _against(request: Request, kind: str, found: str, wanted: str) -> Iterator[tuple[str, bool]]:
    if request.output_format is None and _is_json(wanted):
        yield "format", _has_keys_of(found, wanted)
    yield "language", wording.same_language(found, wanted)
    if kind in EXTRACTING:
        lines = wording.lines_of(found), wording.lines_of(wanted)
        yield "extraction", wording.agreement(*lines) >= EXTRACTION
    elif max(len(found), len(wanted)) > SHORT:
        ratio = math.log((len(found) + 1) / (len(wanted) + 1))
        yield "length", abs(ratio) <= LOG_RATIO
    if wording.code_blocks(wanted):
        yield "has_code", bool(wording.code_blocks(found)) and not wording.has_open_fence(found)


def _is_format(text: str, schema: Mapping[str, Any] | None) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) if schema is None else fits(value, dict(schema))


def _is_json(text: str) -> bool:
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _has_keys_of(found: str, wanted: str) -> bool:
    real = json.loads(wanted)
    try:
        value = json.loads(found)
    except (ValueError, RecursionError):
        return False
    if isinstance(real, dict):
        return isinstance(value, dict) and real.keys() <= value.keys()
    return isinstance(value, list)


def _is_title(text: str) -> bool:
    """One short line; of a title in JSON, its longest text counts."""
    if _is_json(text):
        value = json.loads(text)
        texts = value.values() if isinstance(value, dict) else []
        text = max((each for each in texts if isinstance(each, str)), key=len, default="")
    return bool(text) and "\n" not in text.strip() and len(text) <= TITLE_CHARS

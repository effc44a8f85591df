"""The tools of one request under names that the provider accepts, and back.

The book is computed from the request, so the same request always gives the same names, which
keeps the provider's prompt cache warm and needs no memory between turns.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from providers.neutral import Request, Tool, ToolCall

NAME_LIMIT = 64
"""Longest tool name in both OpenAI protocols, and the shortest such limit we know."""

RAW_KEY = "_raw"
"""Holds what a model wrote instead of a JSON object of arguments."""
CUSTOM_KEY = "input"
"""The one argument of a free-text tool where it is emulated by a function."""

UNNAMED = "unnamed_tool"
"""Stands for the tool of a call that came without a name."""

CUSTOM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {CUSTOM_KEY: {"type": "string"}},
    "required": [CUSTOM_KEY],
    "additionalProperties": False,
}

_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ILLEGAL_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_HALF = re.compile("[\ud800-\udfff]")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_Key = tuple[str | None, str]
"""Namespace and name, as the client defined them."""


@dataclass(frozen=True, slots=True)
class _Entry:
    key: _Key
    is_custom: bool


class ToolBook:
    """Names of the tools of one request, both ways."""

    __slots__ = ("_by_key", "_by_wire")

    def __init__(self, request: Request) -> None:
        self._by_key: dict[_Key, str] = {}
        self._by_wire: dict[str, _Entry] = {}
        self._add((tool.namespace, tool.name, tool.is_custom) for tool in request.tools)
        self._add(
            (part.namespace, part.name, part.is_custom)
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        )

    def _add(self, tools: Iterable[tuple[str | None, str, bool]]) -> None:
        # Names that may stay come first: one that is made must never take what a tool has.
        waiting = [(namespace, name, custom) for namespace, name, custom in tools]
        waiting.sort(key=lambda tool: tool[0] is not None or not _LEGAL.fullmatch(tool[1]))
        for namespace, name, is_custom in waiting:
            key = (namespace, name)
            if key in self._by_key:
                continue
            wire = _wire_name(_flat(namespace, name), self._by_wire)
            self._by_key[key] = wire
            self._by_wire[wire] = _Entry(key, is_custom)

    def wire_name(self, name: str, namespace: str | None = None) -> str:
        """The provider's name of a client's tool: at most 64 of letters, digits, ``_``, ``-``."""
        known = self._by_key.get((namespace, name))
        return known if known is not None else _wire_name(_flat(namespace, name), {})

    def wire_arguments(self, call: ToolCall) -> str:
        """The arguments of a call in the history, as a JSON object."""
        if call.is_custom:
            return msgspec.json.encode({CUSTOM_KEY: scrub(call.arguments)}).decode()
        return call.arguments

    def schema(self, tool: Tool) -> dict[str, Any]:
        """The JSON Schema a provider is given; a free-text tool has one string argument."""
        if tool.is_custom:
            return dict(CUSTOM_SCHEMA)
        return {"type": "object", **({} if tool.schema else {"properties": {}}), **tool.schema}

    def description(self, tool: Tool) -> str:
        """What a provider is told about a tool; a free-text one says where its text goes.

        Such tools are often described as taking no JSON at all, and their grammar has no other
        place in a function.
        """
        words = tool.description or ""
        if not tool.is_custom:
            return words
        words += f"\n\nPut the whole text, as it is, in the string argument `{CUSTOM_KEY}`."
        definition = (tool.grammar or {}).get("definition")
        if isinstance(definition, str):
            syntax = (tool.grammar or {}).get("syntax")
            words += f" It must match this grammar ({syntax}):\n{definition}"
        return words.lstrip("\n")

    def call(self, call_id: str, wire_name: str, arguments: Any) -> ToolCall:
        """The call as the client shall see it.

        ``arguments`` is what the provider sent: JSON text, kept byte for byte when it is an
        object; an object already parsed; ``None`` or blank for none. Anything else is kept whole
        as the string ``_raw`` of an object, so that nothing is guessed and nothing is lost.
        """
        entry = self._by_wire.get(wire_name) or self._by_wire.get(_without_markup(wire_name))
        namespace, name = entry.key if entry else (None, _legal(wire_name))
        text = arguments_text(arguments)
        if entry is not None and entry.is_custom:
            return ToolCall(call_id, name, _free_text(text), True, namespace)
        return ToolCall(call_id, name, text, False, namespace)


def arguments_text(arguments: Any) -> str:
    """Arguments as the JSON text of one object; see ``ToolBook.call``."""
    if isinstance(arguments, dict):
        return encode(arguments).decode()
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return "{}"
    text = arguments if isinstance(arguments, str) else encode(arguments).decode()
    return text if is_object(text) else encode({RAW_KEY: text}).decode()


def arguments_object(arguments: str) -> dict[str, Any]:
    """The arguments of a call as an object; what Python cannot hold exactly stays a string."""
    try:
        found = json.loads(arguments, parse_float=_finite)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {RAW_KEY: arguments}


def _finite(digits: str) -> float:
    found = float(digits)
    if math.isinf(found):
        raise ValueError("larger than a float")
    return found


def is_raw(arguments: str) -> bool:
    """Whether the model's words had to be wrapped because they were no JSON object."""
    if not arguments.startswith('{"' + RAW_KEY):
        return False
    return list(_object.decode(arguments)) == [RAW_KEY]


def is_object(text: str) -> bool:
    """Whether ``text`` is one valid JSON object."""
    try:
        _object.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def encode(value: Any) -> bytes:
    """Compact JSON, keys in order; half surrogate pairs, which UTF-8 cannot hold, are replaced."""
    try:
        return msgspec.json.encode(value)
    except (ValueError, OverflowError):
        # Half pairs, or whole numbers of more than 64 bits.
        text = json.dumps(scrub(value), separators=(",", ":"), ensure_ascii=False)
        return text.encode()


def has_half(text: str) -> bool:
    """Whether ``text`` holds half of a surrogate pair."""
    return _HALF.search(text) is not None


def scrub(value: Any) -> Any:
    """The same value with surrogate pairs joined, and single halves replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {scrub(key): scrub(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(inner) for inner in value]
    return value


def _free_text(arguments: str) -> str:
    """The text for a free-text tool: its one argument, else all the model wrote."""
    fields = msgspec.json.decode(arguments)
    if not fields:
        # No argument is no text; the two characters of an empty object would be run as a program.
        return ""
    for key in (CUSTOM_KEY, RAW_KEY):
        if list(fields) == [key] and isinstance(fields[key], str):
            return str(fields[key])
    return arguments


def _flat(namespace: str | None, name: str) -> str:
    return name if namespace is None else f"{namespace}__{name}"


def _without_markup(name: str) -> str:
    """The name inside what gpt-oss models leak of their own format (``functions.f<|channel|>``)."""
    return name.partition("<|")[0].strip().removeprefix("functions.")


def _legal(name: str) -> str:
    """A name no tool has, so that the client's vendor still takes it in the history."""
    return _ILLEGAL_CHARACTER.sub("_", name)[:NAME_LIMIT] or UNNAMED


def _wire_name(name: str, taken: dict[str, _Entry]) -> str:
    """``name`` itself if it is legal and free, else a readable head and a digest of it."""
    if _LEGAL.fullmatch(name) and name not in taken:
        return name
    head = _ILLEGAL_CHARACTER.sub("_", name)
    size = 8
    while True:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:size]
        found = f"{head[: NAME_LIMIT - size - 1]}_{digest}"
        if found not in taken:
            return found
        size += 4

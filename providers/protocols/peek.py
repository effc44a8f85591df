"""Reading JSON request bodies leniently, without copying or changing them.

A body is opened one level at a time: every value stays a ``msgspec.Raw`` view of the received
bytes until somebody asks for it. Only a body that is no JSON object at all is refused; a field of
an unexpected shape reads as absent, because the vendor, not the gateway, judges it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from providers.protocols import json_limits

Fields = Mapping[str, Raw]
"""The top level of a body: field name to undecoded value, the last one of duplicates."""

_BOM = b"\xef\xbb\xbf"
_object_decoder = msgspec.json.Decoder(dict[str, Raw])
_list_decoder = msgspec.json.Decoder(list[Raw])
_any_decoder = msgspec.json.Decoder()

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.S,
)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.S)
_SCALAR = re.compile(rb"[^,\]}\s]+")
_SPACE = re.compile(rb"[ \t\r\n]*")
_CACHE_KEY = b'"cache_control"'
_CACHE_MARK = re.compile(rb'"cache_control"\s*:\s*(\{[^{}]*\})')


class BadRequest(ValueError):
    """A request body that cannot be understood; ``str()`` is a plain sentence for the user.

    ``param`` names the top-level field at fault, if it is one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ToolRef(msgspec.Struct, frozen=True):
    """One tool definition: what it is called and how big it is, not what it says."""

    name: str
    type: str | None
    """``None`` where the protocol leaves the type of an ordinary function tool out."""
    size: int
    """Bytes of JSON."""
    deferred: bool
    """Announced but not shown to the model yet (``defer_loading``)."""
    raw: Raw
    group: str | None = None
    """The namespace it is in (Responses), or the MCP server that a hosted one names."""

    @property
    def is_mcp(self) -> bool:
        """Whether a client names it as a tool of an MCP server (``mcp__server__tool``)."""
        return self.name.startswith("mcp__")

    @property
    def mcp_server(self) -> str | None:
        """The MCP server it belongs to, as its name or group tells; ``None`` for other tools."""
        for name in (self.name, self.group or ""):
            if name.startswith("mcp__"):
                return name.removeprefix("mcp__").partition("__")[0]
        is_hosted = self.type is not None and self.type.startswith("mcp")
        return (self.group or "mcp") if is_hosted else None


class ToolChoice(msgspec.Struct, frozen=True):
    """What the client says about calling tools: ``type`` as on the wire, ``name`` if it has one."""

    type: str
    name: str | None = None

    @property
    def label(self) -> str:
        """``auto``, ``any`` ... or ``tool:Name``; at most 100 characters."""
        return (self.type if self.name is None else f"{self.type}:{self.name}")[:100]


def read_object(body: bytes) -> dict[str, Raw]:
    """The top-level fields of a JSON object; raises ``BadRequest`` for anything else.

    Refused as well is what ``providers.protocols.json_limits`` bounds.
    """
    text = body.removeprefix(_BOM)
    if not text or text.isspace():
        raise BadRequest("The request body is empty; a JSON object was expected.")
    try:
        if not text.isascii():
            text.decode()
        json_limits.check_values(text)
        fields = _read_top(text)
        if len(text) <= json_limits.DEPTH_BYTES:
            json_limits.check_depth(fields.values())
    except json_limits.OverLimit as error:
        raise BadRequest(f"The request body {error}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest("The request body is not valid UTF-8.") from error
    except msgspec.ValidationError as error:
        raise BadRequest("The request body must be a JSON object.") from error
    except msgspec.DecodeError as error:
        detail = str(error).removeprefix("JSON is malformed: ")
        raise BadRequest(f"The request body is not valid JSON: {detail}.") from error
    except RecursionError as error:
        raise BadRequest("The request body is nested too deeply.") from error
    return fields


def _read_top(text: bytes) -> dict[str, Raw]:
    try:
        return _object_decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\u" not in text:
            raise
        return _object_decoder.decode(_without_lone_surrogates(text))


def _without_lone_surrogates(text: bytes) -> bytes:
    r"""Replace half surrogate pairs by ``\ufffd``: msgspec refuses them, vendors do not.

    The length stays, so offsets into the result hold for the original.
    """
    return _ESCAPE.sub(lambda escape: b"\\ufffd" if escape[1] else escape[0], text)


def read_list(raw: Raw | None) -> list[Raw] | None:
    """The undecoded elements of a list; ``None`` when it is not one."""
    if raw is None:
        return None
    try:
        return _list_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None


def read_fields(raw: Raw | None) -> dict[str, Raw]:
    """The undecoded fields of an object; empty when it is not one."""
    if raw is None:
        return {}
    try:
        return _object_decoder.decode(raw)
    except (ValueError, RecursionError):
        return {}


def value(raw: Raw | None) -> Any:
    """The decoded value; ``None`` also for what cannot be held, such as ``1e999``."""
    if raw is None:
        return None
    try:
        return _any_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None


def text_of(raw: Raw | None) -> str | None:
    """The value if it is a string."""
    found = value(raw) if raw is not None and is_string(raw) else None
    return found if isinstance(found, str) else None


def int_of(raw: Raw | None) -> int | None:
    """The value if it is a whole number; booleans are not."""
    found = value(raw) if raw is not None and size_of(raw) <= 32 else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def is_true(raw: Raw | None) -> bool:
    """Whether the value is literally ``true``."""
    return raw is not None and bytes(memoryview(raw)[:5]) == b"true"


def is_set(raw: Raw | None) -> bool:
    """Whether the field says something: not ``null``, ``false``, ``[]``, ``{}``, ``""`` or 0."""
    return raw is not None and (size_of(raw) > 5 or bool(value(raw)))


def is_string(raw: Raw) -> bool:
    """Whether the undecoded value is a JSON string."""
    return bytes(memoryview(raw)[:1]) == b'"'


def size_of(raw: Raw) -> int:
    """Bytes of JSON, without decoding or copying."""
    return memoryview(raw).nbytes


def text_size(raw: Raw) -> int:
    """Characters of all keys and strings inside; the same however the JSON is written."""
    total = 0
    waiting: list[Any] = [value(raw)]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            total += len(found)
        elif isinstance(found, dict):
            total += sum(map(len, found))
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
    return total


def required_model(fields: Fields) -> str:
    """The ``model`` field; raises ``BadRequest`` when it is missing or no string."""
    if "model" not in fields:
        raise BadRequest("The field 'model' is missing.", "model")
    model = text_of(fields["model"])
    if model is None:
        raise BadRequest("The field 'model' must be a string.", "model")
    return model


def required_list(fields: Fields, name: str) -> list[Raw]:
    """A list field; raises ``BadRequest`` when it is missing or something else."""
    if name not in fields:
        raise BadRequest(f"The field '{name}' is missing.", name)
    found = read_list(fields[name])
    if found is None:
        raise BadRequest(f"The field '{name}' must be a list.", name)
    return found


def cache_ttl(body: bytes) -> str | None:
    """The longest lifetime any ``cache_control`` mark asks for: ``1h``, ``5m`` or ``None``.

    Searched for in the bytes: inside a JSON string the quotes of the key would be escaped.
    """
    found = None
    # Finding bytes is several times as quick as finding a pattern, and large bodies hold few marks.
    at = body.find(_CACHE_KEY)
    while at >= 0:
        mark = _CACHE_MARK.match(body, at)
        if mark is not None:
            if b'"1h"' in mark[1]:
                return "1h"
            found = "5m"
        at = body.find(_CACHE_KEY, at + len(_CACHE_KEY))
    return found


def replace_model(body: bytes, new_model: str) -> bytes:
    """``body`` with another top-level ``model``; every other byte stays as received.

    Duplicate keys are all replaced. Raises ``BadRequest`` when there is no such key.
    """
    changed = edit(body, {"model": msgspec.json.encode(new_model)})
    if changed is body:
        raise BadRequest("The field 'model' is missing.", "model")
    return changed


def edit(body: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """``body`` with other values for the named top-level fields, ``None`` taking them out.

    Every other byte stays as received; fields that are not there are not added. ``body`` itself
    when nothing changes. Duplicate keys are all changed. Raises ``BadRequest``.
    """
    pieces: list[bytes] = []
    done = 0
    for name, key, start, end in _top_level(body, read_object(body)):
        if name not in changes:
            continue
        new = changes[name]
        if new is not None:
            pieces += (body[done:start], new)
            done = end
            continue
        after = _skip_space(body, end)
        if body[after : after + 1] == b",":
            pieces.append(body[done:key])
            done = _skip_space(body, after + 1)
        else:
            # The last member takes the comma before it along, if anything stands before it.
            before = b"".join((*pieces, body[done:key])).rstrip(b" \t\r\n")
            pieces = [before.removesuffix(b",")]
            done = end
    return b"".join((*pieces, body[done:])) if pieces else body


def _top_level(body: bytes, fields: Fields) -> Iterator[tuple[str, int, int, int]]:
    """Name of every top-level member, where it and its value start, and where it ends, in order.

    ``body`` is known to be valid.
    """
    position = body.index(b"{") + 1
    while (key := _STRING.match(body, _skip_space(body, position))) is not None:
        name = str(value(Raw(_without_lone_surrogates(key[0]))))
        start = _skip_space(body, body.index(b":", key.end()) + 1)
        end = _value_end(body, start, fields.get(name))
        yield name, key.start(), start, end
        position = _skip_space(body, end) + 1


def _skip_space(body: bytes, position: int) -> int:
    found = _SPACE.match(body, position)
    return found.end() if found else position


def _value_end(body: bytes, start: int, known: Raw | None) -> int:
    """Where the value at ``start`` ends; ``known`` is usually that very value, already measured."""
    if body[start : start + 1] not in (b'"', b"{", b"["):
        scalar = _SCALAR.match(body, start)
        return scalar.end() if scalar else start
    # Strings and containers end themselves, so a match of the bytes is a match of the value.
    if known is not None and body.startswith(bytes(known), start):
        return start + size_of(known)
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(body, start):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        if depth == 0:
            return token.end()
    return len(body)


def schema_keys(schema: Raw | None) -> tuple[str, ...]:
    """The property names of a JSON Schema object."""
    return tuple(read_fields(read_fields(schema).get("properties")))

"""Whether a value fits a JSON Schema, as far as tool arguments and answer formats use it; pure.

Understood: ``type enum const properties required additionalProperties items prefixItems minItems
maxItems minLength maxLength minimum maximum allOf anyOf oneOf`` and ``$ref`` within the schema.
Anything else (``pattern``, ``format`` ...) holds: patterns of strangers are not run, and a schema
that is not understood must not fail an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

DEPTH: Final = 48
"""Levels that are looked into; what lies deeper holds."""

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool))
        or (isinstance(v, float) and v.is_integer())
    ),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether ``value`` (parsed JSON) is what ``schema`` (parsed JSON Schema) asks for."""
    return _Checker(schema).holds(value, schema, DEPTH)


class _Checker:
    def __init__(self, root: Any) -> None:
        self._root = root

    def holds(self, value: Any, schema: Any, depth: int) -> bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict) or depth <= 0:
            return True
        return all(self._rules(value, schema, depth - 1))

    def _rules(self, value: Any, schema: dict[str, Any], depth: int) -> Iterator[bool]:
        if "$ref" in schema:
            yield self.holds(value, self._resolve(schema["$ref"]), depth)
        yield _is_of_type(value, schema.get("type"))
        if isinstance(schema.get("enum"), list):
            yield any(_same(value, each) for each in schema["enum"])
        if "const" in schema:
            yield _same(value, schema["const"])
        yield from self._combined(value, schema, depth)
        if isinstance(value, dict):
            yield from self._object(value, schema, depth)
        elif isinstance(value, list):
            yield from self._array(value, schema, depth)
        elif isinstance(value, str):
            yield _within(len(value), schema.get("minLength"), schema.get("maxLength"))
        elif _TYPES["number"](value):
            yield _within(value, schema.get("minimum"), schema.get("maximum"))

    def _combined(self, value: Any, schema: dict[str, Any], depth: int) -> Iterator[bool]:
        for each in _list(schema.get("allOf")):
            yield self.holds(value, each, depth)
        if found := _list(schema.get("anyOf")):
            yield any(self.holds(value, each, depth) for each in found)
        if found := _list(schema.get("oneOf")):
            # More than one may hold where a rule that tells them apart is not understood.
            yield any(self.holds(value, each, depth) for each in found)

    def _object(self, value: dict[str, Any], schema: dict[str, Any], depth: int) -> Iterator[bool]:
        for name in _list(schema.get("required")):
            yield name in value
        known = schema.get("properties")
        properties = known if isinstance(known, dict) else {}
        more = schema.get("additionalProperties", True)
        if "patternProperties" in schema:
            more = True
        for name, inner in value.items():
            yield self.holds(inner, properties.get(name, more), depth)

    def _array(self, value: list[Any], schema: dict[str, Any], depth: int) -> Iterator[bool]:
        yield _within(len(value), schema.get("minItems"), schema.get("maxItems"))
        first = _list(schema.get("prefixItems"))
        for item, each in zip(value, first, strict=False):
            yield self.holds(item, each, depth)
        for item in value[len(first) :]:
            yield self.holds(item, schema.get("items", True), depth)

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return True
        found = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                return True
            found = found[name]
        return found


def _is_of_type(value: Any, wanted: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else _list(wanted)
    tests = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
    return not tests or any(test(value) for test in tests)


def _same(value: Any, other: Any) -> bool:
    """Equal as JSON: ``true`` is not ``1``."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _within(size: float, least: Any, most: Any) -> bool:
    is_number = _TYPES["number"]
    if is_number(least) and size < least:
        return False
    return not (is_number(most) and size > most)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

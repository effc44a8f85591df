"""Arguments against a tool's schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.verification.schema import fits

few = settings(deadline=None, database=None, max_examples=40)

EDIT = {
    "type": "object",
    "properties": {
        "file_path": {"type": "string", "minLength": 1},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "mode": {"enum": ["a", "b", None]},
        "all": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "inner": {"$ref": "#/$defs/inner"},
    },
    "required": ["file_path"],
    "additionalProperties": False,
    "$defs": {
        "inner": {"type": "object", "required": ["x"], "additionalProperties": {"type": "string"}}
    },
}
PATH = {"file_path": "a"}


@pytest.mark.parametrize(
    ("more", "is_good"),
    [
        ({}, True),
        ({"file_path": ""}, False),
        ({"file_path": 1}, False),
        ({"count": 3}, True),
        ({"count": 3.0}, True),
        ({"count": 3.5}, False),
        ({"count": True}, False),
        ({"count": 0}, False),
        ({"count": 10}, False),
        ({"mode": None}, True),
        ({"mode": "c"}, False),
        ({"all": True}, True),
        ({"all": 1}, False),
        ({"tags": ["x"]}, True),
        ({"tags": ["x", 2]}, False),
        ({"tags": ["x"] * 3}, False),
        ({"size": None}, True),
        ({"size": "big"}, False),
        ({"inner": {"x": "y"}}, True),
        ({"inner": {"x": "y", "z": 1}}, False),
        ({"inner": {}}, False),
        ({"surplus": 1}, False),
    ],
)
def test_a_rule_at_a_time(more: dict[str, Any], is_good: bool) -> None:
    assert fits(PATH | more, EDIT) is is_good


@pytest.mark.parametrize(
    ("value", "schema", "is_good"),
    [
        ({}, EDIT, False),
        ([], {"type": "object"}, False),
        (1, True, True),
        (1, False, False),
        (1, {"const": 1}, True),
        (True, {"const": 1}, False),
        ("x", {"type": ["string", "null"]}, True),
        (1, {"type": ["string", "null"]}, False),
        (5, {"allOf": [{"minimum": 1}, {"maximum": 4}]}, False),
        (5, {"oneOf": [{"type": "string"}, {"type": "integer"}]}, True),
        ([1, "a"], {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, True),
        ([1, 2], {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, False),
        ("x", {"pattern": "(x+x+)+y"}, True),
        ("x", {"$ref": "#/nowhere"}, True),
        ("x", {"$ref": "https://elsewhere"}, True),
        ({"a": 1}, {"patternProperties": {"a": {}}, "additionalProperties": False}, True),
        ("x", {"type": "unheard-of"}, True),
        ("x", "not a schema", True),
    ],
)
def test_more_of_the_rules(value: Any, schema: Any, is_good: bool) -> None:
    assert fits(value, schema) is is_good


def test_a_schema_that_leads_in_circles_ends() -> None:
    loop = {"$ref": "#"}
    assert fits({"a": 1}, loop)
    deep: dict[str, Any] = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    value: dict[str, Any] = {}
    for _ in range(200):
        value = {"a": value}
    assert fits(value, deep)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@few
@given(_values, _values)
def test_it_never_raises_whatever_it_is_given(value: Any, schema: Any) -> None:
    assert fits(value, schema) in (True, False)


@few
@given(_values)
def test_a_constant_fits_itself_alone(value: Any) -> None:
    assert fits(value, {"const": value})
    assert not fits([value], {"const": value})

"""How deep, how many, how long: the bounds are exact, and what stands in a string is no structure."""

from __future__ import annotations

import json

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from providers.protocols.json_limits import (
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_VALUES,
    OverLimit,
    check_depth,
    check_values,
)


def is_too_deep(value: bytes) -> bool:
    try:
        check_depth([Raw(value)])
    except OverLimit:
        return True
    return False


def has_too_much(text: bytes) -> bool:
    try:
        check_values(text)
    except OverLimit:
        return True
    return False


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


SHAPES = {
    "lists": (b"[", b"]"),
    "objects": (b'{"a":', b"}"),
    "spaced": (b" [ ", b" ] "),
    "lists with more": (b'[{"a":"]"},', b',"[[[["]'),
    "objects with more": (b'{"b":[1,2],"a":', b',"c":"}}}\\"{{{"}'),
    "odd keys": (b'{"\\ud800":', b"}"),
    "mixed": (b'[{"a":', b"}]"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_depth_is_exact(shape: str) -> None:
    before, after = (part.strip() for part in SHAPES[shape])
    seen = set()
    for levels in range(60, 130):
        text = before * levels + b"1" + after * levels
        depth = 1 + depth_of(json.loads(text))
        assert is_too_deep(text) is (depth > MAX_DEPTH), depth
        seen.add(depth > MAX_DEPTH)
    assert seen == {True, False}


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps([["[" * 500 + '"{' * 500 + "\\" * 7, {"a": "]}" * 40}]] * 40).encode()
    assert not is_too_deep(text)


_nested = st.recursive(
    st.sampled_from([1, "[[[[", '\\"{', None, "}" * 60]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@steady
@given(_nested, st.integers(110, 130), st.booleans(), st.sampled_from([None, 1]))
def test_it_agrees_with_a_look_at_the_values(
    core: object, levels: int, objects: bool, indent: int | None
) -> None:
    value = core
    for level in range(levels):
        value = {"k": value, "n": "]"} if objects and level % 2 else ["{", value, []]
    text = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    assert is_too_deep(text) is (1 + depth_of(value) > MAX_DEPTH)


@pytest.mark.parametrize("offset", [0, 1, 37, 99, 100, 950, 1234])
@pytest.mark.parametrize(
    "number",
    [
        b"9" * (MAX_NUMBER + 1),
        b"-" + b"9" * MAX_NUMBER,
        b"0." + b"1" * (MAX_NUMBER - 1),
        b"-" + b"1" * 500 + b"." + b"2" * 300 + b"e-" + b"3" * 197,
    ],
)
def test_the_length_of_a_number_is_exact_wherever_it_stands(number: bytes, offset: int) -> None:
    assert len(number) == MAX_NUMBER + 1
    pad = b'{"a":"' + b"x" * offset + b'","n":'
    assert has_too_much(pad + number + b"}")
    assert not has_too_much(pad + number[:-1] + b"}")


def test_digits_in_strings_are_no_number() -> None:
    text = b'{"a":"' + b"7" * 5000 + b'","b":"\\"' + b"8" * 5000 + b'"}'
    assert not has_too_much(text)
    assert has_too_much(text[:-1] + b',"c":' + b"9" * 1001 + b"}")


def test_the_number_of_values_is_exact() -> None:
    fits = b"[" + b"0," * (MAX_VALUES - 1) + b"0]"
    assert not has_too_much(fits)
    assert has_too_much(b"[0," + fits[1:])
    assert not has_too_much(b'["' + b"," * (2 * MAX_VALUES) + b'"]')

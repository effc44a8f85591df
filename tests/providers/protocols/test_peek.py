from __future__ import annotations

import json

import msgspec
import pytest
from agent_bodies import any_json, steady
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from providers.protocols import peek
from providers.protocols.peek import BadRequest, read_object, replace_model


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": [Infinity]}', "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a": [1,,2]}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not valid UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused_in_plain_words(body: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'\xef\xbb\xbf{"a": 1}',
        b' \n{"a": 1}\n ',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 1000 + b"}",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a": "\\ud800", "\\udc00": ["\\udfff\\ud83d\\ude00"]}',
        '{"ключ": "значение 😀"}'.encode(),
    ],
)
def test_whatever_a_vendor_might_take_is_read(body: bytes) -> None:
    assert isinstance(read_object(body), dict)


def test_the_last_of_duplicate_keys_wins() -> None:
    fields = read_object(b'{"model": "a", "x": 1, "model": "b"}')
    assert peek.text_of(fields["model"]) == "b"


def test_half_surrogates_are_replaced_and_real_ones_kept() -> None:
    fields = read_object(rb'{"a": "\ud83d\ude00 \ud83d! \\ud83d \udc00\ud800\ud83d\ude00"}')
    assert peek.text_of(fields["a"]) == "\U0001f600 \ufffd! \\ud83d \ufffd\ufffd\U0001f600"


@steady
@given(any_json)
def test_readers_return_what_json_means(found: object) -> None:
    raw = Raw(json.dumps(found).encode())
    if isinstance(found, str):
        assert peek.text_of(raw) == peek.value(raw)
        assert peek.is_set(raw) is bool(found)
    else:
        assert peek.text_of(raw) is None
    is_int = isinstance(found, int) and not isinstance(found, bool) and len(str(found)) <= 32
    assert peek.int_of(raw) == (found if is_int else None)
    assert peek.is_true(raw) is (found is True)
    assert (peek.read_list(raw) is not None) is isinstance(found, list)
    assert set(peek.read_fields(raw)) == (set(found) if isinstance(found, dict) else set())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', None),
        (b'{"a": {"cache_control": {"type": "ephemeral"}}}', "5m"),
        (b'{"a": {"cache_control" : {"type": "ephemeral", "ttl": "5m"}}}', "5m"),
        (b'[{"cache_control": {"ttl":"5m"}}, {"cache_control": {"ttl": "1h"}}]', "1h"),
        (json.dumps({"text": 'say {"cache_control": {"ttl": "1h"}}'}).encode(), None),
        (b'{"cache_control": null}', None),
    ],
)
def test_the_longest_cache_lifetime_is_found(body: bytes, expected: str | None) -> None:
    assert peek.cache_ttl(body) == expected


_space = st.sampled_from([b"", b" ", b"\n  ", b"\t\r\n"])
_key = st.sampled_from(
    [b'"model"', b'"mod\\u0065l"', b'"a"', b'"models"', b'"model "', b'"\\"model\\""', b'"\\ud800"']
)
_value = any_json.map(lambda v: json.dumps(v, indent=1).encode()) | st.sampled_from(
    [
        b'{"model": "inner"}',
        b'[{"model":"inner"}, "}", "\\"", "\\\\"]',
        b'"model"',
        b'"\\\\\\""',
        b'"\\udead , }"',
        b"-1.5e3",
        b"null",
    ]
)


@steady
@given(
    members=st.lists(st.tuples(_key, _value, _space, _space), max_size=6),
    lead=_space,
    bom=st.booleans(),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_only_the_top_level_model_is_replaced(
    members: list[tuple[bytes, bytes, bytes, bytes]], lead: bytes, bom: bool, name: str
) -> None:
    def build(new: bytes | None) -> bytes:
        parts = []
        for key, value, before, after in members:
            is_model = key in (b'"model"', b'"mod\\u0065l"')
            kept = new if is_model and new is not None else value
            parts.append(before + key + after + b":" + before + kept + after)
        return (b"\xef\xbb\xbf" if bom else b"") + lead + b"{" + b",".join(parts) + b"}" + lead

    body = build(None)
    if not any(key in (b'"model"', b'"mod\\u0065l"') for key, *_ in members):
        with pytest.raises(BadRequest):
            replace_model(body, name)
        return
    assert replace_model(body, name) == build(msgspec.json.encode(name))


def test_an_alias_is_spliced_in_without_touching_another_byte() -> None:
    body = b'{ "messages" : [ {"model": "x"} ],\n\t"model" : "claude-a" , "z":1.50 }'
    assert replace_model(body, "claude-b") == body.replace(b"claude-a", b"claude-b")

"""A body for a cheaper model of the same vendor: only what it refuses changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.neutral import NO_NOTES, Notes
from providers.protocols import peek
from providers.protocols.anthropic.downgrade import adapt, adapt_headers
from providers.traits import Traits, traits_of

OLD = traits_of("anthropic", "claude-haiku-4-5")
BODY = (
    b'{ "model" : "claude-opus-5-5",\n "max_tokens":128000, "thinking": {"type":"adaptive"} ,'
    b'"output_config":{"effort":"high","format":{"type":"text"}},"x": [1, {"model": "no"}],'
    b'"messages":[{"role":"user","content":"model \\" thinking"}] }'
)


def test_a_model_that_takes_everything_changes_only_the_name() -> None:
    new, notes = adapt(BODY, "claude-haiku-5-5", Traits())
    assert new == BODY.replace(b'"claude-opus-5-5"', b'"claude-haiku-5-5"')
    assert notes == NO_NOTES


def test_an_older_model_gets_what_it_knows() -> None:
    new, notes = adapt(BODY, "claude-haiku-4-5", OLD)
    assert json.loads(new) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 64000,
        "output_config": {"format": {"type": "text"}},
        "x": [1, {"model": "no"}],
        "messages": [{"role": "user", "content": 'model " thinking'}],
    }
    assert b'"x": [1, {"model": "no"}]' in new
    assert notes == Notes(("thinking",), ("max_tokens", "output_config"))


def test_thinking_of_another_shape_stays() -> None:
    body = b'{"model":"a","thinking":{"type":"enabled","budget_tokens":9}}'
    assert b'"budget_tokens":9' in adapt(body, "claude-haiku-4-5", OLD)[0]


def test_an_object_that_becomes_empty_goes() -> None:
    body = b'{"model":"a","output_config":{"effort":"low"}}'
    assert json.loads(adapt(body, "claude-haiku-4-5", OLD)[0]) == {"model": "claude-haiku-4-5"}


def test_betas_of_other_models_are_left_out_and_the_rest_kept() -> None:
    headers = [
        (b"anthropic-beta", b"context-1m-2025-08-07,claude-code-20250219"),
        (b"Anthropic-Beta", b"effort-2025-11-24"),
        (b"x", b"context-1m-2025-08-07"),
    ]
    assert adapt_headers(headers, OLD) == [
        (b"anthropic-beta", b"claude-code-20250219"),
        (b"x", b"context-1m-2025-08-07"),
    ]
    assert adapt_headers(headers, Traits()) is headers


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from("abcdef"), _values),
    st.sets(st.sampled_from("abcdef")),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
)
def test_taking_fields_out_leaves_the_others_as_they_were(
    body: dict[str, Any], gone: set[str], separators: tuple[str, str]
) -> None:
    data = json.dumps(body, separators=separators).encode()
    new = peek.edit(data, dict.fromkeys(gone))
    assert json.loads(new) == {k: v for k, v in body.items() if k not in gone}


@pytest.mark.parametrize("gone", [["a"], ["b"], ["c"], ["a", "b", "c"], ["b", "c"], []])
def test_commas_come_out_right(gone: list[str]) -> None:
    new = peek.edit(b'{ "a" : 1 , "b":[2,3],"c" :"," }', dict.fromkeys(gone))
    assert set(json.loads(new)) == {"a", "b", "c"} - set(gone)

"""The data about models is complete and cannot hold a typo."""

from __future__ import annotations

import pytest

from providers.profiles import profiles
from providers.traits import EFFORTS, Traits, read_traits, traits_of


@pytest.mark.parametrize("name", list(profiles()))
def test_every_built_in_provider_has_traits(name: str) -> None:
    traits = traits_of(name, profiles()[name].model or "some-model")

    assert traits.context is not None
    assert traits.max_output is not None
    assert traits.max_output <= traits.context
    assert traits.max_tokens_field in ("max_tokens", "max_completion_tokens")
    assert set(traits.efforts) <= set(EFFORTS)
    assert sorted(traits.efforts, key=EFFORTS.index) == list(traits.efforts)
    assert {"auto", "none"} <= traits.tool_choices


def test_a_pattern_is_laid_over_the_providers_own_table() -> None:
    known, other = traits_of("groq", "openai/gpt-oss-20b"), traits_of("groq", "llama")

    assert (known.json_schema, known.max_output) == (True, 65_536)
    assert (other.json_schema, other.max_output) == (False, 8_192)
    assert known.unsupported == other.unsupported != frozenset()


def test_an_unknown_provider_gets_the_cautious_defaults() -> None:
    assert traits_of("ollama", "x") == Traits()


def test_a_typo_is_refused() -> None:
    with pytest.raises(ValueError, match="visoin"):
        read_traits({"visoin": True})


@pytest.mark.parametrize(
    ("efforts", "wanted", "chosen"),
    [
        ((), "high", None),
        (("low", "high"), "high", "high"),
        (("low", "high"), "medium", "low"),
        (("low", "high"), "none", "low"),
        (("none", "high"), "max", "high"),
        (("low", "medium"), "unheard", "medium"),
    ],
)
def test_the_closest_effort(efforts: tuple[str, ...], wanted: str, chosen: str | None) -> None:
    assert Traits(efforts=efforts).choose_effort(wanted) == chosen

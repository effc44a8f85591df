"""Errors in words: every kind of mistake, no secret, no escape sequence, nothing left out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from server.config import Settings
from server.settings_errors import (
    Origin,
    Problem,
    SettingsError,
    SourceKind,
    Warning_,
    plain,
    shown_value,
)
from server.settings_keys import ANY_NAME, all_keys, docs, find, join, split, suggest
from server.settings_layers import Layers, Leaf, leaves, validated
from server.settings_read import key_lines

# A busy machine must not fail a property that holds.
UNHURRIED = effort(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FILE = Origin(SourceKind.FILE, "config.toml")


def problems(text: str) -> list[Problem]:
    layers = Layers(leaves(tomllib.loads(text), lambda _: FILE))
    return validated(layers)[1]


def words(text: str) -> Iterator[tuple[str, str, str]]:
    return ((problem.key, problem.reason, problem.hint) for problem in problems(text))


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("server.port = 'x'", "server.port", 'expected a whole number, not "x"'),
        ("server.port = 1.5", "server.port", "expected a whole number, not 1.5"),
        ("server.port = true", "server.port", "expected a whole number, not true"),
        ("server.port = 70000", "server.port", "must be 65535 or less, not 70000"),
        ("server.port = -1", "server.port", "must be 0 or more, not -1"),
        ("server.host = 1", "server.host", "expected text in quotes, not 1"),
        ("server.host = ''", "server.host", "must not be empty"),
        ("server.drain_s = 'x'", "server.drain_s", 'expected a number, not "x"'),
        ("server.drain_s = inf", "server.drain_s", "expected a finite number, not inf"),
        ("server.keepalive_s = 0", "server.keepalive_s", "must be more than 0, not 0"),
        ("routing.shadow = 1", "routing.shadow", "expected true or false, not 1"),
        ("routing = 1", "routing", "expected a table, not 1"),
        ("providers = []", "providers", "expected a table, not a list"),
        ("providers.groq = 1", "providers.groq", "expected a table, not 1"),
        (
            "routing.routes.summary = 'groq'",
            "routing.routes.summary",
            'expected a list, like ["baseline"], not "groq"',
        ),
        ("routing.routes.summary = []", "routing.routes.summary", "must not be empty"),
        ("prices.m.in = 1", "prices.m[0].out", "is required"),
        (
            "prices.m = {in = 1, out = 1, from = 'soon'}",
            "prices.m[0].from",
            'expected a date like 2026-01-31, not "soon"',
        ),
        (
            "ledger.durability = 'half'",
            "ledger.durability",
            "must be 'normal' or 'full', not \"half\"",
        ),
        ("keys.live.open = 'o'", "keys.live", "expected text in quotes, not a table"),
    ],
)
def test_each_mistake_has_plain_words(text: str, key: str, reason: str) -> None:
    (problem,) = problems(text)

    assert (problem.key, problem.reason) == (key, reason)
    assert problem.file == "config.toml"


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("server.prot = 1", "server.prot", 'did you mean "port"?'),
        ("sever.port = 1", "sever", 'did you mean "server"?'),
        ("shadow = true", "shadow", 'did you mean "routing.shadow"?'),
        ("ui.colour = 1", "ui.colour", "known here: ascii"),
        ("routing.kinds.titel = ['groq']", "routing.kinds.titel", 'did you mean "title"?'),
        ("routing.modes.titel = 'live'", "routing.modes.titel", 'did you mean "title"?'),
        ("routing.routes.sumary = []", "routing.routes.sumary", 'did you mean "summary"?'),
        ("providers.groq.base-url = 1", "providers.groq.base-url", 'did you mean "base_url"?'),
        (
            "providers.groq.limits.tokens_per_dya = 1",
            "providers.groq.limits.tokens_per_dya",
            'did you mean "tokens_per_day"?',
        ),
        (
            "providers.groq.api_key = 'sk-very-secret'",
            "providers.groq.api_key",
            "put the key into the environment or into .env, and its name into api_key_env",
        ),
        ("prices.m = {in = 1, out = 1, cached = 1}", "prices.m[0].cached", ""),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, key: str, hint: str) -> None:
    (problem,) = problems(text)

    assert (problem.key, problem.reason) == (key, "unknown key")
    assert problem.hint.startswith(hint)


def test_a_list_of_wrong_entries_is_not_called_empty_as_well() -> None:
    assert [key for key, _, _ in words("routing.routes.summary = [1, 'a b']")] == [
        "routing.routes.summary[0]",
        "routing.routes.summary[1]",
    ]


def test_a_rule_between_keys_is_told_beside_a_wrong_value_elsewhere() -> None:
    found = {key for key, _, _ in words("server.port = 'x'\n[providers.box]\nkind = 'openai-chat'")}

    assert found == {"server.port", "providers.box.base_url"}


def test_a_wrong_value_is_not_called_missing_as_well() -> None:
    text = "[providers.box]\nkind = 'x'\nbase_url = 5"

    assert sorted(key for key, _, _ in words(text)) == [
        "providers.box.base_url",
        "providers.box.kind",
    ]


class TestSecretsStayUnseen:
    @pytest.mark.parametrize(
        "text",
        [
            "providers.groq.api_key_env = 'sk-ant-SECRET'",
            "server.key_env = 'SECRET key'",
            "providers.groq.api_key = 'SECRET'",
            "providers.groq.base_url = 'https://me:SECRET@x.example'",
            "network.proxy = 'ftp://me:SECRET@x.example'",
            "server.log_level = 'sk-SECRET'",
            "server.log_level = 'http://u:SECRET@h'",
            "server.port = 'gsk_SECRET0123456789012345678901'",
            "server.unknown = 'SECRET'",
        ],
    )
    def test_a_misplaced_key_is_not_repeated(self, text: str) -> None:
        found = problems(text)

        assert found
        assert "SECRET" not in str(SettingsError(found))

    @UNHURRIED
    @given(st.text(alphabet=st.characters(codec="ascii"), min_size=24, max_size=80))
    def test_long_runs_are_never_shown(self, tail: str) -> None:
        token = "".join(c for c in tail if c.isalnum())

        assert len(token) < 24 or token not in shown_value(("server", "port"), tail)


@UNHURRIED
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_of_a_file_reaches_the_terminal_as_an_escape(key: str, value: str) -> None:
    layers = Layers([Leaf(("server", key), value, FILE), Leaf(("server", "port"), value, FILE)])
    text = str(SettingsError(validated(layers)[1]))

    assert all(c.isprintable() or c == "\n" for c in text)
    assert str(Warning_("info", "x", value, key)).isprintable()


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_PATHS = st.sampled_from(
    [
        tuple("groq" if part == "*" else part for part in key.path[:n])
        for key in all_keys()
        for n in (1, 2, 3)
    ]
)


@UNHURRIED
@given(st.lists(st.tuples(_PATHS, _JUNK), max_size=5))
def test_no_content_whatever_is_more_than_a_list_of_problems(
    content: list[tuple[tuple[str, ...], Any]],
) -> None:
    layers = Layers()
    for path, value in content:
        layers.add(Leaf(path, value, FILE))

    settings, found = validated(layers)
    assert isinstance(settings, Settings)
    assert all(problem.reason and str(problem) for problem in found)
    if not found:
        assert Settings.model_validate(layers.tree()) == settings


class TestLayers:
    def test_the_last_one_wins_leaf_by_leaf(self) -> None:
        first = leaves({"a": {"b": 1, "c": [1]}, "d": 1}, lambda _: FILE)
        layers = Layers(
            [*first, *leaves({"a": {"b": 2}}, lambda _: Origin(SourceKind.FLAG, "--b"))]
        )

        assert layers.tree() == {"a": {"b": 2, "c": [1]}, "d": 1}
        assert layers.origin(("a", "b")).kind is SourceKind.FLAG
        assert layers.origin(("a", "c")) == FILE

    def test_a_value_replaces_a_table_and_a_table_a_value(self) -> None:
        layers = Layers(leaves({"a": {"b": 1, "c": 2}}, lambda _: FILE))
        layers.add(Leaf(("a",), 5, FILE))
        assert layers.tree() == {"a": 5}

        layers.add(Leaf(("a", "b"), 1, FILE))
        assert layers.tree() == {"a": {"b": 1}}

    def test_an_empty_table_takes_nothing_away(self) -> None:
        layers = Layers(leaves({"a": {"b": 1}, "x": {}}, lambda _: FILE))
        layers.add(Leaf(("a",), {}, FILE))

        assert layers.tree() == {"a": {"b": 1}, "x": {}}

    def test_what_was_not_set_has_no_origin_but_a_place_to_look(self) -> None:
        layers = Layers(leaves({"providers": {"box": {}}}, lambda _: FILE))

        assert layers.origin(("providers", "box", "kind")).kind is SourceKind.DEFAULT
        assert layers.near(("providers", "box", "kind")) == FILE


class TestKeys:
    @UNHURRIED
    @given(st.lists(st.text(max_size=6), min_size=1, max_size=4))
    def test_a_dotted_key_and_its_parts(self, parts: list[str]) -> None:
        assert split(join(tuple(parts))) == tuple(parts)

    @pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a."b', "a b", "a=1"])
    def test_what_is_no_dotted_key(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a key"):
            split(text)

    def test_every_key_is_documented_in_one_sentence(self) -> None:
        for key in all_keys():
            assert key.doc.endswith("."), join(key.path)
            assert "\n" not in key.doc

    def test_every_field_of_every_table_is_found(self) -> None:
        assert {name for name, fields in docs().items() if fields} >= {
            "Settings",
            "ServerSettings",
            "ProviderTable",
            "LimitsTable",
            "PriceTable",
            "ModesSettings",
        }
        paths = [
            tuple("title" if part == ANY_NAME else part for part in k.path) for k in all_keys()
        ]
        assert all(find(path) is not None for path in paths)

    def test_a_key_that_does_not_exist_has_no_type(self) -> None:
        assert find(("server", "prot")) is None
        assert find(("server", "port", "x")) is None
        assert suggest(("qqqq",)).startswith("known here: server, routing")


def test_key_lines() -> None:
    text = (
        "# [not]\n"
        "a = 1\n"
        "[ t . 'x.y' ] # note\n"
        "  b.c = 2\n"
        "list = [\n"
        '  "groq",\n'
        "]\n"
        "[[many]]\n"
        "k = 1\n"
        "[[many]]\n"
        "k = 2\n"
    )

    assert key_lines(text) == {
        ("a",): 2,
        ("t", "x.y"): 3,
        ("t", "x.y", "b", "c"): 4,
        ("t", "x.y", "list"): 5,
        ("many",): 8,
        ("many", "k"): 9,
    }


def test_plain_keeps_text_and_escapes_the_rest() -> None:
    assert plain("schön \x1b[31m\u202e\n") == "schön \\x1b[31m\\u202e\\n"

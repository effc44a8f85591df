"""Single values of JSON with comments are changed, and nothing else is."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_gateway import paths_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.install.client_files import CLIENTS
from tui.install.connect import apply, plan_connect, plan_disconnect
from tui.install.jsonc import JsoncError, changed, parse

MINE = """\
// first
{
\t"a": 1, // one
\t/* two
\t   lines */
\t"b": [
\t\t{"x": "// no comment"}, // an item
\t\t{"x": "/* nor this */"},
\t],
\t"empty": {}, "list": [],
\t"last": true // no comma
\t// the end
}
"""


def test_comments_and_trailing_commas_are_read() -> None:
    assert parse(MINE) == {
        "a": 1,
        "b": [{"x": "// no comment"}, {"x": "/* nor this */"}],
        "empty": {},
        "list": [],
        "last": True,
    }
    assert parse("") == parse(" // nothing\n") == {}
    assert parse('\ufeff{"a": "\\u00e9\\ud83d\\ude00"}') == {"a": "é😀"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", 'line 1, column 2: a name in "" or a } is missing'),
        ('{\n  "a" 1}', "line 2, column 7: a : is missing"),
        ('{"a": }', "line 1, column 7: a value is missing or misspelt"),
        ('{"a": 1 "b": 2}', "a , or a } is missing"),
        ("[1 2]", "a , or a ] is missing"),
        ('{"a": 1} x', "nothing may follow the value"),
        ('{"a": 1 /* x', "this comment has no end"),
        ('{"a": "x', "this text has no end"),
        ('{"a": "\n"}', "this text has no end"),
        ("[" * 300, "too deep"),
        ("{a: 1}", 'a name in "" or a } is missing'),
        ("{,}", 'a name in "" or a } is missing'),
        ("[,]", "a value is missing or misspelt"),
        ("nul", "a value is missing or misspelt"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(JsoncError, match=re.escape(said)):
        parse(text)
    with pytest.raises(JsoncError):
        changed(text, {})


CHANGES: list[tuple[dict[str, Any], str, str]] = [
    ({"a": 2}, '\t"a": 1, // one', '\t"a": 2, // one'),
    ({"new": "x"}, "true // no comma\n", 'true, // no comma\n\t"new": "x"\n'),
    ({"empty": {"k": 1}}, '"empty": {}', '"empty": {\n\t\t"k": 1\n\t}'),
    ({"list": [1]}, '"list": []', '"list": [\n\t\t1\n\t]'),
    (
        {"b": [{"x": "// no comment"}, {"x": "/* nor this */"}, 3]},
        '"/* nor this */"},\n',
        '"/* nor this */"},\n\t\t3,\n',
    ),
    (
        {"b": [0, {"x": "// no comment"}, {"x": "/* nor this */"}]},
        '\t\t{"x": "// no comment"}',
        '\t\t0,\n\t\t{"x": "// no comment"}',
    ),
    ({"b": [{"x": "/* nor this */"}]}, '{"x": "// no comment"}, // an item', "// an item"),
    ({"b": [{"x": "// no comment"}, {"x": 5}]}, '"/* nor this */"', "5"),
]


@pytest.mark.parametrize(("change", "old", "new"), CHANGES)
def test_one_place_changes(change: dict[str, Any], old: str, new: str) -> None:
    wanted = parse(MINE) | change
    after = changed(MINE, wanted)
    assert parse(after) == wanted
    if new == "// an item":
        assert after.count("//") == MINE.count("//") - 1
    else:
        assert after == MINE.replace(old, new, 1)


def test_a_member_that_goes_takes_its_comma_along() -> None:
    without = {key: value for key, value in parse(MINE).items() if key != "last"}
    after = changed(MINE, without)
    assert after == MINE.replace('\n\t"last": true // no comma', " // no comma").replace(
        '"list": [],', '"list": []'
    )
    assert changed('{"a": 1, "b": 2}', {"b": 2}) == '{"b": 2}'
    assert changed('{"a": 1, "b": 2}', {"a": 1}) == '{"a": 1}'
    assert changed('{// x\n"a": 1}', {}) == "{// x\n}"


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("", {"a": {"b": 1}}, '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("// mine", {"a": 1}, '// mine\n{\n  "a": 1\n}\n'),
        ('{"a":1}', {"a": 1, "b": {"c": 2}}, '{"a":1, "b": {"c": 2}}'),
        ('{\r\n  "a": 1\r\n}\r\n', {"a": 1, "b": [2]}, '{\r\n  "a": 1,\r\n  "b": [\r\n    2\r\n  ]\r\n}\r\n'),
        ('{"a": 1, "a": 2}', {"a": 3}, '{"a": 1, "a": 3}'),
        ("{ // x\n}", {"a": True}, '{ // x\n  "a": true\n}'),
        ('{"a": 1}', {"a": True}, '{"a": true}'),
    ],
)  # fmt: skip
def test_the_style_of_the_file_is_kept(before: str, wanted: Any, after: str) -> None:
    assert changed(before, wanted) == after


# ---------------------------------------------------------------------- any file at all

NAMES = st.text('abc/*"\\é \u2028', max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
GAPS = st.sampled_from(
    ["", "", " ", "\n", "\r\n\t", " // c\n", "/* c */", " /* c\n */ ", "\n  // c\n  "]
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A table as somebody may have written it: comments, trailing commas and space anywhere."""

    def gap() -> str:
        return draw(GAPS)

    def written(value: Any) -> str:
        if isinstance(value, dict):
            parts: list[str] = [
                f"{gap()}{json.dumps(k)}{gap()}:{gap()}{written(v)}{gap()}"
                for k, v in value.items()
            ]
            ends = "{}"
        elif isinstance(value, list):
            parts, ends = [f"{gap()}{written(v)}{gap()}" for v in value], "[]"
        else:
            return json.dumps(value, ensure_ascii=bool(draw(st.integers(0, 1))))
        comma = draw(st.sampled_from(["", ","])) if parts else ""
        return f"{ends[0]}{','.join(parts)}{comma}{gap()}{ends[1]}"

    return f"{gap()}{written(draw(TABLES))}{gap()}"


def _comments(text: str) -> int:
    """How many comments there are; what looks like one in a text is none."""
    return len(re.findall(r"// c|/\* c", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)))


@settings(max_examples=50, deadline=None)
@given(files(), TABLES)
def test_any_file_becomes_what_is_wanted(text: str, wanted: dict[str, Any]) -> None:
    after = changed(text, wanted)
    assert json.dumps(parse(after), sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert changed(after, wanted) == after


@settings(max_examples=50, deadline=None)
@given(files(), VALUES)
def test_what_is_put_in_comes_out_again(text: str, value: Any) -> None:
    before = parse(text)
    after = changed(text, before | {"put in": value})
    assert _comments(after) == _comments(text)
    if before:
        assert changed(after, before) == text
    else:
        assert parse(changed(after, before)) == before


@settings(max_examples=15, deadline=None)
@given(files(), st.booleans())
def test_connecting_is_reversible_byte_for_byte(text: str, is_touched: bool) -> None:
    """Also when the user wrote something else into the file meanwhile."""
    client = CLIENTS["vscode"]
    with tempfile.TemporaryDirectory() as folder:
        env: Mapping[str, str] = {"HOME": folder}
        paths = paths_of(Path(folder) / "home")
        path = client.path(env)
        assert path is not None
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode())
        change = plan_connect(client, env, paths, "http://127.0.0.1:8787/k/key", ("http://x",))
        apply(client, change, paths)
        connected = parse(path.read_bytes().decode())
        assert connected["claudeCode.environmentVariables"][-1]["value"].endswith("/k/key")
        assert {k: v for k, v in connected.items() if k[:6] != "claude"} == parse(text)
        mine = "// mine\n" if is_touched and parse(text) else ""
        path.write_bytes(mine.encode() + path.read_bytes())
        apply(client, plan_disconnect(client, paths), paths)
        assert path.read_bytes() == mine.encode() + text.encode()

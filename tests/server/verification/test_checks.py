"""Each check, with what passes it and what fails it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.faults import Fault, FaultKind
from providers.neutral import (
    Answer,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Request,
    Role,
    StopReason,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from server.verification.checks import alone, compare

few = settings(deadline=None, database=None, max_examples=40)

READ = Tool(
    "Read",
    schema={
        "type": "object",
        "properties": {"file_path": {"type": "string"}},
        "required": ["file_path"],
    },
)
EDIT = Tool("Edit", schema={"type": "object", "required": ["file_path", "old_string"]})
BASH = Tool("Bash", schema={"type": "object", "required": ["command"]})
PATCH = Tool("apply_patch", is_custom=True)
SOURCE = "     1\tdef add(a, b):\n     2\t    return a - b\n"


def request(*texts: str, **more: Any) -> Request:
    parts = tuple(Text(text) for text in texts) or (Text("go"),)
    result = Message(Role.USER, (ToolResult("c1", (Text(SOURCE),)),))
    return Request(
        "m", (Message(Role.USER, parts), result), tools=(READ, EDIT, BASH, PATCH), **more
    )


def answer(*parts: Part | str, stop: StopReason = StopReason.END) -> Answer:
    return Answer(tuple(Text(part) if isinstance(part, str) else part for part in parts), stop)


def call(name: str = "Read", custom: str | None = None, **arguments: Any) -> Answer:
    text = json.dumps(arguments) if custom is None else custom
    return answer(ToolCall("c2", name, text, custom is not None), stop=StopReason.TOOL_CALLS)


def verdict(
    check: str, real: Answer, candidate: Answer | Fault, kind: str = "user_turn", **more: Any
) -> bool | None:
    return compare(request(**more), kind, real, candidate).checks.get(check)


PYTHON = "```python\ndef f(x):\n    return x\n```"
ENGLISH = (
    "The cache is cold because the tools of the session were changed, and that is not for free."
)
GERMAN = "Der Speicher ist kalt, weil die Werkzeuge der Sitzung sich geändert haben, und das ist nicht frei."
JSON = OutputFormat(
    schema={"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
)

CASES: list[tuple[str, Answer, Answer | Fault, bool | None]] = [
    ("transport", answer("a"), answer("b"), True),
    ("transport", answer("a"), answer("b", stop=StopReason.MAX_TOKENS), False),
    ("transport", answer("a"), answer("b", stop=StopReason.CONTEXT_FULL), False),
    ("transport", answer("a"), answer(" "), False),
    ("transport", answer("a"), Fault(FaultKind.SERVER, "down", 500), False),
    ("transport", answer("a"), Fault(FaultKind.TOOL_FORMAT, "broken call", 400), False),
    ("answer_kind", answer("a"), answer("b"), True),
    ("answer_kind", call(file_path="x"), call(file_path="y"), True),
    ("answer_kind", call(file_path="x"), answer("I would read x"), False),
    ("answer_kind", answer("a"), call(file_path="x"), False),
    ("tool_choice", call(file_path="x"), call(file_path="x"), True),
    ("tool_choice", call(file_path="x"), call("Bash", command="cat x"), False),
    ("tool_choice", answer("a"), answer("b"), None),
    ("known_tool", call(file_path="x"), call(file_path="x"), True),
    ("known_tool", call(file_path="x"), call("Open", file_path="x"), False),
    ("arguments", call(file_path="x"), call(file_path="y"), True),
    ("arguments", call(file_path="x"), call(path="x"), False),
    ("arguments", call(file_path="x"), call(file_path=7), False),
    ("arguments", call(file_path="x"), call(_raw='{"file_path": "x'), False),
    ("arguments", call("apply_patch", "*** Begin"), call("apply_patch", "*** Begin Patch"), True),
    ("same_path", call(file_path="/a/b.py"), call(file_path="/a/b.py"), True),
    ("same_path", call(file_path="/a/b.py"), call(file_path="/a/c.py"), False),
    ("same_path", call("Bash", command="ls"), call("Bash", command="ls"), None),
    ("same_command", call("Bash", command="git status"), call("Bash", command="git diff"), True),
    ("same_command", call("Bash", command="git status"), call("Bash", command="rm -rf ."), False),
    (
        "edit_applies",
        call("Edit", file_path="f", old_string="return a - b"),
        call("Edit", file_path="f", old_string="a - b"),
        True,
    ),
    (
        "edit_applies",
        call("Edit", file_path="f", old_string="return a - b"),
        call("Edit", file_path="f", old_string="def add(a, b):\n    return"),
        True,
    ),
    (
        "edit_applies",
        call("Edit", file_path="f", old_string="return a - b"),
        call("Edit", file_path="f", old_string="return a * b"),
        False,
    ),
    (
        "edit_applies",
        call("Edit", file_path="f", old_string="return a - b"),
        call("Edit", file_path="f", old_string=""),
        False,
    ),
    ("format", answer('{"a": 1}'), answer('{"a": 2, "b": 3}'), True),
    ("format", answer('{"a": 1}'), answer('{"b": 1}'), False),
    ("format", answer('{"a": 1}'), answer("a is 1"), False),
    ("format", answer("[1]"), answer("[2, 3]"), True),
    ("format", answer("[1]"), answer("{}"), False),
    ("format", answer("plain"), answer("plain"), None),
    ("language", answer(ENGLISH), answer(ENGLISH.upper()), True),
    ("language", answer(ENGLISH), answer(GERMAN), False),
    ("language", answer("修复解析器中的错误"), answer("修复解析器"), True),
    ("language", answer("修复解析器中的错误"), answer("Fix the error in the parser"), False),
    (
        "language",
        answer("Ошибка в разборе исправлена"),
        answer("The parser's error is fixed"),
        False,
    ),
    ("language", answer("ok"), answer("はい、わかりました"), True),
    ("length", answer(ENGLISH * 3), answer(ENGLISH * 4), True),
    ("length", answer(ENGLISH * 3), answer(ENGLISH * 12), False),
    ("length", answer(ENGLISH * 3), answer("Because."), False),
    ("length", answer("Fix it"), answer("Fix the parser of the gateway"), None),
    ("no_refusal", answer("a"), answer("The user can't log in because..."), True),
    ("no_refusal", answer("a"), answer("I'm sorry, but I can't help with that."), False),
    ("no_refusal", answer("a"), answer("I cannot access external links."), False),
    ("no_refusal", answer("a"), answer(Refusal("No."), stop=StopReason.REFUSAL), False),
    ("no_refusal", answer("I can't do that"), answer("I can't do that either"), True),
    ("no_markup", answer("a"), answer("b"), True),
    ("no_markup", answer("a"), answer("<|channel|>final b"), False),
    ("no_markup", answer("a"), answer('<tool_call>{"name": "x"}</tool_call>'), False),
    ("no_markup", answer("a"), answer("<think>hm</think> b"), False),
    ("no_markup", answer("It ends in <|im_end|>"), answer("It is <|im_end|>"), True),
    ("code", answer(PYTHON), answer(PYTHON), True),
    ("code", answer(PYTHON), answer("```python\ndef f(x:\n```"), False),
    ("code", answer(PYTHON), answer('```json\n{"a": 1,}\n```'), False),
    ("code", answer(PYTHON), answer("```rust\nfn f( {\n```"), True),
    ("code", answer("a"), answer("b"), None),
    ("has_code", answer(PYTHON), answer(f"Here:\n{PYTHON}\n"), True),
    ("has_code", answer(PYTHON), answer("def f(x): return x"), False),
    ("has_code", answer(PYTHON), answer(f"{PYTHON}\n```python\nx = 1\n"), False),
]


@pytest.mark.parametrize(
    ("check", "real", "candidate", "wanted"),
    CASES,
    ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)],
)
def test_a_check_passes_fails_or_does_not_apply(
    check: str, real: Answer, candidate: Answer | Fault, wanted: bool | None
) -> None:
    assert verdict(check, real, candidate) is wanted


def test_every_check_was_seen_to_pass_and_to_fail() -> None:
    seen = {(check, wanted) for check, _, _, wanted in CASES}
    for check in {check for check, *_ in CASES}:
        assert {(check, True), (check, False)} <= seen, check


@pytest.mark.parametrize(
    ("kind", "text", "is_good"),
    [
        ("title", "Fix the parser", True),
        ("title", "Fix the parser\nand more", False),
        ("title", "x" * 81, False),
        ("rename", "fix-the-parser", True),
        ("user_turn", "x" * 81, None),
    ],
)
def test_a_title_is_one_short_line(kind: str, text: str, is_good: bool | None) -> None:
    assert verdict("title", answer("Parser fix"), answer(text), kind) is is_good


@pytest.mark.parametrize(
    ("text", "is_format", "is_title"),
    [
        ('{"title": "Fix the parser"}', True, True),
        ('{"title": "' + "x" * 90 + '"}', True, False),
        ('{"name": "Fix"}', False, True),
        ("Fix the parser", False, True),
        ('```json\n{"title": "Fix"}\n```', False, False),
    ],
)
def test_a_title_that_was_asked_for_as_json(text: str, is_format: bool, is_title: bool) -> None:
    score = compare(request(output_format=JSON), "title", answer('{"title": "a"}'), answer(text))
    assert score.checks["format"] is is_format
    assert score.checks["title"] is is_title


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("src/a.py\nsrc/b.py", True),
        ("- `src/b.py`\n- `src/a.py`", True),
        ("<filepaths>\nsrc/a.py\nsrc/b.py\n</filepaths>", True),
        ("src/a.py", False),
        ("src/a.py\nsrc/b.py\nsrc/c.py", False),
    ],
)
def test_extracted_lines_agree(text: str, is_good: bool) -> None:
    real = answer("<filepaths>\nsrc/a.py\nsrc/b.py\n</filepaths>")
    assert verdict("extraction", real, answer(text), "file_paths") is is_good


def test_a_weak_sign_is_reported_and_decides_nothing() -> None:
    real = answer("Call read_file in src/reader.py with 4096 bytes, then `parseHeader`.")
    candidate = answer("Call load in src/other.py with 17 bytes, then finish the header.")
    score = compare(request(), "user_turn", real, candidate)
    assert score.figures["overlap"] < 0.6
    assert score.passed


def test_only_what_cannot_be_used_is_hard() -> None:
    real = call(file_path="x")
    assert compare(request(), "tool_step", real, call(path=1)).hard_failed
    assert compare(request(), "tool_step", real, Fault(FaultKind.EMPTY, "")).hard_failed
    other = compare(request(), "tool_step", real, call(file_path="y"))
    assert (other.passed, other.hard_failed, other.failed) == (False, False, ["same_path"])


def test_a_real_answer_is_judged_by_itself() -> None:
    assert alone(request(), "title", answer("Fix the parser")).passed
    assert not alone(request(), "title", answer("I'm sorry, but I can't.")).passed
    assert not alone(request(output_format=JSON), "title", answer("Fix")).passed
    assert alone(request(), "tool_step", call(file_path="x")).passed
    assert alone(request(), "tool_step", call(path="x")).hard_failed
    assert alone(request(), "user_turn", Fault(FaultKind.TRUNCATED, "")).hard_failed


_texts = st.text(max_size=60) | st.sampled_from(["```python\n", "{", "<|a|>", "\u0000", "def f(:"])


@few
@given(st.lists(_texts, min_size=1, max_size=4), st.lists(_texts, min_size=1, max_size=4))
def test_any_two_texts_get_a_score_without_text_in_it(found: list[str], wanted: list[str]) -> None:
    score = compare(request(), "title", answer("".join(wanted)), answer("".join(found)))
    assert all(isinstance(value, bool) for value in score.checks.values())
    assert all(isinstance(value, float) for value in score.figures.values())


@few
@given(st.lists(_texts, min_size=1, max_size=4))
def test_an_answer_that_is_the_real_one_agrees_with_it(texts: list[str]) -> None:
    text = "".join(texts)
    score = compare(request(), "user_turn", answer(text), answer(text))
    assert set(score.failed) <= {"transport", "code", "has_code"}

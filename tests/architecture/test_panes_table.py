"""The table of what is tried in panes names tests that exist, and leaves no number out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TABLE = (TESTS.parent / "docs" / "panes.md").read_text("utf-8")
ROWS = re.findall(r"(?m)^\| (\d+) \| .* \| (`.*`) \|$", TABLE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_no_number_is_left_out() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 21))


@pytest.mark.parametrize(("number", "tests"), ROWS)
def test_a_line_has_its_tests(number: str, tests: str) -> None:
    named = _TEST.findall(tests)
    assert len(named) == tests.count("::")
    for file, function in named:
        assert f"def {function}(" in (TESTS / file).read_text("utf-8"), f"{number}: {function}"


def test_no_test_of_a_number_is_left_out() -> None:
    told = dict.fromkeys(test for _, tests in ROWS for test in _TEST.findall(tests))
    for file in ("e2e/test_panes.py", "clients/test_panes.py"):
        for function in re.findall(r"def (test_\d\d_\w+)", (TESTS / file).read_text("utf-8")):
            assert (file, function) in told

"""The table of faults names every case, and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "faults.md"
UNUSED = {7, 19, 30, 40, 46, 58, 67, 73, 82, 85, 94, 100, 103, 108}
"""Numbers that no case has."""


def test_every_case_has_a_row_and_every_test_in_it_is_there() -> None:
    text = TABLE.read_text()
    rows = re.findall(r"^\| F-(\d{3}) \| .+? \| (.+?) \| .+? \|$", text, re.M)
    assert [int(number) for number, _ in rows] == [n for n in range(1, 111) if n not in UNUSED]
    assert [number for number, tests in rows if "::" not in tests] == []
    missing = []
    for file, name in re.findall(r"`([\w/]+)::([\w*]+)`", text):
        path = ROOT / "tests" / f"{file}.py"
        if not path.is_file() or (name != "*" and f"def {name}(" not in path.read_text()):
            missing.append(f"{file}::{name}")
    assert missing == []


def names_in(folder: str, pattern: str) -> list[str]:
    """Names of tests that the table must have."""
    return [
        name
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
        for name in re.findall(rf"def ({pattern})\(", path.read_text())
    ]


@pytest.mark.parametrize(
    ("folder", "pattern", "least"),
    [("faults", r"test_F_\d\w+|test_front_\w+", 90), ("security", r"test_cve_\w+", 13)],
)
def test_every_test_of_the_matrix_is_in_the_table(folder: str, pattern: str, least: int) -> None:
    table = TABLE.read_text()
    found = names_in(folder, pattern)
    assert len(found) >= least
    assert [name for name in found if name not in table] == []

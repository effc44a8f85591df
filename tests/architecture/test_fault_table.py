"""The table of faults names every case, and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "faults.md"
UNUSED = {7, 19, 30, 40, 46, 58, 67, 73, 82, 85, 94, 100, 103, 108}
"""Numbers that no case has."""


def test_every_case_has_a_row_and_every_test_in_it_is_there() -> None:
    rows = re.findall(r"^\| F-(\d{3}) \| .+? \| (.+?) \| .+? \|$", TABLE.read_text(), re.M)
    assert [int(number) for number, _ in rows] == [n for n in range(1, 111) if n not in UNUSED]
    missing = []
    for number, tests in rows:
        for file, name in re.findall(r"`([\w/]+)::([\w*]+)`", tests):
            path = ROOT / "tests" / f"{file}.py"
            if not path.is_file() or (name != "*" and f"def {name}(" not in path.read_text()):
                missing.append(f"F-{number}: {file}::{name}")
    assert missing == []


def test_every_test_of_the_matrix_is_in_the_table() -> None:
    table = TABLE.read_text()
    found = [
        name
        for path in sorted((ROOT / "tests" / "faults").glob("test_*.py"))
        for name in re.findall(r"def (test_F_\d\w+)\(", path.read_text())
    ]
    assert len(found) > 60
    assert [name for name in found if name not in table] == []

"""The table in ``test_codex`` names tests that exist, for each of its sixteen points."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TABLE = FOLDER / "test_codex.py"


def requirements() -> dict[str, tuple[str, ...]]:
    for node in ast.parse(TABLE.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "REQUIREMENTS":
            assert node.value is not None
            found: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("there is no table")


def test_every_point_is_in_it() -> None:
    assert [name.split()[0] for name in requirements()] == [f"X{n}" for n in range(1, 17)]


@pytest.mark.parametrize(("point", "names"), requirements().items(), ids=lambda value: value[:3])
def test_its_tests_exist(point: str, names: tuple[str, ...]) -> None:
    assert names
    for name in names:
        file, _, function = name.rpartition("::")
        source = (FOLDER / file if file else TABLE).read_text()
        assert f"def {function}(" in source, f"{point}: {name}"

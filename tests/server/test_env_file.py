"""Changing the private ``.env``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.env_file import assignment, change, edited
from server.private_files import UnsafeFileError
from server.settings_env import read_env_file

AWKWARD = ["a|b", "a&b", "a#b", "a b", "'", '"', "\\", "\\'", "$HOME", "${A}", "a=b", "`x`", "é~"]


def _read(path: Path) -> dict[str, str]:
    found = read_env_file(path)
    assert found.was_read
    assert found.warnings == ()
    return dict(found.values)


@pytest.mark.parametrize("value", AWKWARD)
def test_awkward_values_survive(tmp_path: Path, value: str) -> None:
    change(tmp_path / ".env", {"A_KEY": value, "B_KEY": "after"})
    assert _read(tmp_path / ".env") == {"A_KEY": value, "B_KEY": "after"}


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF)).filter(str.isprintable))
def test_any_line_survives(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("env") / ".env"
    change(path, {"A": "before", "B": value})
    assert _read(path) == {"A": "before", "B": value}


@pytest.mark.parametrize("value", ["a\nB=1", "a\rb", "\x00", "\x1b[0m", "x" * 10_000])
def test_what_no_line_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="one line of printable characters"):
        assignment("A", value)


def test_the_rest_of_the_file_stays() -> None:
    text = "# mine\nexport A=1  # first\n\n\nB='two'\nA=3\nbroken line\nC=4"
    assert edited(text, {"A": "9", "D": "5"}) == (
        "# mine\n\n\nB='two'\nA='9'\nbroken line\nC=4\nD='5'\n"
    )
    assert edited(text, {"B": None}) == ("# mine\nexport A=1  # first\n\n\nA=3\nbroken line\nC=4")
    assert edited(text, {"Z": None}) == text


def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        change(tmp_path / ".env", {"A": "1"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_an_open_file_is_taken_over_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    path.chmod(0o644)
    change(path, {"NEW": "2"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _read(path) == {"OLD": "1", "NEW": "2"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "kept" / "env"
    real.parent.mkdir()
    real.write_text("OLD=1\n")
    (tmp_path / ".env").symlink_to(real)
    change(tmp_path / ".env", {"NEW": "2"})
    assert (tmp_path / ".env").is_symlink()
    assert real.read_text() == "OLD=1\nNEW='2'\n"


def test_a_refused_value_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    change(path, {"A": "1"})
    with pytest.raises(ValueError, match="printable"):
        change(path, {"A": "2", "B": "\n"})
    assert _read(path) == {"A": "1"}
    assert os.listdir(tmp_path) == [".env"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    os.chown(path, 4242, 4242)
    with pytest.raises(UnsafeFileError):
        change(path, {"A": "2"})
    assert path.read_text() == "A=1\n"

"""Where settings and state are, and who may look at them."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from server.paths import Paths, find_paths


def test_one_folder_for_everything(tmp_path: Path) -> None:
    paths = find_paths({"SBGW_HOME": str(tmp_path)}, Path("/elsewhere"))

    assert paths == Paths(tmp_path, tmp_path / "state")
    assert paths.config_file == tmp_path / "config.toml"
    assert paths.env_file == tmp_path / ".env"


def test_every_state_file_is_in_the_state_folder(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "settings", tmp_path / "state")
    files = [
        paths.ledger_file,
        paths.lock_file,
        paths.instance_secret_file,
        paths.trust_file,
        paths.log_file,
    ]

    assert {file.parent for file in files} == {tmp_path / "state"}
    assert len(set(files)) == len(files)


def test_a_relative_home_starts_at_the_working_directory(tmp_path: Path) -> None:
    assert find_paths({"SBGW_HOME": "here"}, tmp_path).settings_dir == tmp_path / "here"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG is how Linux does it")
def test_the_desktop_standard_is_followed_in_the_environment_passed_in(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_STATE_HOME": str(tmp_path / "s")}
    paths = find_paths(env, tmp_path)

    assert paths.settings_dir == tmp_path / "c" / "sbgw-tui"
    assert paths.state_dir == tmp_path / "s" / "sbgw-tui"


@pytest.mark.parametrize("env", [{}, {"SBGW_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}])
def test_without_a_home_the_platform_decides(env: dict[str, str], tmp_path: Path) -> None:
    paths = find_paths(env, tmp_path)

    assert paths.settings_dir.is_absolute()
    assert "sbgw-tui" in paths.settings_dir.parts
    assert tmp_path not in paths.settings_dir.parents


def test_knowing_a_name_makes_nothing(tmp_path: Path) -> None:
    find_paths({"SBGW_HOME": str(tmp_path / "home")}, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    paths = find_paths({"SBGW_HOME": str(tmp_path / "home")}, tmp_path)

    assert paths.make_state_dir() == paths.state_dir
    assert paths.make_settings_dir() == paths.settings_dir
    for folder in (paths.settings_dir, paths.state_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

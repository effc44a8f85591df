"""A settings folder and a working directory of their own, for tests of the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from server.settings_errors import SettingsError
from server.settings_file import Flags, Loaded, load


class SettingsHome:
    """``home`` is ``SBGW_HOME``, ``cwd`` the project the program is started in."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.cwd = folder / "project"
        self.home.mkdir(mode=0o700)
        self.cwd.mkdir()
        self.env: dict[str, str] = {"SBGW_HOME": str(self.home)}

    @property
    def config_file(self) -> Path:
        return self.home / "config.toml"

    def config(self, text: str) -> Path:
        self.config_file.write_text(text)
        self.config_file.chmod(0o600)
        return self.config_file

    def dotenv(self, text: str, mode: int = 0o600) -> Path:
        file = self.home / ".env"
        file.write_text(text)
        file.chmod(mode)
        return file

    def seed(self, data: Any, name: str = "gateway.config.json") -> Path:
        file = self.cwd / name
        file.write_text(data if isinstance(data, str) else json.dumps(data))
        return file

    def load(self, flags: Flags | None = None, **env: str) -> Loaded:
        return load(flags=flags, env=self.env | env, cwd=self.cwd)

    def fails(self, flags: Flags | None = None, **env: str) -> SettingsError:
        """The error that loading raises."""
        with pytest.raises(SettingsError) as caught:
            self.load(flags, **env)
        return caught.value


def codes(loaded: Loaded) -> list[str]:
    """The codes of all warnings."""
    return [warning.code for warning in loaded.warnings]


def keys_and_reasons(error: SettingsError) -> Mapping[str, str]:
    """Key -> reason of every problem."""
    return {problem.key: problem.reason for problem in error.problems}

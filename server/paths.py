"""Where settings and state live.

With ``SBGW_HOME`` both are below that one folder: the settings in it, the state in its ``state``
folder. Without, they are where the platform keeps such things, below ``sbgw-tui``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP = "sbgw-tui"
HOME_ENV = "SBGW_HOME"


@dataclass(frozen=True, slots=True)
class Paths:
    """Every file of one installation; nothing is created by knowing its name."""

    settings_dir: Path
    state_dir: Path

    @property
    def config_file(self) -> Path:
        """The user's settings."""
        return self.settings_dir / "config.toml"

    @property
    def env_file(self) -> Path:
        """The user's keys, 0600."""
        return self.settings_dir / ".env"

    @property
    def ledger_file(self) -> Path:
        """The record of every request."""
        return self.state_dir / "ledger.sqlite3"

    @property
    def lock_file(self) -> Path:
        """Held by the one gateway that runs here."""
        return self.state_dir / "gateway.lock"

    @property
    def instance_secret_file(self) -> Path:
        """The secret a gateway proves itself with, 0600."""
        return self.state_dir / "instance.key"

    @property
    def trust_file(self) -> Path:
        """Digests of the project files the user trusts, 0600."""
        return self.state_dir / "trusted.json"

    @property
    def log_file(self) -> Path:
        """The log of a gateway that runs in the background."""
        return self.state_dir / "gateway.log"

    def make_settings_dir(self) -> Path:
        """The settings folder, made for this user alone if it is missing."""
        return _make(self.settings_dir)

    def make_state_dir(self) -> Path:
        """The state folder, made for this user alone if it is missing."""
        if self.state_dir.parent == self.settings_dir:
            _make(self.settings_dir)
        return _make(self.state_dir)


def _make(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def find_paths(env: Mapping[str, str], cwd: Path) -> Paths:
    """The paths that ``env`` asks for; a relative ``SBGW_HOME`` starts at ``cwd``."""
    if home := env.get(HOME_ENV):
        folder = cwd / Path(home).expanduser()
        return Paths(folder, folder / "state")
    settings = platformdirs.user_config_path(APP, appauthor=False)
    state = platformdirs.user_state_path(APP, appauthor=False)
    return Paths(_xdg(env, "XDG_CONFIG_HOME") or settings, _xdg(env, "XDG_STATE_HOME") or state)


def _xdg(env: Mapping[str, str], name: str) -> Path | None:
    # platformdirs looks at the process's own environment, which may not be the one passed in.
    value = env.get(name, "")
    is_used = sys.platform.startswith("linux") and os.path.isabs(value)
    return Path(value) / APP if is_used else None

"""What Claude Code will read on this machine: its settings files and whether it is logged in.

Sources: the Claude Code documentation (settings, environment variables, authentication), each
point measured against 2.1.330: a variable in the ``env`` block of any settings file replaces the
one in the process environment, for ``-p`` runs also in a folder nobody has trusted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui.project import git_root

_MAX_FILE = 64 * 1024 * 1024
_KEYCHAIN_TOOL = "/usr/bin/security"
_KEYCHAIN_ITEM = "Claude Code-credentials"
_KEYCHAIN_MISSING = 44
_KEYCHAIN_WAIT_S = 5


@dataclass(frozen=True, slots=True)
class SettingsLayer:
    """One settings source of Claude Code."""

    source: str
    """Its path, or the flag it came from."""
    env: Mapping[str, str] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    """Its top-level keys that hold a value."""


@dataclass(frozen=True, slots=True)
class ClaudeSetup:
    """Everything outside the process environment that steers Claude Code."""

    layers: tuple[SettingsLayer, ...] = ()
    """Weakest first."""
    has_login: bool = False
    """A stored login, key or profile was found."""


def system_folder(platform: str = sys.platform) -> Path:
    """Where an organisation's managed settings stand."""
    if platform == "darwin":
        return Path("/Library/Application Support/ClaudeCode")
    return Path("/etc/claude-code")


def home_of(env: Mapping[str, str]) -> Path | None:
    """The home folder as Claude Code sees it; ``None`` when the environment names none."""
    return Path(env["HOME"]) if env.get("HOME") else None


def read_setup(
    env: Mapping[str, str],
    cwd: Path,
    args: Sequence[str],
    *,
    managed: Path | None = None,
    has_keychain_login: Callable[[], bool] | None = None,
) -> ClaudeSetup:
    """Read the settings that ``claude ARGS`` would read in ``cwd``; never raises.

    A file that is missing or broken counts as empty, as it does for Claude Code.
    ``has_keychain_login`` is asked last, where files show no login.
    """
    home = home_of(env)
    config = Path(env["CLAUDE_CONFIG_DIR"]) if env.get("CLAUDE_CONFIG_DIR") else None
    state = _state_file(home, config)
    config = config or (home / ".claude" if home else None)
    allowed = _setting_sources(args)
    own = _load(state) if state else {}
    layers = [_layer(str(state), own)]
    if config and "user" in allowed:
        layers.append(_file(config / "settings.json"))
    if "project" in allowed:
        layers.append(_file(cwd / ".claude" / "settings.json"))
    if "local" in allowed:
        roots = [cwd, *({git_root(cwd)} - {None, cwd})]
        layers += [_file(root / ".claude" / "settings.local.json") for root in roots if root]
    if (text := _option(args, "--settings")) is not None:
        layers.append(_flag(text, cwd))
    layers += [_file(path) for path in _managed_files(managed or system_folder())]
    return ClaudeSetup(
        layers=tuple(layer for layer in layers if layer.env or layer.keys),
        has_login=_has_stored_login(home, config, own)
        or (has_keychain_login is not None and has_keychain_login()),
    )


def keychain_login(env: Mapping[str, str]) -> bool:
    """Whether the macOS keychain holds a login; ``True`` when that cannot be told.

    Only the item's presence is asked for, never its value. In doubt the user's own login must
    win: taking its place would change who pays.
    """
    if env.get("CLAUDE_CONFIG_DIR"):
        return True
    command = [_KEYCHAIN_TOOL, "find-generic-password", "-s", _KEYCHAIN_ITEM]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=_KEYCHAIN_WAIT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return True
    return done.returncode != _KEYCHAIN_MISSING


# ------------------------------------------------------------------------------ settings


def _state_file(home: Path | None, config: Path | None) -> Path | None:
    """Claude Code's own state file, whose ``env`` counts as well (measured)."""
    folder = config or home
    return folder / ".claude.json" if folder else None


def _managed_files(folder: Path) -> list[Path]:
    try:
        parts = sorted((folder / "managed-settings.d").glob("*.json"))
    except OSError:
        parts = []
    return [folder / "managed-settings.json", *parts]


def _file(path: Path) -> SettingsLayer:
    return _layer(str(path), _load(path))


def _flag(text: str, cwd: Path) -> SettingsLayer:
    """``--settings`` takes JSON or the path of a file that holds it."""
    if text.lstrip().startswith("{"):
        return _layer("--settings", _parse(text.encode()))
    return _file(cwd / text)


def _layer(source: str, content: Mapping[str, Any]) -> SettingsLayer:
    env = content.get("env")
    pairs = env.items() if isinstance(env, dict) else ()
    return SettingsLayer(
        source=source,
        env={name: value if isinstance(value, str) else str(value) for name, value in pairs},
        keys=frozenset(name for name, value in content.items() if value and name != "env"),
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return _parse(file.read(_MAX_FILE))
    except OSError:
        return {}


def _parse(data: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _setting_sources(args: Sequence[str]) -> set[str]:
    text = _option(args, "--setting-sources")
    return {"user", "project", "local"} if text is None else set(_words(text))


def _words(text: str) -> Iterable[str]:
    return (word.strip() for word in text.split(","))


def _option(args: Sequence[str], name: str) -> str | None:
    """The value of an option of Claude Code; of several the last one counts (measured)."""
    found = None
    words = iter(args)
    for word in words:
        if word == "--":
            break
        if word == name:
            found = next(words, None)
        elif word.startswith(name + "="):
            found = word.partition("=")[2]
    return found


# --------------------------------------------------------------------------------- login


def _has_stored_login(home: Path | None, config: Path | None, own: Mapping[str, Any]) -> bool:
    """A login on file; ``oauthAccount`` alone counts too, since its secret may be elsewhere."""
    if config and any(_load(config / ".credentials.json").values()):
        return True
    if own.get("primaryApiKey") or own.get("oauthAccount"):
        return True
    profiles = home / ".config" / "anthropic" if home else None
    names = ("active_config", "configs/default.json")
    return profiles is not None and any((profiles / name).exists() for name in names)

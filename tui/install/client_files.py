"""The settings files of other programs that ``connect`` changes, and what is put into them.

Sources: the documentation of Claude Code (``env`` in ``settings.json``), of its VS Code extension
(``claudeCode.environmentVariables``) and of Codex (``model_providers`` in ``config.toml``).
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tomlkit
from tomlkit.exceptions import TOMLKitError

from tui.codex_setup import PROVIDER, codex_home, read_codex_setup
from tui.install import jsonc

BASE_URL = "ANTHROPIC_BASE_URL"

Slot = tuple[str, ...]
"""Where a value stands: the keys that lead to it."""


class UnreadableError(Exception):
    """The file cannot be changed safely; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class ClientFile:
    """One program that can be connected."""

    name: str
    title: str
    path: Callable[[Mapping[str, str]], Path | None]
    values: Callable[[Mapping[str, str], Mapping[str, Any], str], dict[Slot, Any]]
    """From the environment, the file's content and the gateway's URL: what is to stand where."""
    is_toml: bool = False
    takes_comments: bool = False
    """Whether the program reads JSON with comments and trailing commas."""

    def parse(self, text: str) -> dict[str, Any]:
        """The content; ``UnreadableError``."""
        try:
            found = self._parsed(text)
        except ValueError as error:
            raise UnreadableError(f"it cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise UnreadableError("it holds no table")
        return found

    def _parsed(self, text: str) -> Any:
        if self.is_toml:
            return tomllib.loads(text)
        return jsonc.parse(text) if self.takes_comments else json.loads(text or "{}")

    def put(self, text: str, values: Mapping[Slot, Any]) -> str:
        """``text`` with these values, ``None`` removing one; the rest of it stays as it is."""
        wanted = _with(self.parse(text), values)
        if self.is_toml:
            try:
                document = tomlkit.parse(text)
                after = tomlkit.dumps(_with(document, values))
            except TOMLKitError as error:
                raise UnreadableError(f"it cannot be changed: {error}") from error
        else:
            after = jsonc.changed(text, wanted)
        if self.parse(after) != wanted:
            raise UnreadableError("changing it would change more than asked for")
        return after


def value_at(content: Mapping[str, Any], slot: Slot) -> Any:
    """What stands at ``slot``; ``None`` is nothing."""
    found: Any = content
    for key in slot:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _with(content: Any, values: Mapping[Slot, Any]) -> Any:
    for slot, value in values.items():
        parents = [content]
        for key in slot[:-1]:
            if value is not None and key not in parents[-1]:
                parents[-1][key] = {}
            inner = parents[-1].get(key)
            if inner is None:
                break
            if not hasattr(inner, "get"):
                raise UnreadableError(f"{key} is not a table there")
            parents.append(inner)
        if value is not None:
            parents[-1][slot[-1]] = value
            continue
        if len(parents) == len(slot):
            parents[-1].pop(slot[-1], None)
        # Tables that only held our value go with it.
        for depth in range(len(parents) - 1, 0, -1):
            if not parents[depth]:
                parents[depth - 1].pop(slot[depth - 1], None)
    return content


def gateway_url(host_url: str, key: str) -> str:
    """The address that carries the gateway key, for programs that cannot add a header."""
    return f"{host_url}/k/{quote(key, safe='')}"


# ---------------------------------------------------------------------- the programs


def _home(env: Mapping[str, str]) -> Path | None:
    return Path(env["HOME"]) if env.get("HOME") else None


def _claude_path(env: Mapping[str, str]) -> Path | None:
    if env.get("CLAUDE_CONFIG_DIR"):
        return Path(env["CLAUDE_CONFIG_DIR"]) / "settings.json"
    home = _home(env)
    return home / ".claude" / "settings.json" if home else None


def _claude_values(env: Mapping[str, str], content: Mapping[str, Any], url: str) -> dict[Slot, Any]:
    return {("env", BASE_URL): url}


def _codex_path(env: Mapping[str, str]) -> Path | None:
    home = codex_home(env)
    return home / "config.toml" if home else None


def _codex_values(env: Mapping[str, str], content: Mapping[str, Any], url: str) -> dict[Slot, Any]:
    provider = {"name": "sbgw-tui", "base_url": f"{url}/v1", "wire_api": "responses"}
    more: dict[str, Any] = {}
    if read_codex_setup(env).has_login:
        more = {"requires_openai_auth": True}
    elif env.get("OPENAI_API_KEY"):
        more = {"env_key": "OPENAI_API_KEY"}
    return {("model_provider",): PROVIDER, ("model_providers", PROVIDER): provider | more}


def _vscode_path(env: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    home = _home(env)
    if home is None:
        return None
    if platform == "darwin":
        return home / "Library" / "Application Support" / "Code" / "User" / "settings.json"
    config = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
    return config / "Code" / "User" / "settings.json"


_VSCODE_SLOT = ("claudeCode.environmentVariables",)


def _vscode_values(env: Mapping[str, str], content: Mapping[str, Any], url: str) -> dict[Slot, Any]:
    found = value_at(content, _VSCODE_SLOT)
    before = [] if found is None else found
    if not isinstance(before, list):
        raise UnreadableError(f"{_VSCODE_SLOT[0]} is not a list there")
    others = [v for v in before if not (isinstance(v, dict) and v.get("name") == BASE_URL)]
    return {_VSCODE_SLOT: [*others, {"name": BASE_URL, "value": url}]}


CLIENTS: Mapping[str, ClientFile] = {
    client.name: client
    for client in (
        ClientFile("claude", "Claude Code", _claude_path, _claude_values),
        ClientFile("codex", "Codex", _codex_path, _codex_values, is_toml=True),
        ClientFile(
            "vscode", "Claude Code in VS Code", _vscode_path, _vscode_values, takes_comments=True
        ),
    )
}


def address_in(client: ClientFile, content: Mapping[str, Any]) -> str | None:
    """The address the program goes to now, as far as this file says."""
    if client.name == "claude":
        found = value_at(content, ("env", BASE_URL))
    elif client.name == "vscode":
        entries = value_at(content, _VSCODE_SLOT)
        named = [e for e in entries or [] if isinstance(e, dict) and e.get("name") == BASE_URL]
        found = named[-1].get("value") if named else None
    else:
        name = content.get("model_provider")
        found = None
        if name not in (None, "openai"):
            found = value_at(content, ("model_providers", str(name), "base_url")) or str(name)
    return found if isinstance(found, str) else None

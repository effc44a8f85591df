"""The settings in force as text, and their JSON Schema."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server.addresses import without_userinfo
from server.config import ModesSettings, Settings
from server.settings_env import secret_names
from server.settings_errors import plain
from server.settings_file import Loaded, effective
from server.settings_keys import docs, join

NOT_SET = "not set"


def describe(loaded: Loaded) -> list[tuple[str, str, str]]:
    """``(key, value, source)`` of everything in force; values as they stand in TOML, no secret."""
    rows = [
        (join(leaf.path), shown(leaf.value), str(loaded.provenance[join(leaf.path)]))
        for leaf in effective(loaded.settings)
        if leaf.value is not None
    ]
    return rows + list(_secret_rows(loaded))


def places(loaded: Loaded) -> list[tuple[str, str, str]]:
    """``(what, path, state)`` of the files and folders in use, for people."""
    paths = loaded.paths
    own = [("settings", loaded.config_file), ("keys", paths.env_file)]
    own += [("project", file) for file in loaded.files if file not in dict(own).values()]
    rows = [
        (what, plain(str(file)), "read" if file in loaded.files else _unread(file))
        for what, file in own
    ]
    return [*rows, ("state", plain(str(paths.state_dir)), "")]


def _unread(file: Path) -> str:
    return "there, but not used" if os.path.lexists(file) else "not there"


def shown(value: Any) -> str:
    """``value`` as TOML would have it, on one line; user names and passwords in URLs masked."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(without_userinfo(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        fields = (f"{key} = {shown(v)}" for key, v in value.items() if v is not None)
        return f"{{ {', '.join(fields)} }}" if value else "{}"
    return plain(str(value))


def _secret_rows(loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    settings, secrets = loaded.settings, loaded.secrets
    accounts = [table.account_id_env for table in settings.providers.values()]
    for name in dict.fromkeys([*secret_names(settings), *filter(None, accounts)]):
        source = secrets.source(name)
        if name == settings.server.key_env:
            value = "default" if loaded.has_default_key else "set"
            yield f"${name}", value, loaded.key.source
        else:
            yield f"${name}", "set" if source else NOT_SET, source or ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``config.toml``, with the text of every key."""
    schema = Settings.model_json_schema(by_alias=True)
    texts = docs()
    for name, table in [("Settings", schema), *schema["$defs"].items()]:
        for key, prop in table.get("properties", {}).items():
            if text := texts.get(name, {}).get(key):
                prop["description"] = text
    # One table stands for a list of one.
    prices = schema["properties"]["prices"]
    dated = prices["additionalProperties"]
    prices["additionalProperties"] = {"anyOf": [dated["items"], dated]}
    modes = schema["$defs"]["ModesSettings"]
    modes["propertyNames"] = {"enum": [*modes["properties"], *ModesSettings.free_names]}
    schema["title"] = "sbgw-tui settings"
    return schema

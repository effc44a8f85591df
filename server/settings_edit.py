"""Changing settings: in memory, and in the user's file without losing a comment."""

from __future__ import annotations

import copy
import os
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path as FilePath
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from server import private_files
from server.config import Settings
from server.settings_errors import DEFAULT_ORIGIN, Origin, SettingsError, SourceKind
from server.settings_file import Loaded, effective
from server.settings_keys import Path, join, split
from server.settings_layers import Layers, Leaf, validated
from server.settings_read import parse_toml

_TRIES = 3
_STRONGER = frozenset({SourceKind.SEED, SourceKind.ENVIRONMENT, SourceKind.FLAG})


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with the dotted keys of ``changes`` set, ``None`` meaning the default.

    Raises ``SettingsError`` with everything that is wrong; ``settings`` itself never changes.
    """
    layers = Layers(leaf for leaf in effective(settings) if leaf.value is not None)
    origin = Origin(SourceKind.FLAG, "request")
    for dotted, value in changes.items():
        path = split(dotted)
        if value is None:
            layers.remove_below(path)
        else:
            layers.add(Leaf(path, value, origin))
    result, problems = validated(layers)
    if problems:
        raise SettingsError(problems)
    return result


def persist(loaded: Loaded, changes: Mapping[str, Any]) -> str | None:
    """Keep ``changes`` in the user's own file; ``None`` when done, else the reason why not.

    A key that a stronger source sets is not written, because it would have no effect.
    """
    for dotted in changes:
        origin = _owner(loaded.provenance, split(dotted))
        if origin.kind in _STRONGER:
            return f"{dotted} is set by {origin}, which wins over {loaded.config_file}"
    return set_values(loaded.config_file, changes)


def _owner(provenance: Mapping[str, Origin], path: Path) -> Origin:
    for length in range(len(path), 0, -1):
        if (origin := provenance.get(join(path[:length]))) is not None:
            return origin
    return DEFAULT_ORIGIN


def set_values(file: FilePath, changes: Mapping[str, Any]) -> str | None:
    """Set dotted keys in a TOML file; ``None`` when done, else the reason why not.

    Comments and order stay, ``None`` takes a key out, the file gets mode 0600. Another process
    sees the old file or the new one. Nothing is written that could not be loaded again.
    """
    if file.suffix.lower() == ".json":
        return f"{file} is JSON: only TOML files are changed"
    try:
        for _ in range(_TRIES):
            before = _read(file)
            after = _edited(file, before, changes)
            if _write(file, before, after):
                return None
    except _Refused as error:
        return str(error)
    except SettingsError as error:
        return str(error)
    except OSError as error:
        return f"{file} cannot be written: {error.strerror or error}"
    return f"{file} is being changed by another program"


class _Refused(Exception):
    """The file is left alone; ``str()`` says why."""


def _read(file: FilePath) -> bytes | None:
    """The present content, ``None`` when there is no file yet; refuses what is not ours."""
    if os.path.islink(file) and not private_files.is_us(os.lstat(file).st_uid):
        raise _Refused(f"{file} is a link of another user")
    try:
        found = private_files.read(file)
    except FileNotFoundError:
        if os.path.lexists(file):
            raise _Refused(f"{file} is a link that leads nowhere") from None
        return None
    except private_files.UnsafeFileError as error:
        raise _Refused(f"{file} {error}") from error
    if not found.is_ours:
        raise _Refused(f"{file} belongs to another user")
    if not found.mode & stat.S_IWUSR:
        raise _Refused(f"{file} is read-only")
    return found.content


def _edited(file: FilePath, before: bytes | None, changes: Mapping[str, Any]) -> bytes:
    parse_toml(file, before or b"")
    text = (before or b"").decode("utf-8-sig")
    try:
        document = tomlkit.parse(text)
        expected = copy.deepcopy(document.unwrap())
        for dotted, value in changes.items():
            path, plain_value = split(dotted), _plain(value)
            _set(document, path, plain_value, tomlkit.table)
            _set(expected, path, plain_value, dict)
        content = tomlkit.dumps(document).encode()
        is_right = tomlkit.parse(content).unwrap() == expected
    except (TOMLKitError, TypeError, ValueError, AttributeError) as error:
        raise _Refused(f"{file} cannot be changed in place: {error}") from error
    if not is_right:
        raise _Refused(f"{file} cannot be changed in place: its tables are in an unusual form")
    _, problems = validated(Layers(parse_toml(file, content)))
    if problems:
        raise SettingsError(problems)
    return content


def _plain(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, tuple) else value


def _set(table: MutableMapping[str, Any], path: Path, value: Any, new_table: Any) -> None:
    for name in path[:-1]:
        if name not in table:
            if value is None:
                return
            table[name] = new_table()
        table = table[name]
        if not isinstance(table, MutableMapping):
            raise TypeError(f"{name} is not a table")
    if value is None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = value


def _write(file: FilePath, before: bytes | None, after: bytes) -> bool:
    """Replace the file unless somebody else changed it meanwhile; whether that was done."""
    target = FilePath(os.path.realpath(file))
    if before is None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _read(file) != before:
        return False
    private_files.replace(target, after)
    return True

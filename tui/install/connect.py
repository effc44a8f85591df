"""``connect`` and ``disconnect``: point a program that the launcher cannot start at the gateway.

What was there is kept twice: as a copy beside the file, and value by value in the state folder,
so that ``disconnect`` works after the user has changed other things in the file.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import private_files
from server.paths import Paths
from server.private_files import UnsafeFileError
from tui.install.client_files import ClientFile, Slot, UnreadableError, address_in, value_at

RECORD = "connected.json"
BACKUP_SUFFIX = ".sbgw-backup"


class ConnectError(Exception):
    """Nothing was changed; ``str()`` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file as it is and as it would be; ``None`` is no file."""

    path: Path
    before: bytes | None
    after: bytes | None
    record: Mapping[str, Any] | None
    """What is kept of it; ``None`` forgets what was kept."""
    kept: tuple[str, ...] = ()
    """Values that were changed by somebody else since, and stay."""
    folders: tuple[Path, ...] = ()
    """Folders that connecting made, innermost first; without the file they go too."""

    @property
    def is_one(self) -> bool:
        """Whether anything would change."""
        return self.before != self.after

    def diff(self, secret: str) -> str:
        """A unified diff for people; ``secret`` is masked."""
        old, new = ((b or b"").decode("utf-8", "replace") for b in (self.before, self.after))
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            str(self.path) if self.before is not None else "/dev/null",
            str(self.path) if self.after is not None else "/dev/null",
        )
        text = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
        return text.replace(secret, "***") if secret else text


def plan_connect(
    client: ClientFile, env: Mapping[str, str], paths: Paths, url: str, own_urls: tuple[str, ...]
) -> Change:
    """What connecting would change; ``url`` carries the key. ``ConnectError``.

    ``own_urls`` begin every address that is the gateway's.
    """
    path = _path(client, env)
    before, text = _read(path)
    records = _records(paths)
    try:
        content = client.parse(text)
        values = client.values(env, content, url)
        if all(value_at(content, slot) == value for slot, value in values.items()):
            return Change(path, before, before, records.get(client.name))
        if client.name in records:
            raise ConnectError(
                f"{client.title} was connected before, to another address or with another key: "
                f"sbgw-tui disconnect {client.name}, then connect again"
            )
        there = address_in(client, content)
        if there is not None and not there.startswith(own_urls):
            raise ConnectError(
                f"{path} sends {client.title} to another address already; take that out first, "
                "and name it as providers.<name>.base_url if the gateway is to use it"
            )
        after = client.put(text, values).encode()
    except UnreadableError as error:
        snippet = json.dumps({".".join(s): v for s, v in client.values(env, {}, url).items()})
        key = url.rpartition("/k/")[2]
        raise ConnectError(
            f"{path}: {error}\nset this there by hand: {snippet.replace(key, 'YOUR-GATEWAY-KEY')}"
        ) from error
    record = {
        "path": str(path),
        "after": hashlib.sha256(after).hexdigest(),
        "existed": before is not None,
        "folders": [str(folder) for folder in path.parents if not folder.exists()],
        "values": [[list(s), value_at(content, s), v] for s, v in values.items()],
    }
    return Change(path, before, after, record)


def plan_disconnect(client: ClientFile, paths: Paths) -> Change:
    """What disconnecting would change; ``ConnectError``."""
    record = _records(paths).get(client.name)
    if record is None:
        raise ConnectError(f"{client.title} is not connected")
    path = Path(record["path"])
    before, text = _read(path)
    if before is None:
        return Change(path, None, None, None)
    backup = _backup_of(path)
    if hashlib.sha256(before).hexdigest() == record["after"]:
        if not record["existed"]:
            made = tuple(Path(folder) for folder in record.get("folders", ()))
            return Change(path, before, None, None, folders=made)
        if backup.exists():
            return Change(path, before, _read(backup)[0], None)
    try:
        content = client.parse(text)
        values: dict[Slot, Any] = {}
        kept: list[str] = []
        for slot, was, put in record["values"]:
            there = value_at(content, tuple(slot))
            if there == put:
                values[tuple(slot)] = was
            elif _holds(there, was, put):
                values[tuple(slot)] = _taken_back(there, was, put)
            else:
                kept.append(".".join(slot))
        return Change(path, before, client.put(text, values).encode(), None, tuple(kept))
    except UnreadableError as error:
        raise ConnectError(
            f"{path}: {error}\nas it was before is kept in {backup}; put it back by hand"
        ) from error


def _holds(there: Any, was: Any, put: Any) -> bool:
    """Whether ``there`` is a list that was changed since, with our entries still in it."""
    ours = _ours(was, put)
    return isinstance(there, list) and bool(ours) and all(entry in there for entry in ours)


def _taken_back(there: list[Any], was: Any, put: Any) -> list[Any] | None:
    """``there`` without our entries, and with those that ours replaced."""
    ours = _ours(was, put)
    replaced = [entry for entry in was or [] if entry not in put]
    return [*(entry for entry in there if entry not in ours), *replaced] or was


def _ours(was: Any, put: Any) -> list[Any]:
    if not isinstance(put, list) or not isinstance(was, list | None):
        return []
    return [entry for entry in put if entry not in (was or [])]


def apply(client: ClientFile, change: Change, paths: Paths) -> None:
    """Make the change; ``ConnectError`` when it cannot be written."""
    backup = _backup_of(change.path)
    try:
        if change.record is not None:
            if change.before is not None:
                private_files.replace(backup, change.before)
            _remember(paths, client.name, change.record)
        _write(change)
        if change.record is None:
            backup.unlink(missing_ok=True)
            _remember(paths, client.name, None)
            _remove_empty(change.folders)
    except OSError as error:
        where = error.filename or change.path
        raise ConnectError(f"cannot write {where}: {error.strerror}") from error


def _write(change: Change) -> None:
    if change.after is None:
        change.path.unlink(missing_ok=True)
        return
    mode = stat.S_IMODE(change.path.stat().st_mode) if change.path.exists() else 0o600
    change.path.parent.mkdir(parents=True, exist_ok=True)
    private_files.replace(change.path, change.after)
    change.path.chmod(mode)


def _remove_empty(folders: tuple[Path, ...]) -> None:
    for folder in folders:
        # One that somebody has put something into since is theirs.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _path(client: ClientFile, env: Mapping[str, str]) -> Path:
    path = client.path(env)
    if path is None:
        raise ConnectError("HOME is not set: where the settings are cannot be told")
    # The file a link points to is changed, and the link stays.
    return Path(os.path.realpath(path))


def _read(path: Path) -> tuple[bytes | None, str]:
    try:
        data = private_files.read(path).content
        return data, data.decode("utf-8")
    except FileNotFoundError:
        return None, ""
    except (OSError, UnsafeFileError, UnicodeDecodeError) as error:
        raise ConnectError(f"cannot read {path}: {error}") from error


def _backup_of(path: Path) -> Path:
    return path.with_name(path.name + BACKUP_SUFFIX)


def _records(paths: Paths) -> dict[str, Any]:
    try:
        found = json.loads(private_files.read_private(paths.state_dir / RECORD))
    except FileNotFoundError:
        return {}
    except (OSError, UnsafeFileError, ValueError) as error:
        raise ConnectError(f"{paths.state_dir / RECORD} {error}") from error
    return found if isinstance(found, dict) else {}


def _remember(paths: Paths, name: str, record: Mapping[str, Any] | None) -> None:
    records = _records(paths)
    records.pop(name, None)
    if record is not None:
        records[name] = record
    paths.make_state_dir()
    private_files.replace(paths.state_dir / RECORD, json.dumps(records, indent=1).encode())

"""Gathering what the settings files say: the user's own, and a seed file if it may speak."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

from server import private_files
from server.settings_errors import Problem, SettingsError, Warning_
from server.settings_layers import Layers, Leaf
from server.settings_notes import GatewayKey
from server.settings_read import SEED_NAMES, Seed, parse_seed, parse_toml, read_file
from server.trust import TrustStore


@dataclass(slots=True)
class Reading:
    """What has been gathered so far."""

    layers: Layers = field(default_factory=Layers)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    seed_key: GatewayKey | None = None
    """The gateway key that a named seed file sets."""

    def add(self, found: Iterable[Leaf]) -> None:
        """Lay ``found`` over what is there."""
        for leaf in found:
            self.layers.add(leaf)

    def warn(self, code: str, message: str, hint: str = "") -> None:
        """Note something the user should see."""
        self.warnings.append(Warning_("warning", code, message, hint))


def read_own(reading: Reading, file: Path, *, must_exist: bool) -> None:
    """Add the user's own TOML file; a missing one is only wrong when it was named."""
    if not must_exist and not os.path.lexists(file):
        return
    try:
        found = read_file(file)
        own = parse_toml(file, found.content)
    except SettingsError as error:
        reading.problems += error.problems
        return
    reading.files.append(file)
    reading.add(own)
    if found.is_writable_by_others:
        reading.warn(
            "config-writable",
            f"{file} can be changed by other users, who could send your prompts elsewhere",
            f"chmod 600 {shlex.quote(str(file))}",
        )


def read_named_seed(reading: Reading, file: Path) -> None:
    """Add a seed file the user named: it is his own, so port and key count as well."""
    try:
        seed = parse_seed(file, read_file(file).content)
    except SettingsError as error:
        reading.problems += error.problems
        return
    reading.files.append(file)
    reading.problems += seed.problems
    reading.add([*seed.routing, *seed.server])
    if seed.key is not None:
        reading.seed_key = GatewayKey(SecretStr(seed.key), str(file))
    _note_unused(reading, file, seed)


def read_found_seed(reading: Reading, cwd: Path, store: TrustStore) -> None:
    """Add the routing of a seed file in ``cwd`` if its content was trusted.

    Otherwise it can do one thing: turn shadow on, which sends nothing anywhere.
    """
    names = (cwd / name for name in SEED_NAMES)
    file = next((path for path in names if os.path.lexists(path)), None)
    if file is None:
        return
    try:
        content = private_files.read(file).content
        is_trusted = store.is_trusted(file, content)
        seed = parse_seed(file, content)
    except (OSError, private_files.UnsafeFileError) as error:
        reading.warn("seed-unreadable", f"{file} is ignored: {error}")
        return
    except SettingsError as error:
        if is_trusted:
            reading.problems += error.problems
        else:
            reading.warn("seed-broken", f"{error}; the file is ignored, it is not trusted")
        return
    if is_trusted:
        _add_trusted(reading, file, seed)
    elif seed.routing or seed.problems:
        _add_untrusted(reading, file, seed, was_known=store.is_known(file))


def _add_trusted(reading: Reading, file: Path, seed: Seed) -> None:
    reading.files.append(file)
    reading.problems += seed.problems
    reading.add(seed.routing)
    only_named = [
        *(["port"] if seed.server else []),
        *(["auth.keys"] if seed.key is not None else []),
    ]
    _note_unused(reading, file, replace(seed, unused=(*only_named, *seed.unused)))


def _add_untrusted(reading: Reading, file: Path, seed: Seed, *, was_known: bool) -> None:
    if seed.turns_shadow_on:
        reading.files.append(file)
        reading.add(leaf for leaf in seed.routing if leaf.path == ("routing", "shadow"))
    why = "it has changed since you trusted it" if was_known else "it is not trusted"
    but = ", except that it turns shadow on" if seed.turns_shadow_on else ""
    reading.warn(
        "seed-untrusted",
        f"the routing in {file} is ignored{but}: {why}",
        f"read it, then: sbgw-tui trust {shlex.quote(str(file))}",
    )


def _note_unused(reading: Reading, file: Path, seed: Seed) -> None:
    if seed.unused:
        message = f"{file}: not used here: {', '.join(seed.unused)}"
        reading.warnings.append(Warning_("info", "seed-unused", message))

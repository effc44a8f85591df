"""Finding, reading, merging and explaining the settings.

Later wins: defaults, the user's ``config.toml`` (or ``--config``), the seed's JSON file in the
working directory, the environment, flags. The seed's file may only route, and only once its
content was trusted; named by ``--config`` it is the user's own and sets port and key as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from pydantic import SecretStr

from server.config import DEFAULT_KEY, Settings
from server.paths import Paths, find_paths
from server.settings_env import (
    EnvFile,
    Secrets,
    environment_leaves,
    proxy_passwords,
    read_env_file,
    secret_names,
)
from server.settings_errors import DEFAULT_ORIGIN, Origin, SettingsError, SourceKind, Warning_
from server.settings_keys import Path, join
from server.settings_layers import Leaf, leaves, validated
from server.settings_notes import GatewayKey, choose_key, notes, surrounding_problems
from server.settings_sources import Reading, read_found_seed, read_named_seed, read_own
from server.trust import TrustStore

__all__ = ["Flags", "Loaded", "SettingsError", "Warning_", "load"]


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line sets; ``None`` is not given."""

    config: FilePath | None = None
    host: str | None = None
    port: int | None = None
    log_level: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and where they come from."""

    settings: Settings
    paths: Paths
    secrets: Secrets
    key: GatewayKey
    """What clients must send, and where it comes from."""
    provenance: Mapping[str, Origin]
    """Dotted key -> where its value comes from, for every value in force."""
    warnings: tuple[Warning_, ...]
    files: tuple[FilePath, ...]
    """The files that were read."""
    config_file: FilePath
    """The user's own settings file, where changes are kept; it need not exist."""

    @property
    def gateway_key(self) -> SecretStr:
        """What clients must send."""
        return self.key.value

    @property
    def has_default_key(self) -> bool:
        """Whether that is the one everybody knows."""
        return self.key.is_default

    @property
    def key_hint(self) -> str | None:
        """The gateway key when it is the public default, ``None`` when it is a secret."""
        return DEFAULT_KEY if self.has_default_key else None


def load(*, flags: Flags | None = None, env: Mapping[str, str], cwd: FilePath) -> Loaded:
    """Read every source; raises ``SettingsError`` with everything that is wrong."""
    flags = flags or Flags()
    paths = find_paths(env, cwd)
    env_file = read_env_file(paths.env_file)
    reading = Reading(warnings=list(env_file.warnings))
    config_file = _read_files(reading, flags, paths, cwd)
    settings = _merge(reading, flags, env, env_file)
    known = proxy_passwords(settings)
    if reading.seed_key is not None and not reading.seed_key.is_default:
        known.append(reading.seed_key.value.get_secret_value())
    secrets = Secrets(env, env_file, secret_names(settings), known)
    key, problems = choose_key(settings, secrets, reading.seed_key)
    problems += surrounding_problems(settings, secrets, key, reading.layers)
    if problems:
        raise SettingsError(problems)
    return Loaded(
        settings=settings,
        paths=paths,
        secrets=secrets,
        key=key,
        provenance={
            join(leaf.path): leaf.origin for leaf in effective(settings, reading.layers.origin)
        },
        warnings=(*reading.warnings, *notes(settings, secrets, env, cwd, paths)),
        files=(*reading.files, *([env_file.path] if env_file.was_read else [])),
        config_file=config_file,
    )


def _read_files(reading: Reading, flags: Flags, paths: Paths, cwd: FilePath) -> FilePath:
    """Add every file; gives the user's own, where changes are kept."""
    named = cwd / flags.config.expanduser() if flags.config is not None else None
    if named is not None and named.suffix.lower() == ".json":
        read_own(reading, paths.config_file, must_exist=False)
        read_named_seed(reading, named)
        return paths.config_file
    own = named or paths.config_file
    read_own(reading, own, must_exist=named is not None)
    read_found_seed(reading, cwd, TrustStore(paths.trust_file))
    return own


def _merge(reading: Reading, flags: Flags, env: Mapping[str, str], env_file: EnvFile) -> Settings:
    overrides, unknown = environment_leaves(env, env_file)
    reading.add(overrides)
    reading.add(_flag_leaves(flags))
    settings, problems = validated(reading.layers)
    problems = [*reading.problems, *unknown, *problems]
    if problems:
        raise SettingsError(problems)
    return settings


def _flag_leaves(flags: Flags) -> Iterator[Leaf]:
    for name in ("host", "port", "log_level"):
        if (value := getattr(flags, name)) is not None:
            flag = f"--{name.replace('_', '-')}"
            yield Leaf(("server", name), value, Origin(SourceKind.FLAG, flag, flag))


def effective(
    settings: Settings, origin_of: Callable[[Path], Origin] = lambda _: DEFAULT_ORIGIN
) -> Iterator[Leaf]:
    """Every value in force, in the order of the models; ``None`` is not set."""
    return leaves(settings.model_dump(by_alias=True), origin_of)

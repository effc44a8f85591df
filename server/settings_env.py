"""What the environment and the private ``.env`` say: overrides of settings, and secrets."""

from __future__ import annotations

import base64
import io
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, get_origin
from urllib.parse import quote

from dotenv.parser import parse_stream
from pydantic import SecretStr

from server import private_files
from server.addresses import password_in
from server.config import Settings
from server.paths import HOME_ENV
from server.settings_errors import Origin, Problem, SourceKind, Warning_
from server.settings_keys import ANY_NAME, Path, all_keys, children, find
from server.settings_layers import Leaf

PREFIX = "SBGW_"
INTERNAL_NAMES = frozenset({HOME_ENV})
"""Names with our prefix that are no settings."""

SEED_PORT = "STACKBILT_GATEWAY_PORT"
SEED_CLOUDFLARE_URL = "CLOUDFLARE_API_BASE_URL"
_CLOUDFLARE_PATH = "/accounts/{account_id}/ai/v1"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
_CLIENT_SECRETS = ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_PROXY_NAMES = tuple(
    spelled
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
    for spelled in (name, name.lower())
)
_MIN_REDACTED = 8
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The private ``.env``, read once; it never becomes part of this process's environment."""

    path: FilePath
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[Warning_, ...] = ()
    was_read: bool = False


def read_env_file(path: FilePath) -> EnvFile:
    """Read ``path`` unless others could have touched it; lines that make no sense are named."""
    try:
        text = private_files.read_private(path).decode("utf-8-sig")
    except FileNotFoundError:
        return EnvFile(path)
    except private_files.UnsafeFileError as error:
        hint = error.hint or "make it a file of your own with mode 600"
        return _unread(path, "env-file-unsafe", str(error), hint)
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, ValueError) else str(error.strerror)
        return _unread(path, "env-file-unreadable", reason, "")
    values: dict[str, str] = {}
    broken: list[int] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            broken.append(binding.original.line)
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    warnings = tuple(
        Warning_("warning", "env-file-line", f"{path}:{line}: this line is not NAME=value")
        for line in broken
    )
    return EnvFile(path, values, warnings, was_read=True)


def _unread(path: FilePath, code: str, reason: str, hint: str) -> EnvFile:
    message = f"{path} {reason}: its keys are not used"
    return EnvFile(path, warnings=(Warning_("error", code, message, hint),))


class Secrets:
    """Looks secrets up by the name of their variable; never shows one.

    The process's own environment wins over ``.env``; a variable that is there but empty counts
    as not set, so that it can switch off one of ``.env``.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        env_file: EnvFile,
        names: Iterable[str],
        known: Iterable[str] = (),
    ) -> None:
        """``names`` are variables with secrets, ``known`` secrets that stand elsewhere."""
        self._env = env
        self._file = env_file
        self._names = frozenset(names)
        self._known = frozenset(known)
        self.from_dotenv = frozenset(name for name in env_file.values if name not in env)
        """Names whose value comes from ``.env``; they must never enter a child's environment."""

    def get(self, name: str) -> SecretStr | None:
        """The secret called ``name``, ``None`` when it is not set."""
        value = self.reveal(name)
        return None if value is None else SecretStr(value)

    def reveal(self, name: str) -> str | None:
        """The same as plain text, for the one place that puts it on the wire."""
        value = self._env[name] if name in self._env else self._file.values.get(name, "")
        return value.strip() or None

    def is_present(self, name: str) -> bool:
        """Whether the variable exists at all, even if it is empty."""
        return name in self._env or name in self._file.values

    def source(self, name: str) -> str | None:
        """``environment`` or the path of ``.env``, ``None`` when ``name`` is not set."""
        if self.reveal(name) is None:
            return None
        return str(self._file.path) if name in self.from_dotenv else "environment"

    def values(self) -> frozenset[str]:
        """Every text that must not be shown: the known secrets, plain, URL- and base64-encoded."""
        names = self._names | {*_CLIENT_SECRETS}
        names |= {name for name in self._file.values if _SECRET_NAME.search(name)}
        found = [*map(self.reveal, names), *self._known]
        found += [password_in(self._env.get(name, "")) for name in _PROXY_NAMES]
        return frozenset(form for value in found if value for form in forms(value))

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._names))})"


def forms(secret: str) -> Iterator[str]:
    """The ways ``secret`` may turn up in a text; a very short one would match anywhere."""
    if len(secret) >= _MIN_REDACTED:
        yield secret
        yield quote(secret, safe="")
        yield base64.b64encode(secret.encode()).decode().rstrip("=")


def secret_names(settings: Settings) -> list[str]:
    """The variables that ``settings`` expects secrets in, the gateway key's first."""
    names = [settings.server.key_env]
    names += [p.api_key_env for p in settings.providers.values() if p.api_key_env is not None]
    return list(dict.fromkeys(names))


def proxy_passwords(settings: Settings) -> list[str]:
    """The passwords that stand in the proxies of ``settings``."""
    urls = [settings.network.proxy, *(table.proxy or "" for table in settings.providers.values())]
    return [password for url in urls if (password := password_in(url)) is not None]


def environment_leaves(
    env: Mapping[str, str], env_file: EnvFile
) -> tuple[list[Leaf], list[Problem]]:
    """The settings that variables override, and the variables that name no setting."""
    found: list[Leaf] = []
    problems: list[Problem] = []
    for values, name_of_source in ((env_file.values, str(env_file.path)), (env, "environment")):
        rest = {k: v for k, v in values.items() if v and (values is env or k not in env)}
        found += _seed_leaves(rest, name_of_source)
        for name, text in rest.items():
            if name.startswith(PREFIX) and not (values is env and name in INTERNAL_NAMES):
                _read_override(name, text, name_of_source, found, problems)
    # Our own names are more explicit than the seed's, wherever either of them stands.
    found.sort(key=lambda leaf: leaf.origin.key.startswith(PREFIX))
    return found, problems


def _seed_leaves(values: Mapping[str, str], source: str) -> Iterator[Leaf]:
    if port := values.get(SEED_PORT):
        origin = Origin(SourceKind.ENVIRONMENT, source, SEED_PORT)
        yield Leaf(("server", "port"), convert(port, int), origin)
    if root := values.get(SEED_CLOUDFLARE_URL):
        origin = Origin(SourceKind.ENVIRONMENT, source, SEED_CLOUDFLARE_URL)
        url = root.rstrip("/") + _CLOUDFLARE_PATH
        yield Leaf(("providers", "cloudflare", "base_url"), url, origin)


def _read_override(
    name: str, text: str, source: str, found: list[Leaf], problems: list[Problem]
) -> None:
    path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
    annotation = find(path)
    if name in INTERNAL_NAMES:
        problems.append(Problem(source, name, "only works in the environment itself"))
    elif annotation is None:
        problems.append(Problem(source, name, "names no setting", _nearest_name(name, path)))
    elif children(annotation) is not None or path[0] == "prices":
        problems.append(Problem(source, name, "cannot be set by a variable; use config.toml"))
    else:
        origin = Origin(SourceKind.ENVIRONMENT, source, name)
        found.append(Leaf(path, convert(text, annotation), origin))


def variable_of(path: Path) -> str:
    """The variable that overrides the key at ``path``."""
    return PREFIX + "__".join(path).upper()


def _nearest_name(name: str, path: Path) -> str:
    own_name = path[1] if path[0] == "providers" and len(path) > 1 else "NAME"
    keys = (key.path for key in all_keys() if key.path[0] not in ("prices", "keys"))
    names = [variable_of(tuple(own_name if p == ANY_NAME else p for p in key)) for key in keys]
    close = get_close_matches(name, [*names, *INTERNAL_NAMES], n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "settings are SBGW_SECTION__KEY"


def convert(text: str, annotation: Any) -> Any:
    """``text`` as the type a setting wants; left as it is when it does not look like one."""
    if annotation is bool:
        return _BOOLEANS.get(text.strip().lower(), text)
    if annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            return text
    if get_origin(annotation) is tuple:
        return _list(text.strip())
    return text


def _list(text: str) -> Any:
    if not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

"""How Codex is pointed here: overrides on its command line, and one variable. Nothing is written.

Codex ignores ``OPENAI_BASE_URL``, so it gets a provider of its own through ``-c`` (measured with
0.169.0: those win over every settings file, and with them the shared background server is not
used). The gateway key travels in a variable and not in the overrides, because every user of the
machine may read a command line.

Who pays stays as it was: a stored login is used through ``requires_openai_auth``, a key that Codex
would take from the environment through ``env_key``; the gateway's own key only where Codex has none.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.addresses import points_at, without_userinfo
from tui.claude_setup import ClaudeSetup, home_of
from tui.launch_env import (
    GatewayTarget,
    Labels,
    LaunchRefused,
    exempt_from_proxy,
    header_safe,
    require_safe_key,
)

PROVIDER = "sbgw"
"""The id of the provider that the overrides define."""
KEY_VARIABLE = "SBGW_GATEWAY_KEY"
OWN_KEY = "CODEX_API_KEY"
"""The one variable that Codex itself takes a key from."""
SHARED_KEY = "OPENAI_API_KEY"

_BUILT_IN = "openai"
_MAX_FILE = 16 * 1024 * 1024
_ANYWHERE = frozenset({"keyring", "auto"})
"""Places for the login that cannot be looked into."""


@dataclass(frozen=True, slots=True)
class CodexSetup:
    """Everything outside the process environment that steers Codex."""

    source: str = "config.toml"
    """The settings file."""
    provider: str | None = None
    """``model_provider``; ``None``: the built-in one."""
    provider_url: str | None = None
    """The address of that provider, when the file defines it."""
    base_url: str | None = None
    """``openai_base_url``."""
    has_login: bool = False
    """A login is stored, or may be where it cannot be seen."""


@dataclass(frozen=True, slots=True)
class CodexLaunch:
    """What a launched Codex gets."""

    arguments: tuple[str, ...]
    """To stand before the user's own."""
    env: Mapping[str, str] = field(default_factory=dict)


def codex_home(env: Mapping[str, str]) -> Path | None:
    """The folder of Codex's settings; ``None`` when the environment names none."""
    if env.get("CODEX_HOME"):
        return Path(env["CODEX_HOME"])
    home = home_of(env)
    return home / ".codex" if home else None


def read_codex_setup(env: Mapping[str, str]) -> CodexSetup:
    """Read what ``codex`` would read; never raises, a broken file counts as empty."""
    folder = codex_home(env)
    if folder is None:
        return CodexSetup()
    file = folder / "config.toml"
    config = _toml(file)
    name = _text(config.get("model_provider"))
    table = _table(_table(config.get("model_providers")).get(name or ""))
    return CodexSetup(
        source=str(file),
        provider=name,
        provider_url=_text(table.get("base_url")),
        base_url=_text(config.get("openai_base_url")),
        has_login=_has_login(folder, config),
    )


def codex_launch(
    env: Mapping[str, str], setup: CodexSetup, gateway: GatewayTarget, labels: Labels
) -> CodexLaunch:
    """The overrides and the environment; raises ``LaunchRefused`` where that cannot work.

    ``gateway.upstream_base_url`` and ``has_own_key`` are those of its ``openai`` provider.
    """
    require_safe_key(gateway.key)
    _refuse_other_provider(setup, gateway)
    child = dict(env)
    child[KEY_VARIABLE] = gateway.key
    exempt_from_proxy(child, ClaudeSetup(), urlsplit(gateway.url).hostname or "")
    labelled = {
        "x-sbgw-project": header_safe(labels.project or ""),
        "x-sbgw-branch": header_safe(labels.branch or ""),
        "x-sbgw-label": header_safe(labels.label or ""),
        "x-sbgw-pane": header_safe(labels.pane or ""),
    }
    provider = {
        "name": _string("sbgw-tui"),
        "base_url": _string(f"{gateway.url}/v1"),
        "wire_api": _string("responses"),
        "env_http_headers": _inline({"x-sbgw-key": KEY_VARIABLE}),
        "http_headers": _inline({name: text for name, text in labelled.items() if text}),
        **_credential(env, setup, gateway),
    }
    overrides = {"model_provider": _string(PROVIDER)}
    overrides |= {f"model_providers.{PROVIDER}.{name}": v for name, v in provider.items()}
    arguments = [part for name, value in overrides.items() for part in ("-c", f"{name}={value}")]
    return CodexLaunch(tuple(arguments), child)


def _credential(
    env: Mapping[str, str], setup: CodexSetup, gateway: GatewayTarget
) -> dict[str, str]:
    if setup.has_login:
        return {"requires_openai_auth": "true"}
    if env.get(OWN_KEY):
        return {"env_key": _string(OWN_KEY)}
    if env.get(SHARED_KEY) and not gateway.has_own_key:
        return {"env_key": _string(SHARED_KEY)}
    return {}


def _refuse_other_provider(setup: CodexSetup, gateway: GatewayTarget) -> None:
    """Prompts meant for another provider must not end up at this one's."""
    name, address = setup.provider, setup.provider_url
    if name == PROVIDER or (address is not None and _is_gateway(address, gateway.url)):
        return
    if name is not None and name != _BUILT_IN:
        raise LaunchRefused(
            f"{_plain(setup.source)} sets model_provider to {_plain(name)!r}: through the gateway "
            "Codex's requests would go to another vendor.\n"
            "Take that line out to use the gateway, or start codex without it."
        )
    other = setup.base_url
    if other is None or _is_gateway(other, gateway.url):
        return
    if other.rstrip("/") != gateway.upstream_base_url.rstrip("/"):
        shown = without_userinfo(_plain(other))
        raise LaunchRefused(
            f"{_plain(setup.source)} sets openai_base_url to {shown}, and the gateway sends Codex's "
            f"requests to {without_userinfo(_plain(gateway.upstream_base_url))}.\n"
            f'Set providers.openai.base_url = "{shown}" in config.toml of the gateway, or take that '
            "line out."
        )


def _is_gateway(url: str, gateway_url: str) -> bool:
    mine = urlsplit(gateway_url)
    try:
        is_http = urlsplit(url).scheme == "http"
        return is_http and points_at(url, mine.hostname or "", mine.port or 0)
    except ValueError:
        return False


def _has_login(folder: Path, config: Mapping[str, Any]) -> bool:
    if config.get("cli_auth_credentials_store") in _ANYWHERE:
        return True
    try:
        stored = json.loads(_read(folder / "auth.json"))
    except (ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and any(
        stored.get(name) for name in ("OPENAI_API_KEY", "tokens", "agent_identity")
    )


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_read(path).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError:
        return b""


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _string(text: str) -> str:
    """A TOML basic string; JSON's is one for ASCII."""
    return json.dumps(text)


def _inline(table: Mapping[str, str]) -> str:
    """An inline TOML table."""
    pairs = ", ".join(f"{_string(name)} = {_string(text)}" for name, text in table.items())
    return f"{{ {pairs} }}" if pairs else "{}"


def _plain(text: str) -> str:
    """Text from outside, harmless on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)[:300]

"""What stands outside the settings themselves: keys, certificates, the rest of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from providers.profiles import is_account_id, profiles
from server.addresses import is_loopback, points_at
from server.config import DEFAULT_KEY, DEFAULT_KEY_ENV, Settings
from server.paths import Paths
from server.settings_env import Secrets, secret_names
from server.settings_errors import Problem, Warning_
from server.settings_layers import Layers
from server.settings_types import NEVER_MOVED

_CLIENT_URLS = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """The key clients must send."""

    value: SecretStr
    source: str
    """``default``, ``environment``, or the file it stands in."""

    @property
    def is_default(self) -> bool:
        """Whether it is the one everybody knows."""
        return self.value.get_secret_value() == DEFAULT_KEY


def choose_key(
    settings: Settings, secrets: Secrets, seed: GatewayKey | None
) -> tuple[GatewayKey, list[Problem]]:
    """The key of the variable ``server.key_env`` names, else a seed file's, else the default.

    A variable that was named but is not set is a problem: the default is public, and to fall back
    on it in silence would open a gateway that was meant to be closed.
    """
    name = settings.server.key_env
    text, source = secrets.reveal(name), secrets.source(name)
    if text is not None and source is not None:
        key = GatewayKey(SecretStr(text), source)
    elif secrets.is_present(name):
        return _NO_KEY, [Problem("environment", name, "the gateway key is empty")]
    elif seed is not None:
        key, name = seed, "auth.keys"
    elif name == DEFAULT_KEY_ENV:
        return _NO_KEY, []
    else:
        hint = f"set {name}, or take server.key_env out"
        reason = "server.key_env names it, but it is not set"
        return _NO_KEY, [Problem("environment", name, reason, hint)]
    if not is_header_text(key.value.get_secret_value()):
        reason = "the gateway key must be printable ASCII without spaces, and not empty"
        return _NO_KEY, [Problem(key.source, name, reason)]
    return key, []


_NO_KEY = GatewayKey(SecretStr(DEFAULT_KEY), "default")


def is_header_text(text: str) -> bool:
    """Whether ``text`` can be sent in a header field as it is."""
    return bool(text) and all("!" <= c <= "~" for c in text)


def surrounding_problems(
    settings: Settings, secrets: Secrets, key: GatewayKey, layers: Layers
) -> Iterator[Problem]:
    """What makes these settings unusable on this machine."""
    host = settings.server.host
    if key.is_default and not is_loopback(host):
        origin = layers.origin(("server", "host"))
        reason = f"{host} can be reached from other machines, and the gateway key is the default"
        hint = f"set {settings.server.key_env} to a key of your own: sbgw-tui init --random-key"
        yield Problem(origin.name, origin.key or "server.host", reason, hint, origin.line)
    bundle = settings.network.ca_bundle
    if bundle != "system" and not os.path.exists(bundle):
        origin = layers.origin(("network", "ca_bundle"))
        reason = "there is no such file or folder"
        yield Problem(origin.name, origin.key or "network.ca_bundle", reason, line=origin.line)
    for provider in settings.providers.values():
        name = provider.account_id_env
        account = secrets.reveal(name) if name else None
        if name and account and not is_account_id(account):
            yield Problem("environment", name, "is not an account id (letters, digits, - and _)")


def notes(
    settings: Settings, secrets: Secrets, env: Mapping[str, str], cwd: Path, paths: Paths
) -> Iterator[Warning_]:
    """What works, but perhaps not as meant."""
    server = settings.server
    if not is_loopback(server.host):
        message = f"the gateway listens on {server.host}: other machines can reach it"
        yield Warning_("warning", "exposed", message, "whoever has its key can spend your money")
    for name in secret_names(settings):
        if (value := secrets.reveal(name)) is not None and not is_header_text(value):
            message = f"{name} cannot be a key: it holds spaces or unprintable characters"
            yield Warning_("error", "bad-key", message)
    yield from _routing_notes(settings)
    yield from _provider_notes(settings)
    for name in _CLIENT_URLS:
        if (url := env.get(name)) and not points_at_us(url, server.host, server.port):
            message = f"{name} is set here, but has no meaning for the gateway itself"
            hint = "a provider's address is providers.NAME.base_url"
            yield Warning_("info", "client-url", message, hint)
    stray = cwd / ".env"
    if stray != paths.env_file and stray.is_file():
        hint = f"keys belong into {paths.env_file}"
        yield Warning_("info", "stray-env-file", f"{stray} is not read", hint)


def points_at_us(url: str, host: str, port: int) -> bool:
    """Whether ``url``, which may be anything, is this gateway's own address."""
    try:
        return points_at(url, host, port)
    except ValueError:
        return False


def _routing_notes(settings: Settings) -> Iterator[Warning_]:
    routing = settings.routing
    for kind, entries in routing.kinds.items():
        if kind in NEVER_MOVED and not all(entry.is_baseline for entry in entries):
            message = (
                f"routing.kinds.{kind} has no effect: such requests always stay where they are"
            )
            yield Warning_("warning", "never-moved", message)
    lists = [*((f"routes.{name}", entries) for name, entries in routing.routes)]
    lists += [(f"kinds.{kind}", entries) for kind, entries in routing.kinds.items()]
    for key, entries in lists:
        for entry in entries:
            if entry.is_baseline or entry.model or entry.provider in profiles():
                continue
            if settings.providers[entry.provider].model is None:
                message = f'routing.{key}: "{entry.provider}" does not say which model'
                hint = f'write "{entry.provider}/MODEL" or set providers.{entry.provider}.model'
                yield Warning_("warning", "no-model", message, hint)


def _provider_notes(settings: Settings) -> Iterator[Warning_]:
    for name, table in settings.providers.items():
        url = table.base_url or ""
        is_own = name not in profiles() and table.kind != "anthropic-messages"
        if is_own and not urlsplit(url).path.strip("/"):
            message = f"providers.{name}.base_url has no path: {url}"
            hint = "most servers answer below /v1"
            yield Warning_("warning", "no-path", message, hint)
        replacement = settings.provider(name).retired.get(table.model or "")
        if replacement is not None:
            message = f"providers.{name}.model: {table.model} no longer exists"
            yield Warning_("warning", "retired-model", message, f"its successor is {replacement}")

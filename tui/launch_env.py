"""The environment of a launched Claude Code: the user's own, plus what points it here. Pure.

What is set, and why:

``ANTHROPIC_BASE_URL``        the gateway
``ANTHROPIC_CUSTOM_HEADERS``  the gateway key and the project, appended to the user's own headers;
                              the user's credential stays what it was, and so does who pays
``ANTHROPIC_AUTH_TOKEN``      the gateway key, only when Claude Code has no credential at all
``NO_PROXY``                  this machine, only when a proxy is set that would catch the gateway
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from server.addresses import points_at, without_userinfo
from tui.claude_setup import ClaudeSetup

BASE_URL = "ANTHROPIC_BASE_URL"
HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105

MODES: Mapping[str, str] = {
    "CLAUDE_CODE_USE_BEDROCK": "Amazon Bedrock",
    "CLAUDE_CODE_USE_MANTLE": "Amazon Bedrock (Mantle)",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS": "Claude Platform on AWS",
    "CLAUDE_CODE_USE_VERTEX": "Google Vertex AI",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD": "Claude Platform on Google Cloud",
    "CLAUDE_CODE_USE_FOUNDRY": "Microsoft Foundry",
}
"""Variables that make Claude Code talk to another vendor's API, which ignores the base URL."""

CREDENTIALS = (
    "ANTHROPIC_API_KEY",
    TOKEN,
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_FEDERATION_RULE_ID",
)
"""Variables that give Claude Code a credential of its own."""

CREDENTIAL_KEYS = frozenset({"apiKeyHelper", "forceLoginMethod", "forceLoginOrgUUID"})
"""Settings keys that do; the last two refuse to start with any credential but a login."""

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
EXEMPTIONS = ("NO_PROXY", "no_proxy")

MAX_NESTED = 8
_NESTED = "x-sbgw-nested"
_OWN_PREFIX = "x-sbgw-"
_TRUE = frozenset({"1", "true", "yes", "on"})
_MAX_LABEL = 1000
_UNSAFE_KEY = re.compile(r"[^!-~]")


class LaunchRefused(Exception):
    """Claude Code would not use the gateway; ``str()`` says why and what to do about it."""


@dataclass(frozen=True, slots=True)
class GatewayTarget:
    """The gateway that Claude Code is pointed at."""

    url: str
    """``http://127.0.0.1:PORT``, no path."""
    key: str
    upstream_base_url: str
    """``providers.anthropic.base_url``: where the gateway sends what it relays natively."""
    has_own_key: bool
    """Whether the gateway can pay for a client that has no credential."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What cost is read by; sent as ``x-sbgw-*`` headers, which never leave the gateway."""

    project: str | None = None
    branch: str | None = None
    label: str | None = None
    pane: str | None = None
    """The pane of the screen the agent runs in."""


@dataclass(frozen=True, slots=True)
class ChildEnvironment:
    """The finished environment, and what the user should know about it."""

    env: Mapping[str, str]
    notes: tuple[str, ...] = ()


class _Effective:
    """What Claude Code will see: settings files replace what the shell set."""

    def __init__(self, env: Mapping[str, str], setup: ClaudeSetup) -> None:
        self._env = env
        self._layers = tuple(reversed(setup.layers))

    def source(self, name: str) -> str | None:
        """The settings file that sets ``name``; ``None`` when the shell's value counts."""
        return next((layer.source for layer in self._layers if name in layer.env), None)

    def value(self, name: str) -> str:
        """The value in effect, empty when unset."""
        for layer in self._layers:
            if name in layer.env:
                return layer.env[name]
        return self._env.get(name, "")

    def origin(self, name: str) -> str:
        """Where ``name`` is set, for a message."""
        source = self.source(name)
        return "your environment" if source is None else _plain(source)


def claude_environment(
    env: Mapping[str, str], setup: ClaudeSetup, gateway: GatewayTarget, labels: Labels
) -> ChildEnvironment:
    """``env`` changed as the module says; raises ``LaunchRefused`` where that cannot work."""
    refuse_conflicts(env, setup, gateway)
    before = _Effective(env, setup)
    child = dict(env)
    child[HEADERS] = _headers(env.get(HEADERS, ""), gateway.key, labels)
    notes: list[str] = []
    child[BASE_URL] = gateway.url
    if (source := before.source(HEADERS)) is not None:
        # Those headers replace ours, the key included, so the key travels in the path.
        child[BASE_URL] = f"{gateway.url}/k/{quote(gateway.key, safe='')}"
        notes.append(f"{_plain(source)} sets {HEADERS}: requests carry no project or branch")
    if gateway.has_own_key and not has_credential(env, setup):
        child[TOKEN] = gateway.key
    exempt_from_proxy(child, setup, urlsplit(gateway.url).hostname or "")
    return ChildEnvironment(child, tuple(notes))


def refuse_conflicts(env: Mapping[str, str], setup: ClaudeSetup, gateway: GatewayTarget) -> None:
    """Raise ``LaunchRefused`` where Claude Code is set up to go somewhere else."""
    require_safe_key(gateway.key)
    if nested_depth(env) >= MAX_NESTED:
        raise LaunchRefused(
            f"sbgw-tui claude has started itself {MAX_NESTED} times: the claude on your PATH is a "
            "script that runs sbgw-tui again; let that script run the real claude"
        )
    effective = _Effective(env, setup)
    for name, vendor in MODES.items():
        if effective.value(name).strip().lower() in _TRUE:
            raise LaunchRefused(_other_vendor(name, vendor, effective.origin(name)))
    _refuse_other_url(effective, gateway)


def require_safe_key(key: str) -> None:
    """Raise ``LaunchRefused`` for a gateway key that no header can carry."""
    if _UNSAFE_KEY.search(key):
        raise LaunchRefused(
            "the gateway key holds characters that a header cannot carry: use printable ASCII"
        )


def has_credential(env: Mapping[str, str], setup: ClaudeSetup) -> bool:
    """Whether Claude Code has a credential or a login of its own."""
    effective = _Effective(env, setup)
    return (
        setup.has_login
        or any(effective.value(name) for name in CREDENTIALS)
        or any(CREDENTIAL_KEYS & layer.keys for layer in setup.layers)
    )


def header_safe(text: str) -> str:
    """``text`` as a header value: printable ASCII, the rest and ``%`` percent-encoded as UTF-8.

    ``urllib.parse.unquote`` gives the text back.
    """
    safe = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    return quote(text.strip()[:_MAX_LABEL].strip(), safe=safe, errors="replace")


def nested_depth(env: Mapping[str, str]) -> int:
    """How many launchers this process runs below."""
    for name, value in _header_lines(env.get(HEADERS, "")):
        if name == _NESTED and value.isdecimal() and value.isascii():
            return min(int(value[:4]), MAX_NESTED)
    return 0


# ------------------------------------------------------------------------------- headers


def _headers(existing: str, key: str, labels: Labels) -> str:
    kept = existing
    if any(name.startswith(_OWN_PREFIX) for name, _ in _header_lines(existing)):
        # Started from inside another launched agent: its key and labels are not ours.
        lines = existing.split("\n")
        kept = "\n".join(line for line in lines if not _name(line).startswith(_OWN_PREFIX))
    depth = nested_depth({HEADERS: existing}) + 1
    own = {
        "key": key,
        "project": header_safe(labels.project or ""),
        "branch": header_safe(labels.branch or ""),
        "label": header_safe(labels.label or ""),
        "pane": header_safe(labels.pane or ""),
        "nested": str(depth),
    }
    lines = [f"{_OWN_PREFIX}{name}: {value}" for name, value in own.items() if value]
    separator = "\n" if kept and not kept.endswith("\n") else ""
    return kept + separator + "\n".join(lines)


def _header_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        if ":" in line:
            yield _name(line), line.partition(":")[2].strip()


def _name(line: str) -> str:
    return line.partition(":")[0].strip().lower()


# -------------------------------------------------------------------------------- refusal


def _refuse_other_url(effective: _Effective, gateway: GatewayTarget) -> None:
    source = effective.source(BASE_URL)
    url = effective.value(BASE_URL).strip()
    if _is_gateway(url, gateway.url):
        return
    if source is not None:
        raise LaunchRefused(
            f"{_plain(source)} sets {BASE_URL} to {_shown(url)}, which Claude Code takes before "
            "the gateway's address.\n"
            f"Remove that line from its env block{_move(url, gateway)}, then start again."
        )
    if url and url.rstrip("/") != gateway.upstream_base_url.rstrip("/"):
        raise LaunchRefused(
            f"{BASE_URL} in your environment is {_shown(url)}, so Claude Code does not talk to "
            f"{_shown(gateway.upstream_base_url)}.\n"
            f"Unset it for this command (env -u {BASE_URL} sbgw-tui claude)"
            f"{_move(url, gateway)}, then start again."
        )


def _move(url: str, gateway: GatewayTarget) -> str:
    if not url or url.rstrip("/") == gateway.upstream_base_url.rstrip("/"):
        return ""
    return (
        "; if the gateway is to send requests there, "
        f'set providers.anthropic.base_url = "{_shown(url)}" in config.toml'
    )


def _is_gateway(url: str, gateway_url: str) -> bool:
    mine = urlsplit(gateway_url)
    try:
        is_http = urlsplit(url).scheme == "http"
        return is_http and points_at(url, mine.hostname or "", mine.port or 0)
    except ValueError:
        return False


def _other_vendor(name: str, vendor: str, origin: str) -> str:
    return (
        f"Claude Code is set to {vendor} ({name} in {origin}): its requests would not pass "
        "through the gateway.\n"
        f"Unset {name} to use the gateway; an Anthropic-compatible address other than "
        "Anthropic's own belongs in providers.anthropic.base_url in config.toml."
    )


def _shown(url: str) -> str:
    return without_userinfo(_plain(url)) or "nothing"


def _plain(text: str) -> str:
    """Text from outside, harmless on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)[:300]


# ---------------------------------------------------------------------------------- proxy


def exempt_from_proxy(child: dict[str, str], setup: ClaudeSetup, host: str) -> None:
    """Keep a configured proxy from catching requests to the gateway.

    Claude Code goes by ``NO_PROXY`` and ``no_proxy`` together (measured), other programs by the
    lower-case one first, so every one that is set gets the entry.
    """
    effective = _Effective(child, setup)
    if not any(effective.value(name).strip() for name in PROXIES):
        return
    free = [name for name in EXEMPTIONS if effective.source(name) is None]
    for name in [name for name in free if name in child] or free[:1]:
        child[name] = _with_entries(child.get(name, ""), (host, "localhost"))
    if not any(_covers(effective.value(name), host) for name in EXEMPTIONS):
        source = effective.origin(EXEMPTIONS[0])
        raise LaunchRefused(
            f"a proxy is set and NO_PROXY in {source} does not exempt the gateway: "
            f"add {host} to it, then start again"
        )


def _with_entries(text: str, hosts: tuple[str, ...]) -> str:
    entries = _entries(text)
    if "*" in entries:
        return text
    missing = [host for host in dict.fromkeys(hosts) if host not in entries]
    return ",".join([text.rstrip(", \t")] * bool(entries) + missing) if missing else text


def _covers(text: str, host: str) -> bool:
    return any(entry in ("*", host) or _in_network(host, entry) for entry in _entries(text))


def _in_network(host: str, entry: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _entries(text: str) -> list[str]:
    return [entry for entry in re.split(r"[,\s]+", text) if entry]

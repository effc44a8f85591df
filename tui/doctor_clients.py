"""Facts about Claude Code and Codex on this machine, for the doctor."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from server.addresses import points_at, without_userinfo
from server.doctor.contract import features
from server.doctor.facts import Client, Value, Version
from tui.claude_setup import ClaudeSetup, home_of, system_folder
from tui.codex_setup import OWN_KEY, SHARED_KEY, codex_home, codex_launch, read_codex_setup
from tui.launch_env import (
    BASE_URL,
    HEADERS,
    MAX_NESTED,
    MODES,
    GatewayTarget,
    Labels,
    LaunchRefused,
    claude_environment,
    has_credential,
)
from tui.launcher import find_claude, read_claude_setup
from tui.project import git_root

VERSION_LIMIT_S = 15.0

_VERSION = re.compile(rb"(?<![\w.])\d+(?:\.\d+){1,3}")
_OFF = ("", "0", "false", "no", "off")
_ENVIRONMENT = "your environment"
_CODEX_URL = "openai_base_url"


async def client_facts(
    env: Mapping[str, str], cwd: Path, claude: GatewayTarget, codex: GatewayTarget
) -> tuple[Client, ...]:
    """Both clients; ``claude`` and ``codex`` are the gateway as each would be pointed at it."""
    paths = (find_claude(env), shutil.which("codex", path=env.get("PATH", "")))
    versions = await asyncio.gather(
        *(asyncio.to_thread(client_version, path, env) for path in paths)
    )
    return (
        _claude(env, cwd, claude, paths[0], versions[0]),
        _codex(env, codex, paths[1], versions[1]),
    )


def client_version(path: str | None, env: Mapping[str, str]) -> tuple[Version | None, str]:
    """What ``PATH --version`` says, or why that is not known."""
    if path is None:
        return None, ""
    try:
        done = subprocess.run(  # noqa: S603
            [path, "--version"],
            # A script of that name that runs our launcher again is refused by it, and starts nothing.
            env={**env, HEADERS: f"x-sbgw-nested: {MAX_NESTED}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"it did not answer within {VERSION_LIMIT_S:g} s"
    except OSError as error:
        return None, (error.strerror or "it cannot be run").lower()
    match = _VERSION.search(done.stdout)
    if done.returncode or match is None:
        return None, f"`--version` ends with code {done.returncode} and names no version"
    return tuple(int(part) for part in match[0].split(b".")), ""


# -------------------------------------------------------------------------------- claude


def _claude(
    env: Mapping[str, str],
    cwd: Path,
    gateway: GatewayTarget,
    path: str | None,
    version: tuple[Version | None, str],
) -> Client:
    setup = read_claude_setup(env, cwd, ())
    names = {BASE_URL, *(n for f in features() if f.client == "claude" for n in f.off)}
    values = _values(env, setup, names)
    url = values.get(BASE_URL)
    modes = _values(env, setup, MODES)
    is_here = url is not None and _leads_to(url.text, gateway.url)
    refusal, remedy = _refused(lambda: claude_environment(env, setup, gateway, Labels()))
    return Client(
        "claude",
        path,
        *version,
        values=values,
        other_vendors=tuple(
            (name, MODES[name], value.source)
            for name, value in modes.items()
            if value.text.strip().lower() not in _OFF
        ),
        key_helpers=tuple(layer.source for layer in setup.layers if "apiKeyHelper" in layer.keys),
        broken_files=tuple(_broken(_claude_files(env, cwd), json.loads)),
        has_credential=has_credential(env, setup),
        refusal=refusal,
        remedy=remedy,
        is_elsewhere=_is_elsewhere(url, gateway),
        is_here=is_here,
    )


def _values(env: Mapping[str, str], setup: ClaudeSetup, names: Iterable[str]) -> dict[str, Value]:
    """The variables in effect: a settings file replaces what the shell set."""
    found = {name: Value(env[name], _ENVIRONMENT) for name in sorted(names) if env.get(name)}
    for layer in setup.layers:
        for name in names:
            if name in layer.env:
                found[name] = Value(layer.env[name], layer.source)
    return {n: Value(without_userinfo(v.text), v.source) for n, v in found.items() if v.text}


def _claude_files(env: Mapping[str, str], cwd: Path) -> Iterable[Path]:
    home = home_of(env)
    if env.get("CLAUDE_CONFIG_DIR"):
        yield Path(env["CLAUDE_CONFIG_DIR"]) / "settings.json"
    elif home is not None:
        yield home / ".claude" / "settings.json"
    yield cwd / ".claude" / "settings.json"
    for root in dict.fromkeys([cwd, git_root(cwd) or cwd]):
        yield root / ".claude" / "settings.local.json"
    yield system_folder() / "managed-settings.json"


# --------------------------------------------------------------------------------- codex


def _codex(
    env: Mapping[str, str],
    gateway: GatewayTarget,
    path: str | None,
    version: tuple[Version | None, str],
) -> Client:
    setup = read_codex_setup(env)
    values = {}
    if setup.base_url:
        values[_CODEX_URL] = Value(without_userinfo(setup.base_url), setup.source)
    elif setup.provider_url and _leads_to(setup.provider_url, gateway.url):
        values[_CODEX_URL] = Value(without_userinfo(setup.provider_url), setup.source)
    if env.get("OPENAI_BASE_URL"):
        values["OPENAI_BASE_URL"] = Value(without_userinfo(env["OPENAI_BASE_URL"]), _ENVIRONMENT)
    refusal, remedy = _refused(lambda: codex_launch(env, setup, gateway, Labels()))
    folder = codex_home(env)
    url = values.get(_CODEX_URL)
    shared = env.get(SHARED_KEY) if not gateway.has_own_key else None
    return Client(
        "codex",
        path,
        *version,
        values=values,
        broken_files=tuple(_broken([folder / "config.toml"] if folder else [], tomllib.loads)),
        has_credential=setup.has_login or bool(env.get(OWN_KEY) or shared),
        refusal=refusal,
        remedy=remedy,
        is_elsewhere=_is_elsewhere(url, gateway),
        is_here=url is not None and _leads_to(url.text, gateway.url),
    )


# -------------------------------------------------------------------------------- shared


def _refused(attempt: Callable[[], object]) -> tuple[str, str]:
    try:
        attempt()
    except LaunchRefused as error:
        reason, _, remedy = str(error).partition("\n")
        return reason, remedy.replace("\n", " ") or "do as it says, then start it again"
    return "", ""


def _is_elsewhere(url: Value | None, gateway: GatewayTarget) -> bool:
    if url is None or _leads_to(url.text, gateway.url):
        return False
    return url.text.strip().rstrip("/") != gateway.upstream_base_url.rstrip("/")


def _leads_to(url: str, gateway_url: str) -> bool:
    host, _, port = gateway_url.rpartition("//")[2].rpartition(":")
    try:
        return points_at(url, host.strip("[]"), int(port))
    except ValueError:
        return False


def _broken(files: Iterable[Path], parse: Callable[[str], object]) -> Iterable[str]:
    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        try:
            parse(text)
        except (ValueError, RecursionError):
            yield str(file)

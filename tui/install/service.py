"""``service``: a definition that lets the system start the gateway; printed, never installed."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LABEL = "sbgw-tui"

_KEPT_VARIABLES = ("SBGW_HOME",)
_STOP_MARGIN_S = 15


@dataclass(frozen=True, slots=True)
class Service:
    """What the system is to run."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log_file: Path
    drain_s: float
    """How long running answers may take when it is stopped."""


def kept_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment a service needs; keys belong into ``.env``, not in here."""
    return {name: env[name] for name in _KEPT_VARIABLES if env.get(name)}


def systemd(service: Service) -> str:
    """A unit for ``~/.config/systemd/user/sbgw-tui.service``."""
    lines = [
        "[Unit]",
        "Description=Local gateway between coding agents and model providers",
        "",
        "[Service]",
        "Type=exec",
        "ExecStart=" + " ".join(_quoted(part, is_command=True) for part in service.argv),
        *(f"Environment={_quoted(f'{k}={v}')}" for k, v in service.env.items()),
        "Restart=on-failure",
        "RestartSec=1",
        f"TimeoutStopSec={int(service.drain_s) + _STOP_MARGIN_S}",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def launchd(service: Service) -> str:
    """A property list for ``~/Library/LaunchAgents/sbgw-tui.plist``."""
    content = {
        "Label": LABEL,
        "ProgramArguments": list(service.argv),
        "EnvironmentVariables": dict(service.env),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": int(service.drain_s) + _STOP_MARGIN_S,
        "Umask": 0o077,
        "ProcessType": "Interactive",
        "StandardErrorPath": str(service.log_file),
        "StandardOutPath": str(service.log_file),
    }
    return plistlib.dumps(content, sort_keys=False).decode()


def how_to_use(kind: str) -> list[str]:
    """What to do with the text, a line each."""
    if kind == "launchd":
        path = f"~/Library/LaunchAgents/{LABEL}.plist"
        return [f"write this to {path}, then:", f"launchctl bootstrap gui/$(id -u) {path}"]
    return [
        f"write this to ~/.config/systemd/user/{LABEL}.service, then:",
        f"systemctl --user daemon-reload && systemctl --user enable --now {LABEL}",
        "keys belong into .env beside config.toml: a service does not see your shell's variables",
    ]


def _quoted(text: str, *, is_command: bool = False) -> str:
    """One word as systemd reads it: ``%`` starts a specifier, ``$`` a variable in commands."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if is_command else text}"'

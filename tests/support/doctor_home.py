"""A sound installation for the doctor to look at, in which a test then plants one fault.

Two agents of the versions that were tried, a provider with a key and one without, a free port.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import scripted_upstream as wire
from fake_clock import FakeClock

from server.doctor.examine import examine
from server.doctor.facts import Facts
from server.doctor.finding import Finding, State
from server.settings_file import Flags, Loaded
from tui.doctor import gather, masked

NOW = 1_795_000_000.0
GROQ_KEY = "gsk_test_0123456789abcdef"
ANTHROPIC_KEY = "sk-ant-api03-test-0123456789"
MODELS = ("openai/gpt-oss-120b", "openai/gpt-oss-20b")


class DoctorHome:
    """``env`` and the files are a test's to change before ``examine``."""

    def __init__(self, folder: Path, upstream_url: str) -> None:
        self.home = folder / "sbgw"
        self.user = folder / "user"
        self.cwd = folder / "project"
        self.bin = folder / "bin"
        self.home.mkdir(mode=0o700)
        for place in (self.user, self.cwd, self.bin):
            place.mkdir()
        self.state = self.home / "state"
        self.upstream_url = upstream_url
        self.env = {
            "SBGW_HOME": str(self.home),
            "HOME": str(self.user),
            "PATH": f"{self.bin}{os.pathsep}{os.defpath}",
            "TERM": "xterm-256color",
        }
        self.port = free_port()
        self.config("")
        self.dotenv(f"GROQ_API_KEY={GROQ_KEY}\nANTHROPIC_API_KEY={ANTHROPIC_KEY}\n")
        self.agent("claude", "2.1.330 (Claude Code)")
        self.agent("codex", "codex-cli 0.169.0")
        self.write(self.user / ".codex" / "auth.json", '{"OPENAI_API_KEY": "sk-codex-login-1"}')

    def config(self, more: str, *, groq: str = "", server: str = "") -> None:
        """Replace ``config.toml``; ``groq`` are lines of that provider's table."""
        text = f"[server]\nport = {self.port}\n{server}\n"
        url = self.upstream_url
        text += f'[providers.anthropic]\nbase_url = "{url}"\n'
        text += f'[providers.groq]\nbase_url = "{url}/openai/v1"\n{groq}\n'
        self.write(self.home / "config.toml", text + more)

    def dotenv(self, text: str, mode: int = 0o600) -> None:
        """Replace the private ``.env``."""
        self.write(self.home / ".env", text).chmod(mode)

    def agent(self, name: str, says: str, code: int = 0) -> None:
        """Install a command that answers anything with one line."""
        self.write(self.bin / name, f"#!/bin/sh\necho '{says}'\nexit {code}\n").chmod(0o755)

    def claude_settings(self, content: Any, *, folder: Path | None = None) -> Path:
        """Write a settings file of Claude Code; the user's own unless ``folder`` is a project."""
        text = content if isinstance(content, str) else json.dumps(content)
        return self.write((folder or self.user) / ".claude" / "settings.json", text)

    def codex_settings(self, text: str) -> Path:
        """Write Codex's settings."""
        return self.write(self.user / ".codex" / "config.toml", text)

    def write(self, path: Path, text: str) -> Path:
        """Write a file and make its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    async def facts(self, *, is_offline: bool = False) -> Facts:
        """What the doctor gathers here, without the contract."""
        return (await self._gather(is_offline, False))[1]

    async def examine(
        self, *, is_offline: bool = False, tries_contract: bool = False
    ) -> list[Finding]:
        """What the doctor finds here, as it is shown."""
        loaded, facts = await self._gather(is_offline, tries_contract)
        return masked(examine(facts), loaded, self.env)

    async def _gather(self, is_offline: bool, tries_contract: bool) -> tuple[Loaded | None, Facts]:
        clock = FakeClock(NOW)
        return await gather(
            Flags(),
            self.env,
            self.cwd,
            clock,
            is_offline=is_offline,
            tries_contract=tries_contract,
        )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def date(skew_s: float = 0.0) -> tuple[bytes, bytes]:
    """A ``Date`` field of a provider whose clock is ``skew_s`` ahead of ``NOW``."""
    return b"Date", formatdate(NOW + skew_s, usegmt=True).encode()


def model_list(*models: str, skew_s: float = 0.0) -> wire.Script:
    """A provider's answer to ``GET /models``."""
    body = json.dumps({"data": [{"id": model} for model in models or MODELS]}).encode()
    return wire.respond(200, [date(skew_s)], body)


def vendor(
    script: wire.Script | None = None, tls: ssl.SSLContext | None = None
) -> wire.ScriptedUpstream:
    """All the providers of a ``DoctorHome``; they list ``MODELS`` unless ``script`` says else."""
    return wire.ScriptedUpstream(script or model_list(), tls=tls)


def of(findings: list[Finding], code: str) -> Finding:
    """The one finding with that code."""
    found = [finding for finding in findings if finding.code == code]
    assert len(found) == 1, [f"{f.state} {f.code}: {f.text}" for f in findings]
    return found[0]


def troubles(findings: list[Finding]) -> set[str]:
    """The codes of everything that is not well."""
    return {finding.code for finding in findings if finding.state is not State.OK}


Plant = Callable[[DoctorHome], None]

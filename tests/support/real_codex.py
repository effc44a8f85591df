"""The real Codex in a throw-away home: installed once, run with dummy keys on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live_gateway import KEY
from real_claude import Outcome, Workplace

VERSION = "0.169.0"
_PACKAGE = "@openai/codex"
_KEY_ENV = "LOCAL_GATEWAY_KEY"
QUIET: Mapping[str, str] = {
    "analytics.enabled": "false",
    "check_for_update_on_startup": "false",
}


def install() -> Path | None:
    """The pinned program, installed with npm into a cache; ``None`` without npm."""
    if shutil.which("npm") is None:
        return None
    cache = Path(os.environ.get("CLIENT_CACHE") or Path(tempfile.gettempdir()) / "sbgw-clients")
    folder = cache / f"codex-{VERSION}"
    program = folder / "node_modules" / ".bin" / "codex"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit"]
        subprocess.run([*argv, f"{_PACKAGE}@{VERSION}"], check=True, stdout=subprocess.DEVNULL)
    return program


@dataclass(frozen=True, slots=True)
class CodexRun:
    """What ``codex exec --json`` printed."""

    code: int
    events: list[dict[str, Any]]
    err: str

    @property
    def text(self) -> str:
        """The last words of the agent."""
        items = [e["item"] for e in self.events if e.get("type") == "item.completed"]
        said = [item["text"] for item in items if item.get("type") == "agent_message"]
        return str(said[-1]) if said else ""

    @property
    def error(self) -> str:
        """Why the turn failed, as its user reads it."""
        failed = [e for e in self.events if e.get("type") in ("turn.failed", "error")]
        return json.dumps(failed[-1]) if failed else ""


class CodexPlace(Workplace):
    """A home and a project under version control for Codex."""

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder, program)
        (self.home / ".codex").mkdir()
        subprocess.run(["git", "init", "-q"], cwd=self.project, check=True)

    @property
    def codex_home(self) -> Path:
        """Where Codex keeps its settings, its login and its sessions."""
        return self.home / ".codex"

    async def codex(
        self,
        url: str,
        *args: str,
        model: str = "gpt-5.5",
        timeout_s: float = 60.0,
        settings: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> CodexRun:
        """``codex exec`` with a provider of its own at the gateway ``url``.

        ``settings`` are more of its settings, by dotted name; an empty value takes one away.
        """
        named = {
            "model_provider": "gw",
            "model_providers.gw.name": "gw",
            "model_providers.gw.base_url": f"{url}/v1",
            "model_providers.gw.wire_api": "responses",
            "model_providers.gw.env_key": _KEY_ENV,
            **QUIET,
            **(settings or {}),
        }
        return await self.start(named, *args, model=model, timeout_s=timeout_s, stdin=stdin)

    async def start(
        self,
        settings: Mapping[str, str],
        *args: str,
        model: str = "gpt-5.5",
        timeout_s: float = 60.0,
        stdin: bytes | None = None,
    ) -> CodexRun:
        """``codex exec`` with these settings and no others."""
        argv = [str(self.program)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"] if value else []
        argv += ["exec", "--json", "-s", "danger-full-access", "-m", model, *args]
        env = self.env(CODEX_HOME=str(self.codex_home), **{_KEY_ENV: KEY})
        return read_run(await self.run(*argv, env=env, timeout_s=timeout_s, stdin=stdin))


def read_run(outcome: Outcome) -> CodexRun:
    """What a run of ``codex exec --json`` told."""
    events = []
    for line in outcome.out.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return CodexRun(outcome.code, events, outcome.err)

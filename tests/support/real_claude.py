"""The real Claude Code in a throw-away home: installed once, run with dummy keys on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = "2.1.330"
"""Named exactly: without it npm picks an older release that fits the machine's node."""

_PACKAGE = "@anthropic-ai/claude-code"
_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


def install() -> Path | None:
    """The pinned program, installed with npm into a cache; ``None`` without npm."""
    if shutil.which("npm") is None:
        return None
    cache = Path(os.environ.get("CLIENT_CACHE") or Path(tempfile.gettempdir()) / "sbgw-clients")
    folder = cache / f"claude-{VERSION}"
    program = folder / "node_modules" / ".bin" / "claude"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit"]
        subprocess.run([*argv, f"{_PACKAGE}@{VERSION}"], check=True, stdout=subprocess.DEVNULL)
        post_install = folder / "node_modules" / _PACKAGE / "install.cjs"
        if post_install.exists():
            subprocess.run(["node", str(post_install)], check=False, stdout=subprocess.DEVNULL)
    return program


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The final line of ``--output-format json``."""
        parsed: dict[str, Any] = json.loads(self.out.strip().splitlines()[-1])
        return parsed


class Workplace:
    """A home and a project of its own for the client."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        for path in (self.home, self.project):
            path.mkdir(parents=True)
        self.program = program
        (self.project / "notes.txt").write_text("the answer is 42\n")

    def env(self, **more: str) -> dict[str, str]:
        """A small environment with nothing of the user's in it."""
        node = Path(shutil.which("node") or "/usr/bin/node").parent
        path = f"{self.program.parent}:{node}:/usr/local/bin:/usr/bin:/bin"
        base = {"HOME": str(self.home), "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        return base | _QUIET | more

    async def run(
        self, *argv: str, env: dict[str, str], timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> Outcome:
        """Run ``argv`` in the project to its end, or kill it after ``timeout_s``."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.project,
            env=env,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin), timeout_s)
        except TimeoutError:
            # The programs are started by a script that would leave them behind.
            os.killpg(process.pid, signal.SIGKILL)
            out, err = await process.communicate()
        return Outcome(process.returncode or 0, out.decode(), err.decode())

"""The program in a terminal, with an agent of the test's choice on its path.

::

    async with pane_world(tmp_path, upstream.base_url, claude=script) as world:
        await world.open("c")                       # the agents' screen, the agent in a pane
        world.screen.type("echo hello")
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway_process import program
from tmux_screen import TmuxScreen, tmux_screen

TITLES = {"c": "Claude Code", "x": "Codex"}
BASH = "#!/bin/sh\nexec /bin/bash --norc --noprofile -i\n"
LEAVE = "C-]"


@dataclass(slots=True)
class PaneWorld:
    """A running program; ``project`` is its working folder."""

    screen: TmuxScreen
    home: Path
    project: Path

    async def open(self, key: str = "c", *, ready: str = "") -> None:
        """Start an agent in a pane and wait until the pane has the keyboard."""
        await self.screen.shows("? help")
        self.screen.keys(key)
        await self.screen.shows(f"{TITLES[key]} in a pane", "Start (enter)")
        self.screen.keys("Enter")
        await self.screen.shows("ctrl+] leaves", *([ready] if ready else []))

    async def run(self, line: str, *shows: str) -> str:
        """Type a line and wait for what it shows."""
        self.screen.type(line)
        self.screen.keys("Enter")
        return await self.screen.shows(*shows)

    def children(self) -> dict[int, str]:
        """State of every process below the program, by its id."""
        return {
            pid: state
            for pid, (parents, state) in _processes().items()
            if self.screen.pid in parents
        }


@asynccontextmanager
async def pane_world(
    folder: Path,
    upstream_url: str,
    *,
    claude: str = BASH,
    env: dict[str, str] | None = None,
    size: tuple[int, int] = (160, 48),
    argv: list[str] | None = None,
) -> AsyncIterator[PaneWorld]:
    """Run the program; ``claude`` is the text of the command of that name, empty: there is none."""
    home, project, commands = folder / "home", folder / "project", folder / "bin"
    for made in (home / "gateway", project, commands):
        made.mkdir(parents=True, exist_ok=True)
    (home / "gateway").chmod(0o700)
    (home / "gateway" / "config.toml").write_text(
        f'[server]\nport = 0\n[providers.anthropic]\nbase_url = "{upstream_url}"\n'
        f'[providers.openai]\nbase_url = "{upstream_url}"\n'
    )
    if claude:
        (commands / "claude").write_text(claude)
        (commands / "claude").chmod(0o755)
    inside = {
        "HOME": str(home),
        "SBGW_HOME": str(home / "gateway"),
        "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
        "TERM": "screen-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PS1": "$ ",
        **(env or {}),
    }
    async with tmux_screen(folder / "tmux", argv or program(), inside, project, size) as screen:
        await screen.shows("http://127.0.0.1:")
        yield PaneWorld(screen, home, project)


def python_script(body: str) -> str:
    """A command in this Python."""
    return f"#!{sys.executable} -IS\n{body}"


def lives(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return _processes().get(pid, (set(), "?"))[1] != "Z"


def _processes() -> dict[int, tuple[set[int], str]]:
    """Every process: its ancestors and its state."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = (int(fields[1]), fields[0])
    found = {}
    for pid, (_, state) in parents.items():
        above, at = set(), pid
        while (at := parents.get(at, (0, ""))[0]) > 1:
            above.add(at)
        found[pid] = (above, state)
    return found

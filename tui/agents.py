"""The coding agents that this program starts, and what each is started with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from providers.types import Protocol
from tui.codex_setup import codex_launch, read_codex_setup
from tui.launch_env import GatewayTarget, LaunchRefused
from tui.launcher import (
    LaunchSettings,
    child_environment,
    find_claude,
    labels_of,
    read_claude_setup,
)


@dataclass(frozen=True, slots=True)
class Agent:
    """One kind of agent."""

    name: str
    """Its command."""
    title: str
    protocol: Protocol
    """What it speaks to the gateway."""
    endpoint: str
    install: str
    """What to type to install it."""


CLAUDE = Agent(
    "claude",
    "Claude Code",
    Protocol.MESSAGES,
    "/v1/messages",
    "npm install -g @anthropic-ai/claude-code",
)
CODEX = Agent("codex", "Codex", Protocol.RESPONSES, "/v1/responses", "npm install -g @openai/codex")
AGENTS: Mapping[str, Agent] = {agent.name: agent for agent in (CLAUDE, CODEX)}


@dataclass(frozen=True, slots=True)
class Command:
    """A program, ready to run."""

    title: str
    """Its name for people."""
    path: str
    argv: tuple[str, ...]
    """With the program's own name first."""
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An agent that can be started."""

    command: Command
    notes: tuple[str, ...] = ()
    """What the user should know about its environment."""


Prepare = Callable[[Agent, str], Prepared]
"""From an agent and the gateway's URL; reads files, so not for the event loop. Raises
``LaunchRefused``."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """What the gateway knows of the vendor an agent belongs to."""

    base_url: str
    has_own_key: bool
    """Whether the gateway can pay for an agent without a credential."""


class Preparer:
    """Makes commands as the launcher does: the user's own environment, and what points it here."""

    def __init__(
        self, settings: LaunchSettings, openai: Vendor, *, env: Mapping[str, str], cwd: Path
    ) -> None:
        """``env`` is the user's own: secrets from our files are not in it."""
        self._settings = settings
        self._openai = openai
        self._env = env
        self._cwd = cwd

    def __call__(self, agent: Agent, url: str) -> Prepared:
        """See ``Prepare``."""
        return self._codex(url) if agent is CODEX else self._claude(url)

    def _claude(self, url: str) -> Prepared:
        path = _found(CLAUDE, find_claude(self._env))
        setup = read_claude_setup(self._env, self._cwd, ())
        child = child_environment(self._settings, self._env, self._cwd, setup, url)
        return Prepared(Command(CLAUDE.title, path, (CLAUDE.name,), child.env), child.notes)

    def _codex(self, url: str) -> Prepared:
        path = _found(CODEX, shutil.which(CODEX.name, path=self._env.get("PATH", "")))
        target = GatewayTarget(
            url, self._settings.key, self._openai.base_url, self._openai.has_own_key
        )
        labels = labels_of(self._settings, self._env, self._cwd)
        launch = codex_launch(self._env, read_codex_setup(self._env), target, labels)
        argv = (CODEX.name, *launch.arguments)
        return Prepared(Command(CODEX.title, path, argv, launch.env))


def _found(agent: Agent, path: str | None) -> str:
    if path is None:
        raise LaunchRefused(
            f"{agent.name} was not found on your PATH. Install {agent.title}: {agent.install}"
        )
    return path

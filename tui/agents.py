"""The coding agents that this program starts, and what each is started with."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from providers import types
from tui.codex_setup import codex_launch, read_codex_setup
from tui.launch_env import GatewayTarget, LaunchRefused
from tui.launcher import (
    LaunchSettings,
    child_environment,
    find_claude,
    labels_of,
    read_claude_setup,
)
from tui.terminal.environment import pane_environment


@dataclass(frozen=True, slots=True)
class Agent:
    """One kind of agent."""

    name: str
    """Its command."""
    title: str
    protocol: types.Protocol
    """What it speaks to the gateway."""
    endpoint: str
    install: str
    """What to type to install it."""


CLAUDE = Agent(
    "claude",
    "Claude Code",
    types.Protocol.MESSAGES,
    "/v1/messages",
    "npm install -g @anthropic-ai/claude-code",
)
CODEX = Agent(
    "codex", "Codex", types.Protocol.RESPONSES, "/v1/responses", "npm install -g @openai/codex"
)
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


@dataclass(frozen=True, slots=True)
class Place:
    """The pane of the screen that an agent is to run in."""

    folder: Path
    pane: str
    """What its requests are known by."""


class Prepare(Protocol):
    """Makes the command of an agent; reads files, so not for the event loop."""

    def __call__(self, agent: Agent, url: str, place: Place | None = None) -> Prepared:
        """For the gateway at ``url``; without ``place`` for the terminal this program runs in.

        Raises ``LaunchRefused``.
        """


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

    def __call__(self, agent: Agent, url: str, place: Place | None = None) -> Prepared:
        """See ``Prepare``."""
        if place is None:
            return self._made(agent, url, self._env, self._cwd, self._settings)
        env = pane_environment(self._env, place.folder)
        return self._made(agent, url, env, place.folder, replace(self._settings, pane=place.pane))

    def _made(
        self, agent: Agent, url: str, env: Mapping[str, str], cwd: Path, settings: LaunchSettings
    ) -> Prepared:
        if agent is CODEX:
            return self._codex(url, env, cwd, settings)
        path = _found(CLAUDE, find_claude(env))
        child = child_environment(settings, env, cwd, read_claude_setup(env, cwd, ()), url)
        return Prepared(Command(CLAUDE.title, path, (CLAUDE.name,), child.env), child.notes)

    def _codex(
        self, url: str, env: Mapping[str, str], cwd: Path, settings: LaunchSettings
    ) -> Prepared:
        path = _found(CODEX, shutil.which(CODEX.name, path=env.get("PATH", "")))
        target = GatewayTarget(url, settings.key, self._openai.base_url, self._openai.has_own_key)
        launch = codex_launch(env, read_codex_setup(env), target, labels_of(settings, env, cwd))
        argv = (CODEX.name, *launch.arguments)
        return Prepared(Command(CODEX.title, path, argv, launch.env))


def _found(agent: Agent, path: str | None) -> str:
    if path is None:
        raise LaunchRefused(
            f"{agent.name} was not found on your PATH. Install {agent.title}: {agent.install}"
        )
    return path

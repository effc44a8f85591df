"""``sbgw-tui claude``: run Claude Code through the gateway and leave nothing behind.

A lease is taken before the gateway is looked for, so that a gateway about to end for lack of use
either sees the lease or says that it is stopping.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.clock import Clock, SystemClock
from server.instance import InstanceError, InstanceInfo, connect_url, read
from server.leases import LEASES_FOLDER, Leases
from tui.claude_setup import ClaudeSetup, home_of, keychain_login, read_setup
from tui.client import GatewayUnreachableError, Health, call
from tui.codex_setup import codex_launch, read_codex_setup
from tui.launch_child import run_in_foreground
from tui.launch_env import (
    ChildEnvironment,
    GatewayTarget,
    Labels,
    LaunchRefused,
    claude_environment,
    refuse_conflicts,
)
from tui.launch_gateway import (
    EXIT_UNREACHABLE,
    START_LIMIT_S,
    Found,
    GatewayCommand,
    LaunchPaths,
    StartFailed,
    ensure_gateway,
    gateway_argv,
)
from tui.lifecycle.revive import Reviver, reviving, same_again
from tui.project import branch, project_name

EXIT_USAGE = 2
EXIT_NOT_FOUND = 127

_NOT_INSTALLED = (
    "claude was not found on your PATH: install Claude Code "
    "(npm install -g @anthropic-ai/claude-code), then start again"
)


_NO_CODEX = "codex was not found on your PATH: install Codex (npm install -g @openai/codex), then start again"


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """What the launcher takes from the settings."""

    paths: LaunchPaths
    host: str
    port: int
    key: str
    """The gateway key."""
    upstream_base_url: str
    """``providers.anthropic.base_url``."""
    has_own_key: bool
    """Whether the gateway can pay for a client without a credential."""
    gateway_arguments: tuple[str, ...] = ()
    """Flags a started gateway gets as well (``--config``, ``--port``); paths absolute."""
    label: str | None = None
    pane: str | None = None
    """The pane of the screen that the agent is to run in."""


def say_on_stderr(line: str) -> None:
    """Narration: one line, prefixed, on stderr."""
    sys.stderr.write(f"sbgw-tui: {line}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Start:
    """An agent ready to be run against a gateway."""

    program: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    notes: tuple[str, ...] = ()


def launch_claude(
    args: Sequence[str],
    *,
    settings: LaunchSettings,
    env: Mapping[str, str],
    cwd: Path,
    gateway_command: Sequence[str] | None = None,
    clock: Clock | None = None,
    start_limit_s: float = START_LIMIT_S,
    say: Callable[[str], None] = say_on_stderr,
) -> int:
    """Run ``claude ARGS`` through this home's gateway; the command's exit code.

    Claude Code's own exit code (128+N after signal N), else 2 when its settings lead elsewhere,
    3 or 4 when there is no gateway to use, 126 or 127 when claude cannot be run or found.
    """
    program = find_claude(env)
    if program is None:
        say(_NOT_INSTALLED)
        return EXIT_NOT_FOUND

    def check() -> None:
        setup = read_claude_setup(env, cwd, args)
        refuse_conflicts(env, setup, _target(settings, _expected_url(settings)))

    def start(url: str) -> Start:
        child = child_environment(settings, env, cwd, read_claude_setup(env, cwd, args), url)
        return Start(program, ("claude", *args), child.env, child.notes)

    return _launch(
        settings,
        env,
        check,
        start,
        gateway_command=gateway_command,
        clock=clock or SystemClock(),
        start_limit_s=start_limit_s,
        say=say,
    )


def launch_codex(
    args: Sequence[str],
    *,
    settings: LaunchSettings,
    env: Mapping[str, str],
    cwd: Path,
    gateway_command: Sequence[str] | None = None,
    clock: Clock | None = None,
    start_limit_s: float = START_LIMIT_S,
    say: Callable[[str], None] = say_on_stderr,
) -> int:
    """Run ``codex ARGS`` through this home's gateway, like ``launch_claude``.

    ``settings.upstream_base_url`` and ``has_own_key`` are those of the ``openai`` provider. Codex
    is pointed here by ``-c`` overrides; nothing is written into its home.
    """
    program = shutil.which("codex", path=env.get("PATH", ""))
    if program is None:
        say(_NO_CODEX)
        return EXIT_NOT_FOUND

    def start(url: str) -> Start:
        labels = labels_of(settings, env, cwd)
        launch = codex_launch(env, read_codex_setup(env), _target(settings, url), labels)
        return Start(program, ("codex", *launch.arguments, *args), launch.env)

    return _launch(
        settings,
        env,
        lambda: start(_expected_url(settings)),
        start,
        gateway_command=gateway_command,
        clock=clock or SystemClock(),
        start_limit_s=start_limit_s,
        say=say,
    )


def _launch(
    settings: LaunchSettings,
    env: Mapping[str, str],
    check: Callable[[], object],
    start: Callable[[str], Start],
    *,
    gateway_command: Sequence[str] | None,
    clock: Clock,
    start_limit_s: float,
    say: Callable[[str], None],
) -> int:
    """Find or start the gateway, then run the agent; ``check`` refuses before one is started."""
    try:
        check()
        with Leases(settings.paths.make_state_dir() / LEASES_FOLDER).take() as lease:
            argv = gateway_command or gateway_argv(settings.gateway_arguments)
            found = ensure_gateway(
                settings.paths, GatewayCommand(argv, env), clock, limit_s=start_limit_s
            )
            if note := about_gateway(found, settings, is_seen=sys.stderr.isatty()):
                say(note)
            _check_key(found.health, settings.key)
            agent = start(found.health.url)
            for note in agent.notes:
                say(note)
            with reviving(_reviver(settings, env, gateway_command, clock)):
                return run_in_foreground(
                    agent.program, list(agent.argv), agent.env, on_start=lease.set_agent, say=say
                )
    except LaunchRefused as error:
        say(str(error))
        return EXIT_USAGE
    except StartFailed as error:
        say(str(error))
        return error.exit_code
    except (InstanceError, GatewayUnreachableError) as error:
        say(str(error))
        return EXIT_UNREACHABLE
    except OSError as error:
        say(f"cannot use {error.filename or settings.paths.state_dir}: {error.strerror}")
        return EXIT_UNREACHABLE


def find_claude(env: Mapping[str, str]) -> str | None:
    """The ``claude`` that the user's shell would run, or the one its own alias points to."""
    found = shutil.which("claude", path=env.get("PATH", ""))
    if found is None and (home := home_of(env)) is not None:
        found = shutil.which(str(home / ".claude" / "local" / "claude"))
    return found


def child_environment(
    settings: LaunchSettings, env: Mapping[str, str], cwd: Path, setup: ClaudeSetup, url: str
) -> ChildEnvironment:
    """What Claude Code gets from the gateway at ``url``; raises ``LaunchRefused``."""
    labels = labels_of(settings, env, cwd)
    return claude_environment(env, setup, _target(settings, url), labels)


def read_claude_setup(env: Mapping[str, str], cwd: Path, args: Sequence[str]) -> ClaudeSetup:
    """``read_setup`` as this platform needs it."""
    keychain = (lambda: keychain_login(env)) if sys.platform == "darwin" else None
    return read_setup(env, cwd, args, has_keychain_login=keychain)


def _expected_url(settings: LaunchSettings) -> str:
    """Where the gateway is or will be, so that a refusal starts none."""
    info = read(settings.paths)
    if info is not None and info.is_held and info.url:
        return info.url
    return connect_url(settings.host, settings.port)


def _target(settings: LaunchSettings, url: str) -> GatewayTarget:
    return GatewayTarget(
        url=url,
        key=settings.key,
        upstream_base_url=settings.upstream_base_url,
        has_own_key=settings.has_own_key,
    )


def labels_of(settings: LaunchSettings, env: Mapping[str, str], cwd: Path) -> Labels:
    """What the cost of a session in ``cwd`` is read by."""
    return Labels(
        project=project_name(cwd, home_of(env)),
        branch=branch(cwd),
        label=settings.label,
        pane=settings.pane,
    )


def about_gateway(found: Found, settings: LaunchSettings, *, is_seen: bool) -> str | None:
    """What a user would not expect of the gateway that is used, ``None`` when there is nothing.

    That one was started is told only where a person reads it (``is_seen``): scripts may take
    the command's error output together with its answer.
    """
    url = found.health.url
    if found.was_started and is_seen:
        return f"started a gateway at {url} in the background; it ends a minute after its last use"
    if settings.gateway_arguments and not found.was_started:
        return f"using the gateway that runs at {url}: the options before the agent's name do not change it"
    return None


def _reviver(
    settings: LaunchSettings,
    env: Mapping[str, str],
    gateway_command: Sequence[str] | None,
    clock: Clock,
) -> Reviver:
    """Brings back a gateway that dies while the agent runs, on the address the agent knows."""

    def command_of(dead: InstanceInfo) -> GatewayCommand:
        if gateway_command is not None:
            return GatewayCommand(gateway_command, env)
        return same_again(settings.paths, dead, env)

    return Reviver(settings.paths, clock, command_of)


def _check_key(gateway: Health, key: str) -> None:
    """A gateway started with another key would refuse every request of the session."""
    if call(gateway, "GET", "/providers", key=key).status in (401, 403):
        raise LaunchRefused(
            f"the gateway at {gateway.url} was started with another gateway key: start it again, "
            "or set STACKBILT_GATEWAY_KEY here as it was there"
        )

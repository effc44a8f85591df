"""The command line: every command, each importing no more than it needs.

stdout is data, stderr is narration. Only the branch that opens the screen imports Textual.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server import __version__
from tui.attach import attach, offer
from tui.command_base import (
    PROGRAM,
    flags_of,
    gateway_arguments,
    load_settings,
    port_number,
    say,
)
from tui.doctor import doctor
from tui.init import init
from tui.install.commands import COMMANDS as INSTALL_COMMANDS
from tui.lifecycle.aliases import ALIASES, ANSWERED
from tui.lifecycle.commands import COMMANDS
from tui.report_commands import COMMANDS as REPORT_COMMANDS
from tui.verification_commands import COMMANDS as VERIFICATION_COMMANDS

if TYPE_CHECKING:
    from server.gateway import Gateway
    from server.runner import Stop
    from server.settings_file import Loaded

EXIT_USAGE = 2
EXIT_INTERRUPT = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        return _run_command(argv)
    finally:
        _let_go_of_dead_streams()


def _let_go_of_dead_streams() -> None:
    """Keep the interpreter from replacing the exit code because a terminal or pipe is gone."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                setattr(sys, name, None)


def _run_command(argv: list[str] | None) -> int:
    try:
        result = cli.main(args=argv, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Abort:
        return EXIT_INTERRUPT
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPT
    except BrokenPipeError:
        sys.stdout = None
        return 0
    return int(result or 0)


SECTIONS: dict[str, tuple[str, ...]] = {
    "To begin": ("claude", "codex", "init", "doctor"),
    "In the background": ("up", "down", "restart", "status", "logs", "attach", "service"),
    "What it costs, and what it could save": ("report", "backtest", "explain", "purge"),
    "What may move": ("shadow", "verify", "live", "trust"),
    "Set-up": (
        "config", "connect", "disconnect", "install-launcher", "uninstall-launcher", "completions",
    ),
}  # fmt: skip
"""The commands in the order in which one comes to need them."""


class _Group(click.Group):
    """Takes other gateways' names for its commands, and suggests the nearest for a wrong one."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        for title, names in SECTIONS.items():
            rows = [(name, self.commands[name].get_short_help_str(70)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if (command := ALIASES.get(name)) in self.commands:
            say(f"`{name}` is called `{command}` here")
            args = [str(command), *args[1:]]
        elif name in ANSWERED and name not in self.commands:
            raise click.UsageError(f"No such command {name!r}: {ANSWERED[name]}.", ctx)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from error


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file to use."
)
@click.option("--host", metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port", callback=port_number, metavar="NUMBER", help="Port to listen on; 0 picks one."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What to log."
)
@click.option("--no-ui", is_flag=True, help="Serve without a screen; logs go to stderr.")
@click.option("--demo", is_flag=True, help="Simulated upstream and traffic; needs no key.")
@click.option("--lease", is_flag=True, hidden=True)
@click.option("--service", is_flag=True, hidden=True)
@click.option("--successor", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def cli(
    ctx: click.Context,
    config: Path | None,
    host: str | None,
    port: int | None,
    log_level: str | None,
    no_ui: bool,
    demo: bool,
    lease: bool,
    service: bool,
    successor: Path | None,
) -> int:
    """A local gateway between coding agents and model providers, with a live screen.

    Without a command it serves and shows every request as it happens. `sbgw-tui claude` runs
    Claude Code through it; `sbgw-tui --demo` shows it at work with no key and no client.
    """
    ctx.obj = {"config": config, "host": host, "port": port, "log_level": log_level}
    if ctx.invoked_subcommand is not None:
        return 0
    ways = {
        "has_lease": lease,
        "is_service": service,
        "successor": successor,
        "arguments": gateway_arguments(ctx),
    }
    return _serve(ctx, has_ui=not no_ui, is_demo=demo, ways=ways)


# ---------------------------------------------------------------------- serving


def _serve(ctx: click.Context, *, has_ui: bool, is_demo: bool, ways: dict[str, Any]) -> int:
    import asyncio

    from server.runner import CannotStart

    # The screen is drawn on stderr, so that one must be a terminal too.
    if has_ui and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        say("the screen needs a terminal; use --no-ui to serve without one")
        return EXIT_USAGE
    try:
        if is_demo:
            return asyncio.run(_demo(ctx, has_ui))
        loaded = load_settings(ctx)
        if has_ui and (code := offer(loaded)) is not None:
            return code
        return asyncio.run(_run(loaded, has_ui, ways=ways))
    except CannotStart as error:
        say(str(error))
        return int(error.code)
    except KeyboardInterrupt:
        return EXIT_INTERRUPT


async def _demo(ctx: click.Context, has_ui: bool) -> int:
    from server.demo.run import demo_home, traffic

    async with demo_home(flags_of(ctx)) as loaded:
        return await _run(loaded, has_ui, is_demo=True, beside=traffic)


async def _run(
    loaded: Loaded,
    has_ui: bool,
    *,
    ways: dict[str, Any] | None = None,
    is_demo: bool = False,
    beside: Callable[[Gateway], Any] | None = None,
) -> int:
    from contextlib import nullcontext

    from server import logs
    from server.runner import RunOptions, make_state_dir, run

    level = loaded.settings.server.log_level
    secrets = loaded.secrets.values()
    if has_ui:
        # Loaded before the gateway serves, because loading holds up everything in the event loop.
        import tui.app  # noqa: F401
        from tui.front import check_keys

        check_keys(loaded)
        make_state_dir(loaded.paths)
        logs.to_file(loaded.paths.log_file, level, secrets)
    else:
        logs.to_stderr(level, secrets)

    async def screen(gateway: Gateway, stop: Stop) -> None:
        from tui.front import show

        await show(gateway, stop, (ways or {}).get("arguments", ()))

    async def front(gateway: Gateway, stop: Stop) -> None:
        async with beside(gateway) if beside is not None else nullcontext():
            await (screen(gateway, stop) if has_ui else _headless(gateway, stop))

    options = RunOptions(is_demo=is_demo, has_screen=has_ui, say=say, **(ways or {}))
    return int(await run(loaded, os.environ, options, front))


async def _headless(gateway: Gateway, stop: Stop) -> None:
    is_shadow = gateway.services.settings.routing.shadow
    mode = "shadow: every request goes where it was sent" if is_shadow else "live"
    say(f"{__version__} serving on {gateway.url} ({mode})")
    await stop.ended.wait()


# ---------------------------------------------------------------------- commands


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run Claude Code through the gateway.",
)
@click.option("--label", help="Name to record this session's cost under.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def claude(ctx: click.Context, label: str | None, args: tuple[str, ...]) -> int:
    """Run Claude Code through the gateway, which is started if none runs.

    ARGS go to claude as they are. Its environment is your own, plus what points it here.
    Claude Code's own help: sbgw-tui claude -- --help
    """
    from tui.front import launch_settings
    from tui.launcher import launch_claude

    loaded = load_settings(ctx)
    settings = launch_settings(loaded, gateway_arguments=gateway_arguments(ctx), label=label)
    return launch_claude(args, settings=settings, env=os.environ, cwd=Path.cwd())


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run Codex through the gateway.",
)
@click.option("--label", help="Name to record this session's cost under.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def codex(ctx: click.Context, label: str | None, args: tuple[str, ...]) -> int:
    """Run Codex through the gateway, which is started if none runs.

    ARGS go to codex after the overrides that point it here; nothing is written into its home.
    Codex's own help: sbgw-tui codex -- --help
    """
    from tui.front import launch_settings
    from tui.launcher import launch_codex

    loaded = load_settings(ctx)
    arguments = gateway_arguments(ctx)
    settings = launch_settings(loaded, "openai", gateway_arguments=arguments, label=label)
    return launch_codex(args, settings=settings, env=os.environ, cwd=Path.cwd())


@cli.command(short_help="Say how the gateway understands one request.")
@click.argument("file", type=click.File("rb"))
@click.pass_context
def explain(ctx: click.Context, file: Any) -> int:
    """Say what the gateway makes of one request body (FILE, or - for stdin)."""
    from server.explain import explain as explain_request

    try:
        answer = explain_request(file.read())
    except ValueError as error:
        raise click.ClickException(f"{file.name}: {error}") from error
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


@cli.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the settings file.")
@click.pass_context
def config(ctx: click.Context, schema: bool) -> int:
    """Show every setting in force and where its value comes from."""
    from server.settings_show import describe, json_schema, places
    from tui.keys import resolve

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return 0
    loaded = load_settings(ctx)
    try:
        resolve(dict(loaded.settings.keys))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for what, place, state in places(loaded):
        say(f"{what}: {place} ({state})" if state else f"{what}: {place}")
    rows = describe(loaded)
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        click.echo(f"{key:{width}}  {value}" + (f"  # {source}" if source else ""))
    return 0


@cli.command(short_help="Let a project's gateway.config.json route.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--undo", is_flag=True, help="Take the trust back.")
@click.pass_context
def trust(ctx: click.Context, file: Path, undo: bool) -> int:
    """Let a project's gateway.config.json route (its present content only)."""
    from server.paths import find_paths
    from server.private_files import UnsafeFileError
    from server.trust import TrustStore

    store = TrustStore(find_paths(os.environ, Path.cwd()).trust_file)
    try:
        if undo:
            store.untrust(file)
        else:
            store.trust(file)
    except (OSError, UnsafeFileError) as error:
        raise click.ClickException(str(error)) from error
    change = "is not trusted any more" if undo else "may route, as long as it stays as it is"
    say(f"{file} {change}")
    return 0


for _command in (
    *(*COMMANDS, *INSTALL_COMMANDS, *REPORT_COMMANDS, *VERIFICATION_COMMANDS),
    *(attach, doctor, init),
):
    cli.add_command(_command)

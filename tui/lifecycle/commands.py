"""The lifecycle commands as the command line has them; each loads no more than it needs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.command_base import gateway_arguments, load_settings, port_number, say

if TYPE_CHECKING:
    from tui.lifecycle.run import DownOptions, Target

_EXIT_USAGE = 2

_here = click.option(
    "--port", "own_port", callback=port_number, metavar="NUMBER", help="Port to listen on."
)


def _target(ctx: click.Context, own_port: int | None = None, arguments: bool = True) -> Target:
    from server.clock import SystemClock
    from tui.lifecycle.run import Target

    root = ctx.find_root().obj
    if own_port is not None:
        root["port"] = own_port
    loaded = load_settings(ctx)
    return Target(
        paths=loaded.paths,
        clock=SystemClock(),
        env=os.environ,
        key=loaded.gateway_key.get_secret_value(),
        host=loaded.settings.server.host,
        port=loaded.settings.server.port,
        drain_s=loaded.settings.server.drain_s,
        arguments=gateway_arguments(ctx) if arguments else (),
        has_own_port=root["port"] not in (None, 0),
        say=say,
    )


def _done(result: tuple[int, str | None]) -> int:
    code, data = result
    if data is not None:
        click.echo(data)
    return code


@click.command(short_help="Start the gateway in the background.")
@_here
@click.pass_context
def up(ctx: click.Context, own_port: int | None) -> int:
    """Start the gateway in the background and wait until it serves; prints its URL.

    One gateway a home: if it runs already, that one is told to stay up.
    """
    from server.instance import InstanceError
    from tui.lifecycle.run import up as start

    try:
        return _done(start(_target(ctx, own_port)))
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


_now = click.option("--now", is_flag=True, help="Do not wait for running answers.")
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command(short_help="Stop the gateway.")
@_now
@_yes
@click.pass_context
def down(ctx: click.Context, now: bool, yes: bool) -> int:
    """Stop the gateway once its running answers have ended; 0 also when none runs.

    Names the sessions that lose their gateway, and asks first when a person can answer.
    """
    from server.instance import InstanceError
    from tui.lifecycle.run import down as stop

    try:
        return stop(_target(ctx), _how(now, yes))
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


def _how(now: bool, yes: bool) -> DownOptions:
    from tui.lifecycle.run import DownOptions

    is_asked = not (now or yes) and sys.stdin.isatty() and sys.stderr.isatty()
    return DownOptions(now, (lambda text: click.confirm(text, err=True)) if is_asked else None)


@click.command(short_help="Put a fresh gateway in the place of the running one.")
@_here
@_now
@_yes
@click.pass_context
def restart(ctx: click.Context, own_port: int | None, now: bool, yes: bool) -> int:
    """Put a fresh gateway in the place of the running one; prints its URL.

    The new one takes over the listening socket, so no client is refused, and running answers
    end in the old one. It gets the options the old one was started with, and those given here.
    """

    from server.instance import InstanceError, read
    from server.paths import find_paths
    from tui.lifecycle.run import restart as start_again

    try:
        before = read(find_paths(os.environ, Path.cwd()))
        if before is not None and before.is_held:
            _take_over_options(ctx, before.arguments)
        return _done(start_again(_target(ctx, own_port), _how(now, yes)))
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


def _take_over_options(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Options of the running gateway count where none is given now."""

    root = ctx.find_root().obj
    for flag, value in zip(arguments[::2], arguments[1::2], strict=False):
        name = flag.removeprefix("--").replace("-", "_")
        if name in root and root[name] is None:
            kinds = {"config": Path, "port": int}
            root[name] = kinds.get(name, str)(value)


@click.command(short_help="Say whether the gateway runs.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, as_data: bool) -> int:
    """Say whether the gateway runs, where, and how it is doing.

    Ends with 0 when it serves, 1 when none runs, 4 when it holds the lock and does not answer.
    """

    from server.clock import SystemClock
    from server.instance import InstanceError
    from server.paths import find_paths
    from tui.lifecycle.state import EXIT_DOWN, as_json, in_words, look

    paths = find_paths(os.environ, Path.cwd())
    try:
        condition = look(paths)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error
    found = as_json(condition, paths, SystemClock())
    if as_data:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, value in in_words(found):
            click.echo(f"{name:8} {value}")
        if condition.exit_code == EXIT_DOWN:
            say("sbgw-tui up starts it, sbgw-tui claude starts it as well")
    return condition.exit_code


@click.command(short_help="Show the log of the gateway in the background.")
@click.option("-n", "count", type=click.IntRange(min=0), default=120, show_default=True)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what is added.")
def logs(count: int, follows: bool) -> int:
    """Show the last lines of the log."""
    import time

    from server.paths import find_paths
    from tui.lifecycle.log_view import follow, shown, tail

    path = find_paths(os.environ, Path.cwd()).log_file
    if follows:
        for line in follow(path, count, time.sleep):
            click.echo(line)
        return 0
    try:
        with path.open("rb") as file:
            lines = tail(file, count)
    except FileNotFoundError:
        say(f"there is no log yet; sbgw-tui up begins it: {path}")
        return 0
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from error
    for data in lines:
        click.echo(shown(data))
    return 0


@click.command(short_help="Show or switch shadow on the running gateway.")
@click.argument("mode", type=click.Choice(["on", "off"]), required=False)
@click.option("--keep", is_flag=True, help="Keep `off` over a restart; `on` is always kept.")
@click.pass_context
def shadow(ctx: click.Context, mode: str | None, keep: bool) -> int:
    """Show or switch shadow: `on` observes only, `off` routes; prints `shadow` or `live`."""
    from server.instance import InstanceError
    from tui.lifecycle.run import shadow as switch

    try:
        wanted = None if mode is None else mode == "on"
        return _done(switch(_target(ctx), wanted, keep))
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


@click.command(short_help="Print shell completions.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completions(ctx: click.Context, shell: str) -> int:
    """Print the completions of both program names for SHELL.

    bash: eval "$(sbgw-tui completions bash)"
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from tui.lifecycle.aliases import NAMES, completion_variable

    kind = get_completion_class(shell)
    if kind is None:
        return _EXIT_USAGE
    for name in NAMES:
        complete = kind(ctx.find_root().command, {}, name, completion_variable())
        # The class's own ``source`` looks for the shell first; the script is right without it.
        click.echo(ShellComplete.source(complete))
    return 0


COMMANDS = (up, down, restart, status, logs, shadow, completions)

"""The commands of this package as the command line has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.command_base import gateway_arguments, load_settings, say

if TYPE_CHECKING:
    from tui.install.connect import Change

_EXIT_USAGE = 2
_CLIENTS = click.Choice(["claude", "codex", "vscode"])

_folder = click.option(
    "--bin", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder to use."
)
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command(short_help="Put the program on your PATH.")
@_folder
@click.option("--force", is_flag=True, help="Replace files of another origin.")
def install_launcher(folder: Path | None, force: bool) -> int:
    """Write sbgw-tui and stackbilt-gw into ~/.local/bin; they work from any directory."""
    from tui.install.launchers import (
        LauncherError,
        default_folder,
        install,
        this_installation,
        warnings,
    )

    folder = (folder or default_folder(os.environ)).absolute()
    try:
        paths = install(folder, this_installation(), is_forced=force)
    except LauncherError as error:
        raise click.ClickException(str(error)) from error
    for path in paths:
        click.echo(path)
    for warning in warnings(folder, os.environ):
        say(warning)
    return 0


@click.command(short_help="Take the program off your PATH again.")
@_folder
def uninstall_launcher(folder: Path | None) -> int:
    """Remove what install-launcher wrote; settings and records stay (see purge)."""
    from tui.install.launchers import LauncherError, default_folder, uninstall

    folder = (folder or default_folder(os.environ)).absolute()
    try:
        removed, kept = uninstall(folder)
    except LauncherError as error:
        raise click.ClickException(str(error)) from error
    for path in removed:
        click.echo(path)
    for path in kept:
        say(f"{path} is not ours and stays")
    if not removed:
        say(f"nothing of ours is in {folder}")
    return 0


@click.command(short_help="Print a service definition.")
@click.argument("kind", type=click.Choice(["systemd", "launchd"]), required=False)
@click.pass_context
def service(ctx: click.Context, kind: str | None) -> int:
    """Print a systemd user unit or a launchd property list that runs the gateway."""
    from tui.install.service import Service, how_to_use, kept_environment, launchd, systemd
    from tui.launch_gateway import gateway_argv

    loaded = load_settings(ctx)
    argv = gateway_argv(["--service", *gateway_arguments(ctx)], has_lease=False)
    content = Service(
        argv,
        kept_environment(os.environ),
        loaded.paths.log_file,
        loaded.settings.server.drain_s,
    )
    kind = kind or ("launchd" if sys.platform == "darwin" else "systemd")
    click.echo((launchd if kind == "launchd" else systemd)(content), nl=False)
    for line in how_to_use(kind):
        say(line)
    return 0


@click.command(short_help="Point a program at the gateway in its own settings.")
@click.argument("client", type=_CLIENTS)
@_yes
@click.pass_context
def connect(ctx: click.Context, client: str, yes: bool) -> int:
    """Change a client's own settings file so that it uses the gateway, for clients that are not
    started by `sbgw-tui claude`. Shows the change first; disconnect takes it back.
    """
    from server.instance import connect_url
    from tui.install.client_files import CLIENTS, gateway_url
    from tui.install.connect import ConnectError, plan_connect

    loaded = load_settings(ctx)
    server, key = loaded.settings.server, loaded.gateway_key.get_secret_value()
    if server.port == 0:
        raise click.ClickException("server.port is 0: a client needs a port that stays the same")
    found, base = CLIENTS[client], connect_url(server.host, server.port)
    own_urls = (base, f"http://localhost:{server.port}")
    try:
        url = gateway_url(base, key)
        change = plan_connect(found, os.environ, loaded.paths, url, own_urls)
        if not change.is_one:
            say(f"{found.title} is connected already: {change.path}")
            return 0
        code = _carry_out(ctx, client, change, yes, "" if loaded.has_default_key else key)
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if code == 0:
        say(
            f"{found.title} uses {base} from now on, so the gateway must run: sbgw-tui up, or "
            f"sbgw-tui service; sbgw-tui disconnect {client} takes this back"
        )
    return code


@click.command(short_help="Take back what connect changed.")
@click.argument("client", type=_CLIENTS)
@_yes
@click.pass_context
def disconnect(ctx: click.Context, client: str, yes: bool) -> int:
    """Put a client's settings file back as it was; later changes of yours in it stay."""
    from tui.install.client_files import CLIENTS
    from tui.install.connect import ConnectError, plan_disconnect

    loaded = load_settings(ctx)
    key = "" if loaded.has_default_key else loaded.gateway_key.get_secret_value()
    try:
        change = plan_disconnect(CLIENTS[client], loaded.paths)
        for name in change.kept:
            say(f"{name} was changed since and stays")
        code = _carry_out(ctx, client, change, yes, key)
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if code == 0:
        say(f"{CLIENTS[client].title} no longer uses the gateway, from its next start on")
    return code


def _carry_out(ctx: click.Context, client: str, change: Change, yes: bool, secret: str) -> int:
    from tui.install.client_files import CLIENTS
    from tui.install.connect import apply

    click.echo(change.diff(secret), nl=False)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            say("nothing was changed; add --yes")
            return _EXIT_USAGE
        if not click.confirm(f"Change {change.path}?", err=True):
            return 1
    apply(CLIENTS[client], change, load_settings(ctx).paths)
    return 0


@click.command(short_help="Forget recorded turns.")
@click.option("--session", metavar="ID", help="Those of one session; its first letters do.")
@click.option("--project", metavar="PATH", help="Those of one project, as a folder.")
@click.option("--all", "everything", is_flag=True, help="Everything that was recorded, logs too.")
@_yes
@click.pass_context
def purge(
    ctx: click.Context, session: str | None, project: str | None, everything: bool, yes: bool
) -> int:
    """Delete recorded turns for good, beside a running gateway or without one.

    Prints how many. Settings, keys and what connect changed stay. No prompt or answer was ever
    recorded.
    """
    if sum((session is not None, project is not None, everything)) != 1:
        raise click.UsageError("Name one of --session, --project and --all.", ctx)
    from tui.install.purge import PurgeError, choice_of, forget, plan

    paths = load_settings(ctx).paths
    try:
        choice = choice_of(paths, session, project, os.environ, Path.cwd())
        for line in plan(paths, choice):
            say(line)
        if not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                say("nothing was deleted; add --yes")
                return _EXIT_USAGE
            if not click.confirm("Delete them?", err=True):
                return 1
        done = forget(paths, choice)
    except PurgeError as error:
        raise click.ClickException(str(error)) from error
    for line in done.notes:
        say(line)
    click.echo(done.turns)
    return 0


COMMANDS = (install_launcher, uninstall_launcher, service, connect, disconnect, purge)

"""``attach``: the screen over a gateway that already runs, here or behind a tunnel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tui.command_base import load_settings, say

if TYPE_CHECKING:
    from server.paths import Paths
    from server.settings_file import Loaded
    from tui.client import Answer
    from tui.http_engine import Find

KEY_ENV = "SBGW_ATTACH_KEY"
LOG_FILE = "attach.log"

_EXIT_USAGE = 2
_EXIT_UNREACHABLE = 4


@click.command(short_help="Show the screen of a gateway that already runs.")
@click.argument("url", required=False)
@click.option(
    "--key-env",
    default=KEY_ENV,
    show_default=True,
    metavar="NAME",
    help="Variable that holds the key of a gateway elsewhere.",
)
@click.pass_context
def attach(ctx: click.Context, url: str | None, key_env: str) -> int:
    """Show the screen of a gateway that already runs; quitting leaves it running.

    Without URL this home's own. A gateway on another machine is reached through a tunnel, with
    the same port number on both ends: ssh -L 8787:127.0.0.1:8787 HOST
    """
    from server.instance import InstanceError
    from server.runner import CannotStart

    loaded = load_settings(ctx)
    try:
        return _attach(loaded, url, key_env)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error
    except CannotStart as error:
        say(str(error))
        return int(error.code)


def _attach(loaded: Loaded, url: str | None, key_env: str) -> int:
    from tui.client import Health, find

    own = find(loaded.paths)
    if url is None:
        if isinstance(own, Health):
            return open_own(loaded)
        reason = "no gateway runs here" if own is None else f"no answer from it: {own.reason}"
        say(f"{reason}; sbgw-tui up starts one, sbgw-tui shows it from the beginning")
        return _EXIT_UNREACHABLE
    wanted = _address(url)
    if _is_at(own, wanted):
        return open_own(loaded)
    return _open_other(loaded, wanted, key_env)


def _address(url: str) -> str:
    """The URL without a trailing slash; one without a scheme is plain HTTP."""
    from providers.transport import Origin

    text = url if "://" in url else f"http://{url}"
    try:
        origin, path = Origin.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    return f"{origin.scheme}://{origin.label}{path.decode()}"


def _is_at(own: Answer | None, url: str) -> bool:
    from tui.client import Health

    if not isinstance(own, Health):
        return False
    here = own.url.partition("://")[2]
    return url.partition("://")[2].replace("localhost:", "127.0.0.1:") == here


def open_own(loaded: Loaded) -> int:
    """The screen over this home's gateway, which proves itself before it gets the key."""
    return _open(loaded, own_place(loaded.paths, loaded.gateway_key.get_secret_value()), True)


def own_place(paths: Paths, key: str) -> Find:
    """Where this home's gateway is now, wherever it was started again."""
    import asyncio

    from server.engine import EngineUnreachable
    from server.instance import InstanceError
    from tui.client import Health, find
    from tui.http_engine import Place

    async def look() -> Place:
        try:
            found = await asyncio.to_thread(find, paths)
        except InstanceError as error:
            raise EngineUnreachable(str(error)) from error
        if isinstance(found, Health):
            return Place(found.url, key)
        raise EngineUnreachable("no gateway runs here" if found is None else found.reason)

    return look


def _open_other(loaded: Loaded, url: str, key_env: str) -> int:
    from providers.transport import Origin
    from server.config import DEFAULT_KEY
    from tui.http_engine import Place

    # This home's own key is nobody else's business, so it is never sent there.
    place = Place(
        url, os.environ.get(key_env) or DEFAULT_KEY, False, str(loaded.paths.make_state_dir())
    )
    origin, _ = Origin.parse(url)
    if origin.scheme == "http" and not origin.is_loopback:
        say(f"{url} is not encrypted: its key and what it shows can be read on the way")

    async def look() -> Place:
        return place

    return _open(loaded, look, False, f"; its key goes into {key_env}")


def _open(loaded: Loaded, find: Find, is_here: bool, hint: str = "") -> int:
    import asyncio
    import sys

    from server import logs
    from server.hardening import hardened
    from server.runner import CannotStart, make_state_dir
    from tui.front import check_keys, watch
    from tui.http_engine import KeyRefused

    # The screen is drawn on stderr, so that one must be a terminal too.
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        say("the screen needs a terminal")
        return _EXIT_USAGE
    check_keys(loaded)
    make_state_dir(loaded.paths)
    log_file = loaded.paths.state_dir / LOG_FILE
    logs.to_file(log_file, loaded.settings.server.log_level, loaded.secrets.values())
    try:
        with hardened():
            asyncio.run(watch(loaded, find, is_here=is_here))
    except CannotStart as error:
        more = hint if isinstance(error.__cause__, KeyRefused) else ""
        raise CannotStart(f"{error}{more}", error.code) from error
    return 0


def offer(loaded: Loaded) -> int | None:
    """Ask whether to attach when this home's gateway runs already; ``None`` when none does.

    A ``no`` ends the program as a second gateway of this home would end, with 3.
    """
    from server.instance import InstanceError
    from server.runner import Exit
    from tui.client import Health, find

    try:
        found = find(loaded.paths)
    except InstanceError:
        return None
    if not (isinstance(found, Health) and found.is_serving):
        return None
    say(f"this home's gateway already runs at {found.url}")
    if click.confirm("Attach to it?", default=True, err=True):
        return open_own(loaded)
    return int(Exit.BIND)

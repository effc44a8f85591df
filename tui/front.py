"""Opening the screen: over the gateway of this process, or attached to one of another."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import heap
from server.clock import SystemClock
from server.engine import EngineUnreachable
from server.leases import LEASES_FOLDER, Leases
from server.runner import CannotStart, Exit
from server.tasks import spawn
from tui.command_base import PROGRAM, say
from tui.keys import resolve
from tui.leaving import Departure
from tui.lifecycle.headless import leave_headless

if TYPE_CHECKING:
    from server.gateway import Gateway
    from server.runner import Stop
    from server.settings_file import Loaded
    from tui.agents import Preparer
    from tui.http_engine import Find
    from tui.launcher import LaunchSettings


def check_keys(loaded: Loaded) -> None:
    """Find a mistake in the key table before anything is started; raises ``CannotStart``."""
    try:
        resolve(dict(loaded.settings.keys))
    except ValueError as error:
        raise CannotStart(str(error), Exit.USAGE) from error


def program_name() -> str:
    """What to type in another terminal to run this program: a checkout is not on the path."""
    own = Path(sys.executable).with_name(PROGRAM)
    if shutil.which(PROGRAM) is None and os.access(own, os.X_OK):
        return shlex.quote(str(own))
    return PROGRAM


def launch_settings(loaded: Loaded, vendor: str = "anthropic", **more: Any) -> LaunchSettings:
    """What an agent of ``vendor`` is started with, from the settings."""
    from tui.launcher import LaunchSettings

    provider = loaded.settings.provider(vendor)
    return LaunchSettings(
        paths=loaded.paths,
        host=loaded.settings.server.host,
        port=loaded.settings.server.port,
        key=loaded.gateway_key.get_secret_value(),
        upstream_base_url=provider.base_url,
        has_own_key=_has_key(loaded, provider.api_key_env),
        **more,
    )


def _has_key(loaded: Loaded, key_env: str | None) -> bool:
    return bool(key_env and loaded.secrets.get(key_env))


def preparer(loaded: Loaded, env: Mapping[str, str]) -> Preparer:
    """Makes the commands of the agents that the screen starts."""
    from tui.agents import Preparer, Vendor

    openai = loaded.settings.provider("openai")
    vendor = Vendor(openai.base_url, _has_key(loaded, openai.api_key_env))
    return Preparer(launch_settings(loaded), vendor, env=env, cwd=Path.cwd())


def _looks(loaded: Loaded) -> dict[str, Any]:
    """How the screen looks, from the settings."""
    from tui.theme import theme_named

    ui = loaded.settings.ui
    return {
        "ascii": ui.ascii,
        "theme": theme_named(ui.theme, os.environ),
        "keymap": dict(loaded.settings.keys),
        "program": program_name(),
    }


async def show(gateway: Gateway, stop: Stop, arguments: Sequence[str]) -> None:
    """The screen over this process's gateway; ``arguments`` are the options it was given."""
    from tui.app import GatewayApp, QuitReason

    # Before the toolkit takes NO_COLOR away: what is started from here gets the user's own.
    env = dict(os.environ)
    is_leaving = False
    paths = gateway.loaded.paths

    async def drained() -> None:
        nonlocal is_leaving
        is_leaving = True
        if not stop.draining.is_set():
            stop.request()
        await stop.ended.wait()

    async def hand_over() -> str:
        return await leave_headless(paths, arguments, env, gateway.clock)

    async def ended() -> None:
        nonlocal is_leaving
        is_leaving = True
        await stop.ended.wait()

    leases = Leases(paths.state_dir / LEASES_FOLDER)
    app = GatewayApp(
        gateway,
        on_quit=drained,
        departure=Departure(hand_over, ended, lambda: len(leases.agents())),
        clock=gateway.clock,
        **_looks(gateway.loaded),
    )
    app.prepare = preparer(gateway.loaded, env)

    async def follow_signals() -> None:
        await stop.draining.wait()
        # A terminal that hung up is none any more: asking it fails.
        if not sys.stdin.isatty():
            app.hang_up()
        if app.is_running and not is_leaving:
            app.begin_quit()

    follower = spawn("follow signals", follow_signals())
    try:
        reason = await app.run_async()
    finally:
        follower.cancel()
    if reason is QuitReason.FORCE:
        stop.forced.set()
    elif reason is QuitReason.KEPT:
        say(
            f"the gateway goes on without a screen at {gateway.url}: "
            f"{program_name()} attach shows it, {program_name()} down stops it"
        )


async def watch(loaded: Loaded, find: Find, *, is_here: bool) -> None:
    """The screen over a gateway of another process; ``CannotStart`` when it does not answer.

    ``is_here``: agents can be started from it, because it is this home's own.
    """
    from tui.app import GatewayApp
    from tui.http_engine import HttpEngine

    env = dict(os.environ)
    clock = SystemClock()
    engine = HttpEngine(find, clock)
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGHUP)
    try:
        await engine.totals()
        app = GatewayApp(engine, is_attached=True, clock=clock, **_looks(loaded))
        if is_here:
            app.prepare = preparer(loaded, env)

        def leave() -> None:
            if not sys.stdin.isatty():
                app.hang_up()
            app.begin_quit()

        for number in numbers:
            loop.add_signal_handler(number, leave)
        tidy = spawn("heap", heap.keep(lambda: False, clock))
        try:
            await app.run_async()
        finally:
            tidy.cancel()
            for number in numbers:
                loop.remove_signal_handler(number)
    except EngineUnreachable as error:
        raise CannotStart(str(error), Exit.UNREACHABLE) from error
    finally:
        await engine.aclose()

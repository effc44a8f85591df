"""Leaving a screen while its gateway goes on: a headless one takes its place on the same socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from server.clock import Clock
from server.instance import InstanceError, read
from server.leases import LEASES_FOLDER, Leases
from server.paths import Paths
from tui.launch_gateway import EXIT_UNREACHABLE, GatewayCommand, StartFailed, gateway_argv
from tui.lifecycle.succession import CannotHandOver, succeed


async def leave_headless(
    paths: Paths, arguments: Sequence[str], env: Mapping[str, str], clock: Clock
) -> str:
    """Start a headless gateway in the place of this process's own; its URL.

    Returns when it serves. Answers that run here end here: wait for ``Stop.ended`` before the
    process goes. Settings that were changed and not kept do not go along; shadow is on there,
    unless the settings file says otherwise. Raises ``StartFailed``, and nothing has changed.
    """
    return await asyncio.to_thread(_leave, paths, arguments, env, clock)


def _leave(paths: Paths, arguments: Sequence[str], env: Mapping[str, str], clock: Clock) -> str:
    try:
        own = read(paths)
        if own is None or not own.is_held:
            raise StartFailed("this gateway does not serve", EXIT_UNREACHABLE)
        command = GatewayCommand(gateway_argv(arguments, has_lease=False), env)
        url = succeed(paths, own, command, clock)
        heir = read(paths)
        if heir is not None and heir.pid is not None:
            Leases(paths.make_state_dir() / LEASES_FOLDER).keep(heir.pid)
    except (CannotHandOver, InstanceError, OSError) as error:
        raise StartFailed(str(error), EXIT_UNREACHABLE) from error
    return url

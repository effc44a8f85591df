"""Commands by name: how a front end's words become a call, the same for everybody who has some."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from server.engine import CommandResult

_T = TypeVar("_T")


async def run(
    table: Mapping[str, Callable[..., Awaitable[_T]]], name: str, arguments: Mapping[str, Any]
) -> _T | CommandResult | None:
    """What the command gives; ``None`` when ``table`` has none of this name.

    Arguments that it does not take, or that are missing, are the caller's mistake and told as such.
    """
    command = table.get(name)
    if command is None:
        return None
    try:
        inspect.signature(command).bind(**arguments)
    except TypeError:
        return CommandResult(False, f"{name} was called with the wrong arguments")
    return await command(**arguments)

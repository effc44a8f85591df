"""Names that users of other gateways know, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NAMES = ("sbgw-tui", "stackbilt-gw")
"""The two names of the program."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "start": "up",
        "start:bg": "up",
        "stop": "down",
        "setup": "init",
        "install:global": "install-launcher",
        "uninstall:global": "uninstall-launcher",
    }
)
"""An old name and the command that runs in its place."""

ANSWERED: Mapping[str, str] = MappingProxyType(
    {
        "gateway": "leave out `gateway`: the commands stand directly after the program's name",
        "build": "there is nothing to build; `make check` is for developers",
        "typecheck": "there is nothing to compile; `make check` is for developers",
        "dev": "use `sbgw-tui` for the screen, `sbgw-tui --no-ui` without one",
    }
)
"""An old name that has no counterpart, and what to do."""


def completion_variable() -> str:
    """The environment variable by which a shell asks for completions."""
    return "_SBGW_TUI_COMPLETE"

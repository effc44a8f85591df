"""What every command needs: narration, the settings in force, and the options given."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from server.settings_file import Flags, Loaded

PROGRAM = "sbgw-tui"

_MOST_PORT = 65_535
_FORWARDED = ("config", "host", "port", "log_level")


def say(line: str) -> None:
    """One line of narration; a terminal that is gone must not end what it tells about."""
    with suppress(OSError):
        click.echo(f"{PROGRAM}: {line}", err=True)


def port_number(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A port number, refused in plain words."""
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or int(value) > _MOST_PORT:
        raise click.BadParameter(f"{value!r} is not a number from 0 to {_MOST_PORT}.", ctx, param)
    return int(value)


def flags_of(ctx: click.Context) -> Flags:
    """The options given before the command."""
    from server.settings_file import Flags

    return Flags(**ctx.find_root().obj)


def load_settings(ctx: click.Context) -> Loaded:
    """The settings in force; a mistake in them ends the command with 2."""
    from server.settings_file import SettingsError, load

    try:
        loaded = load(flags=flags_of(ctx), env=os.environ, cwd=Path.cwd())
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    for warning in loaded.warnings:
        say(f"{warning.level}: {warning}")
    return loaded


def gateway_arguments(ctx: click.Context) -> tuple[str, ...]:
    """The options given before the command, as a started gateway gets them; paths absolute."""
    given = ctx.find_root().obj
    out: list[str] = []
    for name in _FORWARDED:
        value = given[name]
        if value is not None:
            text = str(value.absolute()) if isinstance(value, Path) else str(value)
            out += [f"--{name.replace('_', '-')}", text]
    return tuple(out)

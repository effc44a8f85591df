"""``sbgw-tui init``: asks for keys, tries them, and writes the private ``.env``."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.command_base import flags_of, load_settings, say

if TYPE_CHECKING:
    from server.doctor.facts import Probe
    from server.settings_file import Loaded

PORT = "STACKBILT_GATEWAY_PORT"
REMOVE = "-"
"""Entered in place of a value, it takes the value out."""

_FIRST = ("groq", "cerebras", "anthropic", "openai", "cloudflare")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_PORT = 65_535
_EXIT_USAGE = 2

Ask = Callable[[str, bool], str]
"""Asks for one value; the flag says that what is typed must not be shown."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value that ``init`` can set."""

    name: str
    """Its environment variable."""
    about: str
    """Whom it is for, for people."""
    is_secret: bool = True
    provider: str | None = None
    """The provider to try it with."""


@click.command(short_help="Enter keys, try them, and see that all is well.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set without asking: NAME takes it from the environment, NAME=- from a line of stdin.",
)
@click.option("--unset", "removed", multiple=True, metavar="NAME", help="Take a value out.")
@click.option("--random-key", is_flag=True, help="Make a gateway key of your own.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
@click.option("--offline", is_flag=True, help="Try no key.")
@click.option("--no-doctor", is_flag=True, help="Leave out the doctor at the end.")
@click.pass_context
def init(
    ctx: click.Context,
    given: tuple[str, ...],
    removed: tuple[str, ...],
    random_key: bool,
    yes: bool,
    offline: bool,
    no_doctor: bool,
) -> int:
    """Enter the keys of providers into a private file, try each, and run the doctor.

    A value left blank stays as it is; a single - takes it out. What is typed is not shown.
    """
    from tui.doctor import run_doctor

    loaded = _to_mend(ctx)
    is_asking = not (given or removed or random_key or yes)
    if is_asking and not sys.stdin.isatty():
        say("there is no terminal to ask on; use --set NAME, --random-key or --yes")
        return _EXIT_USAGE
    known = list(wanted(loaded))
    changes = dict(_given(given, removed, known, os.environ))
    key_name = loaded.settings.server.key_env
    if random_key:
        changes[key_name] = new_gateway_key()
    if is_asking:
        changes |= _asked(loaded, known)
    try_keys(loaded, known, changes, is_asking=is_asking, is_offline=offline)
    _write(loaded, changes)
    code = 0 if no_doctor else run_doctor(lambda: flags_of(ctx), is_offline=offline)
    if code == 0:
        say(_next_step(loaded, has_changed=bool(changes)))
    return code


def _to_mend(ctx: click.Context) -> Loaded:
    """The settings, also where only a gateway key of one's own is missing: it is made here."""
    from dataclasses import replace

    from server.settings_file import SettingsError, load

    try:
        return load_settings(ctx)
    except click.ClickException:
        here = replace(flags_of(ctx), host="127.0.0.1")
        with suppress(SettingsError):
            return load(flags=here, env=os.environ, cwd=Path.cwd())
        raise


def wanted(loaded: Loaded) -> Iterator[Wanted]:
    """Everything that can be set, the cheap providers first, the gateway's own last."""
    names = [name for name in _FIRST if name in loaded.settings.providers]
    names += [name for name in loaded.settings.providers if name not in names]
    seen = set()
    for name in names:
        provider = loaded.settings.provider(name)
        found = [
            Wanted(provider.account_id_env or "", f"{provider.title} account id", False),
            Wanted(provider.api_key_env or "", f"{provider.title} key", provider=name),
        ]
        for one in found:
            if one.name and one.name not in seen:
                seen.add(one.name)
                yield one
    yield Wanted(loaded.settings.server.key_env, "gateway key that clients send")
    yield Wanted(PORT, "gateway port", is_secret=False)


def new_gateway_key() -> str:
    """A key nobody can guess."""
    return f"sbgw-{secrets.token_urlsafe(24)}"


def problem_with(name: str, value: str, known: Iterable[Wanted]) -> str | None:
    """Why ``value`` cannot be the value of ``name``, in words; ``None`` when it can."""
    from providers.profiles import is_account_id
    from server.settings_notes import is_header_text

    if name == PORT:
        is_number = value.isascii() and value.isdecimal() and 0 < int(value) <= _MOST_PORT
        return None if is_number else f"a port is a number from 1 to {_MOST_PORT}"
    one = next((w for w in known if w.name == name), None)
    if one is None:
        return None if value.isprintable() else "a value is one line of printable characters"
    if not one.is_secret:
        return None if is_account_id(value) else "an account id has letters, digits, - and _ only"
    return None if is_header_text(value) else "a key is printable ASCII without spaces"


# ---------------------------------------------------------------------------------- flags


def _given(
    texts: Iterable[str], removed: Iterable[str], known: list[Wanted], env: Mapping[str, str]
) -> Iterator[tuple[str, str | None]]:
    """The changes that the flags ask for; ``click.UsageError`` for what makes no sense."""
    for text in texts:
        name, has_value, value = text.partition("=")
        _check_name(name)
        if not has_value:
            if not env.get(name):
                raise click.UsageError(f"--set {name}: {name} is not set in the environment")
            value = env[name]
        elif value == "-":
            value = sys.stdin.readline().rstrip("\r\n")
            if not value:
                raise click.UsageError(f"--set {name}=-: there is no such line on stdin")
        elif not any(w.name == name and not w.is_secret for w in known):
            raise click.UsageError(
                f"--set {name}: other users can read a command line; export {name} and use "
                f"--set {name}, or send it to stdin with --set {name}=-"
            )
        value = value.strip()
        if (problem := problem_with(name, value, known)) is not None:
            raise click.UsageError(f"--set {name}: {problem}")
        yield name, value
    for name in removed:
        _check_name(name)
        yield name, None


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise click.UsageError(f"{name!r} is not the name of a variable")


# --------------------------------------------------------------------------------- asking


def _asked(loaded: Loaded, known: list[Wanted]) -> dict[str, str | None]:
    """What the user enters, blank values left out."""
    say("leave blank to keep a value, enter - to take it out; keys are not shown as you type")
    changes: dict[str, str | None] = {}
    for one in known:
        changes |= _one(loaded, one, known)
    key_name = loaded.settings.server.key_env
    if loaded.has_default_key and key_name not in changes:
        question = "Make a random gateway key? The present one is known to everybody."
        if click.confirm(question, default=False, err=True):
            changes[key_name] = new_gateway_key()
            say(f"clients that are set up by hand need it too: it stands in {_env_file(loaded)}")
    return changes


def _one(loaded: Loaded, one: Wanted, known: list[Wanted]) -> dict[str, str | None]:
    while True:
        value = click.prompt(
            f"{one.about} ({one.name}) [{_state(loaded, one)}]",
            default="",
            show_default=False,
            hide_input=one.is_secret,
            err=True,
        ).strip()
        if not value:
            return {}
        if value == REMOVE:
            return {one.name: None}
        if (problem := problem_with(one.name, value, known)) is None:
            return {one.name: value}
        say(problem)


def _state(loaded: Loaded, one: Wanted) -> str:
    if one.name == loaded.settings.server.key_env and loaded.has_default_key:
        return "the public default"
    if one.name == PORT:
        return str(loaded.settings.server.port)
    source = loaded.secrets.source(one.name)
    return "not set" if source is None else f"set, in {source}"


def _env_file(loaded: Loaded) -> Path:
    return loaded.paths.env_file


# --------------------------------------------------------------------------------- trying


def try_keys(
    loaded: Loaded,
    known: Iterable[Wanted],
    changes: dict[str, str | None],
    *,
    is_asking: bool,
    is_offline: bool,
) -> None:
    """Try each new key with its provider and say what came of it; refused ones may be dropped."""
    import asyncio
    from dataclasses import replace

    from server.clock import SystemClock
    from server.doctor.gather_providers import ask_providers
    from server.settings_env import EnvFile, Secrets, secret_names

    fresh = [w for w in known if w.provider is not None and changes.get(w.name)]
    if not fresh or is_offline:
        return
    now = {w.name: loaded.secrets.reveal(w.name) for w in known} | changes
    env = {name: value for name, value in now.items() if value}
    names = secret_names(loaded.settings)
    trial = replace(loaded, secrets=Secrets(env, EnvFile(_env_file(loaded)), names))
    providers = [w.provider for w in fresh if w.provider is not None]
    probes = asyncio.run(ask_providers(trial, os.environ, SystemClock(), providers))
    for one in fresh:
        probe = probes.get(one.provider or "")
        say(f"{one.about}: {_verdict(probe)}")
        is_refused = probe is not None and probe.status in (401, 403)
        if is_refused and is_asking and not click.confirm("Keep it anyway?", err=True):
            del changes[one.name]


def _verdict(probe: Probe | None) -> str:
    if probe is None:
        return "not tried, because its account id is missing"
    if probe.status == 200:
        return "it works"
    if probe.status in (401, 403):
        return f"it is refused (HTTP {probe.status})"
    if probe.status is not None:
        return f"the provider answers HTTP {probe.status}, which says nothing about the key"
    return f"not tried: {probe.text}"


# -------------------------------------------------------------------------------- writing


def _next_step(loaded: Loaded, *, has_changed: bool) -> str:
    from server.instance import InstanceError, read

    try:
        running = read(loaded.paths)
    except InstanceError:
        running = None
    if has_changed and running is not None and running.is_held:
        return "the gateway that runs has the values from before: sbgw-tui restart"
    return "next: sbgw-tui claude or sbgw-tui codex, or sbgw-tui for the screen"


def _write(loaded: Loaded, changes: Mapping[str, str | None]) -> None:
    from server.env_file import change
    from server.private_files import UnsafeFileError

    path = _env_file(loaded)
    if not changes:
        say("nothing was changed")
        return
    try:
        loaded.paths.make_settings_dir()
        change(path, changes)
    except (OSError, ValueError, UnsafeFileError) as error:
        raise click.ClickException(f"cannot write {path}: {error}") from error
    say(f"wrote {', '.join(changes)} to {path}")
    for name in changes:
        if name in os.environ:
            say(f"{name} is set in your environment as well, and that value wins")

"""``sbgw-tui doctor``: gathers the facts, has them judged, and prints what was found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.command_base import flags_of, say

if TYPE_CHECKING:
    from server.clock import Clock
    from server.doctor.facts import Facts, Machine, Port
    from server.doctor.finding import Finding
    from server.settings_file import Flags, Loaded
    from tui.launch_env import GatewayTarget

EXIT_FAILED = 5
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_INDENT = 8


@click.command(short_help="Say what is wrong here, and how to mend it.")
@click.option("--offline", is_flag=True, help="Ask no provider.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, offline: bool, as_json: bool) -> int:
    """Look at this installation, the keys, the network and the agents.

    Keys are tried by asking each provider for its models, which costs nothing. The gateway that
    runs, else one made for it, is tried with simulated vendors on this machine: nothing is billed
    or recorded. Ends with 5 when something does not work.
    """
    return run_doctor(lambda: flags_of(ctx), is_offline=offline, as_json=as_json)


def run_doctor(flags: Callable[[], Flags], *, is_offline: bool, as_json: bool = False) -> int:
    """Examine and print; 5 when there is a failure, else 0."""
    import logging

    from server.clock import SystemClock
    from server.doctor.finding import State, counted, worst

    # What the gateway under test has to say is judged, and would only confuse beside the findings.
    logging.getLogger("sbgw").addHandler(logging.NullHandler())
    findings = examine_here(flags, os.environ, Path.cwd(), SystemClock(), is_offline=is_offline)
    if as_json:
        click.echo(json.dumps(as_report(findings), indent=2, ensure_ascii=False))
    else:
        for line in lines(findings):
            click.echo(line)
    counts = {state: sum(f.state is state for f in findings) for state in State}
    say(f"{counted(counts[State.FAIL], 'failure')}, {counted(counts[State.WARN], 'warning')}")
    return EXIT_FAILED if worst(findings) is State.FAIL else 0


def as_report(findings: Sequence[Finding]) -> dict[str, object]:
    """``{"version", "state", "findings": [{theme, check, state, text, fix}]}``."""
    from server import __version__
    from server.doctor.finding import worst

    return {
        "version": __version__,
        "state": worst(findings).value,
        "findings": [finding.as_json() for finding in findings],
    }


def lines(findings: Iterable[Finding]) -> Iterable[str]:
    """The findings as text, theme by theme; colours are dropped where stdout is no terminal."""
    theme = ""
    for finding in findings:
        if finding.theme != theme:
            theme = finding.theme
            yield click.style(theme, bold=True)
        state = click.style(f"{finding.state.value:4}", fg=_COLOURS[finding.state.value])
        yield f"  {state}  {finding.text}"
        if finding.fix:
            yield f"{'':{_INDENT}}-> {finding.fix}"


# ------------------------------------------------------------------------------ gathering


def examine_here(
    flags: Callable[[], Flags],
    env: Mapping[str, str],
    cwd: Path,
    clock: Clock,
    *,
    is_offline: bool,
) -> list[Finding]:
    """Gather and judge; nothing that comes out holds a secret.

    ``flags`` is called here, because even they cannot be made where a package is missing.
    """
    import asyncio

    from server.doctor.examine import examine

    try:
        loaded, facts = asyncio.run(gather(flags(), env, cwd, clock, is_offline=is_offline))
    except (ImportError, OSError) as error:
        loaded, facts = None, _damaged(env, cwd, error)
    return masked(examine(facts), loaded, env)


def masked(
    findings: Iterable[Finding], loaded: Loaded | None, env: Mapping[str, str]
) -> list[Finding]:
    """``findings`` without anything that is, or looks like, a secret."""
    from server.redact import Redactor

    known = set(loaded.secrets.values()) if loaded is not None else set()
    known |= {value for name, value in env.items() if name.endswith(("_KEY", "_TOKEN"))}
    if loaded is not None and not loaded.has_default_key:
        known.add(loaded.gateway_key.get_secret_value())
    redact = Redactor(known - {loaded.key_hint if loaded is not None else None, ""})
    return [replace(f, text=redact(f.text), fix=redact(f.fix)) for f in findings]


def _damaged(env: Mapping[str, str], cwd: Path, error: ImportError | OSError) -> Facts:
    """What can still be said of an installation that lacks packages or files."""
    from server.doctor.facts import Facts
    from server.doctor.gather_machine import machine

    return Facts(machine=_lacking(machine(env, cwd, cwd), error))


def _lacking(machine: Machine, error: ImportError | OSError) -> Machine:
    """``machine`` with what ``error`` names added to what is missing."""
    if isinstance(error, ImportError):
        names = dict.fromkeys([*machine.missing_packages, error.name or str(error)])
        return replace(machine, missing_packages=tuple(names))
    from server.doctor.gather_machine import ROOT

    text = str(error.filename or error).removeprefix(f"{ROOT}{os.sep}")
    return replace(machine, missing_files=tuple(dict.fromkeys([*machine.missing_files, text])))


async def gather(
    flags: Flags,
    env: Mapping[str, str],
    cwd: Path,
    clock: Clock,
    *,
    is_offline: bool,
    tries_contract: bool = True,
) -> tuple[Loaded | None, Facts]:
    """Everything the doctor looks at.

    ``ImportError`` and ``OSError`` when packages or files of the program are missing.
    """
    from server.doctor.facts import Facts, SettingsFacts
    from server.doctor.gather_machine import machine
    from server.doctor.gather_state import (
        ledger_facts,
        network_facts,
        private_files,
        settings_facts,
    )
    from server.paths import find_paths
    from server.settings_file import SettingsError, load

    paths = find_paths(env, cwd)
    facts = Facts(
        machine=machine(env, cwd, paths.state_dir),
        files=private_files(paths),
        ledger=ledger_facts(paths.ledger_file),
        is_offline=is_offline,
    )
    try:
        loaded = load(flags=flags, env=env, cwd=cwd)
    except SettingsError as error:
        problems = tuple(str(problem) for problem in error.problems)
        return None, replace(facts, settings=SettingsFacts(problems=problems))
    except OSError as error:
        problems = (f"{error.filename}: {error.strerror}",)
        return None, replace(facts, settings=SettingsFacts(problems=problems))
    port = gateway_port(loaded)
    url = _url(port)
    facts = replace(
        facts,
        settings=settings_facts(loaded),
        files=private_files(paths, loaded.config_file),
        port=port,
        network=network_facts(env, url, loaded),
    )
    facts = await _beyond(facts, loaded, env, cwd, url, clock)
    return loaded, await _with_contract(facts, loaded) if tries_contract else facts


async def _beyond(
    facts: Facts, loaded: Loaded, env: Mapping[str, str], cwd: Path, url: str, clock: Clock
) -> Facts:
    """Adds what takes a while: providers, clients and prices."""
    import asyncio

    from server.doctor.gather_providers import ask_providers, price_facts, provider_facts
    from tui.doctor_clients import client_facts

    targets = (_target(loaded, "anthropic", url), _target(loaded, "openai", url))
    asking = ask_providers(loaded, env, clock, [] if facts.is_offline else None)
    probes, clients = await asyncio.gather(asking, client_facts(env, cwd, *targets))
    providers = provider_facts(loaded, probes)
    models = [(p.name, m) for p in providers if p.has_key and p.key_name for m in p.models]
    prices = price_facts(loaded.settings, models, clock.time())
    return replace(facts, providers=providers, clients=clients, prices=prices)


async def _with_contract(facts: Facts, loaded: Loaded) -> Facts:
    from tui.doctor_contract import with_contract

    try:
        return await with_contract(facts, loaded)
    except ImportError as error:
        # Only the gateway itself needs this package: everything else was looked at.
        return replace(facts, machine=_lacking(facts.machine, error), outcome_problem=str(error))


def gateway_port(loaded: Loaded) -> Port:
    """Who has the port: nobody, this home's gateway, or somebody else."""
    from server import __version__
    from server.doctor.facts import Port
    from server.doctor.gather_state import port_state
    from server.instance import InstanceError, read
    from server.processes import owner_of_port
    from tui.client import Health, ask

    host, number = loaded.settings.server.host, loaded.settings.server.port
    try:
        info = read(loaded.paths)
        answer = ask(info, loaded.paths) if info is not None and info.is_held else None
    except InstanceError as error:
        return Port(host, number, "unanswered", detail=str(error))
    if info is not None and answer is not None:
        served = info.port or number
        if not isinstance(answer, Health):
            return Port(host, served, "unanswered", detail=answer.reason)
        return Port(
            host,
            served,
            "ours",
            own_version=__version__,
            version=answer.version,
            status=answer.status,
        )
    state, detail = port_state(host, number)
    owner = owner_of_port(number) if state == "taken" else None
    return Port(host, number, state, f"pid {owner.pid} ({owner.command})" if owner else "", detail)


def _url(port: Port) -> str:
    from server.instance import connect_url

    return connect_url(port.host, port.port or 1)


def _target(loaded: Loaded, name: str, url: str) -> GatewayTarget:
    from tui.launch_env import GatewayTarget

    provider = loaded.settings.provider(name)
    key_name = provider.api_key_env
    return GatewayTarget(
        url=url,
        key=loaded.gateway_key.get_secret_value(),
        upstream_base_url=provider.base_url,
        has_own_key=bool(key_name and loaded.secrets.get(key_name)),
    )

"""Every lifecycle command of the reference works here, or says what to use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import module_probe
import pytest
from click.testing import CliRunner

from tui.cli import cli
from tui.lifecycle.aliases import ALIASES, ANSWERED

ROWS = {
    "up": "up",
    "start": "up",
    "start:bg": "up",
    "down": "down",
    "stop": "down",
    "restart": "restart",
    "status": "status",
    "logs": "logs",
    "install:global": "install-launcher",
    "uninstall:global": "uninstall-launcher",
}
"""A command or script of the reference, and what answers it."""

NOT_LOADED = {"textual", "rich", "quart", "hypercorn", "werkzeug", "flask"}


@pytest.mark.parametrize(("theirs", "ours"), ROWS.items())
def test_it_is_the_command_it_is_called_here(theirs: str, ours: str) -> None:
    done = CliRunner().invoke(cli, [theirs, "--help"], prog_name="sbgw-tui")
    assert done.exit_code == 0, done.output
    assert f"Usage: sbgw-tui {ours}" in done.output


@pytest.mark.parametrize("name", ANSWERED)
def test_what_has_no_counterpart_is_answered(name: str) -> None:
    done = CliRunner().invoke(cli, [name])
    assert (done.exit_code, ANSWERED[name] in done.output) == (2, True)


def test_no_old_name_hides_a_command() -> None:
    assert not (ALIASES.keys() | ANSWERED.keys()) & cli.commands.keys()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 1),
        (["down"], 0),
        (["shadow"], 4),
        (["completions", "bash"], 0),
        (["service"], 0),
        (["connect", "claude"], 2),
        (["purge", "--all"], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_it_loads_neither_screen_nor_server(
    sbgw_home: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-E", "-P", module_probe.__file__, str(report), *arguments],
        env={"PATH": os.defpath, "SBGW_HOME": str(sbgw_home), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(report.read_text())}
    assert "tui" in loaded
    assert loaded & NOT_LOADED == set()

"""What somebody reads who knows nothing yet: the help, and the hints of idle commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from lifecycle_home import LifecycleHome

from tui.cli import SECTIONS, cli, main


def test_every_command_has_its_place_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [name for names in SECTIONS.values() for name in names]
    public = {name for name, command in cli.commands.items() if not command.hidden}
    assert sorted(shown) == sorted(public)
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"{title}:") for title in SECTIONS]
    assert places == sorted(places)
    assert "sbgw-tui --demo" in text
    assert not [
        line for line in text.splitlines() if line.startswith("  ") and line.endswith("...")
    ]


def test_idle_commands_say_what_starts_a_gateway(tmp_path: Path) -> None:
    with LifecycleHome(tmp_path) as home:
        status = home.quick("status")
        shadow = home.quick("shadow")
        logs = home.quick("logs")
        live = home.quick("live", "title")
    assert (status.code, shadow.code, logs.code, live.code) == (1, 4, 0, 4)
    for said in (status, shadow, logs, live):
        assert "sbgw-tui up" in said.err, said
    assert "sbgw-tui" not in status.out.replace(str(tmp_path), "")

"""Launchers, services and connected clients, as the command line makes them."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_clock import FakeClock
from gateway_process import ROOT
from lifecycle_home import LifecycleHome
from turn_factory import finished

from server.ledger import Ledger
from tui.install.launchers import MARK, Installation, script
from tui.install.launchers import install as install_launchers

pytestmark = pytest.mark.faults

KEY = "a-key-of-my-own-0123"
URL = f"http://127.0.0.1:8787/k/{KEY}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[LifecycleHome]:
    with LifecycleHome(tmp_path) as found:
        found.write_config("")
        found.env["STACKBILT_GATEWAY_KEY"] = KEY
        found.env["PATH"] = os.environ["PATH"]
        yield found


# ---------------------------------------------------------------------- launchers


def test_the_launchers_run_anywhere_and_leave_nothing(home: LifecycleHome) -> None:
    done = home.quick("install-launcher")
    assert done.code == 0, done
    folder = home.user_home / ".local" / "bin"
    names = [folder / "sbgw-tui", folder / "stackbilt-gw"]
    assert done.out.splitlines() == [str(name) for name in names]
    assert f"{folder} is not on your PATH" in done.err
    assert names[0].read_text().splitlines()[0].endswith(" -I")

    hostile = home.folder / "hostile"
    for package in ("sbgw", "server", "tui", "click", "runpy"):
        (hostile / package).mkdir(parents=True)
        (hostile / package / "__init__.py").write_text("raise SystemExit('hostile')")
    for name in names:
        run = subprocess.run(
            [name, "--version"],
            cwd=hostile,
            env=os.environ | home.env | {"PYTHONPATH": str(hostile)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith("sbgw-tui, version ")

    again = home.quick("install:global", PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert again.code == 0
    assert "not on your PATH" not in again.err
    assert home.quick("uninstall:global").code == 0
    assert list(folder.iterdir()) == []
    assert "nothing of ours" in home.quick("uninstall-launcher").err


def test_a_file_of_another_origin_stays(home: LifecycleHome) -> None:
    folder = home.folder / "bin"
    folder.mkdir()
    theirs = folder / "stackbilt-gw"
    theirs.write_text("#!/bin/sh\n")
    refused = home.quick("install-launcher", "--bin", str(folder))
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert [p.name for p in folder.iterdir()] == ["stackbilt-gw"]
    assert home.quick("uninstall-launcher", "--bin", str(folder)).code == 0
    assert theirs.exists()
    assert home.quick("install-launcher", "--force", "--bin", str(folder)).code == 0
    assert MARK in theirs.read_text()


def test_another_program_of_that_name_is_told(home: LifecycleHome) -> None:
    other = home.folder / "other"
    install_launchers(other, Installation("/usr/bin/python3", ROOT / "sbgw.py"))
    folder = home.folder / "bin"
    path = os.pathsep.join([str(other), str(folder)])
    done = home.quick("install-launcher", "--bin", str(folder), PATH=path)
    assert f"another sbgw-tui comes first on your PATH: {other / 'sbgw-tui'}" in done.err


def test_an_interpreter_that_no_first_line_can_name_is_run_too(home: LifecycleHome) -> None:
    folder = home.folder / ("it's a long way " + "x" * 120)
    folder.mkdir()
    shown = home.folder / "main.py"
    shown.write_text("import sys; print(sys.flags.isolated, sys.argv[1:])")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shutil.which("python3")} "$@"\n')
    python.chmod(0o755)
    launcher = home.folder / "launcher"
    launcher.write_text(script(Installation(str(python), shown)))
    launcher.chmod(0o755)
    run = subprocess.run([launcher, "a b", "c"], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("1 ['a b', 'c']", "")


# ---------------------------------------------------------------------- service


def test_the_unit_starts_this_program_and_holds_no_key(home: LifecycleHome) -> None:
    done = home.quick("--port", "9123", "service", "systemd")
    assert done.code == 0, done
    assert KEY not in done.out
    (start,) = [line for line in done.out.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith('"--no-ui" "--service" "--port" "9123"')
    assert f'Environment="SBGW_HOME={home.folder}"' in done.out
    assert "daemon-reload" in done.err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd's own check")
def test_systemd_understands_the_unit(home: LifecycleHome) -> None:
    unit = home.folder / "sbgw-tui.service"
    unit.write_text(home.quick("service", "systemd").out + "\n")
    run = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", unit],
        env=os.environ | {"XDG_RUNTIME_DIR": str(home.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in run.stderr.splitlines() if unit.name in line] == []


def test_the_property_list_is_one(home: LifecycleHome) -> None:
    content = plistlib.loads(home.quick("service", "launchd").out.encode())
    assert content["ProgramArguments"][-2:] == ["--no-ui", "--service"]
    assert content["EnvironmentVariables"] == {"SBGW_HOME": str(home.folder)}
    assert content["KeepAlive"] == {"SuccessfulExit": False}


# ---------------------------------------------------------------------- connect

CLAUDE = '{\n    "model": "opus",\n    "env": {\n        "FOO": "1"\n    }\n}\n'
CODEX = '# mine\nmodel = "gpt-6"  # good\n\n[tui]\ntheme = "dark"\n'


def file_of(home: LifecycleHome, client: str) -> Path:
    return {
        "claude": home.user_home / ".claude" / "settings.json",
        "codex": home.user_home / ".codex" / "config.toml",
        "vscode": home.user_home / ".config" / "Code" / "User" / "settings.json",
    }[client]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_claude_is_connected_and_put_back_byte_for_byte(home: LifecycleHome) -> None:
    path = file_of(home, "claude")
    write(path, CLAUDE)
    path.chmod(0o640)

    asked = home.quick("connect", "claude")
    assert (asked.code, path.read_text()) == (2, CLAUDE)
    assert '+        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787/k/***"' in asked.out.splitlines()
    assert KEY not in asked.out + asked.err

    done = home.quick("connect", "claude", "--yes")
    assert done.code == 0, done
    content = json.loads(path.read_text())
    assert content == {"model": "opus", "env": {"FOO": "1", "ANTHROPIC_BASE_URL": URL}}
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.with_name("settings.json.sbgw-backup").stat().st_mode & 0o777 == 0o600
    assert "connected already" in home.quick("connect", "claude", "--yes").err

    back = home.quick("disconnect", "claude", "--yes")
    assert (back.code, path.read_text()) == (0, CLAUDE)
    assert KEY not in back.out + back.err
    assert [p.name for p in path.parent.iterdir()] == ["settings.json"]
    assert home.quick("disconnect", "claude", "--yes").code == 2


def test_what_the_user_changed_since_stays(home: LifecycleHome) -> None:
    path = file_of(home, "claude")
    write(path, CLAUDE)
    home.quick("connect", "claude", "--yes")
    content = json.loads(path.read_text()) | {"theme": "light"}
    write(path, json.dumps(content))
    assert home.quick("disconnect", "claude", "--yes").code == 0
    assert json.loads(path.read_text()) == json.loads(CLAUDE) | {"theme": "light"}

    home.quick("connect", "claude", "--yes")
    content["env"] = {"ANTHROPIC_BASE_URL": "http://elsewhere.invalid"}
    write(path, json.dumps(content))
    kept = home.quick("disconnect", "claude", "--yes")
    assert (kept.code, "was changed since and stays" in kept.err) == (0, True)
    assert json.loads(path.read_text()) == content


@pytest.mark.parametrize("client", ["claude", "codex", "vscode"])
def test_a_file_that_was_not_there_is_gone_again(home: LifecycleHome, client: str) -> None:
    path = file_of(home, client)
    done = home.quick("connect", client, "--yes")
    assert done.code == 0, done
    assert URL in path.read_text()
    done = home.quick("disconnect", client, "--yes")
    assert (done.code, "no longer uses the gateway" in done.err) == (0, True)
    assert list(home.user_home.iterdir()) == []


def test_a_folder_that_somebody_uses_since_stays(home: LifecycleHome) -> None:
    path = file_of(home, "vscode")
    assert home.quick("connect", "vscode", "--yes").code == 0
    (path.parent / "keybindings.json").write_text("[]")
    assert home.quick("disconnect", "vscode", "--yes").code == 0
    assert [p.name for p in path.parent.iterdir()] == ["keybindings.json"]


def test_codex_keeps_comments_and_its_login_pays(home: LifecycleHome) -> None:
    path = file_of(home, "codex")
    write(path, CODEX)
    write(path.with_name("auth.json"), json.dumps({"tokens": {"access_token": "x"}}))
    assert home.quick("connect", "codex", "--yes").code == 0
    text = path.read_text()
    assert all(line in text for line in CODEX.splitlines())
    content = tomllib.loads(text)
    assert content["model_provider"] == "sbgw"
    provider = content["model_providers"]["sbgw"]
    assert (provider["base_url"], provider["wire_api"]) == (f"{URL}/v1", "responses")
    assert provider["requires_openai_auth"] is True
    write(path, text + "[more]\nx = 1\n")
    assert home.quick("disconnect", "codex", "--yes").code == 0
    assert tomllib.loads(path.read_text()) == tomllib.loads(CODEX) | {"more": {"x": 1}}
    assert "# mine" in path.read_text()


def test_vscode_keeps_the_other_variables(home: LifecycleHome) -> None:
    path = file_of(home, "vscode")
    entry = {"name": "FOO", "value": "1"}
    write(path, json.dumps({"claudeCode.environmentVariables": [entry]}))
    assert home.quick("connect", "vscode", "--yes").code == 0
    assert json.loads(path.read_text()) == {
        "claudeCode.environmentVariables": [entry, {"name": "ANTHROPIC_BASE_URL", "value": URL}]
    }


VSCODE = """\
{
    // how I like it
    "editor.fontSize": 13, /* small */
    "claudeCode.environmentVariables": [
        { "name": "FOO", "value": "1" }, // needed at work
    ],
    // the end
}
"""


def test_vscode_keeps_comments_and_trailing_commas(home: LifecycleHome) -> None:
    path = file_of(home, "vscode")
    write(path, VSCODE)
    done = home.quick("connect", "vscode", "--yes")
    assert done.code == 0, done
    changed = [line for line in done.out.splitlines() if line[:1] in "+-" and line[1:2] == " "]
    assert len(changed) == 4, done.out
    assert {line[:1] for line in changed} == {"+"}
    assert KEY not in done.out
    assert all(line in path.read_text() for line in VSCODE.splitlines())
    assert path.with_name("settings.json.sbgw-backup").read_text() == VSCODE

    more = path.read_text().replace("// the end", "// the very end")
    more = more.replace("// needed at work", '// still\n        {"name": "BAR", "value": "2"},')
    write(path, more)
    back = home.quick("disconnect", "vscode", "--yes")
    assert (back.code, "stays" in back.err) == (0, False), back
    mine = VSCODE.replace("// the end", "// the very end")
    assert path.read_text() == mine.replace(
        "// needed at work", '// still\n        {"name": "BAR", "value": "2"},'
    )

    write(path, VSCODE)
    assert home.quick("connect", "vscode", "--yes").code == 0
    assert home.quick("disconnect", "vscode", "--yes").code == 0
    assert path.read_text() == VSCODE
    assert [p.name for p in path.parent.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    ("client", "text", "said"),
    [
        ("vscode", '{"a": /* mine', "set this there by hand"),
        ("vscode", '{"claudeCode.environmentVariables": {}}', "is not a list"),
        ("claude", "{ // mine\n}\n", "set this there by hand"),
        ("claude", "[]", "set this there by hand"),
        ("codex", "a = [", "set this there by hand"),
        ("claude", '{"env": 3}', "env is not a table"),
        ("claude", '{"env": {"ANTHROPIC_BASE_URL": "https://x.invalid"}}', "another address"),
        ("codex", 'model_provider = "azure"\n', "another address"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_stays(
    home: LifecycleHome, client: str, text: str, said: str
) -> None:
    path = file_of(home, client)
    write(path, text)
    done = home.quick("connect", client, "--yes")
    assert (done.code, path.read_text()) == (2, text)
    assert said in done.err
    assert KEY not in done.out + done.err


def test_a_link_to_the_file_stays_a_link(home: LifecycleHome) -> None:
    path, real = file_of(home, "claude"), home.user_home / "dotfiles.json"
    write(real, CLAUDE)
    path.parent.mkdir()
    path.symlink_to(real)
    assert home.quick("connect", "claude", "--yes").code == 0
    assert path.is_symlink()
    assert URL in real.read_text()


def test_a_port_that_changes_cannot_be_connected(home: LifecycleHome) -> None:
    home.write_config("[server]\nport = 0\n")
    done = home.quick("connect", "claude", "--yes")
    assert (done.code, "server.port is 0" in done.err) == (2, True)


# ---------------------------------------------------------------------- purge


def record(home: LifecycleHome) -> Path:
    """A ledger with four turns of two sessions in two projects."""
    path = home.state_dir / "ledger.sqlite3"
    ledger = Ledger(path, clock=FakeClock(), boot_id="boot-1")
    ledger.start()
    for session, project in (("one-1", "~/work"), ("one-2", "/there")) * 2:
        ledger.close_turn(finished(session=session, project=project))
    assert ledger.flush(10)
    ledger.close(10)
    return path


def left(home: LifecycleHome) -> list[str]:
    return sorted(session for (session,) in home.rows("SELECT session FROM turns"))


def test_a_session_is_forgotten_when_it_is_meant(home: LifecycleHome) -> None:
    path = record(home)
    assert home.quick("purge").code == 2
    assert home.quick("purge", "--all", "--session", "x").code == 2
    assert "2 sessions begin" in home.quick("purge", "--session", "one", "--yes").err
    asked = home.quick("purge", "--session", "one-1")
    assert (asked.code, "2 turns of session one-1" in asked.err) == (2, True)
    assert len(left(home)) == 4
    copy = path.with_name(path.name + ".backup-v1")
    copy.touch()
    done = home.quick("purge", "--session", "one-1", "--yes")
    assert (done.code, done.out) == (0, "2")
    assert str(copy) in done.err
    assert left(home) == ["one-2", "one-2"]


def test_a_project_is_named_by_a_folder_in_it(home: LifecycleHome) -> None:
    record(home)
    folder = home.user_home / "work"
    folder.mkdir()
    assert home.quick("purge", "--project", str(folder), "--yes").out == "2"
    assert home.quick("purge", "--project", "/there", "--yes").out == "2"
    assert left(home) == []


def test_everything_is_forgotten_but_settings_and_keys(home: LifecycleHome) -> None:
    path = record(home)
    for name in ("ledger.sqlite3.spill-x.jsonl", "gateway.log", "gateway.log.1", "trusted.json"):
        (home.state_dir / name).write_text("x")
    assert home.quick("purge", "--all", "--yes").out == "4"
    assert not path.exists()
    assert [p.name for p in home.state_dir.iterdir()] == ["trusted.json"]
    assert home.quick("purge", "--all", "--yes").out == "0"


def test_a_running_gateway_goes_on_after_a_purge(home: LifecycleHome) -> None:
    home.write_config("[server]\nport = 0\n")
    record(home)
    assert home.run("up").code == 0
    done = home.quick("purge", "--all", "--yes")
    assert (done.code, done.out) == (0, "4")
    assert "until sbgw-tui restart" in done.err
    assert json.loads(home.quick("status", "--json").out)["ledger"] == "ok"
    assert left(home) == []

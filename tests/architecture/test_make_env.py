"""The set-up behind make: quick when there is nothing to do, careful, and plain when it fails."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import make_env
import pytest

Command = tuple[str, ...]


class Machine:
    """Stands in for every program the set-up would run; ``broken`` are words that fail."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.broken: set[str] = set()
        self.ran: list[Command] = []

    def run(self, *command: str, quiet: bool = True, cwd: Path | None = None) -> bool:
        self.ran.append(command)
        if any(word in self.broken for word in command):
            return False
        if "venv" in command:
            self.venv.mkdir(exist_ok=True)
            (self.venv / "pyvenv.cfg").touch()
        return True

    def commands(self, word: str) -> list[Command]:
        return [command for command in self.ran if word in command]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A copy of what the set-up reads, on a machine with uv where every command works."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("pyproject.toml", make_env.PANES, *make_env.LOCKS.values()):
        shutil.copy(make_env.ROOT / name, root)
    machine = Machine(root / ".venv")
    monkeypatch.setattr(make_env, "ROOT", root)
    monkeypatch.setattr(make_env, "VENV", machine.venv)
    monkeypatch.setattr(make_env, "PYTHON", machine.venv / "bin" / "python")
    monkeypatch.setattr(make_env, "_runs", machine.run)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return machine


def test_the_second_call_installs_nothing(machine: Machine) -> None:
    assert make_env.main(["run"]) == 0
    assert len(machine.commands("install")) == 3
    assert make_env.main(["run"]) == 0
    assert len(machine.commands("install")) == 3


def test_a_system_without_the_panes_engine_gets_everything_else(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.broken.add(str(make_env.ROOT / make_env.PANES))
    assert make_env.main(["run"]) == 0
    assert "agents in panes are left out" in capsys.readouterr().err
    assert make_env.main(["run"]) == 0


def test_only_hashed_versions_are_installed_and_the_project_without_dependencies(
    machine: Machine,
) -> None:
    make_env.main(["dev"])
    pinned, itself = machine.commands("install")
    assert {"--require-hashes", "--no-deps"} <= set(pinned)
    assert pinned[-1].endswith("requirements-dev.lock")
    assert {"--no-deps", "--no-build-isolation", "-e"} <= set(itself)


def test_what_develops_can_also_run(machine: Machine) -> None:
    make_env.main(["dev"])
    count = len(machine.commands("install"))
    assert make_env.main(["run"]) == 0
    assert len(machine.commands("install")) == count


def test_developing_adds_to_an_environment_that_runs(machine: Machine) -> None:
    make_env.main(["run"])
    (machine.venv / "in-use").touch()
    assert make_env.main(["dev"]) == 0
    assert (machine.venv / "in-use").exists()


@pytest.mark.parametrize("change", ["lock", "dependencies", "dead python"])
def test_a_stale_environment_is_made_anew(machine: Machine, change: str) -> None:
    make_env.main(["run"])
    (machine.venv / "old").touch()
    if change == "lock":
        with (make_env.ROOT / "requirements.lock").open("a") as lock:
            lock.write("# changed\n")
    elif change == "dependencies":
        project = make_env.ROOT / "pyproject.toml"
        project.write_text(project.read_text("utf-8").replace("click>=8.1", "click>=8.2"))
    else:
        machine.broken.add(make_env._HEALTH)
    assert make_env.main(["run"]) == 0
    assert not (machine.venv / "old").exists()


def test_a_new_lint_rule_changes_nothing(machine: Machine) -> None:
    before = make_env.fingerprint("run")
    project = make_env.ROOT / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace("line-length = 100", "line-length = 99"))
    assert make_env.fingerprint("run") == before


def test_a_folder_that_is_no_environment_is_left_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.venv.mkdir()
    (machine.venv / "thesis.txt").touch()
    assert make_env.main(["run"]) == 1
    assert (machine.venv / "thesis.txt").exists()
    assert "not a virtual environment" in capsys.readouterr().err


def test_pip_tries_what_uv_cannot_install(machine: Machine) -> None:
    machine.broken.add("/bin/uv")
    assert make_env.main(["run"]) == 0
    assert "pip" in machine.commands("install")[-1]


def test_a_venv_without_pip_uses_one_from_elsewhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.broken.add("/bin/uv")
    own = machine.run

    def without_ensurepip(*command: str, quiet: bool = True, cwd: Path | None = None) -> bool:
        if command[-2:-1] == ("venv",):
            machine.ran.append(command)
            return False
        return own(*command, quiet=quiet, cwd=cwd)

    monkeypatch.setattr(make_env, "_runs", without_ensurepip)
    assert make_env.main(["run"]) == 0
    assert "--without-pip" in machine.commands("venv")[-1]
    assert "--python" in machine.commands("install")[-1]


def test_a_failed_installation_is_one_plain_line(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.broken.update({"/bin/uv", "--require-hashes"})
    assert make_env.main(["run"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("make: could not install")
    assert make_env.main(["run"]) == 1


def test_when_no_way_works_one_line_says_what_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    machine.broken.add("venv")
    assert make_env.main(["run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "python3-venv" in line
    assert "uv" in line


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment")
def test_the_python_to_build_with_is_not_one_that_building_removes() -> None:
    """The tests run in a virtual environment themselves; so does make in an activated one."""
    assert not Path(make_env._OWN).is_relative_to(sys.prefix)

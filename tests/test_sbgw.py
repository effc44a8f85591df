"""The front door alone, in front of three tiny packages that report what they see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

SBGW = Path(__file__).resolve().parents[1] / "sbgw.py"
REPORT = """
import json, os, sys
def main():
    print(json.dumps({
        "argv": sys.argv, "env": dict(os.environ), "pid": os.getpid(), "path": sys.path,
        "sheltered": bool(sys.flags.ignore_environment and sys.flags.safe_path),
        "user_site": not sys.flags.no_user_site, "b": sys.flags.dont_write_bytecode,
    }))
    return 7
"""
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "MY_TOKEN": "ü=1"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has nothing installed, this project least of all."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """``sbgw.py`` and minimal packages beside it, installed nowhere."""
    folder = tmp_path / "checkout"
    for package in ("providers", "server", "tui"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    (folder / "tui" / "cli.py").write_text(REPORT)
    shutil.copy(SBGW, folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A user's project with packages of our names, which say so when they are imported."""
    folder = tmp_path / "elsewhere"
    for package in ("providers", "server", "tui", "importlib", "click"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise SystemExit('theirs')")
    return folder


def _run(
    *command: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=ENVIRONMENT | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (7, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_bare_checkout_runs_as_a_module(python: Path, checkout: Path) -> None:
    report = _report(_run(python, "-m", "sbgw", "one", "two words", "--", "-x", "", cwd=checkout))
    assert report["argv"] == ["sbgw-tui", "one", "two words", "--", "-x", ""]
    assert report["sheltered"] is True
    assert report["user_site"] is True


def test_the_environment_is_passed_on_untouched(
    python: Path, checkout: Path, elsewhere: Path
) -> None:
    mine = {"PYTHONPATH": f".{os.pathsep}{elsewhere}", "PYTHONUTF8": "1", "PYTHONHASHSEED": "3"}
    report = _report(_run(python, checkout / "sbgw.py", cwd=checkout, env=mine))
    assert report["env"] == ENVIRONMENT | mine
    assert str(elsewhere) not in report["path"]


def test_the_process_stays_the_same(python: Path, checkout: Path) -> None:
    with subprocess.Popen(
        [python, "-m", "sbgw"], cwd=checkout, env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["pid"] == process.pid


@pytest.mark.parametrize("flags", [["-I"], ["-E", "-P"], ["-E"], ["-P"], []])
def test_every_way_of_starting_is_sheltered(
    python: Path, checkout: Path, elsewhere: Path, flags: list[str]
) -> None:
    done = _run(python, *flags, checkout / "sbgw.py", cwd=elsewhere, env={"PYTHONPATH": "."})
    report = _report(done)
    assert report["sheltered"] is True
    assert str(elsewhere) not in report["path"]


def test_no_bytecode_stays_no_bytecode(python: Path, checkout: Path) -> None:
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert _report(_run(python, "-m", "sbgw", cwd=checkout, env=env))["b"] == 1


def test_a_symbolic_link_finds_its_way_home(python: Path, checkout: Path, elsewhere: Path) -> None:
    link = elsewhere / "gateway"
    link.symlink_to(checkout / "sbgw.py")
    assert _report(_run(python, link, cwd=elsewhere))["argv"] == ["sbgw-tui"]


def test_a_missing_package_is_named(python: Path, checkout: Path) -> None:
    shutil.rmtree(checkout / "server")
    done = _run(python, "-m", "sbgw", cwd=checkout)
    assert done.returncode == 2
    assert "'server' is missing" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("kind", ["package", "namespace", "module"])
def test_a_package_from_elsewhere_is_refused_without_running_it(
    python: Path, checkout: Path, elsewhere: Path, kind: str
) -> None:
    if kind != "package":
        shutil.rmtree(elsewhere / "server")
    if kind == "module":
        (elsewhere / "server.py").write_text("raise SystemExit('theirs')")
    if kind == "namespace":
        shutil.rmtree(checkout / "server")
        (elsewhere / "server").mkdir()
    code = "import sys; sys.path += sys.argv[1:]; import sbgw; raise SystemExit(sbgw.main())"
    done = _run(python, "-I", "-c", code, elsewhere, checkout, cwd=elsewhere)
    assert done.returncode == 2
    assert str(elsewhere) in done.stderr
    assert str(checkout) in done.stderr
    assert "theirs" not in done.stderr

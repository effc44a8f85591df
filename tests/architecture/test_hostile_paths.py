"""Started inside somebody else's project, installed as a wheel or editable, ours still runs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from server import __version__

ROOT = Path(__file__).resolve().parents[2]
THEIRS = "their module was imported"
NAMES = ("providers", "server", "tui", "textual", "rich", "click", "httpx", "pydantic", "quart")
REQUEST = b'{"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "Hello"}]}'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    out = tmp_path_factory.mktemp("wheel")
    _checked(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The ``bin`` folder of a fresh environment that holds the program, installed by pip."""
    folder = tmp_path_factory.mktemp(str(request.param))
    binaries = _environment(folder)
    what = [str(wheel)] if request.param == "wheel" else ["--no-build-isolation", "-e", str(ROOT)]
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python")]
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--no-input"]
    _checked(*pip, "install", *options, *what)
    return binaries


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A project whose packages carry our names and those of our dependencies."""
    for name in NAMES:
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text(f"raise SystemExit({THEIRS!r})")
    return tmp_path / "theirs"


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONPATH": "."},
        {"PYTHONPATH": ":/nonexistent"},
        {"PYTHONPATH": "{hostile}"},
        {"PYTHONPATH": ".", "PYTHONSAFEPATH": "1"},
        {"PYTHONPATH": ".", "PYTHONSTARTUP": "server/__init__.py"},
    ],
    ids=["dot", "empty entry", "absolute", "safe path", "startup file"],
)
def test_a_hostile_python_path_changes_nothing(
    installed: Path, hostile: Path, variables: dict[str, str]
) -> None:
    env = {name: value.format(hostile=hostile) for name, value in variables.items()}
    done = _start(installed / "sbgw-tui", "--version", cwd=hostile, env=env)
    assert _is_ours(done)
    assert __version__.encode() in done.stdout


@pytest.mark.parametrize("command", [["config"], ["explain", "-"]], ids=["config", "explain"])
def test_commands_that_load_more_of_the_program(
    installed: Path, hostile: Path, command: list[str]
) -> None:
    undisturbed = _start(installed / "sbgw-tui", *command, cwd=hostile.parent)
    done = _start(installed / "sbgw-tui", *command, cwd=hostile, env={"PYTHONPATH": "."})
    assert _is_ours(done)
    assert done.stdout == undisturbed.stdout != b""


def test_both_names_start_the_same_program(installed: Path, hostile: Path) -> None:
    first, second = (
        _start(installed / name, "--version", cwd=hostile) for name in ("sbgw-tui", "stackbilt-gw")
    )
    assert _is_ours(first)
    assert first.stdout == second.stdout


@pytest.mark.parametrize("start", ["sbgw-tui", "-E -P -m sbgw", "-I -m sbgw"])
def test_a_hostile_front_door_in_the_working_directory(
    installed: Path, hostile: Path, start: str
) -> None:
    (hostile / "sbgw.py").write_text(f"raise SystemExit({THEIRS!r})")
    name, *flags = start.split() if start == "sbgw-tui" else ["python", *start.split()]
    assert _is_ours(_start(installed / name, *flags, "--version", cwd=hostile))


def test_the_hostile_modules_would_bite(installed: Path, hostile: Path) -> None:
    done = _start(installed / "python", "-c", "import textual", cwd=hostile)
    assert THEIRS.encode() in done.stderr


def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"sbgw.py", "providers", "server", "tui"}
    tracked = {str(p.relative_to(ROOT)) for t in sorted(tops) for p in (ROOT / t).rglob("*.py")}
    tracked = {name for name in tracked if not name.startswith("server/classify/training/")}
    assert {name for name in names if name.endswith(".py")} == tracked | {"sbgw.py"}


def _environment(folder: Path) -> Path:
    """A virtual environment that sees the dependencies of this one, but not the project."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def _start(
    program: Path, *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    base = {"PATH": os.defpath, "HOME": str(cwd), "SBGW_HOME": str(cwd.parent / "home")}
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=base | (env or {}),
        input=REQUEST,
        capture_output=True,
        check=False,
        timeout=60,
    )


def _is_ours(done: subprocess.CompletedProcess[bytes]) -> bool:
    said = done.stdout + done.stderr
    return done.returncode == 0 and THEIRS.encode() not in said


def _checked(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""Builds ``.venv`` from a hash-pinned lock file; ``python3 make_env.py run|dev``, used by make.

Needs nothing but a Python with its standard library. Ways to get an installer, best first: uv;
``venv`` with its own pip; ``venv --without-pip`` with the pip of the calling Python, a pip wheel
of the system, or the one that Debian's own client fetches. Repeated calls only compare a stamp.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
PANES = "requirements-panes.lock"
"""What agents in panes need; the program runs without it, and not every system has wheels of it."""

_OLDEST = (3, 11)
_NEWEST_MINOR = 15
_HEALTH = "from importlib.util import find_spec as f; exit(not (f('sbgw') and f('click')))"
_BUILD_SECTIONS = ("[build-system]", "[project", "[tool.hatch")
_SHELTERED = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV")

# Never one inside an environment, which may be the one to remove; found before it is removed.
_OWN = os.path.realpath(sys.executable) if sys.prefix != sys.base_prefix else sys.executable

Installer = list[str]
"""A command that installs into ``VENV`` once requirements are appended."""


class UnavailableError(Exception):
    """One way of building the environment does not work here; ``str()`` says why."""


class SetupError(Exception):
    """Nothing else is worth trying; ``str()`` says why."""


def main(argv: list[str]) -> int:
    """Make ``.venv`` fit for ``run`` or ``dev``; 0 when it is, 1 with one plain line if not."""
    level = argv[0]
    with _one_at_a_time():
        if _is_ready(level):
            return 0
        try:
            _build(level)
        except SetupError as problem:
            _say(str(problem))
            return 1
    return 0


def fingerprint(level: str) -> str:
    """Digest of everything the finished environment depends on."""
    sections = re.split(r"(?m)^(?=\[)", (ROOT / "pyproject.toml").read_text("utf-8"))
    parts = [
        str(ROOT),
        Path(__file__).read_text("utf-8"),
        (ROOT / LOCKS[level]).read_text("utf-8"),
        (ROOT / PANES).read_text("utf-8"),
        *(text for text in sections if text.startswith(_BUILD_SECTIONS)),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _is_ready(level: str) -> bool:
    return _stamped(level) and _runs(str(PYTHON), "-I", "-c", _HEALTH)


def _stamped(level: str) -> bool:
    try:
        return _stamp(level).read_text("utf-8") == fingerprint(level)
    except OSError:
        return False


def _stamp(level: str) -> Path:
    return VENV / f".ready-{level}"


def _build(level: str) -> None:
    adding = level == "dev" and _is_ready("run")
    reasons = []
    for way in (_with_uv, _with_venv, _with_bare_venv):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                if not adding:
                    _clear()
                _fill(way(Path(scratch), adding), level)
                return
            except UnavailableError as problem:
                reasons.append(str(problem))
    raise SetupError(
        f"cannot set up .venv: {'; '.join(reasons)}. "
        "Install uv, or Python's venv module (Debian, Ubuntu: python3-venv), and try again."
    )


def _clear() -> None:
    """Remove the old environment, and nothing that is not one."""
    if VENV.is_symlink():
        VENV.unlink()
    elif (VENV / "pyvenv.cfg").exists() or not VENV.exists():
        shutil.rmtree(VENV, ignore_errors=True)
    elif any(VENV.iterdir()):
        raise SetupError(".venv is not a virtual environment; move it away")


def _fill(installer: Installer, level: str) -> None:
    _say(f"installing {LOCKS[level]} into .venv ...")
    pinned = ["--no-deps", "--require-hashes", "-r", str(ROOT / LOCKS[level])]
    itself = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    for requirement in (pinned, itself):
        if not _runs(*installer, *requirement, quiet=False):
            reason = f"could not install {requirement[-1]}; the reason is above"
            if Path(installer[0]).name != "uv":
                raise SetupError(reason)
            # pip may know an index or a proxy that uv has not been told of.
            _say(f"uv {reason}; trying pip")
            raise UnavailableError(f"uv {reason}")
    if level == "run":
        panes = ["--no-deps", "--require-hashes", "-r", str(ROOT / PANES)]
        if not _runs(*installer, *panes):
            _say("agents in panes are left out: their terminal engine has no build for this system")
    for ready in ("run", level) if level == "dev" else (level,):
        _stamp(ready).write_text(fingerprint(ready), "utf-8")


def _with_uv(_scratch: Path, adding: bool) -> Installer:
    uv = shutil.which("uv")
    if uv is None:
        raise UnavailableError("uv is not installed")
    wanted = _OWN if sys.version_info >= _OLDEST else ">=3.11"
    if not adding and not _runs(uv, "venv", "--quiet", "--python", wanted, str(VENV), quiet=False):
        raise UnavailableError("uv could not make a virtual environment (its reason is above)")
    return [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]


def _with_venv(_scratch: Path, adding: bool) -> Installer:
    if not adding:
        made = _runs(_new_enough(), "-I", "-m", "venv", str(VENV))
        if not made:
            raise UnavailableError("this Python's venv has no pip (ensurepip is missing)")
    return _pip(str(PYTHON), "-m", "pip")


def _with_bare_venv(scratch: Path, adding: bool) -> Installer:
    python = _new_enough()
    if not adding and not _runs(python, "-I", "-m", "venv", "--without-pip", str(VENV)):
        raise UnavailableError("this Python has no venv module")
    if _runs(python, "-m", "pip", "--python", str(PYTHON), "--version"):
        return _pip(python, "-m", "pip", "--python", str(PYTHON))
    wheel = _system_wheel("/") or _debian_wheel(scratch)
    if wheel is None:
        raise UnavailableError("no pip and no pip wheel was found")
    return _pip(str(PYTHON), f"{wheel}/pip")


def _pip(*command: str) -> Installer:
    if not _runs(*command, "--version"):
        raise UnavailableError("the virtual environment has no pip")
    return [*command, "install", "-qq", "--no-compile", "--no-input", "--disable-pip-version-check"]


def _system_wheel(root: str) -> str | None:
    found = glob.glob(os.path.join(root, "usr/share/python-wheels/pip-*.whl"))
    return found[0] if found else None


def _debian_wheel(scratch: Path) -> str | None:
    """Fetch and unpack Debian's pip wheel; needs no root, and touches nothing of the system."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    _say("fetching a pip wheel with apt-get ...")
    fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    if not _runs(*fetch, "download", "python3-pip-whl", cwd=scratch):
        private = scratch / "lists"
        (private / "partial").mkdir(parents=True)
        fetch += ["-o", f"Dir::State::Lists={private}", "-o", f"Dir::Cache={scratch}"]
        if not _runs(*fetch, "update", cwd=scratch):
            return None
        if not _runs(*fetch, "download", "python3-pip-whl", cwd=scratch):
            return None
    for package in scratch.glob("*.deb"):
        _runs("dpkg-deb", "-x", str(package), str(scratch))
    return _system_wheel(str(scratch))


def _new_enough() -> str:
    """A Python that can run the program: the calling one, else the newest on the path."""
    if sys.version_info >= _OLDEST:
        return _OWN
    for minor in range(_NEWEST_MINOR, _OLDEST[1] - 1, -1):
        if (found := shutil.which(f"python3.{minor}")) is not None:
            return found
    raise UnavailableError("Python 3.11 or newer is needed, and none was found")


def _runs(*command: str, quiet: bool = True, cwd: Path = ROOT) -> bool:
    """Whether the command works; unless ``quiet``, what it prints goes to stderr."""
    environment = {k: v for k, v in os.environ.items() if k not in _SHELTERED} | {"PIP_USER": "0"}
    output = subprocess.DEVNULL if quiet else sys.stderr
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two makes at once must not build the same folder."""
    with open(__file__, encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stderr.write(f"make: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Facts about this machine: Python, packages, disk, terminal. Standard library only."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from server.doctor.facts import Machine, Terminal, Version

DISTRIBUTION = "sbgw-tui"
ROOT = Path(__file__).resolve().parents[2]
"""Where the packages of this program stand."""

DATA_FILES = (
    "sbgw.py",
    "providers/data/profiles.toml",
    "providers/data/traits.toml",
    "server/doctor/contract.toml",
    "tui/gateway.tcss",
)
"""Files that a broken wheel or a partial copy may lack."""

_FOLDERS = ("providers/", "server/", "tui/")
_OURS = ("providers", "server", "tui", "textual", "sitecustomize", "usercustomize")
"""Module names that another project may shadow, and modules that Python runs by itself."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?")
_SPECIFIER = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")


def machine(env: Mapping[str, str], cwd: Path, state_dir: Path, root: Path = ROOT) -> Machine:
    """Look at the machine; never raises."""
    missing, wrong = packages(requirements(root))
    is_sheltered = bool(sys.flags.ignore_environment and sys.flags.safe_path)
    folders = env.get("PYTHONPATH", "").split(os.pathsep)
    if not is_sheltered:
        folders.append(str(cwd))
    return Machine(
        python=tuple(sys.version_info[:3]),
        executable=sys.executable,
        is_sheltered=is_sheltered,
        missing_packages=missing,
        wrong_versions=wrong,
        missing_files=tuple(n for n in expected_files(root) if not (root / n).is_file()),
        hostile_paths=tuple(hostile(folders, root)),
        state_dir=str(state_dir),
        free_bytes=free_bytes(state_dir),
        terminal=terminal(env),
    )


def expected_files(root: Path = ROOT) -> list[str]:
    """What must be below ``root``: all that a wheel brought there, else the data files known here."""
    names = dict.fromkeys(DATA_FILES)
    try:
        found = metadata.distribution(DISTRIBUTION)
        if Path(str(found.locate_file(""))).resolve() == root:
            ours = (str(file) for file in found.files or [])
            names |= dict.fromkeys(n for n in ours if n.startswith(_FOLDERS) and ".pyc" not in n)
    except metadata.PackageNotFoundError:
        pass
    return list(names)


def requirements(root: Path = ROOT) -> tuple[str, ...]:
    """What the program needs, as its own metadata or its checkout says."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
        if project["name"] == DISTRIBUTION:
            return tuple(project["dependencies"])
    except (OSError, ValueError, LookupError):
        pass
    try:
        found = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ()
    return tuple(text for text in found if "extra ==" not in text)


def packages(wanted: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The missing ones of ``wanted``, and those of another version as ``name version, wanted X``."""
    missing, wrong = [], []
    for text in wanted:
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            continue
        name, specifiers = match[1], match[2].strip()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if not fits(version, specifiers):
            wrong.append(f"{name} {version}, wanted {specifiers}")
    return tuple(missing), tuple(wrong)


def fits(version: str, specifiers: str) -> bool:
    """Whether ``version`` is in ``specifiers`` such as ``>=0.20,<0.23``."""
    has = numbers(version)
    for operator, text in _SPECIFIER.findall(specifiers):
        wants = numbers(text)
        size = max(len(has), len(wants))
        left, right = (part + (0,) * (size - len(part)) for part in (has, wants))
        is_so = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "<": left < right,
            ">": left > right,
        }
        if not is_so[operator]:
            return False
    return True


def numbers(version: str) -> Version:
    """The leading numbers of ``version``: ``1.2.3rc1`` gives ``(1, 2, 3)``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def hostile(folders: Sequence[str], root: Path = ROOT) -> Iterable[tuple[str, str]]:
    """Folders of a module path that hold a module with a name of ours, and that name."""
    for folder in dict.fromkeys(folders):
        path = Path(folder)
        if not folder or path.resolve() == root:
            continue
        for name in _OURS:
            if (path / name).is_dir() or (path / f"{name}.py").is_file():
                yield folder, name


def free_bytes(folder: Path) -> int | None:
    """Free space for this user on the disk of ``folder``, which need not exist yet."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            try:
                return shutil.disk_usage(place).free
            except OSError:
                return None
    return None


def terminal(env: Mapping[str, str]) -> Terminal:
    """The terminal on stdout."""
    size = shutil.get_terminal_size()
    return Terminal(
        is_tty=sys.stdout is not None and sys.stdout.isatty(),
        term=env.get("TERM", ""),
        colours=env.get("COLORTERM", "").lower(),
        columns=size.columns,
        lines=size.lines,
        encoding=(getattr(sys.stdout, "encoding", None) or "").lower(),
    )

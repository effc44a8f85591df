"""``install-launcher``: the program under both its names in a folder of the user's PATH.

The scripts run an isolated interpreter (``-I``), so that neither ``PYTHONPATH`` nor the working
directory can put another module in the place of ours.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui.lifecycle.aliases import NAMES

MARK = "# Written by sbgw-tui install-launcher; uninstall-launcher removes it."

_LONGEST_SHEBANG = 120
"""Linux cuts the first line of a script at 127 or 255 bytes, by version."""
_START = 4096


class LauncherError(Exception):
    """Nothing was changed; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the launchers start."""

    python: str
    program: Path
    """``sbgw.py``."""
    extra: tuple[str, ...] = ()
    """Folders of modules that an isolated interpreter does not look into."""


def this_installation() -> Installation:
    """The running program."""
    program = Path(__file__).resolve().parents[2] / "sbgw.py"
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    used = [user] if user and user in sys.path and Path(user).is_dir() else []
    return Installation(sys.executable, program, tuple(used))


def default_folder(env: Mapping[str, str]) -> Path:
    """``~/.local/bin``."""
    return Path(env.get("HOME") or Path.home()) / ".local" / "bin"


def script(installation: Installation) -> str:
    """The text of a launcher."""
    lines = [
        MARK,
        "import runpy, sys",
        *(f"sys.path.append({folder!r})" for folder in installation.extra),
        f"runpy.run_path({str(installation.program)!r}, run_name='__main__')",
    ]
    first = f"#!{installation.python} -I"
    if " " in installation.python or len(first.encode()) > _LONGEST_SHEBANG:
        # A first line that is read by the shell and by Python: to Python it is a string.
        quoted = "'" + installation.python.replace("'", "'\\''") + "'"
        lines.insert(0, f"''''exec {quoted} -I \"$0\" \"$@\" # '''")
        first = "#!/bin/sh"
    return "\n".join([first, *lines]) + "\n"


def install(folder: Path, installation: Installation, *, is_forced: bool = False) -> list[Path]:
    """Write both launchers into ``folder``; raises ``LauncherError`` before anything is changed.

    A file of another origin is kept unless ``is_forced``.
    """
    paths = [folder / name for name in NAMES]
    if not is_forced:
        for path in paths:
            if os.path.lexists(path) and not is_ours(path):
                raise LauncherError(f"{path} is there already and not ours; --force replaces it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            _write(path, script(installation))
    except OSError as error:
        raise LauncherError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return paths


def uninstall(folder: Path) -> tuple[list[Path], list[Path]]:
    """Remove our launchers; those removed, and files of another origin that were kept."""
    removed, kept = [], []
    for path in (folder / name for name in NAMES):
        if is_ours(path):
            try:
                path.unlink()
            except OSError as error:
                raise LauncherError(f"cannot remove {path}: {error.strerror}") from error
            removed.append(path)
        elif os.path.lexists(path):
            kept.append(path)
    return removed, kept


def is_ours(path: Path) -> bool:
    """Whether ``install`` wrote this file."""
    if path.is_symlink():
        return False
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_START)
    except OSError:
        return False


def warnings(
    folder: Path, env: Mapping[str, str], which: Callable[..., str | None] = shutil.which
) -> Sequence[str]:
    """What keeps the launchers in ``folder`` from being what the user's shell runs."""
    search = env.get("PATH", "")
    entries = [Path(entry).expanduser() for entry in search.split(os.pathsep) if entry]
    if not any(_is_same(folder, entry) for entry in entries):
        return [f'{folder} is not on your PATH; add: export PATH="{folder}:$PATH"']
    found = [(name, which(name, path=search)) for name in NAMES]
    return [
        f"another {name} comes first on your PATH: {path}"
        for name, path in found
        if path and not _is_same(Path(path), folder / name)
    ]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(0o755)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise

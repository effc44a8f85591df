"""Which project and branch a folder belongs to, read from files; git itself is never run."""

from __future__ import annotations

import re
from pathlib import Path

_MAX_FILE = 4096
_BRANCH = re.compile(r"ref: refs/heads/(.+)")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHORT_COMMIT = 12


def git_root(folder: Path) -> Path | None:
    """The nearest folder at or above ``folder`` that holds ``.git``; ``None`` without one."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def project_name(folder: Path, home: Path | None) -> str:
    """The repository ``folder`` is in, or ``folder`` itself, as a path; ``~`` is the home.

    A path and not a name: two repositories called ``app`` are two projects.
    """
    root = git_root(folder)
    if root is None or root == home:
        root = folder
    if home is not None and root != home and root.is_relative_to(home):
        return f"~/{root.relative_to(home)}"
    return str(root)


def branch(folder: Path) -> str | None:
    """The branch checked out in ``folder``'s repository, or a short commit id when detached."""
    root = git_root(folder)
    if root is None:
        return None
    head = _first_line(_git_folder(root) / "HEAD")
    if (named := _BRANCH.fullmatch(head)) is not None:
        return named.group(1)
    return head[:_SHORT_COMMIT] if _COMMIT.fullmatch(head) else None


def _git_folder(root: Path) -> Path:
    """``.git``, or where it points to: in worktrees and submodules it is a file."""
    entry = root / ".git"
    if entry.is_file():
        prefix, _, target = _first_line(entry).partition(": ")
        if prefix == "gitdir" and target:
            return root / target
    return entry


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE)
    except OSError:
        return ""
    return data.decode("utf-8", "replace").partition("\n")[0].strip()

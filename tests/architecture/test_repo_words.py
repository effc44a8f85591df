"""The repository says nothing about the machine it was written on, or where packages come from."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SET_UP = [
    "Makefile",
    ".ci/run",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-panes.lock",
    "tests/support/make_env.py",
]


def _files() -> list[Path]:
    """What belongs to the repository: tracked, or new and not ignored; else all but folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        names = [p for p in ROOT.rglob("*") if not p.relative_to(ROOT).parts[0].startswith(".")]
    return [path for path in names if path.is_file()]


def _this_machine() -> Iterator[str]:
    """Folders that exist here and are nobody else's business."""
    common = set(map(Path, ("/usr", "/usr/local", "/tmp", "/home", "/root", "/opt", "/srv")))
    here = {ROOT, ROOT.parent, Path.home(), Path(sys.prefix), Path(sys.base_prefix)}
    for folder in here - common:
        if len(folder.parts) > 1 and folder.exists():
            yield str(folder)


def _mentions(text: str, folders: list[str]) -> list[str]:
    """Paths in ``text`` that lead into one of ``folders``."""
    words = "|".join(map(re.escape, folders))
    return re.findall(rf"(?<![\w./-])(?:{words})/[\w.]+", text) if words else []


def test_no_file_names_a_folder_of_this_machine() -> None:
    folders = list(_this_machine())
    found = {}
    for path in _files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if mentions := _mentions(text, folders):
            found[str(path.relative_to(ROOT))] = mentions
    assert found == {}


def test_the_check_sees_a_mention() -> None:
    assert _mentions("cd /there/project/main", ["/there/project"]) == ["/there/project/main"]
    assert _mentions("(/there/project/x)", ["/a", "/there"]) == ["/there/project"]
    assert _mentions("https://x/there/project/x", ["/there/project"]) == []
    assert _mentions("/there/project-two/x", ["/there/project"]) == []
    assert _mentions("the agent /there", ["/there"]) == []


@pytest.mark.parametrize("name", SET_UP)
def test_set_up_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert (
        re.findall(r"\w+://\S+|--(?:extra-)?index\S*", text.replace("--no-emit-index-url", ""))
        == []
    )


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "requirements-panes.lock"]
)
def test_every_locked_version_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) > (2 if "panes" in name else 30)
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_locks_hold_what_the_project_asks_for() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    wanted = {"requirements.lock": project["project"]["dependencies"] + groups["build"]}
    wanted["requirements-dev.lock"] = wanted["requirements.lock"] + [
        entry for group in ("dev", "bench") for entry in groups[group] if isinstance(entry, str)
    ]
    panes = project["project"]["optional-dependencies"]["panes"]
    wanted["requirements-panes.lock"] = panes
    wanted["requirements-dev.lock"] += panes
    for name, requirements in wanted.items():
        pins = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)", (ROOT / name).read_text("utf-8")))
        for requirement in map(Requirement, requirements):
            pinned = pins.get(canonicalize_name(requirement.name), "none")
            assert requirement.specifier.contains(pinned), f"{name}: {requirement} is {pinned}"

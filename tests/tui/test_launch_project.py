from __future__ import annotations

from pathlib import Path

import pytest

from tui.project import branch, git_root, project_name


def repository(folder: Path, head: str = "ref: refs/heads/main\n") -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head)
    return folder


def test_the_repository_is_found_from_below(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    deep = root / "a" / "b"
    deep.mkdir(parents=True)

    assert git_root(deep) == git_root(root) == root
    assert git_root(tmp_path) is None
    assert branch(deep) == "main"
    assert branch(tmp_path) is None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("ref: refs/heads/feature/long-name\n", "feature/long-name"),
        ("ref: refs/heads/größe", "größe"),
        ("0123456789abcdef0123456789abcdef01234567\n", "0123456789ab"),
        ("ref: refs/remotes/origin/main\n", None),
        ("ref: refs/heads/\n", None),
        ("garbage", None),
        ("", None),
    ],
)
def test_the_branch_is_what_head_says(tmp_path: Path, head: str, name: str | None) -> None:
    assert branch(repository(tmp_path, head)) == name


def test_a_worktree_points_to_its_git_folder(tmp_path: Path) -> None:
    real = tmp_path / "app" / ".git" / "worktrees" / "side"
    real.mkdir(parents=True)
    (real / "HEAD").write_text("ref: refs/heads/side\n")
    for name, target in (("absolute", str(real)), ("relative", "../app/.git/worktrees/side")):
        tree = tmp_path / name
        tree.mkdir()
        (tree / ".git").write_text(f"gitdir: {target}\n")
        assert git_root(tree) == tree
        assert branch(tree) == "side"


def test_a_broken_pointer_gives_no_branch(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("nonsense")
    assert branch(tmp_path) is None


def test_a_huge_head_is_not_read_whole(tmp_path: Path) -> None:
    repository(tmp_path, "ref: refs/heads/" + "x" * 100_000)
    name = branch(tmp_path)
    assert name is not None
    assert len(name) < 5000


def test_a_project_is_named_by_its_path(tmp_path: Path) -> None:
    home = tmp_path / "home"
    root = repository(home / "src" / "app")
    (root / "sub").mkdir()
    plain = tmp_path / "elsewhere"
    plain.mkdir()

    assert project_name(root / "sub", home) == "~/src/app"
    assert project_name(root / "sub", None) == str(root)
    assert project_name(plain, home) == str(plain)
    assert project_name(home, home) == str(home)


def test_a_home_under_version_control_is_not_every_project(tmp_path: Path) -> None:
    home = repository(tmp_path / "home")
    (home / "notes").mkdir()

    assert project_name(home / "notes", home) == "~/notes"

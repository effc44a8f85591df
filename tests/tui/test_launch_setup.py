from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tui.claude_setup import ClaudeSetup, keychain_login, read_setup, system_folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def setup_of(home: Path, cwd: Path, *args: str, **env: str) -> ClaudeSetup:
    return read_setup({"HOME": str(home), **env}, cwd, args, managed=home / "managed")


def sources(setup: ClaudeSetup) -> list[str]:
    return [layer.source for layer in setup.layers]


def test_a_bare_machine_has_nothing(home: Path, project: Path) -> None:
    assert setup_of(home, project) == ClaudeSetup()
    assert read_setup({}, project, [], managed=home) == ClaudeSetup()


def test_every_file_is_read_weakest_first(home: Path, project: Path) -> None:
    files = [
        home / ".claude.json",
        home / ".claude" / "settings.json",
        project / "sub" / ".claude" / "settings.json",
        project / "sub" / ".claude" / "settings.local.json",
        project / ".claude" / "settings.local.json",
        home / "managed" / "managed-settings.json",
        home / "managed" / "managed-settings.d" / "10-a.json",
        home / "managed" / "managed-settings.d" / "20-b.json",
    ]
    for number, path in enumerate(files):
        write(path, {"env": {"N": number}})
    # Claude Code reads the shared file only from the folder it starts in.
    write(project / ".claude" / "settings.json", {"env": {"N": "unread"}})

    setup = setup_of(home, project / "sub", "--settings", '{"env": {"N": "flag"}}')

    assert sources(setup) == [*map(str, files[:5]), "--settings", *map(str, files[5:])]
    values = [layer.env["N"] for layer in setup.layers]
    assert values == ["0", "1", "2", "3", "4", "flag", "5", "6", "7"]


def test_another_configuration_folder_replaces_both_places(home: Path, project: Path) -> None:
    write(home / ".claude.json", {"env": {"A": "1"}, "primaryApiKey": "k"})
    write(home / ".claude" / "settings.json", {"env": {"A": "2"}})
    write(home / ".claude" / ".credentials.json", {"claudeAiOauth": {"accessToken": "t"}})
    other = home / "other"
    write(other / ".claude.json", {"env": {"A": "3"}})
    write(other / "settings.json", {"env": {"A": "4"}})

    setup = setup_of(home, project, CLAUDE_CONFIG_DIR=str(other))

    assert [layer.env["A"] for layer in setup.layers] == ["3", "4"]
    assert not setup.has_login


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"env": 7}', '{"env": {}}', "\x00\x01", "[" * 100_000]
)
def test_a_broken_file_counts_as_empty(home: Path, project: Path, content: str) -> None:
    write(home / ".claude" / "settings.json", content)
    write(home / ".claude.json", content)

    assert setup_of(home, project) == ClaudeSetup()


def test_a_byte_order_mark_and_other_types_are_read(home: Path, project: Path) -> None:
    write(home / ".claude" / "settings.json", '\ufeff{"env": {"A": true, "B": null, "C": 5}}')

    (layer,) = setup_of(home, project).layers

    assert layer.env == {"A": "True", "B": "None", "C": "5"}


@pytest.mark.parametrize(
    ("args", "seen"),
    [
        (["--settings", '{"env": {"A": "x"}}'], ["--settings"]),
        (['--settings= {"env": {"A": "x"}}'], ["--settings"]),
        (["-p", "hi", "--settings", "s.json"], ["s.json"]),
        (["--settings=s.json"], ["s.json"]),
        (["--settings", "s.json", "--settings", "{}"], []),
        (["--settings"], []),
        (["--settings", "missing.json"], []),
        (["--", "--settings", "s.json"], []),
        (["--settings-other", "s.json"], []),
    ],
)
def test_the_settings_flag_is_read(
    home: Path, project: Path, args: list[str], seen: list[str]
) -> None:
    write(project / "s.json", {"env": {"A": "x"}})

    found = sources(setup_of(home, project, *args))

    assert [Path(source).name for source in found] == seen


@pytest.mark.parametrize(
    ("allowed", "seen"),
    [
        ("user", ["user"]),
        ("user,project", ["user", "project"]),
        ("project, local", ["project", "local"]),
        ("", []),
    ],
)
def test_left_out_sources_are_not_read(
    home: Path, project: Path, allowed: str, seen: list[str]
) -> None:
    write(home / ".claude" / "settings.json", {"env": {"WHO": "user"}})
    write(project / ".claude" / "settings.json", {"env": {"WHO": "project"}})
    write(project / ".claude" / "settings.local.json", {"env": {"WHO": "local"}})

    setup = setup_of(home, project, "--setting-sources", allowed)

    assert [layer.env["WHO"] for layer in setup.layers] == seen


# --------------------------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".claude/.credentials.json", {"claudeAiOauth": {"accessToken": "t"}}),
        (".claude.json", {"primaryApiKey": "k"}),
        (".claude.json", {"oauthAccount": {"emailAddress": "a@example.com"}}),
        (".config/anthropic/active_config", "work"),
        (".config/anthropic/configs/default.json", {}),
    ],
)
def test_a_stored_login_is_seen(home: Path, project: Path, name: str, content: Any) -> None:
    write(home / name, content)
    assert setup_of(home, project).has_login


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".claude/.credentials.json", {}),
        (".claude/.credentials.json", {"claudeAiOauth": None}),
        (".claude/.credentials.json", "{"),
        (".claude.json", {"primaryApiKey": "", "oauthAccount": None, "numStartups": 3}),
        (".claude/settings.json", {"model": "opus"}),
    ],
)
def test_leftovers_are_no_login(home: Path, project: Path, name: str, content: Any) -> None:
    write(home / name, content)
    assert not setup_of(home, project).has_login


def test_the_keychain_is_asked_only_when_no_file_shows_a_login(home: Path, project: Path) -> None:
    asked: list[bool] = []

    def keychain() -> bool:
        asked.append(True)
        return True

    env = {"HOME": str(home)}
    assert read_setup(env, project, [], managed=home, has_keychain_login=keychain).has_login
    write(home / ".claude.json", {"primaryApiKey": "k"})
    assert read_setup(env, project, [], managed=home, has_keychain_login=keychain).has_login
    assert asked == [True]


def test_a_keychain_that_cannot_be_asked_counts_as_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tool(body: str) -> None:
        path = tmp_path / "security"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setattr("tui.claude_setup._KEYCHAIN_TOOL", str(path))

    tool('[ "$1" = find-generic-password ] && exit 44')
    assert not keychain_login({})
    assert keychain_login({"CLAUDE_CONFIG_DIR": "/x"}), "its item has another name"
    tool("exit 0")
    assert keychain_login({})
    tool("exit 1")
    assert keychain_login({})
    monkeypatch.setattr("tui.claude_setup._KEYCHAIN_TOOL", str(tmp_path / "missing"))
    assert keychain_login({})


def test_the_secret_itself_is_never_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "security"
    path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    path.chmod(0o755)
    monkeypatch.setattr("tui.claude_setup._KEYCHAIN_TOOL", str(path))

    keychain_login({})

    words = (tmp_path / "asked").read_text().split()
    assert words[:2] == ["find-generic-password", "-s"]
    assert not {"-w", "-g"} & set(words)


def test_managed_settings_stand_where_the_platform_puts_them() -> None:
    assert system_folder("linux") == Path("/etc/claude-code")
    assert system_folder("darwin") == Path("/Library/Application Support/ClaudeCode")

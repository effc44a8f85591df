from __future__ import annotations

from pathlib import Path

import fake_agent
import pytest

from server.paths import Paths
from tui.agents import CLAUDE, CODEX, Agent, Preparer, Vendor
from tui.launch_env import LaunchRefused
from tui.launcher import LaunchSettings

URL = "http://127.0.0.1:8787"


def preparer(tmp_path: Path, env: dict[str, str]) -> Preparer:
    settings = LaunchSettings(
        paths=Paths(tmp_path / "home", tmp_path / "state"),
        host="127.0.0.1",
        port=8787,
        key="gw-key",
        upstream_base_url="https://api.anthropic.com",
        has_own_key=True,
    )
    vendor = Vendor("https://api.openai.com/v1", has_own_key=True)
    return Preparer(settings, vendor, env=env, cwd=tmp_path)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), "GITHUB_TOKEN": "gh"}


def test_claude_is_started_as_the_launcher_starts_it(tmp_path: Path, env: dict[str, str]) -> None:
    path = fake_agent.install(tmp_path / "bin", "claude")
    found = preparer(tmp_path, env)(CLAUDE, URL).command
    assert (found.path, found.argv, found.title) == (str(path), ("claude",), "Claude Code")
    assert found.env["ANTHROPIC_BASE_URL"] == URL
    assert "x-sbgw-key: gw-key" in found.env["ANTHROPIC_CUSTOM_HEADERS"]
    changed = {"ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_AUTH_TOKEN"}
    assert {k: v for k, v in found.env.items() if k not in changed} == env


def test_codex_is_started_with_overrides(tmp_path: Path, env: dict[str, str]) -> None:
    path = fake_agent.install(tmp_path / "bin", "codex")
    found = preparer(tmp_path, env)(CODEX, URL).command
    assert found.path == str(path)
    assert found.argv[0] == "codex"
    assert f'model_providers.sbgw.base_url="{URL}/v1"' in found.argv


@pytest.mark.parametrize("agent", [CLAUDE, CODEX])
def test_one_that_is_missing_is_named_with_its_install_command(
    tmp_path: Path, env: dict[str, str], agent: Agent
) -> None:
    with pytest.raises(LaunchRefused) as caught:
        preparer(tmp_path, env)(agent, URL)
    assert str(caught.value).startswith(f"{agent.name} was not found on your PATH.")
    assert agent.install in str(caught.value)


def test_notes_of_the_environment_are_kept(tmp_path: Path, env: dict[str, str]) -> None:
    fake_agent.install(tmp_path / "bin", "claude")
    (tmp_path / ".claude").mkdir()
    settings = tmp_path / ".claude" / "settings.json"
    settings.write_text('{"env": {"ANTHROPIC_CUSTOM_HEADERS": "x-a: b"}}')
    (note,) = preparer(tmp_path, env)(CLAUDE, URL).notes
    assert "ANTHROPIC_CUSTOM_HEADERS" in note

"""Homes in which the real agents start without their first-run questions, on dummy keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

KEY = "sk-ant-api03-dummy-for-the-loopback-0123456789-abcdefghij"
OPENAI_KEY = "sk-dummy-for-the-loopback"


def seed_claude(home: Path, project: Path, version: str) -> dict[str, str]:
    """Completed onboarding, the key approved, the folder trusted; what to start it with."""
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    state = {
        "hasCompletedOnboarding": True,
        "lastOnboardingVersion": version,
        "theme": "dark",
        "autoUpdates": False,
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {str(project): trusted},
    }
    (home / ".claude.json").write_text(json.dumps(state))
    (home / ".claude").mkdir()
    return {
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }


def seed_codex(home: Path, project: Path) -> dict[str, str]:
    """The folder trusted, nothing looked up; what to start it with."""
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        "check_for_update_on_startup = false\n"
        "[analytics]\nenabled = false\n"
        f'[projects."{project}"]\ntrust_level = "trusted"\n'
    )
    return {"OPENAI_API_KEY": OPENAI_KEY, "CODEX_API_KEY": OPENAI_KEY}


def path_with(*programs: Path) -> str:
    """A ``PATH`` with these programs and node."""
    node = Path(shutil.which("node") or "/usr/bin/node").parent
    return ":".join([*(str(p.parent) for p in programs), str(node), "/usr/bin", "/bin"])

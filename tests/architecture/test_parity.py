"""The parity table names, for every line, a test that exists, by its own name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TABLE = (TESTS.parent / "docs" / "parity.md").read_text("utf-8")
_TEST = re.compile(r"`((?:e2e|tui|server|providers|clients)/[\w/]+\.py)(?:::(\w+))?`")
ROWS = [
    line
    for line in TABLE.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| there"))
]

EVERYTHING = [
    "setup",
    "init",
    "claude",
    "codex",
    "start",
    "up",
    "stop",
    "down",
    "status",
    "logs",
    "doctor",
    "install:global",
    "uninstall:global",
    "restart",
    "STACKBILT_GATEWAY_PORT",
    "STACKBILT_GATEWAY_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GROQ_API_KEY",
    "CEREBRAS_API_KEY",
    "CLOUDFLARE_ACCOUNT_ID",
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_API_BASE_URL",
    "/health",
    "/providers",
    "/metrics",
    "/events/recent",
    "/shadow/stats",
    "/v1/messages",
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/context/compact",
    "shadowMode",
    "routing.routes",
    "port",
    "auth.keys",
    "auth.mode",
    "experimentalModels",
    "cache",
    "telemetry",
    "cloudflare",
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_line_has_its_test(row: str) -> None:
    named = _TEST.findall(row)
    assert named, row
    for file, function in named:
        source = (TESTS / file).read_text("utf-8")
        assert function, f"{file}: a whole file says nothing about one line"
        assert f"def {function}(" in source, f"{file}::{function}"


@pytest.mark.parametrize("name", EVERYTHING)
def test_everything_has_a_line(name: str) -> None:
    assert any(re.search(rf"(?<![\w/]){re.escape(name)}\b", row.split("|")[1]) for row in ROWS)

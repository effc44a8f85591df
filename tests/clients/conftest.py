"""The real clients, each in a throw-away home and project."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import real_codex
from real_codex import CodexPlace
from sdk_drivers import PIXEL

_SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def codex_program() -> Path:
    """The real Codex."""
    found = real_codex.install()
    if found is None:
        pytest.skip("npm is not installed")
    return found


@pytest.fixture
def place(tmp_path: Path, codex_program: Path) -> CodexPlace:
    """Codex with a project that has a mistake in it, a picture and a schema."""
    made = CodexPlace(tmp_path / "client", codex_program)
    (made.project / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (made.project / "pixel.png").write_bytes(base64.b64decode(PIXEL))
    (made.project / "schema.json").write_text(json.dumps(_SCHEMA))
    return made

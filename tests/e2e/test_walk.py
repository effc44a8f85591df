"""The whole way of a new user; the script itself says at which step it went wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "walk.py"


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_the_readme_leads_from_clone_to_uninstall() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--without-tests"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

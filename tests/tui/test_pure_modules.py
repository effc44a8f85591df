from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PURE = (
    "format", "lines", "rows", "state", "keys", "columns", "headline", "turn_text", "welcome",
    "bridge", "context", "filter", "row_view", "sums", "saving_text", "proposal_text", "log_book",
    "log_lines", "savings_page", "provider_page", "route_page",
    "provider_health", "incidents", "incident_card", "mode_text", "order", "sessions",
    "session_page", "export",
)  # fmt: skip


def test_what_is_shown_is_built_without_the_toolkit() -> None:
    imports = "; ".join(f"import tui.{name}" for name in PURE)
    code = f"{imports}; import sys; sys.exit('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()

"""Starts ``tui.launcher`` as its own process, the way the command line does.

``python launch_driver.py OPTIONS_JSON ARGS...``; ``OPTIONS_JSON`` holds ``home``, ``gateway`` (the
command line of one) and what else ``LaunchSettings`` is to differ in.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from server.paths import Paths
from tui.launcher import LaunchSettings, launch_claude


def main() -> int:
    """Launch with ``sys.argv``."""
    options = json.loads(sys.argv[1])
    home = Path(options["home"])
    settings = LaunchSettings(
        paths=Paths(home, home / "state"),
        host="127.0.0.1",
        port=8787,
        key=options["key"],
        upstream_base_url="https://api.anthropic.com",
        has_own_key=options.get("has_own_key", True),
    )
    return launch_claude(
        sys.argv[2:],
        settings=settings,
        env=os.environ,
        cwd=Path.cwd(),
        gateway_command=options["gateway"],
        start_limit_s=options.get("limit_s", 20.0),
    )


if __name__ == "__main__":
    sys.exit(main())

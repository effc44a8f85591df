"""Runs the program and writes which modules it loaded: ``module_probe.py REPORT ARGS...``.

A gateway (``--no-ui``) is stopped as soon as it answers ``/health``.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30


def main(report: str, arguments: list[str]) -> int:
    """Run ``sbgw-tui ARGUMENTS`` in this process; its exit code."""
    sys.path.insert(0, str(ROOT))
    sys.argv = ["sbgw-tui", *arguments]
    import sbgw

    if "--no-ui" in arguments:
        threading.Thread(target=_stop_when_serving, daemon=True).start()
    try:
        return sbgw.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        Path(report).write_text(json.dumps(sorted(sys.modules)), "utf-8")


def _stop_when_serving() -> None:
    lock = Path(os.environ["SBGW_HOME"]) / "state" / "gateway.lock"
    for _ in range(PATIENCE_S * 20):
        if _answers(lock):
            break
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


def _answers(lock: Path) -> bool:
    try:
        address = urlsplit(json.loads(lock.read_text("utf-8"))["url"])
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

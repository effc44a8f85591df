"""A stand-in for the gateway: the lock, the proof and the leases are real, the rest is canned.

In process as ``HealthServer``; as a program (``python fake_gateway.py --home DIR``) it is what a
launcher starts. Each program that gets the instance lock adds its pid to ``DIR/started``.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.append(str(Path(__file__).resolve().parents[2]))

from server.clock import SystemClock
from server.instance import AlreadyRunning, InstanceLock, load_secret, proof
from server.leases import LEASES_FOLDER, IdleWatch, Leases
from server.paths import Paths

KEY = "local-dev-key"


def paths_of(home: Path) -> Paths:
    """The paths that ``SBGW_HOME=home`` means."""
    return Paths(home, home / "state")


class HealthServer:
    """Answers ``/health`` and ``/providers`` on a free loopback port until the block ends."""

    def __init__(
        self,
        secret: bytes,
        *,
        state: str = "serving",
        key: str = KEY,
        claimed_port: int | None = None,
        raw: bytes | None = None,
    ) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        """Method, path, headers in lower case and body of every request."""
        self.state = state
        self._secret = secret
        self._key = key
        self._claimed_port = claimed_port
        self.raw = raw
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.command, request.path, headers, body))
        request.close_connection = True
        if self.raw is not None:
            request.wfile.write(self.raw)
            return
        status, content = self._content(urlsplit(request.path), headers)
        data = json.dumps(content).encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _content(self, target: Any, headers: dict[str, str]) -> tuple[int, Any]:
        if target.path == "/health":
            nonce = parse_qs(target.query)["nonce"][0]
            shown = proof(self._secret, nonce, self._claimed_port or self.port)
            return 200, {
                "ok": True,
                "status": "up",
                "state": self.state,
                "version": "0.0",
                "proof": shown,
            }
        if headers.get("x-sbgw-key") != self._key:
            return 401, {"error": "wrong key"}
        return 200, {"path": target.path}

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def main(argv: Sequence[str]) -> int:
    """Serve until idle; exit code 3 when another gateway holds the lock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--idle-s", type=float, default=0.3)
    parser.add_argument("--fail", help="print this and exit 3")
    parser.add_argument("--hang", action="store_true", help="hold the lock, never listen")
    options = parser.parse_args(argv)
    if options.fail:
        sys.stderr.write(options.fail + "\n")
        return 3
    paths = paths_of(options.home)
    clock = SystemClock()
    try:
        with InstanceLock(paths, clock) as lock:
            with (options.home / "started").open("a") as file:
                file.write(f"{os.getpid()}\n")
            if options.hang:
                time.sleep(60)
            with HealthServer(load_secret(paths)) as server:
                lock.publish("127.0.0.1", server.port)
                sys.stderr.write(f"cwd {os.getcwd()} sid {os.getsid(0)}\n")
                watch = IdleWatch(clock, idle_s=options.idle_s)
                leases = Leases(paths.state_dir / LEASES_FOLDER)
                while not watch.observe(leases=leases.active(), in_flight=0):
                    time.sleep(0.02)
    except AlreadyRunning as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

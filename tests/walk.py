"""The way of a new user, from clone to uninstall, in a home of its own; needs no network of ours.

    python3 tests/walk.py [--without-tests] [--keep]

Clones the repository this file is in, runs the README's commands in the clone and looks at what is
left: nothing may lie outside ``SBGW_HOME`` and the clone's ``.venv`` but what the package installer
caches. Ends with 0, or 1 and the step that went wrong. The provider is a small server of our own.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from plain_vendor import PlainVendor  # noqa: E402
from readme_parts import ADDRESS, README, call_of, curls_in  # noqa: E402
from seeded_clients import seed_claude  # noqa: E402

DEMO_S = 5.0
TESTS_S = 3600.0
"""Ten times what the tests take: a busy machine is no fault of the README."""

KEY = "local-dev-key"
_INSTALLERS_CACHES = (".cache/uv", ".cache/pip", ".local/share/uv", ".rustup")
"""pip asks a Rust that is installed for its version, which makes itself a folder then."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PIP_FIND_LINKS", "PIP_CERT", "PIP_INDEX_URL",
         "PIP_CONFIG_FILE", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_FIND_LINKS", "SSL_CERT_FILE")  # fmt: skip


class Wrong(Exception):
    """A step that did not end as the README says."""


# ---------------------------------------------------------------------- the walk


class Walk:
    """One user with an empty home."""

    def __init__(self, place: Path) -> None:
        self.clone = place / "sbgw-tui"
        self.home = place / "home"
        self.state = place / "state"
        for folder in (self.home, self.state):
            folder.mkdir()
        self.env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "HOME": str(self.home),
            "SBGW_HOME": str(self.state),
            "TERM": "xterm-256color",
        }
        self.port = _free_port()

    def run(self, *command: str, within_s: float = 60, **more: str) -> str:
        """Run a command in the clone; its output. Raises ``Wrong``."""
        child = subprocess.Popen(
            command, cwd=self.clone, env=self.env | more, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = child.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            # What it started goes too, or a test run would go on behind the walk's back.
            os.killpg(child.pid, signal.SIGKILL)
            said = "".join(child.communicate())[-2000:]
            raise Wrong(f"{' '.join(command)} took more than {within_s:g} s:\n{said}") from None
        if child.returncode:
            said = (out + err)[-2000:]
            raise Wrong(f"{' '.join(command)} ended with {child.returncode}:\n{said}")
        return out

    def gateway(self, *arguments: str, **more: str) -> str:
        """Run the program itself, with ``more`` in its environment."""
        program = str(self.clone / ".venv/bin/sbgw-tui")
        return self.run(program, *arguments, within_s=120, **more)


def get_it(walk: Walk) -> None:
    """``git clone``."""
    subprocess.run(
        ["git", "clone", "--quiet", str(ROOT), str(walk.clone)], env=walk.env, check=True
    )


def watch_the_demo(walk: Walk) -> None:
    """``make demo``, on a terminal, for a few seconds; ``q`` quits."""
    walk.run("make", "env-run", within_s=600)
    parent, terminal = pty.openpty()
    child = subprocess.Popen(
        ["make", "demo"], cwd=walk.clone, env=walk.env, start_new_session=True,
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    seen = bytearray()
    reader = threading.Thread(target=_drain, args=(parent, seen), daemon=True)
    reader.start()
    try:
        _until(lambda: b"SHADOW" in seen or child.poll() is not None, "the demo's screen", 120)
        if b"SHADOW" not in seen:
            raise Wrong(f"make demo ended at once:\n{seen[-2000:].decode(errors='replace')}")
        time.sleep(DEMO_S)
        os.write(parent, b"q")
        if child.wait(20) != 0:
            raise Wrong(f"make demo ended with {child.returncode}")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        os.close(parent)
    if b"\x1b[?1049l" not in seen:
        raise Wrong("the demo did not give the terminal back")


def test_it(walk: Walk) -> None:
    """``make test``."""
    walk.run("make", "test", within_s=TESTS_S)


def bring_it_up(walk: Walk) -> None:
    """``sbgw-tui up``, with every provider at our own small server."""
    vendor = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PlainVendor)
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{vendor.server_port}"
    (walk.state / "config.toml").write_text(
        f"[server]\nport = {walk.port}\n"
        f'[providers.anthropic]\nbase_url = "{base}"\n'
        f'[providers.openai]\nbase_url = "{base}/v1"\n'
    )
    walk.gateway("up", ANTHROPIC_API_KEY="sk-ant-walk", OPENAI_API_KEY="sk-walk")
    walk.gateway("status")


def curl_every_endpoint(walk: Walk) -> None:
    """Every curl line of the README."""
    last = ""
    for curl in curls_in(README.read_text("utf-8")):
        command = curl.command.replace(ADDRESS, f"http://127.0.0.1:{walk.port}")
        if "/events/gw_" in command:
            command = command.replace("gw_0123456789abcdef01234567", _a_turn(walk))
        status = _with_curl(walk, command) if shutil.which("curl") else _without_curl(walk, command)
        if status != str(curl.status):
            raise Wrong(f"{curl.command}\nanswered {status}, the README says {curl.status}")
        last = command
    if not last:
        raise Wrong("the README has no curl lines")


def run_claude(walk: Walk) -> None:
    """``sbgw-tui claude``, where Claude Code is installed."""
    found = shutil.which("claude")
    if found is None:
        print("     (no claude on the PATH)")
        return
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    project = walk.home / "project"
    project.mkdir()
    seeded = seed_claude(walk.home, project, version.stdout.split()[0])
    said = walk.gateway("claude", "-p", "Say hello", **seeded)
    if "hello" not in said:
        raise Wrong(f"Claude Code said {said!r}")
    for name in (".claude.json", ".claude", ".cache/claude", "project"):
        _remove(walk.home / name)
    for rest in walk.home.glob(".claude*"):
        _remove(rest)


def take_it_down(walk: Walk) -> None:
    """``sbgw-tui down``; afterwards nobody listens."""
    walk.gateway("down")
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", walk.port)) == 0:
            raise Wrong("somebody still listens after down")


def install_and_uninstall(walk: Walk) -> None:
    """The launchers come and go."""
    walk.gateway("install-launcher")
    walk.run(str(walk.home / ".local/bin/stackbilt-gw"), "--version")
    walk.gateway("uninstall-launcher")


def look_around(walk: Walk) -> None:
    """Nothing lies outside ``SBGW_HOME`` and the clone's environment."""
    left = [
        str(path.relative_to(walk.home))
        for path in walk.home.rglob("*")
        if path.is_file() or path.is_symlink()
    ]
    strange = [name for name in left if not name.startswith(_INSTALLERS_CACHES)]
    if strange:
        raise Wrong(f"left in the user's home: {', '.join(strange[:10])}")
    if dirty := walk.run("git", "status", "--porcelain").strip():
        raise Wrong(f"left in the clone: {dirty}")


STEPS = (
    get_it, watch_the_demo, test_it, bring_it_up, curl_every_endpoint, run_claude, take_it_down,
    install_and_uninstall, look_around,
)  # fmt: skip


def main() -> int:
    """Take every step in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-tests", action="store_true", help="leave `make test` out")
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="walk-"))
    walk = Walk(place)
    try:
        for step in _chosen(options.without_tests):
            print(f"... {step.__doc__}", flush=True)
            step(walk)
    except (Wrong, subprocess.SubprocessError, OSError) as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    finally:
        _stop(walk)
        if options.keep:
            print(f"kept: {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)
    print("every step went as the README says")
    return 0


def _chosen(without_tests: bool) -> Iterator[Callable[[Walk], None]]:
    return (step for step in STEPS if not (without_tests and step is test_it))


def _stop(walk: Walk) -> None:
    try:
        walk.gateway("down")
    except (Wrong, subprocess.SubprocessError, OSError):
        return


def _with_curl(walk: Walk, command: str) -> str:
    limit = "-m 1 " if "/events/stream" in command else ""
    command = command.replace("curl ", f"curl {limit}-o /dev/null -w '%{{http_code}}' ", 1)
    done = subprocess.run(
        ["sh", "-c", command], env=walk.env, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _without_curl(walk: Walk, command: str) -> str:
    """The status of the request that a curl line makes, on a machine that has none."""
    base = f"http://127.0.0.1:{walk.port}"
    call = call_of(command.replace(base, ADDRESS))
    with _opened(urllib.request.Request(
        call.url.replace(ADDRESS, base), call.body or None, dict(call.headers), method=call.method
    )) as answer:  # fmt: skip
        return str(answer.status)


def _opened(request: urllib.request.Request) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return direct.open(request, timeout=60)
    except urllib.error.HTTPError as refused:
        return refused


def _a_turn(walk: Walk) -> str:
    base = f"http://127.0.0.1:{walk.port}"
    fields = {"x-sbgw-key": KEY, "content-type": "application/json"}
    body = b'{"model": "claude-opus-5-5", "max_tokens": 9, "messages": []}'
    while True:
        with _opened(urllib.request.Request(f"{base}/events/recent?limit=1", headers=fields)) as r:
            events = json.load(r)["events"]
        if events:
            return str(events[0]["id"])
        _opened(urllib.request.Request(f"{base}/v1/messages", body, fields)).close()


def _drain(descriptor: int, into: bytearray) -> None:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            return
        if not data:
            return
        into += data


def _until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Wrong(f"{what} did not come")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

"""The processes that are measured: started, timed, watched and ended one by one, by their ids."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.benchmarks._load import BenchError

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 120, 40
START_S = 30.0
IS_LINUX = sys.platform == "linux"
_KEPT_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """A small environment: no key, proxy or address of the user's reaches what is measured."""
    return {name: os.environ[name] for name in _KEPT_ENV if name in os.environ} | more


class Process:
    """A child that listens on ``port``; the figures are those of this one process."""

    def __init__(self, log: Path, port: int, command: list[str], env: dict[str, str]) -> None:
        self.port = port
        self._log, self._command, self._env = log, command, env
        self.child: subprocess.Popen[bytes] | None = None
        self.start_s: float | None = None
        self.idle_mib: float | None = None

    def start(self) -> None:
        """Start it and wait for the first 200 of ``/health``."""
        begin = time.monotonic()
        self.child = self._spawn()
        while not self._answers():
            if self.child.poll() is not None or time.monotonic() - begin > START_S:
                raise BenchError(f"{self._command} did not start; it said: {self.said()}")
            time.sleep(0.005)
        self.start_s = time.monotonic() - begin

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )

    def said(self) -> str:
        """The end of what it printed."""
        return self._log.read_text("utf-8", "replace")[-2000:]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                host = f"127.0.0.1:{self.port}".encode()
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                return sock.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def cpu_s(self) -> float | None:
        """User and system seconds used so far; ``None`` where there is no ``/proc``."""
        if self.child is None or not IS_LINUX:
            return None
        stat = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def note_idle(self) -> None:
        """Take the resident memory as it is now for that of an idle process."""
        self.idle_mib = self.resident_mib()

    def resident_mib(self) -> float | None:
        """Resident memory now; ``None`` where there is no ``/proc``."""
        if self.child is None or not IS_LINUX:
            return None
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        """Ask it to end, and make it end."""
        child = self.child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Screen(Process):
    """A child whose terminal is 120x40 and read by nobody but a thread of ours."""

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._master, terminal = pty.openpty()
        size = struct.pack("HHHH", HEIGHT, WIDTH, 0, 0)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
        self._end = b""
        self._wanted = b""
        self._was_seen = False
        child = subprocess.Popen(
            self._command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self._env | {"TERM": "xterm-256color"},
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()
        return child

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return
            if not data:
                return
            before = self._end[-len(self._wanted) :] if self._wanted else b""
            self._was_seen = self._was_seen or self._wanted in before + data
            self._end = (self._end + data)[-(1 << 16) :]

    def shows(self, text: str) -> bool:
        """Whether ``text`` is in what was drawn last."""
        return text.encode() in self._end

    def look_for(self, text: str) -> None:
        """From now on note whether ``text`` is drawn."""
        self._wanted, self._was_seen = text.encode(), False

    @property
    def has_shown(self) -> bool:
        """Whether what was looked for was drawn since."""
        return self._was_seen

    def said(self) -> str:
        return self._end[-2000:].decode("utf-8", "replace")

    def stop(self) -> None:
        super().stop()
        if self.child is not None:
            self._reader.join(2)
            os.close(self._master)


@dataclass
class Targets:
    """The upstream and everything in front of it, in the order they are visited."""

    folder: Path
    names: tuple[str, ...]
    direct_port: int = 0
    processes: dict[str, Process] = field(default_factory=dict)
    _upstream: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.processes.values():
            process.stop()
        if self._upstream is not None:
            self._upstream.kill()
            self._upstream.communicate()

    def port(self, name: str) -> int:
        """Where ``name`` listens."""
        return self.direct_port if name == "direct" else self.processes[name].port

    def _start(self) -> None:
        command = [sys.executable, str(HERE / "_upstream.py")]
        self._upstream = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
        assert self._upstream.stdout is not None
        self.direct_port = int(self._upstream.stdout.readline())
        url = f"http://127.0.0.1:{self.direct_port}"
        for name in self.names:
            if name != "direct":
                self.processes[name] = self._make(name, url)
                self.processes[name].start()
        time.sleep(1.0)
        for process in self.processes.values():
            process.note_idle()

    def _make(self, name: str, url: str) -> Process:
        port, log = free_port(), self.folder / f"{name}.log"
        if name == "minimal":
            command = [sys.executable, str(HERE / "_passthrough.py"), str(port), url]
            return Process(log, port, command, environment())
        home = self.folder / name
        home.mkdir(mode=0o700)
        config = home / "config.toml"
        config.write_text(
            f'[server]\nport = {port}\n[providers.anthropic]\nbase_url = "{url}"\n', "utf-8"
        )
        config.chmod(0o600)
        command = [sys.executable, str(ROOT / "sbgw.py")]
        env = environment(SBGW_HOME=str(home))
        if name == "screen":
            return Screen(log, port, command, env)
        return Process(log, port, [*command, "--no-ui"], env)

"""Commands about a background gateway, each as a process of its own in one throw-away home.

::

    with LifecycleHome(tmp_path, upstream.base_url) as home:
        done = home.run("up")
        home.run("down")

Every gateway that was ever seen in the home is ended by its pid when the block ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from gateway_process import PATIENCE_S, GatewayHome, program

from server.instance import read
from server.paths import Paths
from server.processes import is_alive
from tui.cli import main as command_line


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out.strip()
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\nout: {self.out}\nerr: {self.err}"


class LifecycleHome(GatewayHome):
    """A home whose gateways are started by commands."""

    def __init__(self, folder: Path, upstream_url: str = "http://127.0.0.1:9", server: str = ""):
        super().__init__(folder, upstream_url, server)
        self.user_home = folder / "user"
        self.user_home.mkdir()
        self.env |= {"HOME": str(self.user_home)}
        self._seen: dict[int, int | None] = {}

    def __enter__(self) -> LifecycleHome:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.note()
        for pid, started in self._seen.items():
            if is_alive(pid, started):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            program(*arguments),
            env=os.environ | self.env | env,
            cwd=self.work_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> Done:
        """Run a command to its end."""
        self.note()
        return self.finish(self.start(*arguments, **env))

    def quick(self, *arguments: str, **env: str) -> Done:
        """Run a command inside this process, which is quicker; for those that start nothing."""
        out, err, before = StringIO(), StringIO(), Path.cwd()
        with (
            mock.patch.dict(os.environ, self.env | env),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            os.chdir(self.work_dir)
            try:
                code = command_line(list(arguments))
            finally:
                os.chdir(before)
        return Done(code, out.getvalue(), err.getvalue())

    def finish(self, command: subprocess.Popen[str]) -> Done:
        """Wait for a command."""
        try:
            out, err = command.communicate(timeout=PATIENCE_S)
        finally:
            command.kill()
            command.wait()
            self.note()
        return Done(command.returncode, out, err)

    def note(self) -> None:
        """Remember the gateway that runs now, so that it is ended later."""
        if (line := self.lock()) is not None:
            self._seen[line["pid"]] = line["process_started"]

    def lock(self) -> dict[str, Any] | None:
        """What the lock file says."""
        try:
            found = json.loads((self.state_dir / "gateway.lock").read_text())
        except (OSError, ValueError):
            return None
        return dict(found)

    @property
    def pid(self) -> int:
        """The pid in the lock file."""
        line = self.lock()
        assert line is not None
        return int(line["pid"])

    @property
    def port(self) -> int:
        """The port in the lock file."""
        line = self.lock()
        assert line is not None
        return int(line["url"].rpartition(":")[2])

    def is_running(self, pid: int) -> bool:
        """Whether a gateway that was seen here still lives."""
        return is_alive(pid, self._seen.get(pid))

    def wait_until_gone(self, pid: int) -> None:
        """Until that process has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self.is_running(pid) or self._holds(pid):
            assert time.monotonic() < deadline, f"{pid} did not end"
            time.sleep(0.02)

    def _holds(self, pid: int) -> bool:
        """Whether it is the lock's owner still: its last thread may outlive the process."""
        found = read(Paths(self.folder, self.state_dir))
        return found is not None and found.is_held and found.pid == pid

"""A terminal that a test looks at and types into: tmux, with a server of its own for each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 90.0
_PAUSE_S = 0.03
_numbers = itertools.count()


class TmuxScreen:
    """One window; ``keys`` are tmux's names of keys."""

    def __init__(self, folder: Path) -> None:
        # A socket's path must be short, which a test's folder is not.
        self._server = ["tmux", "-L", f"sbgw-{os.getpid()}-{next(_numbers)}", "-f", "/dev/null"]
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, size: tuple[int, int]
    ) -> None:
        """Run ``argv`` with ``env`` and nothing else; its end is noted in a file."""
        said = self._folder / "code"
        script = f'"$@"; echo $? > {said}.part; mv {said}.part {said}; exec sleep 1000'
        given = [f"{name}={value}" for name, value in env.items()]
        size_of = ["-x", str(size[0]), "-y", str(size[1])]
        self._tmux(
            *("new-session", "-d", *size_of, "-c", str(cwd), "env", "-i"),
            *(*given, "/bin/sh", "-c", script, "sh", *argv),
        )

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._server, *arguments], capture_output=True, check=True, timeout=PATIENCE_S
        )
        return done.stdout.decode()

    def close(self) -> None:
        """End the server and what runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")

    def keys(self, *names: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        self._tmux("send-keys", "-l", text)

    def send(self, data: bytes) -> None:
        """Send bytes as a terminal might."""
        self._tmux("send-keys", "-H", *(f"{byte:02x}" for byte in data))

    def paste(self, text: str) -> None:
        """Paste a text, bracketed when the program has asked for it."""
        file = self._folder / "pasted"
        file.write_text(text)
        self._tmux("load-buffer", str(file))
        self._tmux("paste-buffer", "-p", "-r")

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def text(self, *, with_looks: bool = False) -> str:
        """All lines, with escape sequences for their looks where wanted."""
        return self._tmux("capture-pane", "-p", *(["-e"] if with_looks else []))

    @property
    def pid(self) -> int:
        """The process that was started, once it runs."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[0])

    @property
    def code(self) -> int | None:
        """How the program ended, ``None`` while it runs."""
        said = self._folder / "code"
        return int(said.read_text()) if said.exists() else None

    async def until(self, is_so: Callable[[str], bool], what: str, patience_s: float = 0) -> str:
        """Wait until the screen is as wanted; its text then."""
        text = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s or PATIENCE_S):
                while True:
                    text = await asyncio.to_thread(self.text)
                    if is_so(text):
                        return text
                    await asyncio.sleep(_PAUSE_S)
        raise AssertionError(f"{what}:\n{text}")

    async def shows(self, *texts: str, patience_s: float = 0) -> str:
        """Wait until all of the texts are on the screen."""
        return await self.until(
            lambda shown: all(text in shown for text in texts),
            f"{texts} are not all on the screen",
            patience_s,
        )

    async def ended(self) -> int:
        """Wait for the end of the program; its code."""
        async with asyncio.timeout(PATIENCE_S):
            while (code := self.code) is None:
                await asyncio.sleep(_PAUSE_S)
        return code


@contextlib.asynccontextmanager
async def tmux_screen(
    folder: Path,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    size: tuple[int, int] = (160, 48),
) -> AsyncIterator[TmuxScreen]:
    """A terminal with a program in it while the block lasts."""
    screen = TmuxScreen(folder)
    try:
        screen.start(argv, env, cwd, size)
        yield screen
    finally:
        screen.close()


def has_tmux() -> bool:
    """Whether there is a tmux to run."""
    return shutil.which("tmux") is not None

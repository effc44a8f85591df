"""Programs on pseudo-terminals: none is left behind, whatever ended them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.clock import SystemClock
from tui.agents import Command
from tui.hand_over import CANNOT_RUN, Ending
from tui.terminal.pty_process import MOST_WAITING, PtyProcess

ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


class Ran:
    """A program and what came of it."""

    def __init__(self, *argv: str, folder: Path = Path("/"), path: str = "") -> None:
        self.said = b""
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.process = PtyProcess(
            Command("Test", path or argv[0], argv, ENV),
            folder,
            (80, 24),
            clock=SystemClock(),
            on_output=self._hear,
            on_end=self.ended.set_result,
        )
        self.process.start()

    def _hear(self, data: bytes) -> None:
        self.said += data
        self.news.set()

    async def until(self, is_so: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_so(self.said):
                self.news.clear()
                await self.news.wait()

    async def end(self) -> Ending:
        async with asyncio.timeout(20):
            return await self.ended


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-ISc", code)


def sh(code: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", code)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))


def zombies() -> int:
    """Children of this process that ended and were not reaped."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            found += state == "Z" and int(parent) == os.getpid()
    return found


async def test_it_has_a_terminal_of_its_own_in_its_folder(tmp_path: Path) -> None:
    ran = Ran(*sh("stty size; pwd; [ -t 0 ] && echo tty; exit 3"), folder=tmp_path)
    assert await ran.end() == Ending(3)
    assert ran.said.decode().split() == ["24", "80", str(tmp_path), "tty"]


async def test_it_leads_a_session_and_has_the_users_signals() -> None:
    code = (
        "import os, signal\n"
        "names = ('SIGHUP', 'SIGINT', 'SIGPIPE', 'SIGTSTP', 'SIGTTOU')\n"
        "print(os.getsid(0) == os.getpgrp() == os.getpid() == os.tcgetpgrp(0))\n"
        "print(open('/proc/self/status').read().partition('SigIgn:')[2].split()[0])\n"
        "print(sorted(os.listdir('/proc/self/fd')), dict(os.environ))\n"
    )
    ran = Ran(sys.executable, "-ISc", code)
    assert await ran.end() == Ending(0)
    leads, ignored, rest = ran.said.decode().splitlines()
    assert leads == "True"
    # Python ignores these two for itself.
    named = int(ignored, 16) & 0x7FFFFFFF
    assert named & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
    assert rest == f"['0', '1', '2', '3'] {ENV}"


async def test_keys_reach_it_and_its_size_follows() -> None:
    ran = Ran(*sh("read line; echo got $line; trap 'stty size' WINCH; echo ready; read other"))
    assert ran.process.write(b"hello\r")
    await ran.until(lambda said: b"ready" in said)
    ran.process.resize(100, 30)
    await ran.until(lambda said: b"30 100" in said)
    assert b"got hello" in ran.said
    await ran.process.close()
    assert (await ran.end()).was_told


async def test_a_great_paste_waits_for_a_slow_reader_and_too_great_a_one_is_refused() -> None:
    code = (
        "import os, tty; tty.setraw(0); os.write(1, b'READY'); got = b''\n"
        "while len(got) < 300000: got += os.read(0, 65536)\n"
        "import hashlib; os.write(1, hashlib.sha256(got).hexdigest().encode())"
    )
    ran = Ran(*python(code))
    await ran.until(lambda said: b"READY" in said)
    data = bytes(range(256)) * 1172
    assert ran.process.write(data[:300000])
    assert not ran.process.write(b"x" * MOST_WAITING)
    assert await ran.end() == Ending(0)
    assert ran.said.removeprefix(b"READY") == hashlib.sha256(data[:300000]).hexdigest().encode()
    assert not ran.process.write(b"late")


async def test_all_it_says_is_heard_though_it_ends_at_once() -> None:
    ran = Ran(*sh("seq 1 20000"))
    assert await ran.end() == Ending(0)
    assert ran.said.split() == [b"%d" % n for n in range(1, 20001)]


async def test_a_flood_leaves_others_their_turn() -> None:
    ran = Ran("/usr/bin/yes", path="/usr/bin/yes")
    turns = 0
    await ran.until(lambda said: len(said) > 1_000_000)
    heard = len(ran.said)
    while len(ran.said) < heard + 1_000_000:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3
    await ran.process.close()
    assert (await ran.end()).code == -signal.SIGHUP


async def test_endings() -> None:
    assert await Ran(*sh("kill -KILL $$")).end() == Ending(-9)
    assert await Ran("/nowhere/agent").end() == Ending(
        CANNOT_RUN, problem="No such file or directory"
    )
    assert await Ran("/etc/passwd").end() == Ending(CANNOT_RUN, problem="Permission denied")
    missing = await Ran("/bin/true", folder=Path("/nowhere")).end()
    assert missing == Ending(CANNOT_RUN, problem="/nowhere: No such file or directory")
    assert (await Ran("/bin/true", path="a\0b").end()).code == CANNOT_RUN


async def test_a_program_that_leaves_others_in_its_terminal_has_ended() -> None:
    ran = Ran(*sh("trap '' HUP; sleep 60 & echo $!; exit 0"))
    assert await ran.end() == Ending(0)
    os.kill(int(ran.said.split()[-1]), signal.SIGKILL)


async def test_closing_ends_a_stubborn_group_and_all_of_it() -> None:
    ran = Ran(*sh("trap '' HUP TERM; sleep 60 & echo $!; wait; sleep 60"))
    await ran.until(lambda said: said.count(b"\n") == 1)
    other = int(ran.said.split()[0])
    await ran.process.close()
    ending = await ran.end()
    assert (ending.code, ending.was_told) == (-signal.SIGKILL, True)
    async with asyncio.timeout(10):
        while _lives(other):
            await asyncio.sleep(0.01)
    await ran.process.close()


async def test_the_end_of_this_process_leaves_none_behind() -> None:
    ran = Ran(*sh("trap '' HUP TERM; echo $$; sleep 60; sleep 60"))
    await ran.until(lambda said: b"\n" in said)
    ran.process.kill()
    ran.process.kill()
    assert not _lives(int(ran.said.split()[0]))
    await ran.end()


@pytest.mark.faults
async def test_fifty_rounds_leave_no_descriptor_and_no_zombie() -> None:
    await Ran("/bin/true").end()
    before = descriptors()
    for _ in range(10):
        await asyncio.gather(*(Ran("/bin/true").end() for _ in range(5)))
    assert descriptors() == before
    assert zombies() == 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"

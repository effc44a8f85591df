from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fake_clock import FakeClock
from fake_gateway import paths_of

from server.instance import InstanceInfo, read
from server.paths import Paths
from server.processes import start_ticks
from tui.lifecycle.stop import Stopped, Stopper, send

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import signal, sys
sys.path.append(sys.argv[1])
from pathlib import Path
from server.clock import SystemClock
from server.instance import InstanceLock
from server.paths import Paths
for number in (signal.SIGTERM, signal.SIGINT):
    if "deaf" in sys.argv:
        signal.signal(number, signal.SIG_IGN)
home = Path(sys.argv[2])
lock = InstanceLock(Paths(home, home / "state"), SystemClock())
lock.acquire()
lock.publish("127.0.0.1", 9)
print("held", flush=True)
signal.pause()
"""


class Stepping(FakeClock):
    """Time passes only in ``pause``, and quickly."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._now = 0.0
        self._step = step

    def monotonic(self) -> float:
        return self._now

    def pause(self, seconds: float) -> None:
        self._now += self._step
        time.sleep(0.01)


@contextmanager
def holder(home: Path, *words: str) -> Iterator[tuple[Paths, InstanceInfo]]:
    """A process that holds the lock of ``home``, and what it wrote."""
    command = [sys.executable, "-c", HOLDER, str(ROOT), str(home), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            info = read(paths_of(home))
            assert info is not None
            assert info.pid == child.pid
            yield paths_of(home), info
        finally:
            child.kill()


def test_one_that_listens_ends(tmp_path: Path) -> None:
    clock = Stepping(0.01)
    with holder(tmp_path) as (paths, info):
        assert Stopper(paths, clock, clock.pause).drain(info, 1000) is Stopped.GONE


def test_one_that_hangs_is_told_and_killed_only_when_asked(tmp_path: Path) -> None:
    clock = Stepping(1.0)
    with holder(tmp_path, "deaf") as (paths, info):
        stopper = Stopper(paths, clock, clock.pause)
        assert stopper.drain(info, 20) is Stopped.STILL_THERE
        assert stopper.now(info) is Stopped.KILLED


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    clock = Stepping(1.0)
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with holder(tmp_path) as (paths, info):
            other = replace(info, pid=os.getpid(), process_started=1)
            assert not send(other, signal.SIGTERM)
            assert Stopper(paths, clock, clock.pause).drain(other, 20) is Stopped.NOT_VISIBLE
        assert received == []
        assert send(replace(other, process_started=start_ticks(os.getpid())), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_gateway
import pytest
from fake_clock import FakeClock
from fake_gateway import paths_of

from server.clock import SystemClock
from server.instance import InstanceInfo, InstanceLock, read
from server.leases import LEASES_FOLDER, Leases
from server.paths import Paths
from tui import launch_gateway
from tui.launch_gateway import LEASE_FLAG, GatewayCommand
from tui.lifecycle.revive import LONGEST_S, WATCH_S, Reviver, same_again


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    known = launch_gateway._background
    known.clear()
    yield paths_of(tmp_path / "home")
    for process in known:
        process.kill()
        process.wait()
    known.clear()


def died(paths: Paths, *arguments: str) -> InstanceInfo:
    """Leave what a gateway leaves that was killed."""
    lock = InstanceLock(paths, FakeClock())
    lock.acquire()
    lock.publish("127.0.0.1", 4321, arguments=arguments)
    lock.leave_to_successor()
    found = read(paths)
    assert found is not None
    assert not found.is_held
    return found


class Starts:
    """Counts how often it was asked how to start one."""

    def __init__(self, paths: Paths, program: str = fake_gateway.__file__) -> None:
        self.asked: list[InstanceInfo] = []
        self._command = [sys.executable, program, "--home", str(paths.settings_dir)]

    def __call__(self, dead: InstanceInfo) -> GatewayCommand:
        self.asked.append(dead)
        return GatewayCommand(self._command, {"PATH": os.environ["PATH"]})


def test_one_that_died_is_started_again(paths: Paths) -> None:
    dead, starts = died(paths), Starts(paths)
    assert Reviver(paths, SystemClock(), starts).look()
    assert [info.instance for info in starts.asked] == [dead.instance]
    found = read(paths)
    assert found is not None
    assert found.is_held


def test_one_that_lives_or_ended_in_order_is_left_alone(paths: Paths) -> None:
    starts = Starts(paths)
    reviver = Reviver(paths, SystemClock(), starts)
    assert reviver.look()
    with InstanceLock(paths, FakeClock()) as lock:
        assert reviver.look()
        lock.publish("127.0.0.1", 4321)
        assert reviver.look()
    assert reviver.look()
    assert starts.asked == []


def test_attempts_that_fail_become_rarer(paths: Paths) -> None:
    died(paths)
    waits: list[float] = []

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) > 8

    Reviver(paths, SystemClock(), Starts(paths, "/no/such/program")).watch(pause)
    assert waits[:3] == [WATCH_S, 2 * WATCH_S, 4 * WATCH_S]
    assert waits[-1] == LONGEST_S


def test_it_is_started_as_it_was_on_the_port_it_had(paths: Paths) -> None:
    dead = died(paths, "--config", "/x/c.toml", "--port", "0")
    argv = same_again(paths, dead, {}).argv
    assert list(argv[-4:]) == ["--config", "/x/c.toml", "--port", "4321"]
    assert LEASE_FLAG in argv
    Leases(paths.state_dir / LEASES_FOLDER).keep(dead.pid or 0)
    assert LEASE_FLAG not in same_again(paths, dead, {}).argv

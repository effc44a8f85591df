from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_clock import FakeClock

from server.leases import IDLE_S, IdleWatch, Leases

REPOSITORY = Path(__file__).resolve().parents[2]

TAKER = """
import subprocess, sys
from pathlib import Path
from server.leases import Leases
lease = Leases(Path(sys.argv[1])).take()
agent = subprocess.Popen([sys.executable, "-IS", "-c", "import sys; sys.stdin.read()"])
lease.set_agent(agent.pid)
print(agent.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "leases"


def test_leases_are_counted_while_they_are_held(folder: Path) -> None:
    leases = Leases(folder)
    assert leases.active() == 0

    with leases.take() as one, leases.take():
        assert leases.active() == 2
        assert Leases(folder).active() == 2
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        one.release()
        one.release()
        assert leases.active() == 1

    assert leases.active() == 0
    assert list(folder.iterdir()) == []


def test_a_killed_launcher_whose_agent_lives_keeps_the_gateway(folder: Path) -> None:
    # Its own session, so that nothing but the test decides when the agent ends.
    launcher = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    with launcher:
        assert launcher.stdout is not None
        agent = int(launcher.stdout.readline())
        leases = Leases(folder)
        assert leases.active() == 1

        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        assert leases.active() == 1, "the agent still talks to the gateway"

        os.kill(agent, signal.SIGKILL)
        for _ in range(2000):
            if leases.active() == 0:
                break
            time.sleep(0.005)
    assert list(folder.iterdir()) == []


def test_a_dead_lease_is_removed_and_other_files_are_left(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "1-dead.lease").write_text("")
    (folder / "2-dead.lease").write_text('{"agent": 999999999, "agent_started": 1}\n')
    (folder / "3-dead.lease").write_text("[garbage")
    (folder / "4-dead.lease").write_text('{"agent": null, "agent_started": null}')
    (folder / "note.txt").write_text("kept")

    assert Leases(folder).active() == 0
    assert [entry.name for entry in folder.iterdir()] == ["note.txt"]


def test_a_sweep_between_creation_and_lock_costs_no_lease(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(folder)
    real = fcntl.flock
    sweeps: list[int] = []

    def sweep_first(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not sweeps:
            sweeps.append(leases.active())
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)

    with leases.take() as lease:
        assert sweeps == [0]
        assert lease.path.exists()
        assert leases.active() == 1


def test_a_link_is_no_lease(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "target").write_text("kept")
    (folder / "x.lease").symlink_to(tmp_path / "target")

    assert Leases(folder).active() == 0
    assert (tmp_path / "target").read_text() == "kept"


def test_a_released_lease_names_no_agent(folder: Path) -> None:
    lease = Leases(folder).take()
    lease.release()
    with pytest.raises(RuntimeError):
        lease.set_agent(1)


# --------------------------------------------------------------------------------- idle


async def test_a_launcher_has_a_minute_to_take_its_lease() -> None:
    clock = FakeClock()
    watch = IdleWatch(clock)

    await clock.advance(IDLE_S - 1)
    assert not watch.observe(leases=0, in_flight=0)
    await clock.advance(1)
    assert watch.observe(leases=0, in_flight=0)


@pytest.mark.parametrize(("leases", "in_flight"), [(1, 0), (0, 1), (2, 3)])
async def test_use_puts_the_end_off(leases: int, in_flight: int) -> None:
    clock = FakeClock()
    watch = IdleWatch(clock, idle_s=60)

    for _ in range(5):
        await clock.advance(59)
        assert not watch.observe(leases=leases, in_flight=in_flight)
    await clock.advance(59)
    assert not watch.observe(leases=0, in_flight=0)
    assert watch.remaining_s() == 1
    await clock.advance(1)
    assert watch.observe(leases=0, in_flight=0)


async def test_a_request_between_two_looks_counts() -> None:
    clock = FakeClock()
    watch = IdleWatch(clock, idle_s=60)

    await clock.advance(59)
    watch.touch()
    await clock.advance(59)

    assert not watch.observe(leases=0, in_flight=0)
    assert watch.remaining_s() == 1


async def test_use_at_the_last_moment_counts() -> None:
    clock = FakeClock()
    watch = IdleWatch(clock, idle_s=60)

    await clock.advance(600)

    assert not watch.observe(leases=1, in_flight=0)

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_gateway
import pytest
from fake_clock import FakeClock
from fake_gateway import HealthServer, paths_of

from server.instance import InstanceLock, load_secret
from server.paths import Paths
from tui import launch_gateway
from tui.launch_gateway import GatewayCommand, StartFailed, ensure_gateway, gateway_argv

PATIENT_S = 100.0


class SteppedClock(FakeClock):
    """Time passes only in ``pause``; ``at`` runs something in the middle of the waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0
        self.at: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.slept

    def pause(self, seconds: float) -> None:
        self.slept += seconds
        while self.at and self.at[0][0] <= self.slept:
            self.at.pop(0)[1]()

    def pause_for_others(self, seconds: float) -> None:
        """The same where another process needs real time to get on."""
        self.pause(seconds)
        time.sleep(0.01)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = paths_of(tmp_path / "home")
    found.make_state_dir()
    return found


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(autouse=True)
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """The gateways that a test started; ended with it."""
    known = launch_gateway._background
    known.clear()
    yield known
    for process in known:
        process.kill()
        process.wait()
    known.clear()


def program(paths: Paths, *flags: str) -> GatewayCommand:
    argv = [sys.executable, fake_gateway.__file__, "--home", str(paths.settings_dir), *flags]
    return GatewayCommand(argv, {"PATH": os.environ["PATH"], "SBGW_HOME": "sub/home"})


def never(paths: Paths) -> GatewayCommand:
    return GatewayCommand(["/no/such/program"], {})


def failure(paths: Paths, command: GatewayCommand, clock: SteppedClock) -> StartFailed:
    with pytest.raises(StartFailed) as caught:
        ensure_gateway(paths, command, clock, limit_s=5.0, pause=clock.pause)
    return caught.value


def test_a_gateway_that_serves_is_taken(paths: Paths, clock: SteppedClock) -> None:
    with HealthServer(load_secret(paths)) as server, InstanceLock(paths, clock) as lock:
        lock.publish("127.0.0.1", server.port)
        found = ensure_gateway(paths, never(paths), clock, pause=clock.pause)

    assert (found.health.url, found.was_started, clock.slept) == (server.url, False, 0)


def test_a_gateway_that_is_starting_is_waited_for(paths: Paths, clock: SteppedClock) -> None:
    with HealthServer(load_secret(paths)) as server, InstanceLock(paths, clock) as lock:
        clock.at = [(1.0, lambda: lock.publish("127.0.0.1", server.port))]
        found = ensure_gateway(paths, never(paths), clock, pause=clock.pause)

    assert found.health.url == server.url
    assert clock.slept >= 1.0


def test_one_that_stops_is_waited_out_and_replaced(
    paths: Paths, clock: SteppedClock, started: list[subprocess.Popen[bytes]]
) -> None:
    with HealthServer(load_secret(paths), state="draining") as server:
        lock = InstanceLock(paths, clock)
        lock.acquire()
        lock.publish("127.0.0.1", server.port)
        clock.at = [(1.0, lock.release)]
        found = ensure_gateway(
            paths, program(paths), clock, limit_s=PATIENT_S, pause=clock.pause_for_others
        )

    assert found.was_started
    assert found.health.url != server.url
    assert len(started) == 1


def test_one_that_does_not_stop_is_told(paths: Paths, clock: SteppedClock) -> None:
    with (
        HealthServer(load_secret(paths), state="draining") as server,
        InstanceLock(paths, clock) as lock,
    ):
        lock.publish("127.0.0.1", server.port)
        error = failure(paths, never(paths), clock)

    assert str(error) == f"the gateway at {server.url} is stopping; try again in a moment"
    assert error.exit_code == 4
    assert 5.0 <= clock.slept < 5.1


def test_a_holder_that_is_not_ours_is_told(paths: Paths, clock: SteppedClock) -> None:
    load_secret(paths)
    with HealthServer(b"x" * 32) as server, InstanceLock(paths, clock) as lock:
        lock.publish("127.0.0.1", server.port)
        error = failure(paths, never(paths), clock)

    assert f"the gateway at {server.url} is not this home's gateway: its proof" in str(error)
    assert error.exit_code == 4


def test_a_holder_that_does_not_answer_is_told(paths: Paths, clock: SteppedClock) -> None:
    load_secret(paths)
    with InstanceLock(paths, clock) as lock:
        assert "(no address yet) does not answer" in str(failure(paths, never(paths), clock))
        with HealthServer(b"x" * 32) as server:
            lock.publish("127.0.0.1", server.port)
        clock.slept = 0
        error = failure(paths, never(paths), clock)

    assert str(error) == f"the gateway at {server.url} does not answer: nothing listens there"


def test_a_gateway_that_cannot_bind_is_told_with_its_log(
    paths: Paths, clock: SteppedClock, started: list[subprocess.Popen[bytes]]
) -> None:
    paths.log_file.write_text("an older line\n")
    command = program(paths, "--fail", "port 8787 is in use by pid 123 (python)\x1b[31m")

    with pytest.raises(StartFailed) as caught:
        ensure_gateway(paths, command, clock, limit_s=PATIENT_S, pause=clock.pause_for_others)

    assert str(caught.value) == (
        "the gateway did not start:\n"
        "  port 8787 is in use by pid 123 (python)?[31m\n"
        f"its log: {paths.log_file}"
    )
    assert caught.value.exit_code == 3
    assert len(started) == 1
    assert paths.log_file.read_text().startswith("an older line\n")


def test_a_gateway_that_dies_otherwise_is_unreachable(paths: Paths, clock: SteppedClock) -> None:
    command = GatewayCommand(
        ["/bin/sh", "-c", "i=0; while [ $i -lt 99 ]; do i=$((i+1)); echo $i; done; exit 1"], {}
    )

    with pytest.raises(StartFailed) as caught:
        ensure_gateway(paths, command, clock, limit_s=PATIENT_S, pause=clock.pause_for_others)

    assert caught.value.exit_code == 4
    shown = str(caught.value).splitlines()
    assert shown[1:-1] == [f"  {number}" for number in range(85, 100)], "its last lines only"


def test_a_gateway_that_never_listens_is_ended(
    paths: Paths, clock: SteppedClock, started: list[subprocess.Popen[bytes]]
) -> None:
    error = failure(paths, program(paths, "--hang"), clock)

    assert "within 5 s" in str(error) or "does not answer" in str(error)
    assert error.exit_code == 4
    (process,) = started
    assert process.wait(timeout=20) == -15


def test_a_program_that_is_missing_is_told(paths: Paths, clock: SteppedClock) -> None:
    error = failure(paths, never(paths), clock)

    assert str(error) == "cannot start the gateway: No such file or directory"
    assert error.exit_code == 4


def test_a_log_that_cannot_be_written_is_told(paths: Paths, clock: SteppedClock) -> None:
    paths.log_file.mkdir()
    error = failure(paths, never(paths), clock)

    assert str(error) == f"cannot write {paths.log_file}: Is a directory"


def test_a_long_log_is_put_aside(paths: Paths, clock: SteppedClock) -> None:
    paths.log_file.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    command = GatewayCommand(["/bin/sh", "-c", "echo fresh"], {})

    with pytest.raises(StartFailed):
        ensure_gateway(paths, command, clock, limit_s=PATIENT_S, pause=clock.pause_for_others)

    assert paths.log_file.read_text() == "fresh\n"
    assert paths.log_file.with_name("gateway.log.1").stat().st_size == 4 * 1024 * 1024 + 1


def test_a_relative_home_stays_the_same_folder(paths: Paths, clock: SteppedClock) -> None:
    env = {"SBGW_HOME": "sub/home", "OTHER": "kept"}
    command = GatewayCommand(["/bin/sh", "-c", 'echo "$SBGW_HOME $OTHER $PWD"'], env)

    with pytest.raises(StartFailed):
        ensure_gateway(paths, command, clock, limit_s=PATIENT_S, pause=clock.pause_for_others)

    home = Path.cwd() / "sub" / "home"
    assert paths.log_file.read_text() == f"{home} kept {paths.state_dir}\n"


def test_the_gateway_is_started_sheltered_from_the_project() -> None:
    argv = gateway_argv(["--config", "/x/config.toml"])

    assert argv[:3] == [sys.executable, "-E", "-P"]
    assert Path(argv[3]).name == "sbgw.py"
    assert Path(argv[3]).parent == Path(launch_gateway.__file__).resolve().parents[1]
    assert argv[4:] == ["--no-ui", "--lease", "--config", "/x/config.toml"]

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.processes import PortOwner, is_alive, owner_of_port, port_taken, start_ticks

linux_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@linux_only
def test_a_process_is_named_by_pid_and_start() -> None:
    started = start_ticks(os.getpid())

    assert started is not None
    assert is_alive(os.getpid(), started)
    assert not is_alive(os.getpid(), started + 1), "a reused pid has another start"


def test_an_ended_process_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-IS", "-c", ""]) as process:
        pass

    assert not is_alive(process.pid, None)
    assert start_ticks(process.pid) is None


@linux_only
def test_a_zombie_is_not_alive() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not is_alive(pid, None)
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("pid", [0, -1])
def test_no_group_is_taken_for_a_process(pid: int) -> None:
    assert not is_alive(pid, None)


def test_a_process_of_another_user_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)

    assert is_alive(os.getpid(), None)


def test_a_name_with_parentheses_does_not_shift_the_fields(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *map(str, range(1, 40))])
    (tmp_path / "7" / "stat").write_text(f"7 (a) b (c)) {fields}\n")

    assert start_ticks(7, proc=tmp_path) == 19


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert start_ticks(os.getpid(), proc=tmp_path) is None
    assert owner_of_port(1, proc=tmp_path / "missing") is None


@linux_only
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_owner_of_a_port_is_found(family: socket.AddressFamily) -> None:
    with socket.socket(family) as sock:
        try:
            sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        except OSError:
            pytest.skip("this machine has no such loopback")
        port = sock.getsockname()[1]
        assert owner_of_port(port) is None, "bound is not listening"
        sock.listen()

        owner = owner_of_port(port)

    assert owner is not None
    assert owner.pid == os.getpid()
    assert owner.command == Path("/proc/self/comm").read_text().strip()
    assert owner_of_port(port) is None


def test_the_message_says_who_and_what_to_do() -> None:
    assert port_taken(8787, PortOwner(123, "python")) == (
        "port 8787 is in use by pid 123 (python): stop it or choose another with --port"
    )
    assert port_taken(8787, None) == (
        "port 8787 is in use by another program: choose another with --port"
    )
    assert "\x1b" not in port_taken(1, PortOwner(1, "\x1b[31mred"))

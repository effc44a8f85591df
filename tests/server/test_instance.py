from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import string
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_clock import FakeClock
from fake_gateway import paths_of
from hypothesis import given
from hypothesis import strategies as st

import server.instance
from server.instance import (
    SECRET_BYTES,
    AlreadyRunning,
    InstanceError,
    InstanceLock,
    connect_url,
    is_nonce,
    load_secret,
    new_nonce,
    proof,
    read,
    read_secret,
    verify,
)
from server.paths import Paths
from server.processes import start_ticks

REPOSITORY = Path(__file__).resolve().parents[2]

HOLDER = """
import sys
from pathlib import Path
from server.clock import SystemClock
from server.instance import InstanceLock
from server.paths import Paths
home = Path(sys.argv[1])
lock = InstanceLock(Paths(home, home / "state"), SystemClock())
lock.acquire()
lock.publish("127.0.0.1", 8787)
print(lock.instance, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_of(tmp_path / "home")


def lock_for(paths: Paths) -> InstanceLock:
    return InstanceLock(paths, FakeClock(1_700_000_000.0), pause=lambda seconds: None)


def start_holder(paths: Paths) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(paths.settings_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


# -------------------------------------------------------------------------------- lock


def test_others_read_who_holds_the_lock_and_where(paths: Paths) -> None:
    assert read(paths) is None

    with lock_for(paths) as lock:
        before = read(paths)
        url = lock.publish("127.0.0.1", 8790)
        after = read(paths)

    assert before is not None
    assert (before.url, before.port, before.is_held) == (None, None, True)
    assert after is not None
    assert (after.url, after.port) == (url, 8790) == ("http://127.0.0.1:8790", 8790)
    assert (after.pid, after.instance) == (os.getpid(), lock.instance)
    assert after.process_started == start_ticks(os.getpid())
    assert after.started_at == 1_700_000_000.0
    assert read(paths) is None, "a gateway that ended in order leaves no line"


def test_only_one_lock_a_home(paths: Paths) -> None:
    with lock_for(paths) as lock:
        lock.publish("127.0.0.1", 8790)
        with pytest.raises(AlreadyRunning) as caught:
            lock_for(paths).acquire()

    assert caught.value.info.pid == os.getpid()
    assert str(caught.value) == (
        f"a gateway is already running at http://127.0.0.1:8790 (pid {os.getpid()})"
    )
    with lock_for(paths):
        pass


def test_two_homes_are_two_gateways(tmp_path: Path) -> None:
    with lock_for(paths_of(tmp_path / "a")), lock_for(paths_of(tmp_path / "b")):
        assert read(paths_of(tmp_path / "a")) != read(paths_of(tmp_path / "b"))


def test_a_killed_owner_leaves_a_line_but_no_lock(paths: Paths) -> None:
    process, instance = start_holder(paths)
    with process:
        held = read(paths)
        with pytest.raises(AlreadyRunning):
            lock_for(paths).acquire()
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert held is not None
    assert (held.pid, held.instance, held.is_held) == (process.pid, instance, True)
    dead = read(paths)
    assert dead is not None
    assert (dead.pid, dead.url, dead.is_held) == (process.pid, "http://127.0.0.1:8787", False)
    with lock_for(paths) as lock:
        healed = read(paths)
        assert healed is not None
        assert (healed.pid, healed.instance, healed.url) == (os.getpid(), lock.instance, None)


def test_the_file_is_private_and_not_inherited(paths: Paths) -> None:
    with lock_for(paths):
        assert stat.S_IMODE(paths.lock_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(paths.state_dir.stat().st_mode) == 0o700
        # A child that inherited the descriptor would keep the lock after us.
        child = subprocess.Popen([sys.executable, "-IS", "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        info = read(paths)
        assert info is None


def test_garbage_in_the_file_does_no_harm(paths: Paths) -> None:
    paths.make_state_dir()
    for content in (b"", b"\x00\xff{", b"[]\n", b'{"pid": "x"}\n', b'{"pid": null}', b"7" * 9000):
        paths.lock_file.write_bytes(content)
        assert read(paths) is None
        with lock_for(paths):
            info = read(paths)
            assert info is not None
            assert info.pid == os.getpid()


def test_a_held_lock_without_a_line_is_still_held(paths: Paths) -> None:
    with lock_for(paths):
        paths.lock_file.write_bytes(b"")

        info = read(paths)
        assert info is not None
        assert (info.pid, info.is_held) == (None, True)
        with pytest.raises(AlreadyRunning, match=r"^a gateway is already running$"):
            lock_for(paths).acquire()


def test_a_reader_at_the_wrong_moment_does_not_look_like_a_gateway(paths: Paths) -> None:
    paths.make_state_dir()
    reader = os.open(paths.lock_file, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(reader, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(reader)

    with InstanceLock(paths, FakeClock(), pause=pause):
        assert len(pauses) == 3


def test_a_removed_file_is_not_mistaken_for_the_lock(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.make_state_dir()
    real = server.instance._try_lock
    removals = [True]

    def lock_after_removal(fd: int, kind: int, path: Path) -> bool:
        if removals and removals.pop():
            path.unlink()
        return real(fd, kind, path)

    monkeypatch.setattr(server.instance, "_try_lock", lock_after_removal)

    with lock_for(paths):
        info = read(paths)
        assert info is not None, "the lock is on the file that others see"


def test_a_link_in_the_lock_files_place_is_refused(paths: Paths, tmp_path: Path) -> None:
    paths.make_state_dir()
    target = tmp_path / "precious"
    target.write_text("kept")
    paths.lock_file.symlink_to(target)

    with pytest.raises(InstanceError, match=r"gateway\.lock"):
        lock_for(paths).acquire()
    assert target.read_text() == "kept"


def test_publishing_needs_the_lock(paths: Paths) -> None:
    lock = lock_for(paths)
    with pytest.raises(RuntimeError):
        lock.publish("127.0.0.1", 1)
    lock.release()
    with lock:
        lock.acquire()
        lock.release()
        lock.release()


def test_a_shorter_line_leaves_nothing_of_the_longer_one(paths: Paths) -> None:
    with lock_for(paths) as lock:
        lock.publish("a-host-with-a-long-name.example.net", 65535)
        lock.publish("::1", 1)

        lines = paths.lock_file.read_text().splitlines()

    assert len(lines) == 1
    assert json.loads(lines[0])["url"] == "http://[::1]:1"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
        ("192.168.1.5", "http://192.168.1.5:80"),
    ],
)
def test_the_address_to_connect_to(host: str, url: str) -> None:
    assert connect_url(host, 80) == url


# ------------------------------------------------------------------------------ secret


def test_the_secret_is_made_once_and_private(paths: Paths) -> None:
    assert read_secret(paths) is None

    secret = load_secret(paths)

    assert len(secret) == SECRET_BYTES
    assert load_secret(paths) == read_secret(paths) == secret
    assert stat.S_IMODE(paths.instance_secret_file.stat().st_mode) == 0o600
    assert os.listdir(paths.state_dir) == [paths.instance_secret_file.name]


def test_processes_that_start_at_once_agree_on_the_secret(paths: Paths) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(load_secret(paths))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(paths.state_dir) == [paths.instance_secret_file.name]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_others_can_read_is_refused(paths: Paths, mode: int) -> None:
    load_secret(paths)
    paths.instance_secret_file.chmod(mode)

    with pytest.raises(InstanceError, match="can be read by others"):
        load_secret(paths)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_the_wrong_size_is_refused(paths: Paths, size: int) -> None:
    load_secret(paths)
    paths.instance_secret_file.write_bytes(b"x" * size)

    with pytest.raises(InstanceError, match="is damaged"):
        load_secret(paths)


def test_a_link_to_a_secret_is_refused(paths: Paths, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 32)
    other.chmod(0o600)
    paths.make_state_dir()
    paths.instance_secret_file.symlink_to(other)

    with pytest.raises(InstanceError):
        load_secret(paths)


# ------------------------------------------------------------------------------- proof


def test_a_proof_holds_for_its_secret_nonce_and_port_only() -> None:
    secret, nonce = b"s" * 32, new_nonce()
    shown = proof(secret, nonce, 8787)

    assert len(shown) == 64
    assert verify(secret, nonce, 8787, shown)
    assert not verify(secret, nonce, 8788, shown), "a listener elsewhere cannot pass it on"
    assert not verify(secret, new_nonce(), 8787, shown)
    assert not verify(b"t" * 32, nonce, 8787, shown)
    assert not verify(secret, nonce, 8787, shown.upper())
    assert not verify(secret, nonce, 8787, "")
    assert not verify(secret, nonce, 8787, "é" * 64)


def test_the_proof_does_not_change_between_versions() -> None:
    assert proof(bytes(range(32)), "0123456789abcdef", 8787) == (
        "a82c0d0cf19b8ab9e3389e1284d7a7b047274bfe2a95c199b61df78a4cdaaeab"
    )


@pytest.mark.parametrize(
    "nonce", ["", "short", "x" * 15, "x" * 129, "a b" * 8, "é" * 20, "x" * 16 + "\n"]
)
def test_only_nonces_are_proved(nonce: str) -> None:
    assert not is_nonce(nonce)
    with pytest.raises(ValueError):
        proof(b"s" * 32, nonce, 8787)


NONCES = st.text(string.ascii_letters + string.digits + "_-", min_size=16, max_size=128)


@given(NONCES, st.integers(1, 65535), st.integers(1, 65535))
def test_no_port_shares_a_proof(nonce: str, one: int, other: int) -> None:
    same = proof(b"s" * 32, nonce, one) == proof(b"s" * 32, nonce, other)
    assert same == (one == other)


def test_nonces_are_fresh() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(map(is_nonce, nonces))

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from fake_clock import FakeClock
from fake_gateway import paths_of

from server import private_files, succession
from server.instance import AlreadyRunning, InstanceLock, read
from server.paths import Paths
from server.succession import (
    NOTE,
    Hello,
    Inheritance,
    SuccessionError,
    Successor,
    hand_over,
    inherit,
)

T = TypeVar("T")
HELLO = Hello("127.0.0.1", 8787, True)


@pytest.fixture
def meeting() -> Iterator[Path]:
    """A short path for a socket."""
    with tempfile.TemporaryDirectory(prefix="sbgw-") as folder:
        yield Path(folder) / "s"


class Old:
    """A gateway that listens and holds its lock."""

    def __init__(self, home: Path, meeting: Path) -> None:
        self.paths: Paths = paths_of(home)
        self.lock = InstanceLock(self.paths, FakeClock())
        self.lock.acquire()
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.lock.publish("127.0.0.1", self.port)
        private_files.replace(self.paths.state_dir / NOTE, str(meeting).encode())

    def hand_over(self) -> Successor:
        return hand_over(self.paths.state_dir, HELLO, self.sock.fileno(), self.lock.fileno())

    def __enter__(self) -> Old:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.lock.release()


def beside(work: Callable[[], T]) -> Future[T]:
    """Run on another thread."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def both(old: Old, meeting: Path) -> tuple[Future[Successor], Inheritance]:
    """Bring the two together; the old one waits for ``ready`` then."""
    inheriting = beside(lambda: inherit(meeting))
    while not meeting.exists():
        assert not inheriting.done()
    return beside(old.hand_over), inheriting.result(60)


def test_socket_and_lock_change_hands_and_are_never_free(tmp_path: Path, meeting: Path) -> None:
    with Old(tmp_path, meeting) as old:
        handing, found = both(old, meeting)
        assert found.hello == HELLO
        assert found.sock.getsockname()[1] == old.port
        claiming = beside(found.claim)
        heir = handing.result(10)
        assert not claiming.done(), "it waits for the old one to step back"
        old.sock.close()
        old.lock.leave_to_successor()
        with pytest.raises(AlreadyRunning):
            InstanceLock(old.paths, FakeClock()).acquire()
        heir.take_over()
        claiming.result(10)
        lock = InstanceLock.adopt(old.paths, FakeClock(), found.lock_fd)
        lock.publish("127.0.0.1", old.port)
        info = read(old.paths)
        assert info is not None
        assert (info.instance, info.is_held) == (lock.instance, True)
        with closing(found.sock), socket.create_connection(("127.0.0.1", old.port)):
            pass
        lock.release()
        assert read(old.paths) is None


def test_one_that_ends_before_it_serves_changes_nothing(tmp_path: Path, meeting: Path) -> None:
    with Old(tmp_path, meeting) as old:
        handing, found = both(old, meeting)
        found.refuse()
        with pytest.raises(SuccessionError, match="ended before it served"):
            handing.result(10)
        info = read(old.paths)
        assert info is not None
        assert info.is_held
        with socket.create_connection(("127.0.0.1", old.port)):
            pass


def test_an_old_one_that_dies_leaves_everything_to_the_new(tmp_path: Path, meeting: Path) -> None:
    with Old(tmp_path, meeting) as old:
        handing, found = both(old, meeting)
        claiming = beside(found.claim)
        handing.result(10)._peer.close()
        claiming.result(10)
        found.sock.close()
        os.close(found.lock_fd)


def test_an_old_one_that_waits_no_longer_takes_it_back(
    tmp_path: Path, meeting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Old(tmp_path, meeting) as old:
        monkeypatch.setattr(succession, "MEET_S", 0.2)
        handing, found = both(old, meeting)
        with pytest.raises(SuccessionError, match="did not get ready"):
            handing.result(10)
        with pytest.raises(SuccessionError, match="did not wait any longer"):
            found.claim()
        found.refuse()


def test_without_a_note_or_a_listener_nothing_happens(tmp_path: Path, meeting: Path) -> None:
    with Old(tmp_path, meeting) as old:
        with pytest.raises(SuccessionError, match="did not get ready"):
            old.hand_over()
        note = old.paths.state_dir / NOTE
        note.chmod(0o644)
        with pytest.raises(SuccessionError, match="no successor is named"):
            old.hand_over()
        note.unlink()
        with pytest.raises(SuccessionError, match="no successor is named"):
            old.hand_over()
        probe = os.open(old.paths.lock_file, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(probe)


def test_another_user_gets_nothing(
    tmp_path: Path, meeting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "_is_us", lambda _: False)
    with Old(tmp_path, meeting) as old:
        inheriting = beside(lambda: inherit(meeting))
        while not meeting.exists():
            assert not inheriting.done()
        with pytest.raises(SuccessionError):
            old.hand_over()
        with pytest.raises(SuccessionError, match="did not come"):
            inheriting.result(60)


def test_nobody_who_comes_is_told(meeting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "MEET_S", 0.05)
    with pytest.raises(SuccessionError, match="did not come"):
        inherit(meeting)
    assert not meeting.exists()

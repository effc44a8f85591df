"""Files that must be whole and private."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from server import private_files
from server.private_files import UnsafeFileError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and pipes are POSIX")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return path


def test_a_private_file_is_read(file: Path) -> None:
    assert private_files.read_private(file) == b"content"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_what_others_may_touch_is_refused_with_the_remedy(file: Path, mode: int) -> None:
    file.chmod(mode)

    with pytest.raises(UnsafeFileError, match="other users") as caught:
        private_files.read_private(file)
    assert caught.value.hint == f"chmod 600 {file}"


def test_the_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)

    with pytest.raises(UnsafeFileError, match="another user"):
        private_files.read_private(file)


def test_a_link_counts_as_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    assert private_files.read_private(link) == b"content"

    file.chmod(0o644)
    with pytest.raises(UnsafeFileError):
        private_files.read_private(link)


def test_a_pipe_neither_hangs_nor_counts(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    with pytest.raises(UnsafeFileError, match="regular file"):
        private_files.read(pipe)


def test_a_folder_does_not_count(tmp_path: Path) -> None:
    with pytest.raises((UnsafeFileError, OSError)):
        private_files.read(tmp_path)


def test_a_huge_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "MAX_BYTES", 6)

    with pytest.raises(UnsafeFileError, match="larger"):
        private_files.read(file)


def test_a_replaced_file_is_private_whatever_it_was(file: Path) -> None:
    file.chmod(0o644)
    private_files.replace(file, b"new")

    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        private_files.replace(file, b"new")

    assert file.read_bytes() == b"content"
    assert list(file.parent.iterdir()) == [file]


def test_a_reader_never_sees_a_part(file: Path) -> None:
    versions = [bytes([letter]) * 200_000 for letter in b"ab"]
    private_files.replace(file, versions[0])
    seen: set[bytes] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.add(file.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for turn in range(40):
            private_files.replace(file, versions[turn % 2])
    finally:
        stop.set()
        watcher.join()

    assert seen <= set(versions)
    assert seen

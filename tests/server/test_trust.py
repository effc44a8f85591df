"""Trust is in one content at one place."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from server.private_files import UnsafeFileError
from server.trust import TrustStore


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    return TrustStore(tmp_path / "state" / "trusted.json")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.config.json"
    path.write_text('{"routing": {}}')
    return path


def test_nothing_is_trusted_at_first(store: TrustStore, file: Path) -> None:
    assert not store.is_trusted(file)
    assert not store.is_known(file)


def test_a_trusted_file_is_trusted_by_the_next_process_too(store: TrustStore, file: Path) -> None:
    digest = store.trust(file)

    assert len(digest) == 64
    assert TrustStore(store.file).is_trusted(file)


def test_a_changed_file_is_no_longer_trusted_but_remembered(store: TrustStore, file: Path) -> None:
    store.trust(file)
    file.write_text('{"routing": {"routes": {}}}')

    assert not store.is_trusted(file)
    assert store.is_known(file)


def test_the_bytes_in_hand_are_what_counts(store: TrustStore, file: Path) -> None:
    store.trust(file)

    assert store.is_trusted(file, file.read_bytes())
    assert not store.is_trusted(file, b"other")


def test_the_same_content_elsewhere_is_not_trusted(store: TrustStore, file: Path) -> None:
    store.trust(file)
    other = file.with_name("stackbilt.gateway.json")
    other.write_bytes(file.read_bytes())

    assert not store.is_trusted(other)


def test_a_link_stands_for_what_it_leads_to(store: TrustStore, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    store.trust(link)
    assert store.is_trusted(file)

    evil = tmp_path / "evil.json"
    evil.write_text("{}")
    link.unlink()
    link.symlink_to(evil)
    assert not store.is_trusted(link)


def test_trust_can_be_taken_back(store: TrustStore, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    store.trust(file)
    store.trust(other)

    assert store.untrust(file)
    assert not store.untrust(file)
    assert not store.is_trusted(file)
    assert store.is_trusted(other)


def test_a_file_that_is_gone_is_not_trusted_and_can_be_forgotten(
    store: TrustStore, file: Path
) -> None:
    store.trust(file)
    file.unlink()

    assert not store.is_trusted(file)
    assert store.untrust(file)


def test_what_cannot_be_read_cannot_be_trusted(store: TrustStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.trust(tmp_path / "nowhere.json")
    with pytest.raises((UnsafeFileError, OSError)):
        store.trust(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 2, "files": {}}',
        b'{"version": 1}',
        b'{"version": 1, "files": []}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_damaged_store_vouches_for_nothing_and_heals(
    store: TrustStore, file: Path, content: bytes
) -> None:
    store.trust(file)
    store.file.write_bytes(content)
    assert not store.is_trusted(file)

    store.trust(file)
    assert store.is_trusted(file)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
class TestOwner:
    def test_the_store_is_private(self, store: TrustStore, file: Path) -> None:
        store.trust(file)

        assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.file.parent.stat().st_mode) == 0o700

    def test_a_store_others_may_write_vouches_for_nothing(
        self, store: TrustStore, file: Path
    ) -> None:
        store.trust(file)
        store.file.chmod(0o622)

        assert not store.is_trusted(file)

    def test_nor_does_one_of_another_user(
        self, store: TrustStore, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.trust(file)
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)

        assert not store.is_trusted(file)


def test_the_store_names_real_paths_and_digests_only(store: TrustStore, file: Path) -> None:
    digest = store.trust(file)

    assert json.loads(store.file.read_text()) == {
        "version": 1,
        "files": {os.path.realpath(file): digest},
    }

"""Kept request bodies: masked, private, bounded in age and size, and gone with a purge."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from server import capture_files
from server.capture import _LEFT_OUT, LONGEST, PIECE, Mask, _pieces
from server.redact import MASK, Redactor

SECRET = "tr0ub4dor-and-three"
KEY = "sk-ant-api03-abcdefghijklmnop"


def keep(folder: Path, number: int, session: str = "s1", project: str = "/src/a") -> Path:
    turn = f"gw_{number:024x}"
    content = {"turn": turn, "at": 1_000.0 + number, "body": "x" * 100}
    capture_files.write(folder, turn, session, project, content)
    return next(k.path for k in capture_files.listed(folder) if k.path.name.startswith(turn))


def test_a_kept_body_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    path = keep(folder, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    found = capture_files.read(folder, f"gw_{1:024x}")
    assert found is not None
    assert found["body"] == "x" * 100
    assert capture_files.read(folder, f"gw_{2:024x}") is None
    assert list(capture_files.listed(tmp_path / "none")) == []
    path.write_bytes(b"\x00 damaged")
    assert capture_files.read(folder, f"gw_{1:024x}") is None


def test_a_link_in_the_place_of_a_body_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    path = keep(folder, 1)
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(OSError):
        capture_files.read(folder, f"gw_{1:024x}")


def test_what_is_too_old_goes_and_then_the_oldest_of_what_is_too_much(tmp_path: Path) -> None:
    paths = [keep(tmp_path, number) for number in range(4)]
    sizes = [path.stat().st_size for path in paths]
    left = capture_files.keep_small(tmp_path, now=1_010, keep_s=9, most_bytes=10_000)
    assert left == (3, sum(sizes[1:]))
    assert not paths[0].exists()
    most = sum(sizes[2:])
    left = capture_files.keep_small(tmp_path, now=1_010, keep_s=9, most_bytes=most)
    assert left == (2, most)
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_a_purge_takes_one_session_or_one_project_or_all(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    keep(folder, 1, "s1", "/src/a")
    keep(folder, 2, "s2", "/src/a")
    keep(folder, 3, "s3", "/src/b")
    assert capture_files.remove(folder, session="s1") == 1
    assert len(list(capture_files.matching(folder, project="/src/a"))) == 1
    assert capture_files.remove(folder, project="/src/b") == 1
    assert capture_files.remove(folder) == 1
    assert not folder.exists()
    assert capture_files.remove(folder) == 0


def test_credentials_are_masked_wherever_they_stand() -> None:
    mask, redact = Mask(), Redactor([SECRET])
    body = {
        "messages": [{"role": "user", "content": [{"text": f"my key is {KEY} ok"}]}],
        "system": "\n".join(["x" * 50] * 50) + f"\nauthorization: Bearer {SECRET}",
        f"field {KEY}": 3,
        "n": 1,
    }
    found = mask(body, redact)
    assert KEY not in repr(found)
    assert SECRET not in repr(found)
    assert repr(found).count(MASK) == 3
    assert found["n"] == 1


def test_a_text_that_was_clean_for_one_client_is_read_again_for_another() -> None:
    mask, text = Mask(), "words " * 100 + SECRET
    assert mask(text, Redactor()) == text
    redact = Redactor().also([SECRET])
    assert SECRET not in mask(text, redact, [SECRET])


def test_a_text_is_masked_in_pieces_that_make_it_up() -> None:
    text = "\n".join(f"line {n} of a long file, as it is" for n in range(4_000))
    pieces = list(_pieces(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= PIECE
    assert all(piece.endswith(("\n", ",")) for piece in pieces[:-1])
    data = "A" * (LONGEST + 1)
    assert Mask()(f"{data}\nand words" + " " * 300, Redactor()).startswith(_LEFT_OUT)

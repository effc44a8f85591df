"""kill -9 at any moment: what was acknowledged is there, and the file is sound."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fake_clock import FakeClock
from ledger_faults import WriterHarness, is_sound, locked_by_another_process, statuses
from turn_factory import NOON

from server.ledger import Ledger

SUPPORT = Path(__file__).resolve().parents[1] / "support"
ROOT = SUPPORT.parents[1]
PATIENCE_S = 20


def start_child(
    path: Path, boot_id: str, *, threads: int = 4, durability: str = "normal"
) -> subprocess.Popen[str]:
    """The child of ``ledger_crash_child``, ready."""
    child = subprocess.Popen(
        [
            sys.executable,
            str(SUPPORT / "ledger_crash_child.py"),
            *(str(path), boot_id, str(threads), durability),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LEDGER_CHILD_PATH": os.pathsep.join([str(ROOT), str(SUPPORT)])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def kill_after(child: subprocess.Popen[str], lines: int) -> list[list[str]]:
    """Let the child begin; everything it acknowledged until killed, at least ``lines`` lines."""
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write("go\n")
        child.stdin.flush()
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    return [line.split() for line in said if line.endswith("\n")]


def run_rounds(path: Path, rounds: int, seed: int, durability: str) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    for number in range(rounds):
        child = start_child(path, f"child-{number}", durability=durability)
        lines = chance.randrange(1, 160)
        for state, turn_id in kill_after(child, lines):
            acknowledged[turn_id] = state

        ledger = Ledger(path, clock=FakeClock(NOON), boot_id=f"check-{number}")
        report = ledger.start()
        ledger.close(PATIENCE_S)

        stored = statuses(path)
        lost = {turn_id for turn_id in acknowledged if turn_id not in stored}
        assert lost == set()
        for turn_id, state in acknowledged.items():
            if state == "closed":
                assert stored[turn_id] == "completed"
        assert "open" not in stored.values(), "nobody who could close them is alive"
        if lines >= 40:
            assert report.interrupted > 0, "one of the four threads got to its fifth turn"
        assert report.moved_aside is None
        assert is_sound(path)
        assert list(path.parent.glob("*.ahead-*")) == []


@pytest.mark.parametrize("durability", ["journal", "normal"])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, durability: str
) -> None:
    run_rounds(tmp_path / "ledger.sqlite3", rounds=2, seed=1, durability=durability)


@pytest.mark.timeout(300)
@pytest.mark.faults
@pytest.mark.parametrize("durability", ["journal", "normal"])
def test_nothing_acknowledged_is_lost_in_many_kills(tmp_path: Path, durability: str) -> None:
    run_rounds(tmp_path / "ledger.sqlite3", rounds=40, seed=2, durability=durability)


def test_nothing_acknowledged_is_lost_when_killed_while_degraded(tmp_path: Path) -> None:
    """With the database locked, rows are acknowledged once they are in the spill file."""
    path = tmp_path / "ledger.sqlite3"
    child = start_child(path, "child", threads=1)
    with locked_by_another_process(path):
        said = kill_after(child, 12)
        assert statuses(path) == {}
    harness = WriterHarness(path)
    report = harness.writer.start()
    harness.writer.close()

    assert {turn_id for _, turn_id in said} <= set(statuses(path))
    assert report.replayed >= len(said)
    assert list(tmp_path.glob("*.spill-*")) == []
    assert is_sound(path)


def test_a_second_process_leaves_the_first_ones_turns_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    child = start_child(path, "child", threads=1)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    while "open" not in statuses(path).values():
        assert child.stdout.readline()

    second = WriterHarness(path, "second")
    report = second.writer.start()
    second.writer.close()

    assert [boot.pid for boot in report.others_alive] == [child.pid]
    assert report.interrupted == 0
    assert "interrupted" not in statuses(path).values()

    kill_after(child, 10)
    third = WriterHarness(path, "third")
    assert third.writer.start().interrupted > 0
    third.writer.close()
    assert is_sound(path)

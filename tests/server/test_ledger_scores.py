"""Scores and moves in the ledger: exact, without texts, gone with their turns and with a purge."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from fake_clock import FakeClock
from turn_factory import NOON, finished

from server.ledger import Ledger, LedgerReader
from server.ledger_retention import Choice, purge
from server.ledger_rows import from_record, to_record
from server.ledger_scores import LATEST, STEP, Moved, Scored, rung_row, score_row
from server.ledger_tables import MIGRATIONS
from server.record import Turn

SCORED = Scored(
    turn_id="",
    at=NOON,
    kind="title",
    route="summary",
    provider="groq",
    model="gpt-oss",
    source="shadow",
    passed=False,
    hard=True,
    checks={"transport": True, "arguments": False},
    figures={"length_ratio": 0.5},
    input_tokens=100,
    output_tokens=8,
    cost_usd=0.0000198,
    duration_s=0.5,
)
MOVED = Moved("m1", NOON, "title", "groq", "gpt-oss", "live", "verify", "it failed", "evidence")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def written(path: Path, *turns: Turn, moved: Moved | None = None) -> Ledger:
    """Each turn with its score, an hour apart."""
    ledger = Ledger(path, clock=FakeClock(), boot_id="boot-1")
    ledger.start()
    for number, turn in enumerate(turns):
        ledger.close_turn(turn)
        scored = replace(SCORED, turn_id=turn.id, at=NOON + 3600 * number)
        ledger.add(score_row(scored))
    if moved is not None:
        ledger.add(rung_row(moved))
    assert ledger.flush(10)
    return ledger


def test_a_score_and_a_move_read_back(path: Path) -> None:
    ledger = written(path, finished(), finished(), moved=MOVED)
    reader = LedgerReader(path)
    first, last = reader.scores()
    assert (first.at, last.at) == (NOON, NOON + 3600)
    assert (first.kind, first.route, first.provider, first.model) == (
        *("title", "summary"),
        *("groq", "gpt-oss"),
    )
    assert (first.passed, first.hard) == (False, True)
    assert first.checks == {"transport": True, "arguments": False}
    assert reader.verification_nusd(NOON) == 2 * 19_800
    assert reader.verification_nusd(NOON + 1) == 19_800
    assert reader.ladder_moves() == [MOVED]
    assert reader.ladder_moves(1) == [MOVED]
    assert reader.scores(demo=True) == []
    ledger.close(5)


def test_written_twice_it_counts_once(path: Path) -> None:
    turn = finished()
    ledger = written(path, turn, moved=MOVED)
    ledger.add(score_row(replace(SCORED, turn_id=turn.id, passed=True)))
    ledger.add(rung_row(replace(MOVED, reason="another")))
    assert ledger.flush(10)
    assert [score.passed for score in LedgerReader(path).scores()] == [False]
    assert LedgerReader(path).ladder_moves() == [MOVED]
    ledger.close(5)


def test_rows_survive_the_spill_file() -> None:
    for row in (score_row(replace(SCORED, turn_id="gw_1")), rung_row(MOVED)):
        assert from_record(to_record(row)) == row


def test_a_score_without_its_turn_costs_no_other_row(path: Path) -> None:
    ledger = written(path)
    turn = finished()
    ledger.add(score_row(replace(SCORED, turn_id="gw_nowhere")))
    ledger.close_turn(turn)
    assert ledger.flush(10)
    assert ledger.state.status == "ok"
    assert LedgerReader(path).scores() == []
    assert [row["id"] for row in LedgerReader(path).recent(5)] == [turn.id]
    ledger.close(5)


def test_only_the_latest_of_each_candidate_are_read(path: Path) -> None:
    turns = [finished() for _ in range(LATEST + 5)]
    ledger = written(path, *turns)
    found = LedgerReader(path).scores()
    assert len(found) == LATEST
    assert found[-1].at == NOON + 3600 * (LATEST + 4)
    ledger.close(5)


def test_a_session_that_is_purged_takes_its_scores_along(path: Path) -> None:
    kept, gone = finished(session="a"), finished(session="b")
    written(path, kept, gone, moved=MOVED).close(5)
    assert purge(path, Choice(session="b")) == 1
    assert len(LedgerReader(path).scores()) == 1
    assert LedgerReader(path).ladder_moves() == [MOVED]
    assert purge(path, Choice()) == 1
    assert LedgerReader(path).scores() == []
    assert LedgerReader(path).ladder_moves() == []


def test_an_older_ledger_reads_as_one_without_evidence_and_is_brought_up_to_date(
    path: Path,
) -> None:
    written(path, finished()).close(5)
    before = MIGRATIONS.index(STEP)
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("DROP TABLE verifications")
        conn.execute("DROP TABLE rungs")
        conn.execute(f"PRAGMA user_version = {before}")
        conn.commit()
    reader = LedgerReader(path)
    assert (reader.scores(), reader.ladder_moves(), reader.verification_nusd(0)) == ([], [], 0)
    if before + 1 == len(MIGRATIONS):
        written(path, finished(), moved=MOVED).close(5)
        assert len(reader.scores()) == 1
        assert reader.ladder_moves() == [MOVED]

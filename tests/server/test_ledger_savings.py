"""Proposals and their savings in the ledger: written with their turn, settled later, exact."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_faults import Faults, WriterHarness, dead_boot, is_sound, rows
from msgspec import structs
from turn_factory import NOON, finish, finished, opened

from server.ledger import Ledger, LedgerReader
from server.ledger_rows import from_record, to_record
from server.ledger_savings import (
    STEP,
    UPSERT,
    SavingRow,
    SavingTotal,
    proposal_row,
    saving_row,
)
from server.ledger_tables import MIGRATIONS
from server.ledger_values import nano_usd
from server.record import Proposal, Saving, Turn

PATIENCE_S = 10
MOVE = Proposal("groq", "gpt-oss", "would_move", "summaries go to groq")
OPEN = Saving(
    "open",
    naive_usd=0.0293,
    usd=0.0011,
    low_usd=-0.2,
    high_usd=0.09,
    quota_usd=0.0,
    baseline_usd=0.1,
    target_usd=0.02,
    penalty_write_usd=0.07,
    redo_usd=0.0089,
    note="an estimate",
)
SETTLED = replace(OPEN, state="settled", usd=-0.0123456789, low_usd=-0.02, high_usd=-0.01)


def proposed(**changes: Any) -> Turn:
    return finished(**({"proposal": MOVE, "saving": OPEN} | changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def harness(path: Path) -> Iterator[WriterHarness]:
    made = WriterHarness(path)
    made.writer.start()
    yield made
    made.writer.close()


def settle(harness: WriterHarness, turn: Turn, saving: Saving) -> None:
    turn.saving = saving
    harness.writer.add(saving_row(turn.id, saving))


def test_a_running_turn_reads_back_with_its_proposal(harness: WriterHarness, path: Path) -> None:
    turn = opened(proposal=MOVE)
    harness.open(turn)
    harness.settle()
    assert LedgerReader(path).recent(1) == [turn.summary()]
    assert LedgerReader(path).saving_totals() == []


@pytest.mark.parametrize("saving", [OPEN, Saving("unpriced", 0.01, note="no price"), None])
def test_a_finished_turn_reads_back_with_its_saving(
    harness: WriterHarness, path: Path, saving: Saving | None
) -> None:
    turn = opened(proposal=replace(MOVE, model=None))
    harness.open(turn)
    harness.close(finish(turn, saving=saving))
    harness.settle()
    reader = LedgerReader(path)
    assert reader.recent(1) == [turn.summary()]
    assert reader.turn(turn.id) == turn.detail()


def test_settling_replaces_the_figures_and_the_sums(harness: WriterHarness, path: Path) -> None:
    turn = proposed()
    harness.close(turn)
    harness.settle()
    before = LedgerReader(path).saving_totals()
    settle(harness, turn, SETTLED)
    harness.settle()

    reader = LedgerReader(path)

    assert reader.recent(1) == [turn.summary()]
    assert [total.open for total in before] == [1]
    assert reader.saving_totals() == [
        SavingTotal(
            "tool_loop",
            "user_turn",
            "groq",
            "gpt-oss",
            needs_key=0,
            confidence_level="low",
            proposals=1,
            shadowed=1,
            turns=1,
            open=0,
            unpriced=0,
            losses=1,
            naive_nusd=29_300_000,
            usd_nusd=-12_345_679,
            low_nusd=-20_000_000,
            high_nusd=-10_000_000,
            quota_nusd=0,
            losses_nusd=-12_345_679,
            cost_nusd=100_000_000,
        )
    ]


def test_a_saving_settles_in_the_commit_of_its_turn(harness: WriterHarness, path: Path) -> None:
    turn = proposed()
    harness.open(turn)
    harness.close(turn)
    settle(harness, turn, SETTLED)
    harness.settle()
    assert LedgerReader(path).recent(1) == [turn.summary()]


def test_settling_an_unknown_turn_changes_nothing(harness: WriterHarness, path: Path) -> None:
    harness.writer.add(saving_row("gw_gone", SETTLED))
    harness.settle()
    assert rows(path, "SELECT count(*) FROM savings") == [(0,)]
    assert harness.writer.state().lost == 0


def test_a_second_terminal_state_does_not_undo_a_settled_saving(
    harness: WriterHarness, path: Path
) -> None:
    turn = proposed()
    harness.close(turn)
    harness.settle()
    settle(harness, turn, SETTLED)
    harness.settle()
    harness.close(structs.replace(turn, saving=OPEN))
    harness.settle()
    assert LedgerReader(path).recent(1) == [turn.summary()]


_savings = st.builds(
    lambda state, usd, cost: Saving(
        state,
        naive_usd=0.5,
        usd=None if state == "unpriced" else usd,
        low_usd=None if state == "unpriced" else usd - 1,
        high_usd=None if state == "unpriced" else usd + 1,
        quota_usd=None if state == "unpriced" else max(usd, 0.0),
        baseline_usd=cost,
    ),
    state=st.sampled_from(["open", "settled", "unpriced"]),
    usd=st.floats(-1, 1),
    cost=st.none() | st.floats(0, 1),
)
_proposed = st.builds(
    lambda at, model, state, saving, later, demo: (
        proposed(
            at=NOON + at, proposal=replace(MOVE, model=model, state=state), saving=saving, demo=demo
        ),
        later,
    ),
    at=st.floats(-500, 500),
    model=st.sampled_from([None, "a", "b"]),
    state=st.sampled_from(["would_move", "needs_key", "observed"]),
    saving=_savings,
    later=st.none() | _savings,
    demo=st.booleans(),
)


@settings(max_examples=20, deadline=None)
@given(made=st.lists(_proposed, max_size=10), since=st.none() | st.floats(NOON - 600, NOON + 600))
def test_totals_are_the_sums_of_the_savings_as_they_stand(
    tmp_path_factory: pytest.TempPathFactory,
    made: list[tuple[Turn, Saving | None]],
    since: float | None,
) -> None:
    path = tmp_path_factory.mktemp("totals") / "ledger.sqlite3"
    harness = WriterHarness(path)
    harness.writer.start()
    for turn, later in made:
        harness.close(turn)
        harness.settle()
        if later is not None:
            settle(harness, turn, later)
    harness.settle()
    harness.writer.close()

    found = LedgerReader(path).saving_totals(since)

    counted = [t for t, _ in made if not t.demo and (since is None or t.at >= since)]
    assert len({(t.provider, t.model, t.needs_key) for t in found}) == len(found)
    for key in ("naive_usd", "usd", "low_usd", "high_usd", "quota_usd"):
        column = "usd_nusd" if key == "usd" else key.replace("_usd", "_nusd")
        priced = [t.saving for t in counted if t.saving and t.saving.usd is not None]
        assert sum(asdict(total)[column] for total in found) == sum(
            nano_usd(getattr(saving, key)) or 0 for saving in priced
        )
    assert sum(total.proposals for total in found) == len(counted)
    assert sum(total.turns + total.unpriced for total in found) == len(counted)
    assert is_sound(path)


def test_the_ledger_settles_a_recorded_turn(path: Path) -> None:
    connect = Faults(flushes=False).connect
    ledger = Ledger(path, clock=FakeClock(NOON), boot_id="boot-1", connect=connect)
    ledger.start()
    turn = proposed()
    ledger.close_turn(turn).result(PATIENCE_S)

    ledger.settle_saving(turn.id, SETTLED)

    assert ledger.flush(PATIENCE_S)
    ledger.close(PATIENCE_S)
    assert LedgerReader(path).recent(1) == [turn.summary() | {"saving": SETTLED.as_json()}]


def test_a_saving_that_had_to_wait_is_written_when_the_database_is_back(path: Path) -> None:
    faults = Faults(flushes=False)
    harness = WriterHarness(path, connector=faults.connect)
    harness.writer.start()
    turn = proposed()
    faults.fails_at = 0
    harness.open(turn)
    harness.writer.work()
    harness.close(turn)
    harness.writer.work()
    settle(harness, turn, SETTLED)
    harness.writer.work()
    assert harness.spill.exists()

    faults.heal()
    harness.settle()
    harness.writer.close()

    assert LedgerReader(path).recent(1) == [turn.summary()]


def test_every_kind_of_row_survives_the_spill_file(harness: WriterHarness) -> None:
    row = saving_row("gw_1", SETTLED)
    assert isinstance(row, SavingRow)
    assert from_record(to_record(row)) == row


def test_what_a_dead_process_left_open_is_settled_with_its_range(path: Path) -> None:
    dead = WriterHarness(path, dead_boot("dead"))
    dead.writer.start()
    held, running = proposed(), opened(proposal=MOVE)
    unsupported = opened(proposal=replace(MOVE, state="unsupported"))
    dead.close(held)
    dead.open(running)
    dead.open(unsupported)
    dead.settle()

    after = WriterHarness(path, "after")
    after.writer.start()
    after.writer.close()

    reader = LedgerReader(path)
    found = {row["id"]: row["saving"] for row in reader.recent(10)}
    assert found[held.id]["state"] == "settled"
    assert found[held.id]["note"].startswith("an estimate; the gateway stopped")
    assert (found[held.id]["low_usd"], found[held.id]["high_usd"]) == (-0.2, 0.09)
    assert (found[running.id]["state"], found[running.id]["usd"]) == ("unpriced", None)
    assert found[unsupported.id] is None
    (total,) = reader.saving_totals()
    assert (total.proposals, total.turns, total.open, total.unpriced) == (3, 1, 0, 1)
    assert is_sound(path)


def test_what_this_process_holds_open_stays_open_when_the_database_comes_back(path: Path) -> None:
    harness = WriterHarness(path, "boot-1")
    harness.writer.start()
    turn = proposed()
    harness.close(turn)
    harness.settle()
    again = WriterHarness(path, harness.boot)
    again.writer.start()
    again.writer.close()
    harness.writer.close()
    assert LedgerReader(path).recent(1) == [turn.summary()]


# ------------------------------------------------------------------ ledgers without the table


def old_ledger(path: Path) -> Turn:
    """A ledger of schema 1 with one turn."""
    turn = finished()
    harness = WriterHarness(path, dead_boot("old"))
    harness.writer.start()
    harness.close(turn)
    harness.settle()
    harness.writer.close()
    with sqlite3.connect(path) as conn:
        for kind, name in conn.execute(
            "SELECT type, name FROM sqlite_master WHERE name LIKE 'savings%'"
            " ORDER BY type = 'table'"
        ).fetchall():
            conn.execute(f"DROP {kind} {name}")
        conn.execute("ALTER TABLE turns DROP COLUMN notes")
        conn.execute("DROP TABLE verifications")
        conn.execute("DROP TABLE rungs")
        conn.execute("PRAGMA user_version = 1")
    conn.close()
    return turn


def test_a_ledger_of_schema_1_is_brought_up_to_date(path: Path) -> None:
    assert MIGRATIONS[1] == STEP
    turn = old_ledger(path)

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    later = proposed()
    harness.close(later)
    harness.settle()
    harness.writer.close()

    assert report.migrated_from == 1
    assert rows(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    found = {row["id"]: row for row in LedgerReader(path).recent(10)}
    assert found == {turn.id: turn.summary(), later.id: later.summary()}
    assert rows(path.with_name(f"{path.name}.backup-v1"), "PRAGMA user_version") == [(1,)]


def test_a_ledger_of_schema_1_can_be_read_as_it_is(path: Path) -> None:
    turn = old_ledger(path)
    before = path.read_bytes()
    reader = LedgerReader(path)
    assert reader.recent(10) == [turn.summary()]
    assert reader.turn(turn.id) == turn.detail()
    assert reader.saving_totals() == []
    assert reader.saving_totals(NOON - 1) == []
    assert path.read_bytes() == before


# ------------------------------------------------------------------ what did move


def schema_2(path: Path) -> None:
    """A ledger of schema 2 with one turn whose saving is known."""
    harness = WriterHarness(path, dead_boot("old"))
    harness.writer.start()
    harness.settle()
    harness.writer.close()
    with sqlite3.connect(path) as conn:
        for name in ("insert", "update_out", "update_in"):
            conn.execute(f"DROP TRIGGER savings_{name}")
        conn.execute("DROP TABLE savings_rollup")
        for statement in STEP:
            if "savings_rollup" in statement:
                conn.execute(statement)
        conn.execute("ALTER TABLE turns DROP COLUMN notes")
        conn.execute("DROP TABLE verifications")
        conn.execute("DROP TABLE rungs")
        conn.execute("PRAGMA user_version = 2")
        turn = proposed(saving=SETTLED)
        row = proposal_row(turn, has_ended=True)
        assert row is not None
        conn.execute("PRAGMA foreign_keys = OFF")
        conn.execute(UPSERT, row)
    conn.close()


def test_a_ledger_of_schema_2_can_be_read_and_goes_on(path: Path) -> None:
    schema_2(path)
    (before,) = LedgerReader(path).saving_totals()
    assert (before.turns, before.usd_nusd, before.moved) == (1, -12_345_679, 0)

    harness = WriterHarness(path, "after")
    report = harness.writer.start()
    moved = proposed(proposal=Proposal("groq", "gpt-oss", "moved"), saving=SETTLED)
    harness.close(moved)
    harness.settle()
    harness.writer.close()

    assert report.migrated_from == 2
    (total,) = LedgerReader(path).saving_totals()
    assert (total.turns, total.moved) == (2, 1)
    assert (total.usd_nusd, total.moved_nusd) == (2 * -12_345_679, -12_345_679)
    (recent,) = LedgerReader(path).saving_totals(moved.at)
    assert recent == total

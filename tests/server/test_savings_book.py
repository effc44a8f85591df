"""The sums of savings, live and seeded from the ledger, and a session worked out by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from hand_session import DEFAULT_MODELS, END_S, LIMITS, PRICES, SESSION, TOTAL, turn_of
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_faults import WriterHarness
from turn_factory import NOON, finished

from providers.pricing import Prices
from server.ledger import LedgerReader
from server.ledger_savings import saving_row
from server.record import Proposal, Saving, Status, Turn
from server.savings_assumptions import Assumptions, assumptions
from server.savings_book import SavingsBook
from server.savings_tracker import SavingsTracker
from server.shadow_stats import shadow_stats
from server.stats import Stats, local_day

MOVE = Proposal("groq", "m", "would_move", "why")
SETTLED = Saving("settled", 0.01, 0.002, 0.001, 0.003, 0.002, baseline_usd=0.0123)
OPEN = Saving("open", 0.01, 0.004, -0.05, 0.009, 0.0, baseline_usd=0.0123)
LOSS = Saving("settled", 0.01, -0.03, -0.06, -0.02, -0.03, baseline_usd=0.0123)
UNPRICED = Saving("unpriced", 0.01, baseline_usd=0.0123, note="no price")
ZERO = {name: 0 for name in TOTAL}


def proposed(saving: Saving | None = SETTLED, **changes: Any) -> Turn:
    return finished(**({"proposal": MOVE, "saving": saving} | changes))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def book(clock: FakeClock) -> SavingsBook:
    return SavingsBook(clock, assumptions())


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WriterHarness]:
    made = WriterHarness(tmp_path / "ledger.sqlite3")
    made.writer.start()
    yield made
    made.writer.close()


def test_an_empty_book_has_every_field(book: SavingsBook) -> None:
    snapshot = book.snapshot()
    assert snapshot["all"] == snapshot["today"] == ZERO
    assert snapshot["by_route"] == snapshot["by_kind"] == snapshot["by_target"] == {}
    assert snapshot["assumptions"] == assumptions()


def test_every_ended_turn_is_observed_and_rejected_ones_are_not(book: SavingsBook) -> None:
    for status in (Status.COMPLETED, Status.FAILED, Status.REJECTED):
        book.finished(finished(status=status, cost_usd=0.5))
    expected = ZERO | {"observed_turns": 2, "cost_usd": 1.0}
    assert book.snapshot()["all"] == expected
    assert book.snapshot()["by_kind"] == {"user_turn": expected}
    assert book.recent() == []


def test_losses_count_negative_and_unpriced_turns_in_no_sum(book: SavingsBook) -> None:
    for saving in (SETTLED, LOSS, UNPRICED):
        book.finished(proposed(saving))
    assert book.snapshot()["all"] == ZERO | {
        "turns": 3,
        "unpriced": 1,
        "naive_usd": 0.02,
        "usd": -0.028,
        "low_usd": -0.059,
        "high_usd": -0.017,
        "quota_usd": -0.028,
        "losses": 1,
        "losses_usd": -0.03,
        "observed_turns": 3,
        "cost_usd": 0.0369,
    }


def test_what_needs_a_key_is_outside_every_other_sum(book: SavingsBook) -> None:
    keyless = Proposal("cerebras", None, "needs_key")
    book.finished(proposed(proposal=keyless))
    book.finished(proposed(UNPRICED, proposal=keyless))
    expected = ZERO | {
        "needs_key": 2,
        "needs_key_usd": 0.002,
        "observed_turns": 2,
        "cost_usd": 0.0246,
    }
    assert book.snapshot()["all"] == expected
    assert book.snapshot()["by_target"] == {"cerebras": expected}


def test_what_did_move_is_told_from_what_only_might(book: SavingsBook) -> None:
    moved = Proposal("groq", None, "moved")
    book.finished(proposed(LOSS, proposal=moved))
    book.finished(proposed(UNPRICED, proposal=moved))
    book.finished(proposed())
    everything = book.snapshot()["all"]
    assert (everything["moved_turns"], everything["moved_usd"]) == (1, -0.03)
    assert (everything["turns"], everything["usd"]) == (3, pytest.approx(-0.028))
    stats = shadow_stats(book, is_shadow=False)
    assert (stats["realisedTurns"], stats["realisedUsd"]) == (1, -0.03)


def test_a_turn_is_counted_by_route_kind_and_target(book: SavingsBook) -> None:
    book.finished(proposed(route="summary", kind="title"))
    book.finished(proposed(LOSS, route="planning", proposal=Proposal("groq", None, "observed")))
    snapshot = book.snapshot()
    assert {name: row["usd"] for name, row in snapshot["by_route"].items()} == {
        "summary": 0.002,
        "planning": -0.03,
    }
    assert {name: row["turns"] for name, row in snapshot["by_kind"].items()} == {
        "title": 1,
        "user_turn": 1,
    }
    assert {name: row["usd"] for name, row in snapshot["by_target"].items()} == {
        "groq/m": 0.002,
        "groq": -0.03,
    }


def test_settling_replaces_the_open_figure_everywhere(book: SavingsBook) -> None:
    turn = proposed(OPEN)
    book.finished(turn)
    assert book.snapshot()["all"]["open"] == 1

    book.settled(turn.id, LOSS)
    book.settled(turn.id, SETTLED)
    book.settled("gw_unknown", SETTLED)

    snapshot = book.snapshot()
    for sums in (snapshot["all"], snapshot["today"], *snapshot["by_target"].values()):
        assert (sums["turns"], sums["open"], sums["usd"]) == (1, 0, -0.03)
    assert book.recent()[0]["saving"] == LOSS.as_json()


async def test_a_new_day_begins_at_local_midnight(book: SavingsBook, clock: FakeClock) -> None:
    turn = proposed(OPEN)
    book.finished(turn)
    await clock.advance(local_day(NOON)[1] - NOON)
    book.settled(turn.id, LOSS)
    book.finished(proposed(at=clock.time()))
    snapshot = book.snapshot()
    assert snapshot["today"]["usd"] == 0.002
    assert snapshot["all"]["usd"] == -0.028
    assert snapshot["today"]["observed_turns"] == 1


_savings = st.sampled_from([SETTLED, OPEN, LOSS, UNPRICED])
_turns = st.builds(
    lambda at, state, saving, mode, level, status, later: (
        proposed(
            saving if state not in ("unsupported", None) else None,
            at=NOON + at,
            proposal=Proposal("groq", "m", state) if state else None,
            mode=mode,
            confidence_level=level,
            status=status,
        ),
        later,
    ),
    at=st.floats(-200_000, 1000),
    state=st.sampled_from(["would_move", "needs_key", "observed", "unsupported", None]),
    saving=_savings,
    mode=st.sampled_from(["shadow", "live"]),
    level=st.sampled_from(["high", "low"]),
    status=st.sampled_from([Status.COMPLETED, Status.ERROR, Status.REJECTED]),
    later=st.none() | st.sampled_from([SETTLED, LOSS]),
)


@settings(max_examples=20, deadline=None)
@given(turns=st.lists(_turns, max_size=12))
def test_a_book_seeded_from_the_ledger_is_the_book_that_wrote_it(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[Turn, Saving | None]]
) -> None:
    path = tmp_path_factory.mktemp("book") / "ledger.sqlite3"
    harness = WriterHarness(path)
    harness.writer.start()
    live, again = SavingsBook(FakeClock(NOON)), SavingsBook(FakeClock(NOON))
    for turn, later in turns:
        if turn.status is Status.REJECTED:
            turn.proposal = turn.saving = None
        live.finished(turn)
        harness.close(turn)
        harness.settle()
        if later is not None and turn.saving == OPEN:
            live.settled(turn.id, later)
            harness.writer.add(saving_row(turn.id, later))
    harness.settle()
    harness.writer.close()

    again.seed(LedgerReader(path))

    assert again.snapshot() == live.snapshot()
    for shadow in (True, False):
        stats = [shadow_stats(found, is_shadow=shadow) for found in (again, live)]
        for one in stats:
            one["recentShadow"] = sorted(row["id"] for row in one["recentShadow"])
        assert stats[0] == stats[1]
    shutil.rmtree(path.parent)


def test_a_ledger_that_cannot_be_read_starts_the_sums_at_nothing(
    tmp_path: Path, book: SavingsBook, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"not a database at all" * 100)
    book.seed(LedgerReader(path))
    assert book.snapshot()["all"] == ZERO
    assert "savings are missing" in caplog.text


# ------------------------------------------------------------------ /shadow/stats


def test_shadow_stats_have_the_seeds_fields_and_ours(book: SavingsBook) -> None:
    book.finished(finished(route="tool_loop"))
    turn = proposed(LOSS, route="summary", kind="title", confidence_level="high")
    book.finished(turn)
    book.finished(proposed(route="summary", confidence_level="low", mode="live"))
    book.finished(proposed(route="summary", proposal=Proposal("groq", "m", "needs_key")))

    stats = shadow_stats(book, is_shadow=True)

    assert stats["shadowMode"] is True
    assert (stats["totalRequests"], stats["shadowedRequests"]) == (4, 2)
    assert stats["totalProjectedSavingsUsd"] == -0.028
    assert stats["byRoute"] == {
        "summary": {
            "count": 2,
            "projectedSavingsUsd": -0.028,
            "confidence": {"high": 1, "low": 1},
            "naiveUsd": 0.02,
            "cacheAwareUsd": -0.028,
            "quotaLimitedUsd": -0.028,
            "realisedUsd": 0.0,
            "realisedTurns": 0,
            "lowUsd": -0.059,
            "highUsd": -0.017,
            "losses": 1,
            "lossesUsd": -0.03,
            "open": 0,
            "unpriced": 0,
            "needsKey": 1,
            "needsKeyUsd": 0.002,
        }
    }
    assert stats["recentShadow"][-1] == {
        "id": turn.id,
        "timestamp": "2027-01-15T08:00:00.000Z",
        "actualRoute": "summary",
        "shadowRoute": "summary",
        "shadowProvider": "groq",
        "confidence": "high",
        "projectedSavingsUsd": -0.03,
        "kind": "title",
        "actualProvider": "anthropic",
        "actualModel": "model-a",
        "shadowModel": "m",
        "proposal": "would_move",
        "reason": "why",
        "state": "settled",
        "naiveUsd": 0.01,
        "quotaLimitedUsd": -0.03,
        "lowUsd": -0.06,
        "highUsd": -0.02,
        "note": None,
    }


def test_recent_shadow_holds_the_last_twenty(book: SavingsBook) -> None:
    turns = [proposed() for _ in range(25)]
    for turn in turns:
        book.finished(turn)
    recent = shadow_stats(book, is_shadow=False)["recentShadow"]
    assert [row["id"] for row in recent] == [turn.id for turn in reversed(turns[5:])]


def test_the_recent_turns_of_the_stats_settle_too(clock: FakeClock) -> None:
    stats = Stats(clock)
    turn = proposed(OPEN)
    stats.turn_finished(turn)
    stats.turn_finished(proposed())
    stats.saving_settled(turn.id, LOSS)
    stats.saving_settled("gw_unknown", LOSS)
    assert stats.recent_turns()[1]["saving"] == LOSS.as_json()
    (event,) = [event for event in stats.recent_events() if event["id"] == turn.id]
    assert (event["projectedSavingsUsd"], event["shadowProvider"]) == (-0.03, "groq")


# ------------------------------------------------------------------ the session by hand


async def test_the_session_by_hand_comes_out_to_the_nano_dollar(
    clock: FakeClock, book: SavingsBook, harness: WriterHarness
) -> None:
    prices = Prices(PRICES)
    tracker = SavingsTracker(
        prices, Assumptions(), clock, limits=LIMITS, default_models=DEFAULT_MODELS
    )
    final: dict[str, Saving] = {}

    def settle(found: list[tuple[str, Saving]]) -> None:
        for turn_id, saving in found:
            final[turn_id] = saving
            book.settled(turn_id, saving)
            harness.writer.add(saving_row(turn_id, saving))

    for scripted in SESSION:
        await clock.advance(NOON + scripted.at - clock.time())
        settle(tracker.tick(clock.time()))
        turn = turn_of(scripted, prices)
        settle(tracker.finished(turn))
        harness.close(turn)
        harness.settle()
        book.finished(turn)
        if turn.saving is not None:
            final[turn.id] = turn.saving
        if scripted.opened_at is not None:
            assert turn.saving is not None
            assert turn.saving.state == "open"
            opened = (turn.saving.usd, turn.saving.low_usd, turn.saving.high_usd)
            assert opened == pytest.approx(scripted.opened_at, abs=1e-9)
    await clock.advance(NOON + END_S - clock.time())
    settle(tracker.tick(clock.time()))
    harness.settle()

    for scripted in SESSION:
        expected = scripted.expected
        if expected is None:
            continue
        saving = final[scripted.name]
        assert saving.state == "settled", scripted.name
        found = {
            "naive": saving.naive_usd,
            "baseline": saving.baseline_usd,
            "target": saving.target_usd,
            "usd": saving.usd,
            "low": saving.low_usd,
            "high": saving.high_usd,
            "quota": saving.quota_usd,
            "write": saving.penalty_write_usd,
            "ttl": saving.penalty_ttl_usd,
            "redo": saving.redo_usd,
        }
        wanted = {name: getattr(expected, name) for name in found}
        assert found == pytest.approx(wanted, abs=1e-9), scripted.name
    assert final["T9 recap"].state == "unpriced"
    assert book.snapshot()["all"] == pytest.approx(TOTAL, abs=1e-9)
    again = SavingsBook(clock)
    again.seed(LedgerReader(harness.path))
    assert again.snapshot()["all"] == book.snapshot()["all"]

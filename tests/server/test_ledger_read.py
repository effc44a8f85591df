"""Reading a ledger: exact, paged, without getting in the writer's way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_faults import WriterHarness
from turn_factory import NOON, attempt, finished, opened

from providers.types import Payer, Usage
from server import ledger_read
from server.ledger import LedgerReader, Total
from server.ledger_rows import close_row, is_unpriced, open_row
from server.ledger_values import nano_usd
from server.record import Attempt, Candidate, RateLimit, Status, Turn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def harness(path: Path) -> Iterator[WriterHarness]:
    made = WriterHarness(path)
    made.writer.start()
    yield made
    made.writer.close()


def test_a_ledger_that_does_not_exist_is_empty(path: Path) -> None:
    reader = LedgerReader(path)
    assert reader.recent(10) == []
    assert reader.turn("gw_1") is None
    assert reader.totals() == []
    assert reader.counts_by_status() == {}
    assert reader.rejects() == {}
    assert reader.rate_limits() == {}
    assert not path.exists()


def test_recent_pages_from_new_to_old_without_gap_or_double(
    harness: WriterHarness, path: Path
) -> None:
    turns = [finished(at=NOON + number // 3) for number in range(20)]
    for turn in turns:
        harness.close(turn)
        harness.settle()
    reader = LedgerReader(path)

    pages, before = [], None
    while page := reader.recent(6, before):
        pages += page
        before = page[-1]["id"]

    assert pages == [turn.summary() for turn in reversed(turns)]
    assert reader.recent(3, NOON + 2) == [turn.summary() for turn in turns[5:2:-1]]
    assert reader.recent(3, "gw_unknown") == []


def test_a_running_turn_reads_as_waiting(harness: WriterHarness, path: Path) -> None:
    turn = opened()
    harness.open(turn)
    harness.settle()
    assert LedgerReader(path).recent(1) == [turn.summary()]


def test_counts_by_status_name_every_state(harness: WriterHarness, path: Path) -> None:
    harness.open(opened())
    for status in (Status.COMPLETED, Status.COMPLETED, Status.FAILED):
        harness.close(finished(status=status))
    harness.settle()
    assert LedgerReader(path).counts_by_status() == {"open": 1, "completed": 2, "failed": 1}


def test_the_newest_rate_limits_win(harness: WriterHarness, path: Path) -> None:
    def limits(remaining: str) -> list[RateLimit]:
        return [RateLimit("anthropic", "tokens", {"remaining": remaining})]

    harness.close(finished(at=NOON + 5, rate_limits=limits("new")))
    harness.close(finished(at=NOON, rate_limits=limits("old")))
    harness.settle()
    assert LedgerReader(path).rate_limits() == {
        "anthropic": {"tokens": {"remaining": "new", "at": NOON + 5}}
    }


def test_demo_turns_are_not_in_the_sums_unless_asked_for(
    harness: WriterHarness, path: Path
) -> None:
    harness.close(finished(demo=True, cost_usd=5.0))
    harness.close(finished(cost_usd=1.0))
    harness.settle()
    reader = LedgerReader(path)
    assert [total.cost_nusd for total in reader.totals()] == [1_000_000_000]
    assert [total.cost_nusd for total in reader.totals(demo=True)] == [5_000_000_000]


_turns = st.builds(
    lambda at, provider, payer, status, cost, estimated, tokens: finished(
        at=NOON + at,
        provider=provider,
        payer=payer,
        status=status,
        cost_usd=cost,
        cost_is_estimate=estimated,
        usage=Usage(tokens, tokens, None, tokens, None),
    ),
    at=st.floats(-4000, 4000),
    provider=st.sampled_from([None, "anthropic", "groq"]),
    payer=st.sampled_from([None, *Payer]),
    status=st.sampled_from([status for status in Status if status is not Status.OPEN]),
    cost=st.none() | st.floats(0, 10),
    estimated=st.booleans(),
    tokens=st.none() | st.integers(0, 10**6),
)


@settings(max_examples=15, deadline=None)
@given(turns=st.lists(_turns, max_size=12), since=st.none() | st.floats(NOON - 5000, NOON + 5000))
def test_totals_are_the_sums_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, turns: list[Turn], since: float | None
) -> None:
    path = tmp_path_factory.mktemp("totals") / "ledger.sqlite3"
    harness = WriterHarness(path)
    harness.writer.start()
    for turn in turns:
        harness.close(turn)
    harness.settle()
    harness.writer.close()

    found = {key: sums for key, *sums in map(_split, LedgerReader(path).totals(since))}

    assert found == _summed(turn for turn in turns if since is None or turn.at >= since)
    shutil.rmtree(path.parent)


def _split(total: Total) -> tuple[Any, ...]:
    values = list(asdict(total).values())
    return (tuple(values[:5]), *values[5:])


def _summed(turns: Iterator[Turn]) -> dict[tuple[str, ...], list[int]]:
    sums: dict[tuple[str, ...], list[int]] = {}
    for turn in turns:
        payer = turn.payer.value if turn.payer else ""
        key = (turn.provider or "", turn.route, turn.kind, payer, turn.status.value)
        cost = nano_usd(turn.cost_usd) or 0
        parts = [
            *(1, 0, 1, 1_500_000, turn.usage.input_tokens or 0, turn.usage.output_tokens or 0),
            *(0, turn.usage.cache_write_5m_tokens or 0, 0),
            *(cost, cost if turn.cost_is_estimate else 0, int(is_unpriced(turn))),
        ]
        before = sums.get(key, [0] * len(parts))
        sums[key] = [one + two for one, two in zip(before, parts, strict=True)]
    return sums


_text = st.text(max_size=30)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_any_turn_reads_back_as_it_was(harness: WriterHarness, path: Path) -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        text=_text,
        features=st.dictionaries(_text, _json, max_size=4),
        raw=st.dictionaries(_text, _json, max_size=4),
        chain=st.lists(st.sampled_from(["anthropic", "groq"]), max_size=3),
        number=st.none() | st.integers(0, 10**9),
        seconds=st.none() | st.floats(0, 1e5),
    )
    def check(
        text: str,
        features: dict[str, Any],
        raw: dict[str, Any],
        chain: list[str],
        number: int | None,
        seconds: float | None,
    ) -> None:
        turn = finished(session=text, label=text, error_message=text, features=features)
        turn.usage = Usage(number, None, 0, number, 1, raw=raw)
        turn.ttft_s, turn.cost_usd, turn.payer = seconds, seconds, Payer.LOGIN
        turn.candidates = [Candidate(text, None, "gated", text, seconds)]
        turn.attempts = [Attempt(n, name, text, 0.5) for n, name in enumerate(chain)]
        turn.rate_limits = [RateLimit(text, text, {"limit": text})] * len(chain)
        harness.close(turn)
        harness.settle()

        reader = LedgerReader(path)
        assert reader.turn(turn.id) == turn.detail()
        assert reader.recent(1) == [turn.summary()]

    check()


def test_absurd_figures_are_unknown_and_spoil_no_sum(harness: WriterHarness, path: Path) -> None:
    """A provider that reports nonsense must not overflow what later turns are added to."""
    for _ in range(3):
        absurd = finished(cost_usd=1e12, duration_s=1e15)
        absurd.usage = Usage(2**62, -5, 2**62, 2**62, 2**62, raw={"input_tokens": 2**62})
        harness.close(absurd)
        harness.close(finished(cost_usd=1.0))
        harness.settle()

    (total,) = LedgerReader(path).totals()

    assert harness.writer.state().lost == 0
    assert (total.turns, total.unpriced, total.cost_nusd) == (6, 3, 3_000_000_000)
    assert (total.input_tokens, total.output_tokens, total.timed) == (30, 60, 3)
    stored = LedgerReader(path).turn(absurd.id)
    assert stored is not None
    assert (stored["input_tokens"], stored["output_tokens"]) == (None, None)
    assert stored["usage_raw"] == {"input_tokens": 2**62}


def test_values_no_database_takes_are_made_safe(harness: WriterHarness, path: Path) -> None:
    turn = finished(
        session="lone \ud800 surrogate",
        label="x" * 100_000,
        max_tokens=2**80,
        ttft_s=float("nan"),
        cost_usd=float("inf"),
        features={"bad": object, "tuple": (1, 2)},
    )
    turn.usage = Usage(raw={"huge": "x" * 1_000_000})
    harness.open(turn)
    harness.close(turn)
    harness.settle()

    stored = LedgerReader(path).turn(turn.id)

    assert stored is not None
    assert stored["session"] == "lone ? surrogate"
    assert len(stored["label"]) == 2000
    assert stored["max_tokens"] == 2**63 - 1
    assert (stored["ttft_s"], stored["cost_usd"]) == (None, None)
    assert stored["features"]["tuple"] == [1, 2]
    assert stored["usage_raw"] == {}
    assert harness.writer.state().lost == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cost_usd": None}, True),
        ({"cost_usd": 0.0}, False),
        ({"cost_usd": None, "kind": "count_tokens"}, False),
        ({"cost_usd": None, "status": Status.PARTIAL}, True),
        ({"cost_usd": None, "status": Status.CANCELLED}, True),
        ({"cost_usd": None, "status": Status.CANCELLED, "attempts": []}, False),
        ({"cost_usd": None, "status": Status.ERROR, "http_status": 529}, False),
        ({"cost_usd": None, "status": Status.ERROR, "http_status": 200}, True),
        ({"cost_usd": None, "status": Status.FAILED, "http_status": 502}, False),
        ({"cost_usd": None, "status": Status.REJECTED, "http_status": 400}, False),
    ],
)
def test_what_counts_as_unpriced(changes: dict[str, Any], expected: bool) -> None:
    turn = finished(**changes)
    assert is_unpriced(turn) is expected
    assert close_row(turn, "b").values["unpriced"] == expected


def test_an_open_row_is_not_unpriced_yet() -> None:
    assert open_row(opened(), "b").values["unpriced"] == 0


def test_a_reader_sees_commits_at_once_and_cannot_write(harness: WriterHarness, path: Path) -> None:
    reader = LedgerReader(path)
    for number in range(1, 4):
        harness.close(finished())
        harness.settle()
        assert len(reader.recent(10)) == number
    with reader._connection() as conn:
        assert conn is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            conn.execute("DELETE FROM turns")


def test_a_reader_in_the_middle_does_not_hold_the_writer_up(
    harness: WriterHarness, path: Path
) -> None:
    harness.close(finished())
    harness.settle()
    with LedgerReader(path)._connection() as conn:
        assert conn is not None
        assert conn.execute("SELECT count(*) FROM turns").fetchone()[0] == 1
        harness.close(finished())
        harness.writer.work()
        assert harness.writer.is_settled
        assert conn.execute("SELECT count(*) FROM turns").fetchone()[0] == 1
    assert len(LedgerReader(path).recent(10)) == 2


def test_another_process_reads_while_the_gateway_runs(harness: WriterHarness, path: Path) -> None:
    turn = finished()
    harness.close(turn)
    harness.settle()
    script = (
        "import json, sys; from pathlib import Path; from server.ledger import LedgerReader;"
        " print(json.dumps(LedgerReader(Path(sys.argv[1])).recent(10)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert json.loads(answer.stdout) == [turn.summary()]


def test_a_ledger_at_rest_is_read_without_leaving_anything(path: Path) -> None:
    harness = WriterHarness(path)
    harness.writer.start()
    harness.close(finished())
    harness.writer.close()
    before = path.read_bytes()

    assert len(LedgerReader(path).recent(10)) == 1

    assert path.read_bytes() == before


def test_fallbacks_are_successes_after_another_provider(harness: WriterHarness, path: Path) -> None:
    failed = attempt("anthropic", "connect")
    again = [attempt("anthropic", "http_529"), attempt("anthropic", number=2)]
    moved = [failed, attempt("groq", number=2)]
    harness.close(finished(attempts=moved))
    harness.close(finished(attempts=again))
    harness.close(finished(attempts=moved, status=Status.PARTIAL))
    harness.settle()
    fallbacks = Counter[str]()
    for total in LedgerReader(path).totals():
        fallbacks[total.status] += total.fallback
    assert fallbacks == {"completed": 1, "partial": 0}


def test_totals_and_recent_use_an_index(harness: WriterHarness, path: Path) -> None:
    harness.settle()
    with contextlib.closing(sqlite3.connect(path)) as conn:
        arguments = {"since": NOON, "edge": NOON, "bucket": 5, "last": 9, "demo": 0}
        totals = conn.execute(f"EXPLAIN QUERY PLAN {ledger_read._TOTALS}", arguments).fetchall()
        recent = conn.execute(
            f"EXPLAIN QUERY PLAN {ledger_read._RECENT}", (NOON, NOON, 5, 10)
        ).fetchall()
    plan = " / ".join(str(row[-1]) for row in (*totals, *recent))
    assert "SCAN turns" not in plan or "SCAN turns USING INDEX turns_at" in plan
    assert "SCAN rollup" not in plan
    assert "TEMP B-TREE FOR ORDER BY" not in str(recent)

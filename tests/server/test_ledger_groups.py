"""Sums by session and sub-agent, what was sent to whom, and a session's turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from past_ledger import write_ledger
from turn_factory import NOON, finished

from providers.types import Payer, Usage
from server.ledger_groups import session_sums, session_turns
from server.record import Status, Turn

HOUR = 3_600.0


def turn(at: float, session: str | None = "s1", **changes: Any) -> Turn:
    fields = {"usage": Usage(100, 20, 3_000, 400, 0), "cost_usd": 0.5, "kind": "tool_step"}
    return finished(at=NOON + at, session=session, **(fields | changes))


def sums(path: Path, now: float = 0.0, since: float = -1e9) -> dict[Any, dict[str, Any]]:
    found = session_sums(path, now=NOON + now, since=NOON + since)
    return {(line["session"], line["agent"]): line for line in found["lines"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite3"
    write_ledger(
        path,
        [
            turn(-2 * HOUR, payer=Payer.LOGIN),
            turn(-600, cost_usd=None, status=Status.PARTIAL),
            turn(-500, kind="title", usage=Usage(9, 1, 0, 0, 0)),
            turn(-400, agent="a1", cost_is_estimate=True, usage=Usage(1, 1, 7_000, 0, 0)),
            turn(-300, "s2", usage=Usage(5, 1, 0, 0, 900), project="/other"),
            turn(-200, None, project="/one"),
            turn(-100, None, project="/two"),
            turn(-50, status=Status.REJECTED),
            turn(-40, demo=True),
        ],
    )
    return path


def test_every_ended_turn_is_in_the_sum_of_its_line(path: Path) -> None:
    found = sums(path)
    own = found["s1", None]
    assert (own["turns"], own["unpriced"], own["errors"]) == (3, 1, 1)
    assert (own["cost_usd"], own["list_usd"], own["hour_usd"]) == pytest.approx((1.0, 0.5, 0.5))
    assert own["hour_since"] == NOON - 600
    assert own["payers"] == ["client key", "login"]
    assert (own["first_at"], own["last_at"]) == (NOON - 2 * HOUR, NOON - 500)
    agent = found["s1", "a1"]
    assert (agent["turns"], agent["estimated_usd"], agent["context"]) == (1, 0.5, 7_001)
    assert sum(line["turns"] for line in found.values()) == 6, "two places have no session"
    places = [x for x in session_sums(path, now=NOON)["lines"] if x["session"] is None]
    assert {line["project"] for line in places} == {"/one", "/two"}


def test_context_is_the_conversation_s_and_the_cache_lives_as_long_as_it_was_written(
    path: Path,
) -> None:
    found = sums(path)
    own = found["s1", None]
    assert own["context"] == 3_500, "a title is no conversation"
    assert (own["context_provider"], own["context_model"]) == ("anthropic", "model-a")
    assert own["cache_until"] == pytest.approx(NOON - 600 + 1.5 + 300)
    assert found["s2", None]["cache_until"] == pytest.approx(NOON - 300 + 1.5 + HOUR)


def test_a_span_holds_only_its_turns(path: Path) -> None:
    found = session_sums(path, now=NOON, since=NOON - 350, until=NOON - 150)
    assert found["turns"] == 2
    assert [line["last_at"] for line in found["lines"]] == [NOON - 200, NOON - 300]
    demo = session_sums(path, now=NOON, demo=True)
    assert demo["turns"] == 1


def test_a_session_s_turns_newest_first(path: Path) -> None:
    found = session_turns(path, "s1", 2)
    assert [row["at"] for row in found] == [NOON - 40, NOON - 50]
    assert session_turns(path, "none", 5) == []


def test_a_ledger_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    assert session_sums(tmp_path / "none", now=1.0)["lines"] == []
    assert session_turns(tmp_path / "none", "s", 5) == []

"""The figures: folded from turns, going on from the ledger, equal to it to the nano-dollar."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_faults import WriterHarness
from prometheus_client.parser import text_string_to_metric_families
from turn_factory import NOON, attempt, finish, finished, opened

from providers.types import Payer, Usage
from server.ledger import LedgerReader
from server.record import RateLimit, Status, Turn
from server.stats import Stats, local_day, seed_event


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def stats(clock: FakeClock) -> Stats:
    return Stats(clock)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def use(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


def add(stats: Stats, **changes: Any) -> Turn:
    """One turn, opened and finished."""
    turn = opened()
    stats.turn_opened(turn)
    stats.turn_finished(finish(turn, **changes))
    return turn


async def test_counters_follow_turns_through_their_life(stats: Stats, clock: FakeClock) -> None:
    turns = [opened() for _ in range(7)]
    for turn in turns:
        stats.turn_opened(turn)
    assert stats.counters() == {
        "requests": 7,
        "success": 0,
        "errors": 0,
        "cancelled": 0,
        "rejected": 0,
        "in_flight": 7,
        "requests_per_min": 7,
    }
    ends = ["completed", "error", "failed", "partial", "cancelled", "rejected"]
    for turn, status in zip(turns, ends, strict=False):
        stats.turn_finished(finish(turn, status=Status(status)))
    stats.rejected("bad key")
    stats.rejected("bad host", 2)
    await clock.advance(61)

    assert stats.counters() == {
        "requests": 7,
        "success": 1,
        "errors": 3,
        "cancelled": 1,
        "rejected": 4,
        "in_flight": 1,
        "requests_per_min": 0,
    }


async def test_requests_per_minute_looks_back_sixty_seconds(stats: Stats, clock: FakeClock) -> None:
    for _ in range(3):
        stats.turn_opened(opened())
        await clock.advance(25)
    assert stats.counters()["requests_per_min"] == 2


def test_a_turn_that_ends_twice_counts_once(stats: Stats) -> None:
    turn = add(stats)
    stats.turn_finished(turn)
    stats.turn_opened(turn)
    counters = stats.counters()
    assert (counters["requests"], counters["success"], counters["in_flight"]) == (1, 1, 0)
    assert stats.metrics_json()["totalRequests"] == 1


def test_money_is_split_by_who_pays(stats: Stats) -> None:
    add(stats, payer=Payer.CLIENT_KEY, cost_usd=1.0)
    add(stats, payer=Payer.GATEWAY_KEY, cost_usd=0.25, cost_is_estimate=True)
    add(stats, payer=Payer.LOGIN, cost_usd=4.0)
    add(stats, payer=Payer.LOGIN, cost_usd=0.5, cost_is_estimate=True)
    add(stats, cost_usd=None)
    add(stats, cost_usd=None, status=Status.ERROR, http_status=429)
    assert stats.money() == {
        "today_usd": 1.25,
        "today_list_usd": 4.5,
        "today_unpriced": 1,
        "today_estimated_usd": 0.75,
        "today_list_estimated_usd": 0.5,
    }


def test_sums_do_not_drift(stats: Stats) -> None:
    for _ in range(1000):
        add(stats, cost_usd=0.1)
    assert stats.money()["today_usd"] == 100.0
    assert stats.metrics_json()["estimatedCostUsd"] == 100.0


async def test_the_day_turns_at_local_midnight(clock: FakeClock, in_zone: Any) -> None:
    in_zone("Asia/Kathmandu")
    stats = Stats(clock)
    start, end = local_day(NOON)
    assert time.strftime("%H:%M:%S", time.localtime(start)) == "00:00:00"
    assert start <= NOON < end
    assert end - start == 86400
    assert start % 900 == 0, "a bucket of the ledger begins there"

    late = opened(at=end - 1)
    add(stats, at=NOON, cost_usd=1.0)
    await clock.advance(end - NOON + 10)
    stats.turn_finished(finish(late, cost_usd=2.0))
    assert stats.money()["today_usd"] == 0.0, "it belongs to the day it was accepted on"
    add(stats, at=end + 5, cost_usd=3.0)
    assert stats.money()["today_usd"] == 3.0
    assert stats.metrics_json()["estimatedCostUsd"] == 6.0


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_days_of_clock_changes_have_their_own_length(
    in_zone: Any, day: tuple[int, int, int], hours: int
) -> None:
    in_zone("Europe/Berlin")
    start, end = local_day(time.mktime((*day, 12, 0, 0, 0, 0, -1)))
    assert end - start == hours * 3600


def test_a_provider_nobody_used_has_no_figures(stats: Stats) -> None:
    assert stats.provider_stats("groq") == {
        "requests": 0,
        "errors": 0,
        "ttft_p50_s": None,
        "ttft_p95_s": None,
        "status": "unused",
        "since": None,
        "last_error": None,
        "last_error_at": None,
        "rate_limits": {},
    }


async def test_a_provider_fails_from_its_first_failure_to_its_next_success(
    stats: Stats, clock: FakeClock
) -> None:
    add(stats, attempts=[attempt("groq")])
    await clock.advance(10)
    add(stats, attempts=[attempt("groq", "connect", error="connection refused")])
    await clock.advance(10)
    add(stats, attempts=[attempt("groq", "http_503")])
    found = stats.provider_stats("groq")
    assert (found["status"], found["since"]) == ("failing", NOON + 10)
    assert (found["requests"], found["errors"]) == (3, 2)
    assert (found["last_error"], found["last_error_at"]) == ("HTTP 503", NOON + 20)

    add(stats, attempts=[attempt("groq")])
    found = stats.provider_stats("groq")
    assert (found["status"], found["since"]) == ("ok", NOON + 20)


@pytest.mark.parametrize(
    ("outcome", "status", "errors"),
    [
        ("success", "ok", 0),
        ("http_429", "unused", 1),
        ("http_401", "unused", 1),
        ("cancelled", "unused", 0),
        ("offline", "offline", 1),
        ("http_529", "failing", 1),
        ("dropped", "failing", 1),
        ("stalled", "failing", 1),
    ],
)
def test_what_an_outcome_says_about_a_provider(
    stats: Stats, outcome: str, status: str, errors: int
) -> None:
    add(stats, attempts=[attempt("groq", outcome)])
    found = stats.provider_stats("groq")
    assert (found["status"], found["errors"], found["requests"]) == (status, errors, 1)


def test_an_attempt_is_counted_once_however_often_the_turn_is_updated(stats: Stats) -> None:
    turn = opened(attempts=[attempt("anthropic", "connect"), attempt("groq", "open")])
    stats.turn_opened(turn)
    stats.turn_updated(turn)
    stats.turn_updated(turn)
    assert stats.provider_stats("anthropic")["errors"] == 1
    assert stats.provider_stats("groq")["requests"] == 0

    turn.attempts[1] = attempt("groq")
    stats.turn_finished(turn)
    assert stats.provider_stats("anthropic")["requests"] == 1
    assert stats.provider_stats("groq")["requests"] == 1


def test_percentiles_are_of_the_last_two_hundred_answers(stats: Stats) -> None:
    for number in range(1, 301):
        add(stats, attempts=[attempt("groq", ttft_s=float(number))])
    found = stats.provider_stats("groq")
    assert (found["ttft_p50_s"], found["ttft_p95_s"]) == (200.0, 290.0)


def test_the_newest_rate_limits_are_shown(stats: Stats) -> None:
    add(stats, rate_limits=[RateLimit("groq", "tokens", {"remaining": "9"})])
    add(stats, rate_limits=[RateLimit("groq", "tokens", {"remaining": "8"})])
    assert stats.provider_stats("groq")["rate_limits"] == {"tokens": {"remaining": "8"}}


async def test_metrics_have_the_seeds_fields_and_ours(stats: Stats, clock: FakeClock) -> None:
    add(stats, route="planning", duration_s=1.0, payer=Payer.LOGIN, cost_usd=2.0)
    moved = [attempt("anthropic", "connect"), attempt("groq", number=2)]
    add(stats, provider="groq", attempts=moved, duration_s=2.0, cost_usd=0.5)
    add(stats, status=Status.FAILED, duration_s=4.0, cost_usd=None)
    add(stats, status=Status.CANCELLED, duration_s=None, cost_usd=None)
    add(stats, status=Status.REJECTED, provider=None, cost_usd=None)
    stats.turn_opened(opened())
    stats.rejected("bad key", 3)
    stats.shed("background")
    stats.shed("background")
    await clock.advance(5)

    assert stats.metrics_json() == {
        "totalRequests": 4,
        "successCount": 1,
        "errorCount": 1,
        "fallbackSuccessCount": 1,
        "avgLatencyMs": 2333.33,
        "byProvider": {"anthropic": 3, "groq": 1},
        "byRouteClass": {"planning": 1, "tool_loop": 3},
        "estimatedCostUsd": 0.5,
        "listPriceEquivalentUsd": 2.0,
        "costFromEstimatesUsd": 0.0,
        "unpriced": 1,
        "cancelled": 1,
        "rejected": 4,
        "shed": {"background": 2},
        "inFlight": 1,
        "tokens": {
            "input": 40,
            "output": 80,
            "cacheRead": 12000,
            "cacheWrite5m": 1600,
            "cacheWrite1h": 0,
        },
        "uptimeSeconds": 5.0,
    }


def samples(stats: Stats) -> dict[tuple[str, ...], float]:
    """What a scraper reads: name and label values to value."""
    families = text_string_to_metric_families(stats.metrics_prometheus().decode())
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_text_parses_and_agrees(stats: Stats) -> None:
    add(stats, cost_usd=0.5, ttft_s=0.3, duration_s=3.0)
    add(stats, cost_usd=0.25, cost_is_estimate=True, ttft_s=5.0, payer=Payer.LOGIN)
    add(stats, cost_usd=None, status=Status.PARTIAL, ttft_s=None)
    stats.rejected('odd "reason"\n\\')
    stats.turn_opened(opened())

    found = samples(stats)

    assert found["sbgw_turns_total", "anthropic", "tool_loop", "completed"] == 2
    assert found["sbgw_turns_total", "anthropic", "tool_loop", "partial"] == 1
    assert found["sbgw_tokens_total", "cache_read", "anthropic"] == 9000
    assert found["sbgw_cost_usd_total", "reported", "client key", "anthropic"] == 0.5
    assert found["sbgw_cost_usd_total", "estimated", "login", "anthropic"] == 0.25
    assert found["sbgw_unpriced_turns_total", "anthropic"] == 1
    assert found["sbgw_rejected_total", 'odd "reason"\n\\'] == 1
    assert found["sbgw_attempts_total", "success", "anthropic"] == 3
    assert found["sbgw_in_flight",] == 1
    assert found["sbgw_ttft_seconds_bucket", "0.25", "anthropic"] == 0
    assert found["sbgw_ttft_seconds_bucket", "0.5", "anthropic"] == 1
    assert found["sbgw_ttft_seconds_bucket", "+Inf", "anthropic"] == 2
    assert found["sbgw_ttft_seconds_count", "anthropic"] == 2
    assert found["sbgw_duration_seconds_sum", "anthropic"] == 6.0


def test_prometheus_text_of_a_fresh_gateway_parses(stats: Stats) -> None:
    nothing = dict.fromkeys([("sbgw_in_flight",), ("sbgw_uptime_seconds",), ("sbgw_tasks",)], 0.0)
    assert samples(stats) == nothing


def test_labels_from_outside_are_bounded(stats: Stats) -> None:
    for number in range(500):
        stats.rejected(f"reason {number}")
        add(stats, attempts=[attempt("groq", f"odd_{number}")])
    names = [key[0] for key in samples(stats)]
    assert names.count("sbgw_rejected_total") <= 65
    assert names.count("sbgw_attempts_total") <= 65
    assert sum(v for k, v in samples(stats).items() if k[0] == "sbgw_rejected_total") == 500


def test_two_gateways_in_one_process_do_not_share_metrics(clock: FakeClock) -> None:
    one, two = Stats(clock), Stats(clock)
    add(one)
    assert ("sbgw_turns_total", "anthropic", "tool_loop", "completed") in samples(one)
    assert ("sbgw_turns_total", "anthropic", "tool_loop", "completed") not in samples(two)


def test_recent_events_are_newest_first_and_bounded(stats: Stats) -> None:
    turns = [add(stats, at=NOON + number) for number in range(5)]
    stats.turn_opened(opened(at=NOON + 99))
    assert [event["id"] for event in stats.recent_events(3)] == [t.id for t in turns[:1:-1]]
    assert stats.recent_events(0) == []


def test_a_seed_event_has_the_seeds_names_and_ours() -> None:
    turn = finished(payer=Payer.LOGIN, cost_is_estimate=True)
    assert seed_event(turn.summary()) == {
        "id": turn.id,
        "timestamp": "2027-01-15T08:00:00.000Z",
        "client": "claude-code",
        "protocol": "anthropic-messages",
        "sessionId": "session-1",
        "repoPath": "/home/someone/project",
        "routeClass": "tool_loop",
        "requestedModel": "model-a",
        "selectedProvider": "anthropic",
        "selectedModel": "model-a",
        "fallbackChain": ["anthropic"],
        "inputTokens": 10,
        "outputTokens": 20,
        "cachedInputTokens": 3000,
        "costEstimateUsd": 0.0123,
        "latencyMs": 1500.0,
        "cacheHit": True,
        "shadowRoute": None,
        "shadowProvider": None,
        "shadowConfidence": None,
        "projectedSavingsUsd": None,
        "status": "success",
        "errorClass": None,
        "state": "completed",
        "kind": "user_turn",
        "payer": "login",
        "ttftMs": 250.0,
        "cacheWriteTokens": 400,
        "usageSource": "provider_final",
        "costIsEstimate": True,
        "listPriceEquivalent": True,
    }


@pytest.mark.parametrize(
    ("changes", "status", "error_class"),
    [
        ({"attempts": [attempt("a", "connect"), attempt("b")]}, "fallback_success", None),
        ({"attempts": [attempt("a", "http_529"), attempt("a")]}, "success", None),
        ({"status": Status.ERROR, "error_type": "overloaded"}, "error", "overloaded"),
        ({"status": Status.CANCELLED}, "error", "cancelled"),
        ({"status": Status.INTERRUPTED}, "error", "interrupted"),
    ],
)
def test_the_seeds_status_has_three_values(
    changes: dict[str, Any], status: str, error_class: str | None
) -> None:
    event = seed_event(finished(**changes).summary())
    assert (event["status"], event["errorClass"]) == (status, error_class)


def test_unknown_is_null_in_a_seed_event() -> None:
    event = seed_event(finished(usage=Usage(), cost_usd=None, ttft_s=None).summary())
    names = ("inputTokens", "cachedInputTokens", "cacheWriteTokens", "costEstimateUsd", "ttftMs")
    assert [event[name] for name in names] == [None] * 5
    assert event["cacheHit"] is False


_ends = st.lists(
    st.tuples(
        st.floats(-90_000, 90_000),
        st.sampled_from([status for status in Status if status is not Status.OPEN]),
        st.none() | st.floats(0, 20),
        st.sampled_from([None, *Payer]),
        st.booleans(),
        st.sampled_from(["anthropic", "groq", None]),
    ),
    max_size=15,
)


@settings(max_examples=15, deadline=None)
@given(ends=_ends)
def test_figures_survive_a_restart_exactly(
    tmp_path_factory: pytest.TempPathFactory, ends: list[tuple[Any, ...]]
) -> None:
    """What a fresh gateway reads from the ledger is what the old one had counted."""
    before, harness = Stats(FakeClock(NOON)), _ledger(tmp_path_factory)
    for shift, status, cost, payer, estimated, provider in ends:
        turn = finished(
            at=NOON + shift,
            status=status,
            cost_usd=cost,
            payer=payer,
            cost_is_estimate=estimated,
            provider=provider,
        )
        before.turn_finished(turn)
        harness.close(turn)
    harness.settle()
    harness.writer.close()

    after = Stats(FakeClock(NOON))
    after.seed(LedgerReader(harness.path))

    assert after.money() == before.money()
    assert after.metrics_json() == before.metrics_json()
    assert after.recent_events() == before.recent_events()
    assert after.counters()["requests"] == 0


def _ledger(factory: pytest.TempPathFactory) -> WriterHarness:
    harness = WriterHarness(factory.mktemp("stats") / "ledger.sqlite3")
    harness.writer.start()
    return harness


def test_seeding_leaves_running_turns_out_and_takes_rejects(tmp_path: Path) -> None:
    from server.ledger_rows import RejectRow

    harness = WriterHarness(tmp_path / "ledger.sqlite3")
    harness.writer.start()
    harness.open(opened())
    harness.writer.add(RejectRow(int(NOON), "bad key", "boot-1", 401, 7))
    harness.settle()
    harness.writer.close()

    stats = Stats(FakeClock(NOON))
    stats.seed(LedgerReader(harness.path))

    assert stats.recent_events() == []
    assert stats.metrics_json()["rejected"] == 7
    assert stats.metrics_json()["totalRequests"] == 0
    assert stats.counters()["rejected"] == 0


def test_a_ledger_that_cannot_be_read_leaves_the_figures_at_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(os.urandom(5000))
    stats = Stats(FakeClock(NOON))
    stats.seed(LedgerReader(path))
    assert stats.metrics_json()["totalRequests"] == 0
    assert "cannot be read" in caplog.text

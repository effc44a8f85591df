"""The one table of timers, judged at chosen instants."""

from __future__ import annotations

import pytest

from server.timers import TimerLimits, Verdict, Watch, total_deadline_s

LIMITS = TimerLimits()


def watch(**changes: object) -> Watch:
    w = Watch(LIMITS, deadline=595.0, is_stream=True)
    for name, value in changes.items():
        setattr(w, name, value)
    return w


@pytest.mark.parametrize(
    ("hint", "total"),
    [
        (None, 595),
        (600, 595),
        (900, 595),
        (300, 295),
        (6, 3),
        (0, 595),
        (-1, 595),
        (float("nan"), 595),
        (float("inf"), 595),
    ],
)
def test_the_deadline_comes_before_the_clients_own(hint: float | None, total: float) -> None:
    assert total_deadline_s(hint) == total


def test_nothing_is_due_while_the_upstream_has_not_begun_and_time_is_left() -> None:
    assert watch().verdict(594.9) is None
    assert watch().verdict(595.0) is Verdict.DEADLINE


def test_the_deadline_ends_with_the_commit() -> None:
    w = watch(committed=True)
    w.upstream_byte(594.0)
    w.last_sent_at = 594.0
    assert w.verdict(600.0) is None


def test_an_answer_that_is_not_streamed_has_only_the_deadline() -> None:
    w = watch(is_stream=False)
    w.upstream_byte(1.0)
    assert w.verdict(500.0) is None
    assert w.verdict(595.0) is Verdict.DEADLINE


def test_silence_of_the_upstream_ends_a_stream() -> None:
    w = watch(committed=True, last_sent_at=10.0)
    w.upstream_byte(10.0)
    assert w.verdict(10.0 + 14.9) is None
    assert w.verdict(10.0 + 15.0) is Verdict.KEEPALIVE
    w.last_sent_at = 290.0
    assert w.verdict(10.0 + 290.0) is Verdict.SILENT


@pytest.mark.parametrize(("thinking", "patience"), [(False, 300.0), (True, 600.0)])
def test_pings_alone_do_not_keep_a_stream_alive(thinking: bool, patience: float) -> None:
    w = watch(committed=True, is_thinking=thinking)
    w.upstream_byte(10.0)
    w.last_byte_at = w.last_sent_at = 10.0 + patience - 1
    assert w.verdict(10.0 + patience - 0.5) is None
    assert w.verdict(10.0 + patience) is Verdict.NO_PROGRESS


def test_no_keepalive_before_the_commit() -> None:
    w = watch()
    w.upstream_byte(0.0)
    assert w.verdict(100.0) is None


def test_a_client_that_does_not_read_is_given_up_and_stops_the_other_timers() -> None:
    w = watch(committed=True, writing_since=100.0)
    w.upstream_byte(1.0)
    assert w.verdict(159.9) is None
    assert w.verdict(160.0) is Verdict.CLIENT_STALLED


def test_a_body_that_stops_arriving_is_given_up() -> None:
    w = watch(receiving_since=0.0)
    assert w.verdict(59.9) is None
    assert w.verdict(60.0) is Verdict.BODY_STALLED


def test_a_complete_answer_does_not_wait_long_for_its_connection() -> None:
    w = watch(committed=True, terminal_at=50.0)
    w.upstream_byte(49.0)
    assert w.verdict(51.9) is None
    assert w.verdict(52.0) is Verdict.LINGERING


def test_a_complete_answer_is_not_cut_while_the_client_takes_it() -> None:
    w = watch(committed=True, terminal_at=50.0, writing_since=50.0)
    w.upstream_byte(49.0)
    assert w.verdict(60.0) is None
    assert w.verdict(110.0) is Verdict.CLIENT_STALLED

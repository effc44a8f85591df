"""Clients that send one failing request again and again."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock

from server.storms import REMEMBERED, Storms


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storms(clock: FakeClock) -> Storms:
    return Storms(clock)


def test_the_third_failure_is_one_and_so_are_those_after_it(storms: Storms) -> None:
    found = [storms.failed("s", b"body") for _ in range(5)]
    assert found == [False, False, True, True, True]


def test_another_session_or_body_is_another_request(storms: Storms) -> None:
    for _ in range(2):
        storms.failed("s", b"body")
    assert storms.failed("t", b"body") is False
    assert storms.failed("s", b"other") is False
    assert storms.failed(None, b"body") is False
    assert storms.failed("s", b"body") is True


async def test_only_failures_of_the_last_ten_minutes_count(
    storms: Storms, clock: FakeClock
) -> None:
    storms.failed("s", b"body")
    await clock.advance(300)
    storms.failed("s", b"body")
    await clock.advance(301)
    assert storms.failed("s", b"body") is False
    await clock.advance(1)
    assert storms.failed("s", b"body") is True


def test_several_looks_at_one_request_count_once(storms: Storms) -> None:
    for expected in (False, False, True):
        storm = storms.watch("s", b"body")
        assert [storm.is_one(), storm.is_one(), storm.is_one()] == [expected] * 3


def test_a_request_that_did_not_fail_counts_nothing(storms: Storms) -> None:
    for _ in range(5):
        storms.watch("s", b"body")
    assert storms.watch("s", b"body").is_one() is False


def test_what_is_remembered_has_an_end(storms: Storms) -> None:
    for _ in range(2):
        storms.failed("s", b"the first")
    for number in range(REMEMBERED):
        storms.failed("s", b"%d" % number)
    assert storms.failed("s", b"the first") is False

"""The demo's programme, without a gateway: what it asks, what that costs, and how long it takes."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

from providers.protocols.anthropic.request import BadRequest, read_request
from server.breaker import JITTER, OPEN_S
from server.classify import ROUTES, classify, client_facts
from server.classify.entries import AnyRequest
from server.demo.answers import Answer, tokens
from server.demo.script import lanes, tour
from server.demo.steps import COUNT_TOKENS, Pause, Script, Step, Together
from server.demo.traffic import LONGEST_BACKOFF_S
from server.demo.wire import events

KEY = b"local-dev-key"


def steps(script: Script) -> Iterator[Step]:
    """Every request of a script; those that run side by side one after the other."""
    for item in script:
        if isinstance(item, Step):
            yield item
        elif isinstance(item, Together):
            for branch in item.branches:
                yield from steps(branch)


def seconds(answer: Answer) -> float:
    """How long an answer takes at its own pace."""
    if answer.trouble.status != 200:
        return answer.first_byte_s
    said = sum(is_piece for _, _, is_piece in events(answer, "m"))
    return answer.first_byte_s + said / answer.pieces_per_s


def duration(script: Script) -> float:
    """How long a script takes, with generous pauses before what is tried again."""
    total = 0.0
    for item in script:
        if isinstance(item, Pause):
            total += item.seconds
        elif isinstance(item, Together):
            total += max(duration(branch) for branch in item.branches)
        else:
            retries = 2.0 * (len(item.answers) - 1)
            answered = sum(map(seconds, item.answers))
            total += item.pause_s + retries + min(answered, item.leave_after_s or answered) + 0.05
    return total


def requests() -> Iterator[tuple[Step, AnyRequest]]:
    for script in tour(1):
        for step in steps(script):
            try:
                yield step, read_request(step.body)
            except BadRequest:
                assert not step.may_retry


def test_the_first_minute_is_no_longer_than_a_minute() -> None:
    outage = OPEN_S * (1 + JITTER) + LONGEST_BACKOFF_S
    for seed in range(5):
        for script in tour(seed):
            assert duration(script) + outage < 60


def test_the_first_request_comes_at_once() -> None:
    script = tour(1)[0]
    wait = 0.0
    for item in script:
        if isinstance(item, Step):
            wait += item.pause_s + item.answers[0].first_byte_s
            break
        assert isinstance(item, Pause)
        wait += item.seconds
    assert wait < 1.5


def test_every_class_of_request_is_there() -> None:
    found = set()
    for step, request in requests():
        found.add(classify(request, client_facts(step.caller.headers(KEY), step.path)).route)
    assert found == set(ROUTES)


def test_what_is_read_from_the_cache_was_written_before() -> None:
    lines: dict[tuple[str | None, str | None, str], int] = defaultdict(int)
    grown = 0
    for step, request in requests():
        for answer in step.answers:
            key = (step.caller.session, step.caller.agent, request.model)
            if not answer.cache_read + answer.cache_write or answer.trouble.status != 200:
                continue
            if lines[key]:
                assert answer.cache_read <= lines[key]
                grown += answer.cache_read == lines[key]
            lines[key] = answer.cache_read + answer.cache_write
    assert grown > 30


def test_usage_is_what_the_body_holds() -> None:
    for step, request in requests():
        if step.path == COUNT_TOKENS or b'"max_tokens":0' in step.body:
            continue
        answer = step.answers[0]
        billed = answer.input_tokens + answer.cache_read + answer.cache_write
        sent = tokens(json.loads(step.body))
        assert 0.9 * sent - 160 < billed < 1.05 * sent + 10, (request.model, billed, sent)


def test_the_large_prefix_is_large_and_its_talk_is_short() -> None:
    warm = [
        (step.answers[-1], classify(request, None))
        for step, request in requests()
        if step.caller.own_credential and step.caller.session and len(step.body) > 150_000
    ]
    assert len(warm) > 8
    assert all(a.cache_read > 50_000 for a, _ in warm[1:])
    assert all(i.estimates["history"] + i.estimates["turn"] < 12_000 for _, i in warm)


def test_the_same_seed_plays_the_same_and_another_one_does_not() -> None:
    def beginning(seed: int) -> list[tuple[bytes, float]]:
        return [
            (step.body, step.pause_s)
            for lane in lanes(seed)
            for step in itertools.islice(steps(lane), 40)
        ]

    assert beginning(7) == beginning(7)
    assert beginning(7) != beginning(8)


def test_it_goes_on_without_repeating_itself() -> None:
    for lane in lanes(3)[:3]:
        bodies = [step.body for step in itertools.islice(steps(lane), 150)]
        assert len(bodies) == 150
        assert len(set(bodies)) > 140


def test_the_calm_part_is_calm() -> None:
    for lane in lanes(3)[:3]:
        later = list(itertools.islice(steps(lane), 60, 160))
        waits = sum(step.pause_s + sum(map(seconds, step.answers)) for step in later)
        assert waits > 1.5 * len(later)

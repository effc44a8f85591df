"""The demo's programme: a first minute that shows everything, then calm work without end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from server.demo import background as side
from server.demo.answers import Trouble
from server.demo.conversation import OPUS, SONNET, Conversation, Reply, Vendor
from server.demo.steps import Pause, Script, Step, together
from server.demo.subagents import explore, worker
from server.demo.tour import (
    BROKEN_OFF,
    CUT,
    DOWN,
    LIMITED,
    OVERLOADED,
    bug_hunt,
    conversation,
    export_page,
    log_reading,
    looking_things_up,
    opening,
    programs,
)
from server.demo.words import (
    CODE,
    CODE_ANSWERS,
    JOBS,
    MAILS,
    PLANNING,
    PLANNING_ANSWERS,
    SUMMARY,
    SUMMARY_ANSWERS,
    Job,
    listing,
    prose,
)

_PLACES = (
    ("orchard", "main", OPUS, False),
    ("lighthouse", "feature/export", SONNET, True),
    ("orchard", "fix/timezones", OPUS, False),
    ("lighthouse", "main", OPUS, True),
)
_QUESTIONS = (
    tuple(zip(PLANNING, PLANNING_ANSWERS, strict=True))
    + tuple(zip(SUMMARY, SUMMARY_ANSWERS, strict=True))
    + tuple(zip(CODE, CODE_ANSWERS, strict=True))
)
_TROUBLES = (OVERLOADED, LIMITED, BROKEN_OFF, CUT, DOWN)
_TALK_SHARE = 0.3
_TROUBLE_RATE = 0.04
"""Share of the calm part's turns that something happens to."""


def tour(seed: int) -> tuple[Script, ...]:
    """The first minute alone: three sessions in two projects, and programs beside them."""
    return tuple(_tour(random.Random(seed)))  # noqa: S311


def lanes(seed: int) -> tuple[Script, ...]:
    """The whole programme, one endless script a lane; the same seed gives the same one."""
    rng, vendor = random.Random(seed), Vendor()  # noqa: S311
    first = _tour(rng, vendor)
    after = [everyday(_fork(rng), vendor, number) for number in range(3)] + [_mails(_fork(rng))]
    return tuple(_after(*pair) for pair in zip(first, after, strict=True))


def _tour(rng: random.Random, vendor: Vendor | None = None) -> list[Script]:
    vendor = vendor or Vendor()
    acts = (bug_hunt, export_page, log_reading)
    starts = (0.0, 0.9, 1.7)
    delayed = [
        _after(iter([Pause(start)]), act(_fork(rng), vendor))
        for start, act in zip(starts, acts, strict=True)
    ]
    return [*delayed, programs()]


def _fork(rng: random.Random) -> random.Random:
    return random.Random(rng.getrandbits(64))  # noqa: S311


def _after(first: Script, then: Script) -> Script:
    yield from first
    yield from then


def everyday(rng: random.Random, vendor: Vendor, number: int) -> Script:
    """One session after the other, none like the one before, with pauses to read them."""
    while True:
        project, branch, model, is_login = _PLACES[number % len(_PLACES)]
        c = conversation(rng, vendor, project, branch, model, is_login=is_login)
        is_talk = rng.random() < _TALK_SHARE
        yield from _talk(c) if is_talk else _session(c, vendor, rng.choice(JOBS))
        number += 1


def _talk(c: Conversation) -> Script:
    """A session of questions alone, which another model could have answered."""
    yield Pause(c.rng.uniform(2, 6))
    for question, answer in c.rng.sample(_QUESTIONS, c.rng.randint(1, 3)):
        c.ask(question)
        topic = side.topic(c, question)
        yield together(topic, _calm(c, Reply(answer)))


def _session(c: Conversation, vendor: Vendor, job: Job) -> Script:
    rng = c.rng
    opening(c, job.ask)
    name = side.title(c, job.ask, job.title)
    yield replace(name, pause_s=rng.uniform(3, 8))
    for said, tool, given in job.steps:
        thinking = side.think(c) if rng.random() < 0.4 else ""
        yield _calm(c, Reply(said, thinking, ((tool, {"input": given}),)))
        if tool == "Bash":
            yield side.permission_check(c, given)
            yield side.output_digest(c, listing(rng, rng.randint(20, 90)))
        c.results(listing(rng, rng.randint(4, 70)))
    yield _calm(c, Reply(job.done))
    yield from _extra(c, vendor)


def _extra(c: Conversation, vendor: Vendor) -> Script:
    """What not every session has."""
    match c.rng.randrange(5):
        case 0:
            calls = (("Agent", {"prompt": "look"}), ("Agent", {"prompt": "do"}))
            c.ask("Is the same mistake made elsewhere? Fix what you find.")
            yield _calm(c, Reply("One agent looks, another one fixes.", calls=calls))
            yield together(explore(c, vendor), worker(c, vendor, "Fix it in the importer too."))
            c.results("It is, in the importer.", "Fixed.")
            yield _calm(c, Reply("It was made once more, in the importer; fixed there too."))
        case 1:
            c.ask("Write a changelog entry, please.")
            long = "Here is a rather long entry for the changelog. " * 20
            yield c.cancelled(Reply(long, pace=9), leave_after_s=2.2)
            c.interrupted("Here is a rather", "Shorter. One line.")
            yield _calm(c, Reply("Fixed: what users saw as a shifted value."))
        case 2:
            yield from looking_things_up(c)
        case 3:
            yield replace(side.prompt_suggestion(c), pause_s=c.rng.uniform(1, 3))
            c.ask("yes, go ahead")
            yield _calm(c, Reply("Then I am done with this one."))
        case _:
            yield side.compaction(c, prose(c.rng, 1_200))
    yield replace(side.recap(c), pause_s=c.rng.uniform(4, 9))


def _calm(c: Conversation, reply: Reply) -> Step:
    rng = c.rng
    troubles: tuple[Trouble, ...] = ()
    if rng.random() < _TROUBLE_RATE:
        troubles = (rng.choice(_TROUBLES),)
    longer = f"{reply.text} {prose(rng, rng.randint(0, 600))}".rstrip()
    reply = replace(reply, text=longer)
    return c.turn(reply, troubles=troubles, pause_s=rng.uniform(2.0, 7.0))


def _mails(rng: random.Random) -> Iterator[Step]:
    while True:
        mail, box = rng.choice(MAILS)
        step = side.app(mail, box, stream=rng.random() < 0.5)
        yield replace(step, pause_s=rng.uniform(12, 30))

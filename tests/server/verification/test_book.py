"""All standings: what the planner is told, what the user overrides, what is shown and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fake_clock import FakeClock

from server.config import Settings
from server.ledger_scores import Moved, PastScore, RungRow
from server.policy import may_verify
from server.settings_edit import changed
from server.verification.book import Ladder, RungEntry
from server.verification.ladder import Key, Outcome

KEY = Key("title", "groq", "gpt-oss")
LIVE: dict[str, Any] = {"routing.shadow": False}
CONSENT: dict[str, Any] = {"verification.consent": True}


class World:
    """A ladder, and what it said."""

    def __init__(self, changes: Mapping[str, Any] = {}, *, saves: bool = True) -> None:
        self.settings = changed(Settings(), dict(changes))
        self.clock = FakeClock()
        self.rows: list[RungRow] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ladder = Ladder(
            lambda: self.settings,
            self.clock,
            record=self.rows.append,
            publish=lambda name, **fields: self.events.append((name, fields)),
            saves=lambda kind: saves,
        )

    def score(self, count: int, *, passed: bool = True, hard: bool = False) -> World:
        for _ in range(count):
            outcome = Outcome(self.clock.time(), passed, hard)
            failed = [] if passed else ["transport" if hard else "title"]
            self.ladder.scored(KEY, "summary", outcome, failed, "gw_1")
        return self

    def entry(self) -> dict[str, Any]:
        (entry,) = self.ladder.as_json()
        return entry

    def modes(self, route: str, kind: str) -> tuple[bool, str]:
        table = self.ladder.table_for(self.settings.routing, route, kind)
        return table.shadow, table.modes.mode_of(route, kind)


def test_an_entry_has_the_documented_fields() -> None:
    entry = World(CONSENT).score(3).score(1, passed=False).entry()
    assert entry.keys() == set(RungEntry.__slots__)
    assert (entry["samples"], entry["passed"], entry["failed"]) == (4, 3, {"title": 1})
    assert 0 < entry["low"] < 0.75 < entry["high"] < 1


@pytest.mark.parametrize(
    ("changes", "rung"),
    [
        ({}, "observe"),
        (CONSENT, "verify"),
        (LIVE, "live"),
        (LIVE | {"routing.modes.title": "canary"}, "canary"),
        (LIVE | {"routing.modes.title": "verify"}, "observe"),
        (LIVE | CONSENT | {"routing.modes.title": "verify"}, "verify"),
        (CONSENT | {"routing.modes.title": "observe"}, "observe"),
        (LIVE | CONSENT | {"routing.modes.summary": "observe"}, "observe"),
    ],
)
def test_the_rung_follows_settings_shadow_and_consent(changes: dict[str, Any], rung: str) -> None:
    assert World(changes).score(1).entry()["rung"] == rung


@pytest.mark.parametrize(
    ("changes", "kind", "may"),
    [
        ({}, "title", True),
        ({}, "user_turn", False),
        ({}, "app", False),
        ({"routing.modes.user_turn": "live"}, "user_turn", True),
        ({"routing.modes.summary": "verify"}, "user_turn", True),
        ({"routing.modes.default": "verify"}, "user_turn", True),
        ({"routing.modes.default": "observe"}, "title", False),
        ({"routing.modes.app": "verify"}, "app", True),
    ],
)
def test_only_what_could_also_move_may_be_compared(
    changes: dict[str, Any], kind: str, may: bool
) -> None:
    routing = changed(Settings(), changes).routing
    assert may_verify(routing, "summary", kind) is may


def test_what_the_evidence_would_carry_is_said_but_not_done() -> None:
    world = World(CONSENT).score(35)
    entry = world.entry()
    assert (entry["rung"], entry["suggestion"]) == ("verify", "live")
    assert entry["reason"] == "at least 90% would have done: it could go live"
    assert world.rows == []
    assert world.modes("summary", "title") == (True, "live")
    unpaid = World(CONSENT, saves=False).score(35).entry()
    assert (unpaid["suggestion"], unpaid["reason"]) == (None, "moving it might save nothing")


def test_a_demotion_is_held_recorded_announced_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(LIVE | CONSENT).score(3, passed=False, hard=True)
    entry = world.entry()
    assert (entry["rung"], entry["demoted"]) == ("verify", True)
    held = world.ladder.held("title", "groq", "gpt-oss")
    assert held == "taken back: 3 of its last 3 answers could not be used"
    assert world.ladder.held("title", "groq", "another") is None
    assert world.ladder.held("rename", "groq", "gpt-oss") is None
    (row,) = world.rows
    assert (row.values["from_rung"], row.values["to_rung"]) == ("live", "verify")
    assert row.values["source"] == "evidence"
    name, event = world.events[-2] if world.events[-1][0] != "rung.changed" else world.events[-1]
    assert name == "rung.changed"
    assert event["verification"][0]["demoted"]
    assert "title no longer goes to groq/gpt-oss" in caplog.text
    assert "sbgw-tui live title" in caplog.text


def test_a_lease_makes_one_kind_live_until_its_time_is_over() -> None:
    world = World()
    lease = world.ladder.lend("title", 7200, "a test")
    assert lease.until == world.clock.time() + 7200
    assert world.modes("summary", "title") == (False, "live")
    assert world.modes("summary", "recap")[0] is True
    assert world.modes("planning", "user_turn")[0] is True


async def test_a_lease_ends_by_itself_and_says_so_once() -> None:
    world = World()
    world.ladder.lend("title", 7200, "a test")
    await world.clock.advance(7199)
    world.ladder.tick()
    assert world.modes("summary", "title")[0] is False
    await world.clock.advance(1)
    assert world.modes("summary", "title")[0] is True, "the planner needs no tick"
    world.ladder.tick()
    world.ladder.tick()
    assert world.ladder.leases == []
    assert [row.values["source"] for row in world.rows] == ["a test", "time"]


def test_a_lease_of_a_class_is_for_its_kinds() -> None:
    world = World()
    world.ladder.lend("planning", None, "a test")
    assert world.modes("planning", "user_turn") == (False, "live")
    assert world.modes("summary", "user_turn")[0] is True
    world.ladder.take_back_all("a test", "enough")
    assert world.modes("planning", "user_turn")[0] is True


def test_a_change_of_the_settings_is_seen_through_a_lease() -> None:
    world = World()
    world.ladder.lend("title", None, "a test")
    assert world.modes("summary", "title")[0] is False
    world.settings = changed(world.settings, {"routing.kinds.title": ["cerebras"]})
    table = world.ladder.table_for(world.settings.routing, "summary", "title")
    assert [str(entry) for entry in table.entries_of("summary", "title")] == ["cerebras"]


def test_a_lease_forgives_what_was_before() -> None:
    world = World(LIVE).score(3, passed=False, hard=True)
    world.ladder.lend("title", 60, "a test")
    assert world.ladder.held("title", "groq", "gpt-oss") is None
    assert world.entry()["rung"] == "live"
    world.score(2, passed=False, hard=True)
    assert not world.entry()["demoted"]
    world.score(1, passed=False, hard=True)
    assert world.entry()["demoted"]


def test_it_goes_on_where_the_ledger_left_off() -> None:
    def past(at: float, *, passed: bool) -> PastScore:
        checks = {"transport": True, "title": passed}
        return PastScore("title", "summary", "groq", "gpt-oss", at, passed, False, checks)

    def move(at: float, to: str, source: str, provider: str = "groq") -> Moved:
        model = "gpt-oss" if provider else ""
        return Moved(f"m{at}", at, "title", provider, model, "live", to, "why", source)

    scores = [past(1.0, passed=True), past(2.0, passed=False)]
    world = World(LIVE)
    world.ladder.seed(scores, [move(3.0, "verify", "evidence")])
    entry = world.entry()
    assert (entry["samples"], entry["passed"], entry["failed"]) == (2, 1, {"title": 1})
    assert (entry["demoted"], entry["reason"]) == (True, "taken back: why")

    world = World(LIVE)
    world.ladder.seed(scores, [move(3.0, "verify", "evidence"), move(4.0, "live", "HTTP", "")])
    assert not world.entry()["demoted"]

    world = World(LIVE)
    again = [
        move(3.0, "live", "HTTP", ""),
        move(4.0, "verify", "evidence"),
        move(5.0, "live", "time", ""),
    ]
    world.ladder.seed(scores, again)
    assert world.entry()["demoted"], "the end of a lease forgives nothing"

"""Safe switching: boundaries, one place for a question, and no warm prefix lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agent_bodies import steady
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import structs
from past_turns import past
from turn_factory import attempt, finished, opened

from providers.types import Protocol, Usage
from server.cold import BESIDE
from server.policy import Plan, Target
from server.record import Candidate, Proposal, Status, Turn
from server.settings_types import KINDS
from server.switching import (
    ANSWERED_HOME,
    FAILED_BEFORE,
    FREE,
    LARGE_PREFIX,
    MOST_CONVERSATIONS,
    NOT_A_BOUNDARY,
    OPENING,
    RIDING,
    UNKNOWN_CACHE,
    Advice,
    Ask,
    Switching,
)
from server.switching_turns import ask_of, ask_of_past, ended, place_of

GROQ = Target("groq", "m")
LIFE = 300.0


def ask(kind: str = "user_turn", at: float = 0.0, mark: object = None, **more: Any) -> Ask:
    fields: dict[str, Any] = {
        "session": "s",
        "agent": None,
        "model": "opus",
        "size": 60_000,
        "asks_cache": True,
        "is_under_way": at > 0,
    }
    return Ask(kind=kind, at=at, mark=mark if mark is not None else at, **(fields | more))


def warm(tokens: int = 60_000, **more: Any) -> Switching:
    """A session whose last call at home was at 0."""
    switching = Switching()
    switching.left(ask("tool_step", **more), tokens, LIFE)
    return switching


class TestBoundaries:
    def test_a_new_question_may_move(self) -> None:
        assert Switching().advise(ask()) == FREE

    @pytest.mark.parametrize("kind", ["tool_step", "continuation", "resume", "notification"])
    def test_the_middle_of_a_question_does_not(self, kind: str) -> None:
        assert Switching().advise(ask(kind, 5)).keeps == NOT_A_BOUNDARY

    @pytest.mark.parametrize("kind", sorted(BESIDE))
    def test_a_call_beside_the_conversation_always_may(self, kind: str) -> None:
        assert warm().advise(ask(kind, 290)) == FREE

    def test_a_program_without_a_session_always_may(self) -> None:
        assert Switching().advise(ask("continuation", 5, session=None)) == FREE

    def test_a_sub_agent_may_with_its_first_request_only(self) -> None:
        first = ask("subagent", agent="a")
        assert Switching().advise(first) == FREE
        assert Switching().advise(first._replace(is_under_way=True)).keeps == NOT_A_BOUNDARY
        switching = Switching()
        switching.went(first, None)
        assert switching.advise(ask("subagent", 5, agent="a")).keeps == ANSWERED_HOME
        assert switching.advise(ask("subagent", agent="b")) == FREE


class TestOnePlace:
    def test_what_began_at_home_ends_there(self) -> None:
        switching = Switching()
        switching.went(ask(), None)
        assert switching.advise(ask("continuation", 5)).keeps == ANSWERED_HOME

    def test_what_moved_goes_there_or_home(self) -> None:
        switching = Switching()
        switching.went(ask(), GROQ)
        advice = switching.advise(ask("continuation", 5))
        assert advice == Advice(only=GROQ)
        assert advice.held("groq", "m") is None
        assert advice.held("cerebras", "m") == "its question went to groq, and to no third place"
        assert advice.held("groq", "other") is not None

    def test_a_failed_try_ends_it_for_the_rest_of_the_question(self) -> None:
        switching = Switching()
        switching.went(ask(), GROQ)
        switching.failed(ask())
        assert switching.advise(ask("continuation", 5)).keeps == FAILED_BEFORE
        assert switching.advise(ask(at=6)) == FREE

    def test_a_request_that_is_sent_again_is_the_same_question(self) -> None:
        switching = Switching()
        switching.went(ask(mark="same"), GROQ)
        switching.failed(ask(mark="same"))
        again = ask(at=5, mark="same")
        assert switching.advise(again).keeps == FAILED_BEFORE
        switching.went(again, None)
        assert switching.advise(ask("continuation", 6)).keeps == FAILED_BEFORE

    def test_a_recap_in_between_changes_nothing(self) -> None:
        switching = Switching()
        switching.went(ask(), GROQ)
        switching.went(ask("recap", 5), None)
        switching.failed(ask("recap", 5))
        assert switching.advise(ask("continuation", 6)) == Advice(only=GROQ)

    def test_decisions_of_another_mode_are_forgotten(self) -> None:
        switching = Switching()
        switching.went(ask(), GROQ)
        switching.forget_questions()
        assert switching.advise(ask("continuation", 5)).keeps == NOT_A_BOUNDARY


class TestWarmPrefixes:
    @pytest.mark.parametrize(
        ("at", "stays"), [(10, False), (149, False), (151, True), (299, True), (301, False)]
    )
    def test_one_that_is_running_out_keeps_the_turn(self, at: float, stays: bool) -> None:
        assert (warm().advise(ask(at=at)).keeps is not None) is stays

    def test_the_reason_says_how_much_and_how_long(self) -> None:
        kept = warm(61_000).advise(ask(at=200)).keeps
        assert kept == "61,000 tokens in its cache would expire in 100 s without this call"

    @pytest.mark.parametrize("kind", sorted(RIDING))
    def test_calls_that_ride_on_it_are_kept_too(self, kind: str) -> None:
        assert warm().advise(ask(kind, 200)).keeps is not None

    def test_a_small_one_is_not_worth_it(self) -> None:
        assert warm(LARGE_PREFIX - 1).advise(ask(at=200)) == FREE

    def test_a_turn_that_does_not_use_it_may_go(self) -> None:
        assert warm().advise(ask(at=200, asks_cache=False)) == FREE
        assert warm().advise(ask(at=200, size=9_000)) == FREE
        assert warm().advise(ask(at=200, model="haiku")) == FREE
        assert warm().advise(ask(at=200, agent="a", is_under_way=False)) == FREE

    def test_a_move_does_not_keep_it_alive(self) -> None:
        switching = warm()
        moved = ask(at=100)
        switching.went(moved, GROQ)
        assert switching.advise(ask(at=200)).keeps is not None

    def test_an_hour_is_an_hour(self) -> None:
        switching = Switching()
        switching.left(ask(), 60_000, 3600.0)
        assert switching.advise(ask(at=1700)) == FREE
        assert switching.advise(ask(at=1900)).keeps is not None

    def test_an_older_call_that_ends_later_does_not_age_it(self) -> None:
        switching = Switching()
        switching.left(ask(at=100), 60_000, LIFE)
        switching.left(ask(at=0), 60_000, LIFE)
        assert switching.advise(ask(at=200)) == FREE

    def test_a_session_from_before_the_start_goes_home_once(self) -> None:
        switching = Switching()
        assert switching.advise(ask(at=5)).keeps == UNKNOWN_CACHE
        switching.left(ask(at=5), 60_000, LIFE)
        assert switching.advise(ask(at=10)) == FREE
        assert Switching().advise(ask(at=5, size=500)) == FREE

    def test_memory_is_bounded(self) -> None:
        switching = warm()
        for number in range(MOST_CONVERSATIONS):
            switching.went(ask(session=f"s{number}"), None)
        assert switching.advise(ask(at=200)).keeps == UNKNOWN_CACHE


class TestTurns:
    def moved(self, *attempts: Any, **changes: Any) -> Turn:
        turn = finished(kind="user_turn", session="s", features={}, **changes)
        turn.proposal = Proposal("groq", "m", "moved")
        turn.candidates = [
            Candidate("groq", "m", "chosen"),
            Candidate("anthropic", None, "baseline"),
        ]
        turn.attempts = list(attempts)
        turn.provider = turn.attempts[-1].provider
        return turn

    def later(self, switching: Switching, turn: Turn) -> Advice:
        return switching.advise(ask_of(structs.replace(turn, id="later", kind="continuation")))

    def test_an_answer_elsewhere_keeps_its_question_there(self) -> None:
        switching, turn = Switching(), self.moved(attempt("groq"))
        switching.went(ask_of(turn), GROQ)
        ended(switching, turn)
        assert self.later(switching, turn) == Advice(only=GROQ)

    def test_a_try_that_failed_sends_the_rest_home(self) -> None:
        turn = self.moved(attempt("groq", "http_500"), attempt("anthropic"))
        turn.candidates[0] = structs.replace(turn.candidates[0], state="failed")
        switching = Switching()
        switching.went(ask_of(turn), GROQ)
        ended(switching, turn)
        assert self.later(switching, turn).keeps == FAILED_BEFORE

    def test_so_does_an_answer_that_broke_off(self) -> None:
        turn = self.moved(attempt("groq", "truncated"), status=Status.PARTIAL)
        switching = Switching()
        switching.went(ask_of(turn), GROQ)
        ended(switching, turn)
        assert self.later(switching, turn).keeps == FAILED_BEFORE

    def test_a_provider_that_was_busy_has_not_failed(self) -> None:
        turn = self.moved(attempt("anthropic"))
        turn.candidates[0] = structs.replace(turn.candidates[0], state="unavailable")
        switching = Switching()
        switching.went(ask_of(turn), GROQ)
        ended(switching, turn)
        assert self.later(switching, turn) == Advice(only=GROQ)

    def test_only_calls_at_home_leave_something_in_its_cache(self) -> None:
        usage = Usage(10, 5, cache_read_tokens=50_000, cache_write_5m_tokens=1_000)
        question = {"session": "s", "kind": "user_turn", "features": {"answered_before": True}}
        late = opened(**question, cache_ttl="5m", estimates={"history": 50_000})
        for turn, kept in (
            (finished(session="s", usage=usage, candidates=[]), True),
            (self.moved(attempt("groq"), usage=usage), False),
        ):
            switching = Switching()
            ended(switching, turn)
            late.at = turn.at + 200
            found = switching.advise(ask_of(late)).keeps
            assert (
                found == "51,000 tokens in its cache would expire in 100 s without this call"
            ) is kept

    def test_a_recorded_turn_asks_the_same(self) -> None:
        found = ask_of_past(past(5, cache_read_tokens=50_000, input_tokens=10))
        assert (found.session, found.kind, found.size, found.asks_cache) == (
            "s1",
            "user_turn",
            50_010,
            True,
        )
        codex = past(0, protocol=Protocol.RESPONSES.value, cache_ttl=None)
        assert ask_of_past(codex).asks_cache

    def test_shadow_goes_where_live_mode_would(self) -> None:
        would = Proposal("groq", "m", "would_move")
        plans = [
            (Plan((Target("anthropic"),), (), "shadow", would), GROQ),
            (Plan((Target("anthropic"),), (), "shadow", replace(would, state="observed")), None),
            (Plan((Target("anthropic"),), (), "shadow"), None),
            (Plan((GROQ, Target("anthropic")), (), "live", None, 1), GROQ),
            (Plan((Target("anthropic"),), (), "live"), None),
        ]
        assert [place_of(made) for made, _ in plans] == [where for _, where in plans]


class AnySession(RuleBasedStateMachine):
    """Whatever comes in whatever order: the promises of ``server.switching`` hold."""

    def __init__(self) -> None:
        super().__init__()
        self.switching = Switching()
        self.now = 0.0
        self.places: set[Target] = set()
        """Where the requests of the running question went."""
        self.has_failed = False
        self.home_at: float | None = None
        self.number = 0

    @rule(
        kind=st.sampled_from(KINDS),
        pause=st.sampled_from([0.0, 1.0, 100.0, 160.0, 290.0, 400.0]),
        where=st.sampled_from([Target("groq", "m"), Target("cerebras", "c")]),
        fails=st.booleans(),
    )
    def call(self, kind: str, pause: float, where: Target, fails: bool) -> None:
        self.now += pause
        self.number += 1
        one = ask(kind, self.now, mark=self.number, is_under_way=self.number > 1)
        advice = self.switching.advise(one)
        moves = advice.held(where.provider, where.model) is None
        is_beside, rides = kind in BESIDE, kind in RIDING
        opens = kind in OPENING or (kind == "subagent" and self.number == 1)
        if opens:
            self.places, self.has_failed = set(), False
        if moves and not is_beside:
            left = LIFE - (self.now - self.home_at) if self.home_at is not None else -1.0
            assert not 0 <= left < LIFE / 2 or not (opens or rides)
            assert opens or rides or (self.places and not self.has_failed)
        self.switching.went(one, where if moves else None)
        if is_beside:
            return
        if moves and not rides:
            self.places.add(where)
            assert len(self.places) == 1
        if moves and fails:
            self.switching.failed(one)
            self.has_failed = self.has_failed or not rides
        if not moves:
            self.switching.left(one, 60_000, LIFE)
            self.home_at = self.now

    @invariant()
    def asking_changes_nothing(self) -> None:
        late = ask("continuation", self.now, mark="x")
        assert self.switching.advise(late) == self.switching.advise(late)


TestAnySession = AnySession.TestCase
TestAnySession.settings = steady

"""From a turn and the engine's state to a plan: credentials, health, sub-agents that stick."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs
from turn_factory import attempt, finish, finished, opened

from providers.registry import build_upstreams
from providers.types import Headers, Protocol, Usage
from providers.upstream import Upstream
from server.config import Settings
from server.credentials import Access
from server.planning import REMEMBERED_AGENTS, Planner, carries_any, carries_native, lot_of
from server.policy import NoCandidate, Place, Target
from server.record import Turn
from server.settings_edit import changed

KEYS = {"ANTHROPIC_API_KEY": "sk-ant", "GROQ_API_KEY": "gsk", "CEREBRAS_API_KEY": "csk"}
SMALL: Mapping[str, Any] = {
    "routing.shadow": False,
    "routing.kinds.subagent": ["anthropic/claude-haiku-5-5"],
}
LIVE: Mapping[str, Any] = {"routing.shadow": False, "routing.kinds.title": ["groq"]}
OWN: Headers = [(b"authorization", b"Bearer sk-ant-oat01-mine")]


def upstreams(settings: Settings, env: Mapping[str, str]) -> dict[str, Upstream]:
    return build_upstreams(
        [settings.provider(name) for name in settings.providers],
        secret=env.get,
        env={},
        ssl_context=ssl.create_default_context(),
    )


def planner(
    changes: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] = KEYS,
    refused: Mapping[str, str] | None = None,
) -> Planner:
    settings = changed(Settings(), dict(changes or {}))
    return Planner(
        lambda: settings,
        upstreams(settings, env),
        refuses=lambda name, model: (refused or {}).get(name),
        carries=carries_any,
    )


def title(**more: Any) -> Turn:
    fields = {"kind": "title", "route": "summary", "offload": True} | more
    return opened(features={}, **fields)


def subagent(agent: str = "a1", **more: Any) -> Turn:
    fields: dict[str, Any] = {"kind": "subagent", "route": "tool_loop", "offload": False}
    return opened(agent=agent, **{"features": {}} | fields | more)


def plan(found: Planner, turn: Turn, access: Access | None = None) -> tuple[Target, ...]:
    headers = access.client_credential if access else []
    return found.plan(turn, access or Access(), headers).targets


class TestCredentials:
    def test_a_provider_without_a_key_is_passed_over(self) -> None:
        found = planner(LIVE, env={"ANTHROPIC_API_KEY": "k"})
        assert plan(found, title()) == (Target("anthropic"),)

    def test_a_clients_login_pays_at_its_own_vendor_and_nowhere_else(self) -> None:
        found = planner(LIVE)
        access = Access(OWN)
        own = found.credential(Protocol.MESSAGES, access, OWN, "anthropic")
        assert own is not None
        assert own.headers == OWN
        other = found.credential(Protocol.MESSAGES, access, OWN, "groq")
        assert other is not None
        assert b"gsk" in other.headers[0][1]
        assert found.credential(Protocol.MESSAGES, access, OWN, "openai") is None

    def test_a_login_alone_is_enough_for_the_baseline(self) -> None:
        found = planner(env={})
        assert plan(found, title(), Access(OWN)) == (Target("anthropic"),)
        with pytest.raises(NoCandidate, match="anthropic"):
            plan(found, title())


class TestHealth:
    def test_what_is_refused_now_is_no_candidate(self) -> None:
        made = planner(LIVE, refused={"groq": "it is paused"}).plan(title(), Access(), [])
        assert made.targets == (Target("anthropic"),)
        assert (made.candidates[0].state, made.candidates[0].reason) == (
            "unavailable",
            "it is paused",
        )

    def test_a_refused_baseline_is_tried_even_so(self) -> None:
        found = planner(refused={"anthropic": "its breaker is open"})
        assert plan(found, title()) == (Target("anthropic"),)


class TestStandIns:
    def test_are_counted(self) -> None:
        made = planner(LIVE).plan(title(), Access(), [])
        assert made.targets == (Target("groq", "openai/gpt-oss-120b"), Target("anthropic"))
        assert made.stand_ins == 1

    def test_there_are_none_in_shadow(self) -> None:
        made = planner({"routing.kinds.title": ["groq"]}).plan(title(), Access(), [])
        assert (made.targets, made.stand_ins) == ((Target("anthropic"),), 0)


HAIKU = Target("anthropic", "claude-haiku-5-5")


class TestSubAgents:
    def test_keep_the_model_they_began_with(self) -> None:
        found = planner(SMALL)
        assert plan(found, subagent())[0] == HAIKU
        later = subagent(features={"answered_before": True})
        assert plan(found, later)[0] == HAIKU
        late = subagent("a2", features={"answered_before": True})
        assert plan(found, late) == (Target("anthropic"),)

    def test_are_those_of_their_session(self) -> None:
        found = planner(SMALL)
        plan(found, subagent())
        stranger = subagent(session="session-2", features={"answered_before": True})
        assert plan(found, stranger) == (Target("anthropic"),)

    def test_are_forgotten_in_the_end(self) -> None:
        found = planner(SMALL)
        plan(found, subagent())
        for number in range(REMEMBERED_AGENTS):
            plan(found, subagent(f"b{number}"))
        late = subagent(features={"answered_before": True})
        assert plan(found, late) == (Target("anthropic"),)


class TestDecisions:
    def test_an_explanation_needs_no_client(self) -> None:
        told = planner(LIVE).decide(Protocol.MESSAGES, "summary", "title", True)
        assert (told["provider"], told["mode"]) == ("groq", "live")
        told = planner().decide(Protocol.MESSAGES, "tool_loop", "tool_step", False)
        assert (told["provider"], told["model"], told["mode"]) == ("anthropic", None, "shadow")

    def test_one_without_any_key_names_its_baseline(self) -> None:
        told = planner({"routing.baseline.chat": ["groq"]}, env={}).decide(
            Protocol.CHAT, "summary", "title", True
        )
        assert told["provider"] == "groq"

    def test_what_another_table_would_do(self) -> None:
        row = title().summary()
        found = planner()
        live = changed(Settings(), dict(LIVE)).routing
        made = found.what_if(live, row)
        assert made is not None
        assert made.targets[0].provider == "groq"
        nobody = changed(Settings(), {"routing.baseline.messages": ["cloudflare"]}).routing
        assert found.what_if(nobody, row) is None


def test_the_version_follows_the_table() -> None:
    tables = [changed(Settings(), {}), changed(Settings(), dict(SMALL))]
    found = Planner(lambda: tables[0], {})
    first = found.version
    assert found.version == first
    tables.pop(0)
    assert found.version != first


def test_a_session_always_draws_the_same_lot() -> None:
    lots = [lot_of(f"session-{number}") for number in range(2_000)]
    assert lots == [lot_of(f"session-{number}") for number in range(2_000)]
    assert all(0 <= lot < 100 for lot in lots)
    assert 150 < sum(lot < 10 for lot in lots) < 250


def test_who_speaks_what() -> None:
    chat = Place("groq", (Protocol.CHAT,), True)
    assert carries_native(Protocol.CHAT, chat)
    assert not carries_native(Protocol.MESSAGES, chat)
    assert carries_any(Protocol.MESSAGES, chat)
    assert not carries_any(Protocol.MESSAGES, Place("none", (), True))


class TestSafeSwitching:
    """``server.switching`` through the planner: what it says is on the row."""

    LIVE: Mapping[str, Any] = {
        "routing.shadow": False,
        "routing.routes.planning": ["groq", "cerebras"],
        "routing.modes.planning": "live",
    }

    def question(self, at: float = 0.0, **more: Any) -> Turn:
        fields: dict[str, Any] = {
            "kind": "user_turn",
            "route": "planning",
            "offload": True,
            "features": {"answered_before": at > 0},
            "cache_ttl": "5m",
            "estimates": {"history": int(50_000 + at)},
        }
        turn = opened(**fields | more)
        turn.at += at
        return turn

    def answered_at_home(self, found: Planner, at: float = 0.0) -> None:
        usage = Usage(0, 5, cache_read_tokens=60_000, cache_write_5m_tokens=1_000)
        turn = finished(usage=usage, model_asked="model-a", kind="tool_step", candidates=[])
        turn.at += at
        found.ended(turn)

    def test_a_warm_prefix_that_is_running_out_keeps_the_turn_and_the_row_says_so(self) -> None:
        found = planner(self.LIVE)
        self.answered_at_home(found)
        assert len(plan(found, self.question(at=20))) == 3
        made = found.plan(self.question(at=200), Access(), [])
        assert made.targets == (Target("anthropic"),)
        assert made.proposal is not None
        assert made.proposal.state == "observed"
        why = "61,000 tokens in its cache would expire in 100 s without this call"
        assert made.proposal.reason == why
        assert len(plan(found, self.question(at=301))) == 3

    def test_a_question_stays_with_the_place_it_went_to(self) -> None:
        found = planner(self.LIVE)
        first = plan(found, self.question())
        assert [target.provider for target in first] == ["groq", "cerebras", "anthropic"]
        more = self.question(at=5, kind="continuation")
        assert [target.provider for target in plan(found, more)] == ["groq", "anthropic"]

    def test_after_a_failed_try_the_rest_of_the_question_is_answered_at_home(self) -> None:
        found = planner(self.LIVE)
        turn = self.question()
        made = found.plan(turn, Access(), [])
        turn.proposal, turn.candidates = made.proposal, list(made.candidates)
        turn.candidates[0] = structs.replace(turn.candidates[0], state="failed")
        finish(turn, candidates=turn.candidates, attempts=[attempt("groq"), attempt("anthropic")])
        found.ended(turn)
        assert plan(found, self.question(at=5, kind="continuation")) == (Target("anthropic"),)
        assert len(plan(found, self.question(at=10))) == 3

    def test_in_shadow_the_projection_says_the_same(self) -> None:
        found = planner({**self.LIVE, "routing.shadow": True})
        self.answered_at_home(found)
        states = []
        for at in (20, 200):
            made = found.plan(self.question(at=at), Access(), [])
            assert made.targets == (Target("anthropic"),)
            assert made.proposal is not None
            states.append(made.proposal.state)
        assert states == ["would_move", "observed"]

    def test_what_shadow_projected_binds_nobody_once_it_is_off(self) -> None:
        found = planner({**self.LIVE, "routing.shadow": True})
        found.plan(self.question(), Access(), [])
        live = changed(Settings(), dict(self.LIVE))
        found._settings = lambda: live
        assert plan(found, self.question(at=5, kind="continuation")) == (Target("anthropic"),)

    def test_a_title_is_not_held_back(self) -> None:
        found = planner(LIVE)
        self.answered_at_home(found)
        late = title(cache_ttl="5m", estimates={"turn": 60_000})
        late.at += 200
        assert [target.provider for target in plan(found, late)] == ["groq", "anthropic"]

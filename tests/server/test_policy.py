"""The plan: what stays, what would move, and why; in shadow nothing but the baseline is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from providers.types import Protocol
from server.config import Settings
from server.policy import NoCandidate, Place, Plan, Question, Target, plan, routing_version
from server.settings_edit import changed
from server.settings_types import KINDS, NEVER_MOVED, ROUTE_CLASSES

PLACES = {
    "anthropic": Place("anthropic", (Protocol.MESSAGES,), True),
    "openai": Place("openai", (Protocol.RESPONSES, Protocol.CHAT), True),
    "groq": Place("groq", (Protocol.CHAT,), True, "gpt-oss-120b", key_name="GROQ_API_KEY"),
    "cerebras": Place(
        "cerebras", (Protocol.CHAT,), True, "gpt-oss-120b", key_name="CEREBRAS_API_KEY"
    ),
    "mirror": Place("mirror", (Protocol.MESSAGES,), True, "claude-x"),
}


def ask(kind: str = "title", route: str = "summary", **fields: Any) -> Question:
    return Question(Protocol.MESSAGES, kind, route, **{"offload": True} | fields)


def settings(changes: Mapping[str, Any] | None = None) -> Settings:
    own: dict[str, Any] = {
        "providers.mirror.kind": "anthropic-messages",
        "providers.mirror.model": "claude-x",
    }
    own["providers.mirror.base_url"] = "http://127.0.0.1:9"
    return changed(Settings(), own | dict(changes or {}))


LIVE: Mapping[str, Any] = {"routing.shadow": False}
SMALL: Mapping[str, Any] = {"routing.kinds.subagent": ["anthropic/claude-haiku-5-5"]}


def make(
    question: Question,
    changes: Mapping[str, Any] | None = None,
    *,
    keyless: tuple[str, ...] = (),
    places: Mapping[str, Place] = PLACES,
    carries: bool = True,
) -> Plan:
    def find(name: str) -> Place | None:
        place = places.get(name)
        if place is None or name not in keyless:
            return place
        return structs.replace(place, has_credential=False)

    return plan(
        settings(changes or {}).routing,
        question,
        find,
        lambda protocol, place: protocol in place.protocols or carries,
    )


def states(made: Plan) -> list[tuple[str, str]]:
    return [(c.provider, c.state) for c in made.candidates]


class TestShadow:
    def test_only_the_baseline_is_tried_and_the_proposal_is_told(self) -> None:
        made = make(ask())
        assert made.targets == (Target("anthropic"),)
        assert made.mode == "shadow"
        assert made.proposal is not None
        assert (made.proposal.provider, made.proposal.state) == ("cerebras", "would_move")
        assert states(made) == [
            ("cerebras", "chosen"),
            ("groq", "spare"),
            ("anthropic", "baseline"),
        ]

    def test_an_entry_without_a_key_is_skipped(self) -> None:
        made = make(ask(), keyless=("cerebras",))
        assert made.proposal is not None
        assert (made.proposal.provider, made.proposal.state) == ("groq", "would_move")
        assert "CEREBRAS_API_KEY is not set" in made.candidates[0].reason

    def test_without_any_key_it_is_still_projected(self) -> None:
        made = make(ask(), keyless=("cerebras", "groq"))
        assert made.proposal is not None
        assert (made.proposal.provider, made.proposal.state) == ("cerebras", "needs_key")
        assert made.proposal.model == "gpt-oss-120b"

    @given(
        st.sampled_from(KINDS),
        st.sampled_from(ROUTE_CLASSES),
        st.booleans(),
        st.sampled_from([None, "image", "tool_result"]),
        st.sets(st.sampled_from(["groq", "cerebras", "openai"])),
    )
    def test_whatever_is_asked_nothing_but_the_baseline_is_tried(
        self, kind: str, route: str, offload: bool, pin: str | None, keyless: set[str]
    ) -> None:
        made = make(ask(kind, route, offload=offload, pinned_by=pin), keyless=tuple(keyless))
        assert made.targets == (Target("anthropic"),)


class TestGate:
    def test_a_turn_that_may_not_leave_has_no_proposal(self) -> None:
        made = make(ask("user_turn", "planning", offload=False))
        assert made.proposal is None
        assert states(made)[:2] == [("groq", "gated"), ("cerebras", "gated")]

    def test_a_pin_wins_over_offload(self) -> None:
        made = make(ask(pinned_by="image"), LIVE)
        assert made.targets == (Target("anthropic"),)
        assert made.proposal is None

    @pytest.mark.parametrize("kind", sorted(NEVER_MOVED))
    def test_some_kinds_never_move_whatever_the_settings_say(self, kind: str) -> None:
        made = make(ask(kind), {**LIVE, "routing.routes.summary": ["anthropic/small"]})
        assert made.targets == (Target("anthropic"),)
        assert made.proposal is None

    def test_an_agreed_class_without_entries_stays(self) -> None:
        made = make(ask("user_turn", "tool_loop"))
        assert (made.proposal, len(made.candidates)) == (None, 1)


class TestLive:
    def test_the_list_is_tried_in_order_and_ends_with_the_baseline(self) -> None:
        made = make(ask(), LIVE)
        assert made.targets == (
            Target("cerebras", "gpt-oss-120b"),
            Target("groq", "gpt-oss-120b"),
            Target("anthropic"),
        )
        assert made.mode == "live"
        assert made.proposal is not None
        assert made.proposal.state == "moved"

    def test_what_cannot_be_carried_stays(self) -> None:
        made = make(ask(), LIVE, carries=False)
        assert made.targets == (Target("anthropic"),)
        assert made.proposal is not None
        assert made.proposal.state == "unsupported"

    def test_what_takes_nothing_now_is_passed_over(self) -> None:
        places = dict(PLACES)
        places["cerebras"] = Place(
            "cerebras", (Protocol.CHAT,), True, "gpt-oss-120b", refuses="its breaker is open"
        )
        made = make(ask(), LIVE, places=places)
        assert made.targets[0] == Target("groq", "gpt-oss-120b")
        assert made.candidates[0].reason == "its breaker is open"

    @pytest.mark.parametrize("mode", ["observe", "verify"])
    def test_a_mode_of_its_own_keeps_a_kind_home(self, mode: str) -> None:
        made = make(ask(), {**LIVE, "routing.modes.title": mode})
        assert made.targets == (Target("anthropic"),)
        assert made.proposal is not None
        assert made.proposal.state == "observed"

    def test_what_people_ask_moves_only_when_its_class_is_named(self) -> None:
        question = ask("user_turn", "summary")
        stays = make(question, LIVE)
        assert stays.targets == (Target("anthropic"),)
        assert stays.proposal is not None
        assert (stays.proposal.state, "summary" in stays.proposal.reason) == ("observed", True)
        moves = make(question, {**LIVE, "routing.modes.summary": "live"})
        assert moves.targets[0].provider == "cerebras"

    def test_programs_are_only_observed(self) -> None:
        made = make(ask("app", "summary"), LIVE)
        assert made.targets == (Target("anthropic"),)

    @pytest.mark.parametrize(("lot", "moves"), [(9.9, True), (10.0, False)])
    def test_a_canary_takes_its_share(self, lot: float, moves: bool) -> None:
        made = make(ask(lot=lot), {**LIVE, "routing.modes.summary": "canary"})
        assert (len(made.targets) > 1) is moves

    def test_the_next_vendor_of_the_baseline_only_when_allowed(self) -> None:
        lists: dict[str, Any] = {
            "routing.baseline.messages": ["anthropic", "mirror"],
            "routing.shadow": False,
        }
        stays = ask("user_turn", "tool_loop")
        assert make(stays, lists).targets == (Target("anthropic"),)
        allowed = make(stays, {**lists, "routing.cross_vendor_failover": True})
        assert allowed.targets == (Target("anthropic"), Target("mirror"))


class TestDowngrade:
    def test_a_cheaper_model_of_the_vendor_needs_no_offload(self) -> None:
        made = make(
            ask("subagent", "fallback_safe", offload=False, pinned_by="server_tool"),
            {**LIVE, **SMALL},
        )
        assert made.targets == (Target("anthropic", "claude-haiku-5-5"), Target("anthropic"))

    def test_it_is_decided_on_the_first_request(self) -> None:
        late = ask("subagent", "fallback_safe", offload=False, is_under_way=True)
        made = make(late, {**LIVE, **SMALL})
        assert made.targets == (Target("anthropic"),)

    def test_and_then_sticks(self) -> None:
        late = ask(
            "tool_step",
            "tool_loop",
            offload=False,
            pinned_by="tool_result",
            is_under_way=True,
            stuck_to=Target("anthropic", "claude-haiku-5-5"),
        )
        made = make(late, {**LIVE, **SMALL})
        assert made.targets[0] == Target("anthropic", "claude-haiku-5-5")

    def test_a_class_is_not_enough(self) -> None:
        stays = ask("user_turn", "summary", offload=False)
        made = make(stays, {"routing.routes.summary": ["anthropic/claude-haiku-5-5"]})
        assert made.proposal is None


class TestBaseline:
    def test_the_first_usable_entry_serves_and_the_rest_is_told(self) -> None:
        lists: dict[str, Any] = {
            "routing.baseline.messages": ["groq", "anthropic", "mirror/claude-x"]
        }
        made = make(ask("user_turn", "tool_loop"), lists, carries=False)
        assert made.targets == (Target("anthropic"),)
        assert states(made) == [
            ("groq", "unsupported"),
            ("anthropic", "baseline"),
            ("mirror", "spare"),
        ]

    def test_an_entry_without_a_credential_is_skipped_and_told(self) -> None:
        lists: dict[str, Any] = {"routing.baseline.messages": ["anthropic", "mirror/claude-x"]}
        made = make(ask("user_turn", "tool_loop"), lists, keyless=("anthropic",))
        assert made.targets == (Target("mirror", "claude-x"),)
        assert [c.state for c in made.candidates] == ["needs_key", "baseline"]

    @pytest.mark.parametrize(
        ("entries", "keyless", "words"),
        [
            (["anthropic"], ("anthropic",), "anthropic"),
            (["groq"], (), "none of which speaks anthropic-messages"),
        ],
    )
    def test_no_candidate_says_what_is_missing(
        self, entries: list[str], keyless: tuple[str, ...], words: str
    ) -> None:
        with pytest.raises(NoCandidate, match=words):
            make(ask(), {"routing.baseline.messages": entries}, keyless=keyless, carries=False)


def test_the_version_follows_the_table_and_not_the_mode() -> None:
    plain = settings()
    assert routing_version(plain.routing) == routing_version(settings(LIVE).routing)
    other = settings({"routing.routes.summary": ["groq"]})
    assert routing_version(plain.routing) != routing_version(other.routing)

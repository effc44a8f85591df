"""The routing table as front ends see it, and what another one would have done."""

from __future__ import annotations

from typing import Any

import pytest
from turn_factory import finished

from server.config import Settings
from server.policy import Plan, Target
from server.record import Proposal, Saving
from server.routing_view import WhatIf, as_json, effect, table_json
from server.settings_edit import changed
from server.settings_errors import Origin, SourceKind

TABLE = Settings().routing


def row(**changes: Any) -> dict[str, Any]:
    return finished(**changes).summary()


def moving(kind: str) -> WhatIf:
    """A planner that moves one kind to Groq."""

    def what_if(routing: Any, row: Any, **_: Any) -> Plan | None:
        assert routing.shadow is False
        if row["kind"] != kind:
            return Plan((Target("anthropic"),), (), "live")
        proposal = Proposal("groq", "gpt-oss-120b", "moved", "")
        return Plan((Target("groq", "gpt-oss-120b"),), (), "live", proposal)

    return what_if


def saving(usd: float) -> Saving:
    return Saving(state="settled", naive_usd=1.0, usd=usd, low_usd=usd / 2)


def priced(found: Any, provider: str, model: str | None) -> Saving | None:
    return saving(0.01) if found["route"] == "summary" else None


def test_moves_are_summed_up_and_the_most_frequent_comes_first() -> None:
    rows = [row(kind="title", route="summary") for _ in range(3)]
    rows += [row(kind="user_turn", route="tool_loop")]
    found = effect(TABLE, rows, moving("title"), priced).as_json()
    assert (found["turns"], found["stays"], len(found["moves"])) == (4, 1, 1)
    move = found["moves"][0]
    assert (move["kind"], move["provider"], move["state"]) == ("title", "groq", "moved")
    assert (move["turns"], move["unpriced"]) == (3, 0)
    figures = (move["usd"], move["low_usd"], move["high_usd"])
    assert figures == pytest.approx((0.03, 0.015, 0.03))
    usage = rows[0]
    parts = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    assert move["input_tokens"] == 3 * sum(usage[part] or 0 for part in parts)


def test_what_has_no_price_is_counted_and_in_no_sum() -> None:
    rows = [row(kind="title", route="code_draft"), row(kind="title", route="summary")]
    moves = effect(TABLE, rows, moving("title"), priced).as_json()["moves"]
    assert {(m["route"], m["unpriced"], m["usd"]) for m in moves} == {
        ("code_draft", 1, 0.0),
        ("summary", 0, 0.01),
    }


def test_turns_that_never_ran_are_left_out() -> None:
    rows = [row(kind="title")]
    rows[0]["status"] = "open"
    rejected = row(kind="title") | {"status": "rejected"}
    assert effect(TABLE, [*rows, rejected], moving("title"), priced).turns == 0


def test_a_turn_nobody_could_serve_stays() -> None:
    found = effect(TABLE, [row(kind="title")], lambda routing, row, **_: None, priced)
    assert (found.turns, found.stays) == (1, 1)


def test_the_table_names_where_each_entry_comes_from() -> None:
    table = changed(Settings(), {"routing.kinds.title": ["groq"]}).routing
    shown = table_json(table, {"routing.kinds.title": Origin(SourceKind.FILE, "config.toml")})
    assert shown["kinds"]["title"] == ["groq"]
    assert list(shown["sources"]) == ["routing.kinds.title"]
    assert shown["version"] != table_json(TABLE, {})["version"]


def test_what_is_not_kept_says_so() -> None:
    shown = as_json(table_json(TABLE, {}), {"routing.shadow"}, {}, {"summary": 3}, {"title": 2})
    assert shown["unsaved"] == ["routing.shadow"]
    assert "not kept" in shown["sources"]["routing.shadow"]
    assert (shown["hits"], shown["kind_hits"]) == ({"summary": 3}, {"title": 2})

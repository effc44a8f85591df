"""What the record suggests, each piece with its figure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hand_session import HAIKU, PRICES, SONNET
from msgspec.structs import replace
from past_turns import past

from providers.pricing import Prices
from providers.types import Protocol
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import Past, Seen
from server.prefix import digest_body
from server.report_advice import MOST_SERVERS, OTHER_SERVERS, Ground, advice_on, prefix_of
from server.savings_assumptions import Assumptions

BOOK = PriceBook(Prices(PRICES), Assumptions())
PAD = "x" * 16_000


def with_tools(*names: str, at: float = 0) -> Past:
    body = {
        "model": SONNET,
        "max_tokens": 10,
        "tools": [{"name": name, "description": PAD, "input_schema": {}} for name in names],
        "messages": [{"role": "user", "content": PAD}],
    }
    blocks = digest_body(json.dumps(body).encode(), b"k" * 32)[0]
    usage = {"cache_read_tokens": 12_000, "features": Seen(n_tools=len(names))}
    return past(at, blocks=blocks, **usage)


def advice(turns: list[Past], prefix: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    ground = Ground()
    for turn in turns:
        ground.add(turn)
    return advice_on(ground, prefix, Settings(), BOOK)


def test_the_prefix_is_shared_out_by_size() -> None:
    prefix = prefix_of([with_tools("Read", "mcp__wiki__search")], BOOK)
    assert prefix is not None
    parts = {row["name"]: row for row in prefix["parts"]}
    assert list(parts) == ["system", "built-in tools", "MCP server wiki", "files", "history"]
    assert (parts["system"]["tokens"], parts["files"]["tokens"]) == (0, 0)
    for name in ("built-in tools", "MCP server wiki", "history"):
        assert parts[name]["tokens"] == pytest.approx(4000, abs=30)
        assert parts[name]["usd_per_turn"] == pytest.approx(0.0004, rel=0.02)
    assert sum(row["usd_per_turn"] for row in parts.values()) == pytest.approx(0.0012)


def test_every_mcp_server_has_its_own_row_the_largest_first() -> None:
    names = ["mcp__jira__get", "mcp__wiki__find", "mcp__wiki__show"]
    prefix = prefix_of([with_tools(*names), with_tools("mcp__jira__get")], BOOK)
    assert prefix is not None
    rows = [row for row in prefix["parts"] if row["server"]]
    assert [(row["server"], row["sessions"]) for row in rows] == [("jira", 2), ("wiki", 1)]
    assert [row["tokens"] for row in rows] == pytest.approx([4000, 4000], abs=40)


def test_many_small_servers_share_a_row() -> None:
    names = [f"mcp__s{number}__t" for number in range(MOST_SERVERS + 5)]
    prefix = prefix_of([with_tools(*names)], BOOK)
    assert prefix is not None
    rows = {row["name"]: row["tokens"] for row in prefix["parts"]}
    assert sum(name.startswith("MCP server ") for name in rows) == MOST_SERVERS
    assert rows[OTHER_SERVERS] == pytest.approx(20_000, abs=200)


def test_developer_messages_are_system_and_read_files_are_files() -> None:
    body = {
        "model": SONNET,
        "input": [
            {"type": "message", "role": "developer", "content": PAD},
            {"type": "function_call", "call_id": "c", "name": "read_file", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": PAD},
        ],
    }
    packed, _ = digest_body(json.dumps(body).encode(), b"k" * 32, Protocol.RESPONSES)
    prefix = prefix_of([past(0, blocks=packed, input_tokens=8000)], BOOK)
    assert prefix is not None
    parts = {row["name"]: row["tokens"] for row in prefix["parts"]}
    assert (parts["system"], parts["files"]) == (4000, 4000)
    assert parts["history"] < 10


def test_an_mcp_server_is_worth_a_word_when_it_is_large() -> None:
    turns = [with_tools("Read", "mcp__wiki__search", at=at) for at in range(10)]
    (item,) = advice(turns, prefix_of([turns[0], with_tools("Read")], BOOK))
    assert item["text"].startswith("MCP server wiki costs about 4,000 tokens (3,200 to 5,600)")
    assert "1 of 2 sessions" in item["text"]
    assert item["usd"] == pytest.approx(0.002, rel=0.02)
    assert item["low_usd"] < item["usd"] < item["high_usd"]
    assert advice(turns, prefix_of([with_tools("Read")], BOOK)) == []


def test_without_blocks_there_is_no_prefix() -> None:
    assert prefix_of([past(0), past(1, blocks=b"damaged")], BOOK) is None
    assert advice([past(0)]) == []


def test_subagents_on_a_cheaper_model_are_priced_from_their_own_usage() -> None:
    usage = {"input_tokens": 1000, "cache_write_5m_tokens": 10_000, "output_tokens": 500}
    turn = past(0, kind="subagent", agent="a", cost_usd=0.032, **usage)
    (item,) = advice([turn])
    there = 1000 * 0.1e-6 + 10_000 * 0.125e-6 + 500 * 0.5e-6
    saved = 0.9 * (0.032 - there) - 0.1 * there
    assert item["usd"] == pytest.approx(saved)
    assert f"-{saved / 0.032:.0%}" in item["text"]
    assert advice([replace(turn, model_served=HAIKU, cost_usd=there)]) == []

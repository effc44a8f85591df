"""Why caches were cold, from usage and digests of real bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hand_session import HAIKU, PRICES, SONNET
from past_ledger import write_ledger
from past_turns import past
from turn_factory import NOON, finished

from providers.pricing import Prices
from providers.types import Usage
from server.backtest_prices import PriceBook
from server.cold import Cold, ColdFinder, cold_of, summary
from server.ledger_history import NEAR, Past, history
from server.prefix import digest_body
from server.savings_assumptions import Assumptions

BOOK = PriceBook(Prices(PRICES), Assumptions())
PREMIUM = 2.4e-6
WARM = {"cache_read_tokens": 40_000, "cache_write_5m_tokens": 1000}
COLD = {"cache_read_tokens": 0, "cache_write_5m_tokens": 42_000}


def packed(
    tools: Sequence[tuple[str, str]] = (("Read", "reads"), ("Edit", "edits")),
    system: str = "be good",
    said: Sequence[str] = ("one", "two"),
) -> bytes:
    body = {
        "model": SONNET,
        "max_tokens": 10,
        "tools": [{"name": n, "description": d, "input_schema": {}} for n, d in tools],
        "system": system,
        "messages": [{"role": "user", "content": text} for text in said],
    }
    return digest_body(json.dumps(body).encode(), b"k" * 32)[0]


BEFORE = packed()


def call(at: float, usage: dict[str, int], **changes: Any) -> Past:
    return past(at, **({"blocks": BEFORE} | usage | changes))


def found(*turns: Past) -> Cold | None:
    finder = ColdFinder(BOOK.rates_here)
    *earlier, last = turns
    for turn in earlier:
        finder.add(turn)
    return finder.add(last)


@pytest.mark.parametrize(
    ("changes", "cause", "tools"),
    [
        ({"blocks": packed(tools=[("Read", "reads"), ("Grep", "greps")])}, "tools", (1, 1, 0)),
        ({"blocks": packed(tools=[("Read", "reads!"), ("Edit", "edits")])}, "tools", (0, 0, 1)),
        ({"blocks": packed(tools=[("Edit", "edits"), ("Read", "reads")])}, "tools", (0, 0, 0)),
        ({"blocks": packed(system="be bad")}, "system", (0, 0, 0)),
        ({"blocks": packed(said=["summary"])}, "compaction", (0, 0, 0)),
        ({"kind": "post_compaction"}, "compaction", (0, 0, 0)),
        ({"blocks": packed(said=["one", "2", "three"])}, "history", (0, 0, 0)),
        ({"blocks": packed(said=["one", "two", "three"])}, "unknown", (0, 0, 0)),
        ({"blocks": None}, "unknown", (0, 0, 0)),
        ({"blocks": b"damaged"}, "unknown", (0, 0, 0)),
        ({"at_s": 400.0}, "idle", (0, 0, 0)),
        ({"model_asked": HAIKU, "model_served": HAIKU}, "model", (0, 0, 0)),
    ],
)
def test_the_cause(changes: dict[str, Any], cause: str, tools: tuple[int, int, int]) -> None:
    changes = dict(changes)
    at = changes.pop("at_s", 100.0)
    cold = found(call(0, WARM), call(at, COLD, **changes))
    assert cold is not None
    assert cold.cause == cause
    assert (cold.tools_added, cold.tools_removed, cold.tools_changed) == tools
    assert (cold.tokens, cold.idle_s) == (41_000, at)
    premium = 0.115e-6 if cause == "model" else PREMIUM
    assert cold.usd == pytest.approx(41_000 * premium)


def moved(at: float) -> Past:
    return call(at, {}, provider="groq", proposal_provider="groq", proposal_state="moved")


def test_moves_that_let_it_expire_are_our_own_fault() -> None:
    cold = found(call(0, WARM), moved(200), call(400, COLD))
    assert cold is not None
    assert cold.cause == "routing"
    late = found(call(0, WARM), moved(50), call(400, COLD))
    assert late is not None
    assert late.cause == "idle"


def test_an_hour_is_an_hour_where_it_was_asked_for() -> None:
    hour = {"cache_read_tokens": 40_000, "cache_write_1h_tokens": 1000}
    cold = found(call(0, hour), call(3000, COLD, blocks=packed(system="other")))
    assert cold is not None
    assert cold.cause == "system"


@pytest.mark.parametrize(
    "turns",
    [
        [call(0, COLD)],
        [call(0, WARM), call(1, {"cache_read_tokens": 41_000, "cache_write_5m_tokens": 500})],
        [call(0, WARM), call(1, {"cache_read_tokens": 40_500, "cache_write_5m_tokens": 900})],
        [call(0, WARM), call(1, COLD, session="another")],
        [call(0, WARM), call(1, COLD, agent="a1")],
        [call(0, WARM), call(1, COLD, session=None)],
        [call(0, WARM), call(1, {"input_tokens": 900})],
    ],
)
def test_what_is_not_cold(turns: list[Past]) -> None:
    assert found(*turns) is None


def test_a_shorter_prompt_is_charged_with_no_more_than_it_holds() -> None:
    short = {"cache_read_tokens": 0, "cache_write_5m_tokens": 5000}
    cold = found(call(0, WARM), call(1, short, blocks=packed(said=["s"])))
    assert cold is not None
    assert cold.tokens == 5000


def test_the_mcp_servers_whose_tools_changed_are_named() -> None:
    tools = [("Read", "r"), ("mcp__wiki__find", "f"), ("mcp__jira__get", "g")]
    now = [("Read", "r"), ("mcp__jira__get", "other"), ("mcp__mail__send", "s")]
    cold = found(call(0, WARM, blocks=packed(tools)), call(1, COLD, blocks=packed(now)))
    assert cold is not None
    assert cold.text == (
        "The tools changed: 1 added, 1 removed, 1 altered (of MCP servers jira, mail, wiki)."
    )


def test_a_title_beside_the_conversation_is_not_judged_and_keeps_nothing_alive() -> None:
    title = call(200, {"cache_read_tokens": 3000, "cache_write_5m_tokens": 0}, kind="title")
    assert found(call(0, WARM), title) is None
    cold = found(call(0, WARM), title, call(400, COLD))
    assert cold is not None
    assert (cold.cause, cold.idle_s) == ("idle", 400)


def test_a_vendor_that_caches_unasked_is_cold_when_it_reads_nothing() -> None:
    codex = {"protocol": "openai-responses", "provider": "openai", "cache_ttl": None}
    first = call(0, {"input_tokens": 30_000}, **codex)
    cold = found(first, call(10, {"input_tokens": 31_000}, **codex, blocks=packed(system="b")))
    assert cold is not None
    assert (cold.cause, cold.tokens) == ("system", 30_000)
    warm = {"input_tokens": 1000, "cache_read_tokens": 29_900}
    assert found(first, call(10, warm, **codex)) is None


def test_the_sum_by_cause() -> None:
    rows = [Cold("idle", "", 1, 0.2, 1), Cold("idle", "", 1, None, 1), Cold("tools", "", 1, 0.5, 1)]
    assert summary(rows) == {
        "turns": 3,
        "usd": 0.7,
        "unpriced": 1,
        "causes": [
            {"cause": "tools", "turns": 1, "usd": 0.5, "unpriced": 0},
            {"cause": "idle", "turns": 2, "usd": 0.2, "unpriced": 1},
        ],
    }


def test_one_turn_is_found_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    common: dict[str, Any] = {"model_asked": SONNET, "model_served": SONNET, "blocks": BEFORE}
    turns = [
        finished(**common, usage=Usage(0, 1, 40_000, 1000)),
        finished(**common, at=NOON + 5, usage=Usage(0, 1, 0, 42_000), session="another"),
        finished(**common, at=NOON + 900, usage=Usage(0, 1, 0, 42_000)),
    ]
    write_ledger(path, turns)
    cold = cold_of(path, turns[2].id, BOOK.rates_here)
    assert cold is not None
    assert cold.as_json()["cause"] == "idle"
    assert cold_of(path, turns[0].id, BOOK.rates_here) is None
    assert cold_of(path, turns[1].id, BOOK.rates_here) is None
    assert cold_of(path, "nobody", BOOK.rates_here) is None


def test_only_the_calls_near_a_turn_are_read_for_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    common: dict[str, Any] = {"model_asked": SONNET, "usage": Usage(0, 1, 40_000, 1000)}
    turns = [finished(**common, at=NOON + at) for at in range(NEAR + 5)]
    stray = [finished(**common, at=NOON + 3, agent="a"), finished(**common, session="other")]
    write_ledger(path, [*turns, *stray])
    ids = [turn.id for turn in history(path, up_to=turns[-2].id)]
    assert ids == [turn.id for turn in turns[-2 - NEAR : -1]]
    assert [turn.id for turn in history(path, up_to=stray[0].id)] == [stray[0].id]

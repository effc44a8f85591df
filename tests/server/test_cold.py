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
from server.ledger_history import Past
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
    cold = cold_of(path, "session-1", turns[2].id, BOOK.rates_here)
    assert cold is not None
    assert cold.as_json()["cause"] == "idle"
    assert cold_of(path, "session-1", turns[0].id, BOOK.rates_here) is None
    assert cold_of(path, "another", turns[1].id, BOOK.rates_here) is None

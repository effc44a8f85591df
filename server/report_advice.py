"""What the record suggests, each piece with its figure and range; pure.

``PREFIX``: ``{"sessions", "parts": [{"name", "tokens", "low_tokens", "high_tokens",
"usd_per_turn"}]}``: what the sessions' latest requests repeat, on average, by part (system,
built-in tools, MCP tools, history), and what carrying it costs in one turn. ``ADVICE``:
``{"text", "usd", "low_usd", "high_usd"}``: USD over the turns of the report; positive saves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from server.backtest import backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import Past
from server.limits import plans
from server.prefix import unpack
from server.savings import bill

PARTS: Final = ("system", "built-in tools", "MCP tools", "history")
LEAST_TOKENS: Final = 2000
"""MCP tools below this are not worth a word."""

_LOW, _HIGH = 0.8, 1.4
"""True tokens per token estimated from characters."""
_CHEAPER: Final = "anthropic/claude-haiku-5-5"


def prefix_of(latest: Iterable[Past], prices: PriceBook) -> dict[str, Any] | None:
    """``PREFIX`` of each session's latest turn with blocks; ``None`` where there is none."""
    tokens: defaultdict[str, int] = defaultdict(int)
    usd: defaultdict[str, float] = defaultdict(float)
    read = 0
    for turn in latest:
        parts = _parts(turn.blocks or b"")
        whole = sum(parts.values())
        if not whole:
            continue
        read += 1
        cost = _prompt_usd(turn, prices)
        for name, count in parts.items():
            tokens[name] += count
            usd[name] += cost * count / whole
    if not read:
        return None
    rows = [_row(name, tokens[name] / read, usd[name] / read) for name in PARTS]
    return {"sessions": read, "parts": rows}


def advice_on(
    turns: Sequence[Past], prefix: dict[str, Any] | None, settings: Settings, prices: PriceBook
) -> list[dict[str, Any]]:
    """``ADVICE``, the most worth while first; nothing that has no figure."""
    found = [*_on_tools(turns, prefix), *_on_agents(turns, settings, prices)]
    return sorted(found, key=lambda item: -float(item["usd"]))


def _parts(packed: bytes) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    try:
        blocks = unpack(packed)
    except ValueError:
        return {}
    for block in blocks:
        if block.tag == "t":
            found["MCP tools" if block.is_mcp else "built-in tools"] += block.tokens
        else:
            found["system" if block.tag == "s" else "history"] += block.tokens
    return found


def _prompt_usd(turn: Past, prices: PriceBook) -> float:
    """What the prompt alone was billed; 0 where that is not known."""
    tokens, rates = turn.tokens(), prices.rates_here(turn)
    if tokens is None or rates is None:
        return 0.0
    return float(bill(replace(tokens, output=0), rates))


def _row(name: str, tokens: float, usd: float) -> dict[str, Any]:
    return {
        "name": name,
        "tokens": round(tokens),
        "low_tokens": round(tokens * _LOW),
        "high_tokens": round(tokens * _HIGH),
        "usd_per_turn": usd,
    }


def _on_tools(turns: Sequence[Past], prefix: dict[str, Any] | None) -> Iterable[dict[str, Any]]:
    if prefix is None:
        return
    part = next(row for row in prefix["parts"] if row["name"] == "MCP tools")
    if part["tokens"] < LEAST_TOKENS or not part["usd_per_turn"]:
        return
    carrying = sum(bool(turn.features.n_tools) for turn in turns)
    usd = part["usd_per_turn"] * carrying
    yield {
        "text": (
            f"MCP tools cost about {part['tokens']:,} tokens in every turn that has tools "
            f"({carrying:,} turns); switch off the servers a project does not use."
        ),
        "usd": usd,
        "low_usd": usd * _LOW,
        "high_usd": usd * _HIGH,
    }


def _on_agents(
    turns: Sequence[Past], settings: Settings, prices: PriceBook
) -> Iterable[dict[str, Any]]:
    if not any(turn.kind == "subagent" for turn in turns):
        return
    other = Settings.model_validate({"routing": {"kinds": {"subagent": [_CHEAPER]}}})
    routing = settings.routing.model_copy(update={"kinds": other.routing.kinds})
    table = settings.model_copy(update={"routing": routing})
    own = [turn for turn in turns if turn.kind == "subagent" and not turn.is_moved]
    found = backtest(own, Replan(table), prices, plans(settings.providers)).total
    saved = found.as_json()
    if not found.moved or saved["saved_usd"] <= 0 or not found.before:
        return
    share = saved["saved_usd"] / found.before
    yield {
        "text": f"Sub-agents on {_CHEAPER}: {-share:+.0%} of what they cost.",
        "usd": saved["saved_usd"],
        "low_usd": saved["saved_low_usd"],
        "high_usd": saved["saved_high_usd"],
    }

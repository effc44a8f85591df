"""What the record suggests, each piece with its figure and range; pure.

``PREFIX``: ``{"sessions", "parts": [{"name", "server", "sessions", "tokens", "low_tokens",
"high_tokens", "usd_per_turn"}]}``: what the sessions' latest requests repeat, on average, by part
(system, built-in tools, each MCP server, files, history), and what carrying it costs in one turn.
``server`` is the name of a part that is an MCP server, else ``None``; ``sessions`` of a part is how
many sessions have it. ``ADVICE``: ``{"text", "usd", "low_usd", "high_usd"}``: USD over the turns of
the report; positive saves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from server.backtest import backtest
from server.backtest_plan import Replan
from server.backtest_prices import PriceBook
from server.config import Settings
from server.ledger_history import Past
from server.limits import plans
from server.prefix import PrefixBlock, unpack
from server.savings import bill

LEAST_TOKENS: Final = 2000
"""MCP servers below this are not worth a word."""

MOST_SERVERS: Final = 20
"""Rows for MCP servers; the smaller ones share one."""

OTHER_SERVERS: Final = "other MCP servers"
UNNAMED: Final = "MCP tools"
"""On record without the names of their servers."""

_AT_ONCE: Final = 16
"""Lists of blocks between two pauses."""

_LOW, _HIGH = 0.8, 1.4
"""True tokens per token estimated from characters."""
_CHEAPER: Final = "anthropic/claude-haiku-5-5"


class _Part(NamedTuple):
    """One part of a prefix; in the order in which parts are listed."""

    place: int
    name: str
    server: str | None = None


_SYSTEM: Final = _Part(0, "system")
_BUILT_IN: Final = _Part(1, "built-in tools")
_OTHERS: Final = _Part(3, OTHER_SERVERS)
_UNNAMED: Final = _Part(4, UNNAMED)
_FILES: Final = _Part(5, "files")
_HISTORY: Final = _Part(6, "history")
_ALWAYS: Final = (_SYSTEM, _BUILT_IN, _FILES, _HISTORY)


@dataclass(slots=True)
class _Sum:
    tokens: int = 0
    usd: float = 0.0
    sessions: int = 0

    def merge(self, other: _Sum) -> None:
        self.tokens += other.tokens
        self.usd += other.usd
        self.sessions = max(self.sessions, other.sessions)


@dataclass(slots=True)
class Ground:
    """What advice rests on, gathered turn by turn."""

    carrying: int = 0
    """Turns that carried tools."""
    agents: list[Past] = field(default_factory=list)
    """Turns of sub-agents, in order."""

    def add(self, turn: Past) -> None:
        """Look at one more turn."""
        self.carrying += bool(turn.features.n_tools)
        if turn.kind == "subagent":
            # Digests of a week of turns would not fit into memory.
            self.agents.append(replace(turn, blocks=None))


def prefix_of(
    latest: Iterable[Past], prices: PriceBook, pause: Callable[[], None] = lambda: None
) -> dict[str, Any] | None:
    """``PREFIX`` of each session's latest turn with blocks; ``None`` where there is none."""
    sums: defaultdict[_Part, _Sum] = defaultdict(_Sum)
    read = 0
    for number, turn in enumerate(latest):
        if number % _AT_ONCE == 0:
            pause()
        parts = _parts(turn.blocks or b"")
        whole = sum(parts.values())
        if not whole:
            continue
        read += 1
        cost = _prompt_usd(turn, prices)
        for part, count in parts.items():
            sums[part].merge(_Sum(count, cost * count / whole))
            sums[part].sessions += 1
    if not read:
        return None
    for part in _ALWAYS:
        _ = sums[part]
    _join_small_servers(sums)
    rows = [_row(part, found, read) for part, found in sorted(sums.items(), key=_order)]
    return {"sessions": read, "parts": rows}


def _order(item: tuple[_Part, _Sum]) -> tuple[int, int, str]:
    part, found = item
    return part.place, -found.tokens, part.name


def _join_small_servers(sums: dict[_Part, _Sum]) -> None:
    servers = sorted((item for item in sums.items() if item[0].server is not None), key=_order)
    for part, found in servers[MOST_SERVERS:]:
        sums.setdefault(_OTHERS, _Sum()).merge(found)
        del sums[part]


def advice_on(
    ground: Ground,
    prefix: dict[str, Any] | None,
    settings: Settings,
    prices: PriceBook,
    pause: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """``ADVICE``, the most worth while first; nothing that has no figure."""
    found = [*_on_tools(ground, prefix), *_on_agents(ground, settings, prices, pause)]
    return sorted(found, key=lambda item: -float(item["usd"]))


def _parts(packed: bytes) -> dict[_Part, int]:
    found: defaultdict[_Part, int] = defaultdict(int)
    try:
        blocks = unpack(packed)
    except ValueError:
        return {}
    for block in blocks:
        found[_FILES] += block.file_tokens
        found[_part(block)] += block.tokens - block.file_tokens
    return {part: count for part, count in found.items() if count}


def _part(block: PrefixBlock) -> _Part:
    if block.tag == "s" or block.role in ("system", "developer"):
        return _SYSTEM
    if block.tag != "t":
        return _HISTORY
    if block.server is not None:
        return _Part(2, f"MCP server {block.server}", block.server)
    return _UNNAMED if block.is_mcp else _BUILT_IN


def _prompt_usd(turn: Past, prices: PriceBook) -> float:
    """What the prompt alone was billed; 0 where that is not known."""
    tokens, rates = turn.tokens(), prices.rates_here(turn)
    if tokens is None or rates is None:
        return 0.0
    return float(bill(replace(tokens, output=0), rates))


def _row(part: _Part, found: _Sum, sessions: int) -> dict[str, Any]:
    tokens = found.tokens / sessions
    return {
        "name": part.name,
        "server": part.server,
        "sessions": found.sessions,
        "tokens": round(tokens),
        "low_tokens": round(tokens * _LOW),
        "high_tokens": round(tokens * _HIGH),
        "usd_per_turn": found.usd / sessions,
    }


def _on_tools(ground: Ground, prefix: dict[str, Any] | None) -> Iterable[dict[str, Any]]:
    if prefix is None:
        return
    for row in prefix["parts"]:
        if row["server"] is None and row["name"] != UNNAMED:
            continue
        # The row is an average over all sessions; those that have the server carry all of it.
        tokens = row["tokens"] * prefix["sessions"] / max(1, row["sessions"])
        if tokens < LEAST_TOKENS or not row["usd_per_turn"]:
            continue
        usd = row["usd_per_turn"] * ground.carrying
        yield {
            "text": _about(row, round(tokens, -2), prefix["sessions"]),
            "usd": usd,
            "low_usd": usd * _LOW,
            "high_usd": usd * _HIGH,
        }


def _about(row: dict[str, Any], tokens: float, sessions: int) -> str:
    size = f"about {tokens:,.0f} tokens ({tokens * _LOW:,.0f} to {tokens * _HIGH:,.0f})"
    where = f"every turn of {row['sessions']:,} of {sessions:,} sessions"
    if row["server"] is None:
        return f"MCP tools cost {size} in {where}; switch off the servers a project does not use."
    return f"{row['name']} costs {size} in {where}; switch it off where it is not used."


def _on_agents(
    ground: Ground, settings: Settings, prices: PriceBook, pause: Callable[[], None] | None
) -> Iterable[dict[str, Any]]:
    if not ground.agents:
        return
    other = Settings.model_validate({"routing": {"kinds": {"subagent": [_CHEAPER]}}})
    routing = settings.routing.model_copy(update={"kinds": other.routing.kinds})
    table = settings.model_copy(update={"routing": routing})
    own = [turn for turn in ground.agents if not turn.is_moved]
    found = backtest(own, Replan(table), prices, plans(settings.providers), pause).total
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

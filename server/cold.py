"""Why a prompt cache was cold, from times, usage and block digests alone.

A call is cold when the vendor read much less from its cache than the session's call before had
left there. What had to be written again is priced by how much dearer a write is than a read.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from providers.pricing import Rates
from providers.types import Protocol
from server.ledger_history import Past, blocks_of, history
from server.prefix import PrefixBlock, digests_in, unpack
from server.savings import Tokens, rewrite_premium

CAUSES: Final = (
    "routing",
    "model",
    "idle",
    "compaction",
    "tools",
    "system",
    "history",
    "unknown",
)
"""``routing``: our own moves let it expire; ``history``: an earlier message was changed or taken
back; ``unknown``: nothing that is on record explains it, the vendor may have dropped it."""

LEAST_TOKENS: Final = 1024
"""Less than this is rounding at block borders, not a cold cache."""


BESIDE: Final = frozenset(
    [
        "title",
        "rename",
        "topic",
        "file_paths",
        "edited_files",
        "output_digest",
        "web_digest",
        "web_search",
        "bash_prefix",
        "permission_check",
        "quota_probe",
        "count_tokens",
        "prewarm",
    ]
)
"""Kinds whose prompt is not the conversation's: they neither use its cache nor keep it alive."""

MOST_LINES: Final = 512
"""Conversations followed at a time."""

Blocks = Callable[[Past], bytes | None]


@dataclass(frozen=True, slots=True)
class Cold:
    """Why one call was cold, and what that cost."""

    cause: str
    """One of ``CAUSES``."""
    text: str
    """A sentence for the user."""
    tokens: int
    """Written, or sent uncached, although an earlier call had left them in the cache."""
    usd: float | None
    """``None``: the price is unknown."""
    idle_s: float
    """Since the line's last call at home."""
    tools_added: int = 0
    tools_removed: int = 0
    tools_changed: int = 0

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names; ``turn["cold"]``."""
        return {name: getattr(self, name) for name in Cold.__slots__}


@dataclass(slots=True)
class _Line:
    """What is remembered of one conversation, whatever its models."""

    by_model: dict[str, Past] = field(default_factory=dict)
    last: Past | None = None
    moved: list[float] = field(default_factory=list)
    """When calls were made elsewhere since the last one at home."""


class ColdFinder:
    """Finds cold calls; give it ended turns in ascending order of time, with their blocks.

    ``rates`` prices a turn's own model (``PriceBook.rates_here``), ``None`` where unknown.
    The conversations used least recently are forgotten.
    """

    def __init__(self, rates: Callable[[Past], Rates | None]) -> None:
        self._rates = rates
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()

    def add(self, turn: Past, blocks: Blocks = attrgetter("blocks")) -> Cold | None:
        """Why this turn was cold; ``None`` for one that was not, or is the first of its line.

        ``blocks`` finds the packed blocks of a turn; it is asked where two have to be compared.
        """
        if not turn.session:
            return None
        line = self._line(turn.session, turn.agent or "")
        tokens = turn.tokens()
        if turn.is_moved and turn.provider == turn.proposal_provider:
            line.moved.append(turn.at)
            return None
        if turn.kind in BESIDE or tokens is None or not left_in_cache(turn.protocol, tokens):
            return None
        before = line.by_model.get(turn.model_asked or "") or line.last
        found = None if before is None else self._judge(turn, tokens, before, line, blocks)
        line.by_model[turn.model_asked or ""] = line.last = turn
        line.moved.clear()
        return found

    def _line(self, session: str, agent: str) -> _Line:
        line = self._lines.setdefault((session, agent), _Line())
        self._lines.move_to_end((session, agent))
        if len(self._lines) > MOST_LINES:
            self._lines.popitem(last=False)
        return line

    def _judge(
        self, turn: Past, tokens: Tokens, before: Past, line: _Line, blocks: Blocks
    ) -> Cold | None:
        left = before.tokens()
        held = 0 if left is None else left_in_cache(before.protocol, left)
        # A prompt that shrank could not have read more than it holds.
        missing = min(held, tokens.prompt) - tokens.read
        if left is None or missing < LEAST_TOKENS:
            return None
        missing = min(missing, tokens.written + tokens.input)
        idle_s = turn.at - before.at
        cause, text, change = _why(turn, before, left.lifetime_s, line, blocks)
        return Cold(cause, text, missing, self._usd(turn, tokens, missing), idle_s, *change)

    def _usd(self, turn: Past, tokens: Tokens, missing: int) -> float | None:
        rates = self._rates(turn)
        if rates is None:
            return None
        return float(missing * rewrite_premium(tokens, rates) / 1_000_000)


def cold_of(
    path: Path,
    turn_id: str,
    rates: Callable[[Past], Rates | None],
    *,
    demo: bool = False,
) -> Cold | None:
    """Why one recorded turn was cold, read from the ledger; blocks on the disk.

    Raises ``LedgerError`` or ``sqlite3.Error`` for a file that cannot be read.
    """
    finder = ColdFinder(rates)
    for turn in history(path, up_to=turn_id, demo=demo):
        if turn.id == turn_id:
            # Of the two calls compared alone: a session's digests may come to megabytes.
            return finder.add(turn, lambda one: blocks_of(path, one.id))
        finder.add(turn)
    return None


def summary(found: Iterable[Cold]) -> dict[str, Any]:
    """``{"turns", "usd", "unpriced", "causes": [{"cause", "turns", "usd", "unpriced"}]}``.

    Dearest cause first; turns without a price are counted and in no sum.
    """
    groups: defaultdict[str, list[Cold]] = defaultdict(list)
    for cold in found:
        groups[cold.cause].append(cold)
    causes = [{"cause": cause} | _sum(groups[cause]) for cause in CAUSES if groups[cause]]
    causes.sort(key=lambda row: -float(row["usd"]))
    return _sum([cold for rows in groups.values() for cold in rows]) | {"causes": causes}


def _sum(rows: list[Cold]) -> dict[str, Any]:
    return {
        "turns": len(rows),
        "usd": sum(cold.usd or 0.0 for cold in rows),
        "unpriced": sum(cold.usd is None for cold in rows),
    }


def left_in_cache(protocol: str, tokens: Tokens) -> int:
    """What a call left in its vendor's cache: OpenAI's hold every long prompt, unasked."""
    if protocol == Protocol.MESSAGES:
        return tokens.read + tokens.written
    return tokens.prompt if tokens.prompt >= LEAST_TOKENS else 0


_Change = tuple[int, int, int]
_NO_CHANGE: Final[_Change] = (0, 0, 0)


def _why(
    turn: Past, before: Past, lifetime_s: float, line: _Line, blocks: Blocks
) -> tuple[str, str, _Change]:
    if (turn.model_asked or "") not in line.by_model or _switched(turn, before, lifetime_s, line):
        other = line.last.model_asked if line.last else None
        return "model", f"The model changed from {other} to {turn.model_asked}.", _NO_CHANGE
    if turn.at - before.at > lifetime_s:
        if _kept_by_moves(turn, before, lifetime_s, line):
            text = "Calls that were sent elsewhere did not keep the cache alive."
            return "routing", text, _NO_CHANGE
        minutes, kept = (turn.at - before.at) / 60, lifetime_s / 60
        text = f"{minutes:.0f} minutes passed; the cache lives for {kept:.0f}."
        return "idle", text, _NO_CHANGE
    return _changed(turn, before, blocks)


def _switched(turn: Past, before: Past, lifetime_s: float, line: _Line) -> bool:
    """Whether another model was used meanwhile, so long that this one's cache expired."""
    other = line.last is not None and line.last.model_asked != turn.model_asked
    return other and turn.at - before.at > lifetime_s


def _kept_by_moves(turn: Past, before: Past, lifetime_s: float, line: _Line) -> bool:
    """Whether the cache would have lived, had every call been made at home."""
    times = [before.at, *line.moved, turn.at]
    gaps = (later - earlier for earlier, later in pairwise(times))
    return bool(line.moved) and all(gap <= lifetime_s for gap in gaps)


def _changed(turn: Past, before: Past, blocks: Blocks) -> tuple[str, str, _Change]:
    if turn.kind == "post_compaction":
        return "compaction", "The conversation was compacted.", _NO_CHANGE
    new_blocks, old_blocks = blocks(turn) or b"", blocks(before) or b""
    try:
        here, there = digests_in(new_blocks), digests_in(old_blocks)
    except ValueError:
        return "unknown", "Its blocks are not on record.", _NO_CHANGE
    if not any(here) or not any(there):
        return "unknown", "Its blocks are not on record.", _NO_CHANGE
    if here.tools != there.tools:
        return _changed_tools(_tools_in(old_blocks), _tools_in(new_blocks))
    if here.system != there.system:
        return "system", "The system prompt changed.", _NO_CHANGE
    new, old = here.messages, there.messages
    if new[: len(old)] == old:
        return (
            "unknown",
            "Nothing on record explains it; the vendor may have dropped it.",
            _NO_CHANGE,
        )
    if new[:1] != old[:1] and len(new) < len(old):
        return "compaction", "The conversation was compacted.", _NO_CHANGE
    return "history", "An earlier message was changed or taken back.", _NO_CHANGE


def _changed_tools(old: list[PrefixBlock], new: list[PrefixBlock]) -> tuple[str, str, _Change]:
    change = _tools(old, new)
    if not any(change):
        return "tools", "The tools came in another order.", _NO_CHANGE
    added, removed, altered = change
    words = f"{added} added, {removed} removed, {altered} altered"
    servers = _servers(old, new)
    told = f" (of MCP servers {', '.join(servers)})" if servers else ""
    return "tools", f"The tools changed: {words}{told}.", change


def _tools_in(packed: bytes) -> list[PrefixBlock]:
    return [block for block in unpack(packed) if block.tag == "t"]


def _tools(old: list[PrefixBlock], new: list[PrefixBlock]) -> _Change:
    was = {block.name_digest: block.digest for block in old}
    now = {block.name_digest: block.digest for block in new}
    altered = sum(was[name] != now[name] for name in was.keys() & now.keys())
    return len(now.keys() - was.keys()), len(was.keys() - now.keys()), altered


def _servers(old: list[PrefixBlock], new: list[PrefixBlock]) -> list[str]:
    """The MCP servers whose tools differ."""
    was, now = ({(b.server, b.name_digest, b.digest) for b in blocks} for blocks in (old, new))
    return sorted({server for server, *_ in was ^ now if server is not None})

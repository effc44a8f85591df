"""What a turn repeated of the call before it, and which block broke its prompt cache.

Read from the block digests in the ledger: they tell which block changed, not what it said.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from server.ledger_schema import check_identity, connect_read_only
from server.prefix import PrefixBlock, unpack
from server.settings_types import MAIN_KINDS

PARTS: Final = {"t": "tools", "s": "system", "m": "messages"}
NEAR: Final = 40
"""Calls before a turn that are looked at for the one it goes on from."""

Names = Mapping[bytes, str]
"""Tools' names by the digest of the name."""
NOBODY: Final[Names] = MappingProxyType({})

_SELF: Final = "SELECT session, agent, at, seq, kind, model_asked, blocks FROM turns WHERE id = ?"
_BEFORE: Final = (
    "SELECT id, at, kind, model_asked, blocks FROM turns WHERE session = ? AND agent IS ? "
    "AND (at < ? OR (at = ? AND seq < ?)) AND blocks IS NOT NULL AND status <> 'open' "
    "ORDER BY at DESC, seq DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Change:
    """The first block, in the order in which vendors cache, that the call before did not have."""

    part: str
    """``tools``, ``system`` or ``messages``."""
    index: int
    """Counted from 0 within its part."""
    how: str
    """``changed``, ``added`` (something stands where nothing or another block stood), ``removed``."""
    tokens: int
    """Estimated, of the block as it is now; 0 when it is gone."""
    was_tokens: int
    role: str | None = None
    """Messages only."""
    label: str | None = None
    """A tool's name, or where it comes from, as far as that can be known."""
    lost_tokens: int = 0
    """Estimated, of everything from this block on that the call before had left in the cache."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in Change.__slots__}


def first_change(
    old: Sequence[PrefixBlock], new: Sequence[PrefixBlock], names: Names = NOBODY
) -> Change | None:
    """Where two prompts part; ``None`` when the new one only goes on where the old one ended."""
    at = shared(old, new)
    if at == len(old):
        return None
    was = old[at]
    now = new[at] if at < len(new) else None
    lost = sum(block.tokens for block in old[at:])
    if now is None or (now.tag != was.tag and _order(now) > _order(was)):
        place = sum(block.tag == was.tag for block in old[:at])
        how, here = "removed", was
        return Change(
            PARTS[was.tag], place, how, 0, was.tokens, was.role, _label(here, names), lost
        )
    place = sum(block.tag == now.tag for block in new[:at])
    how, was_tokens = _how(was, now, old, new)
    return Change(
        PARTS[now.tag], place, how, now.tokens, was_tokens, now.role, _label(now, names), lost
    )  # fmt: skip


def shared(old: Sequence[PrefixBlock], new: Sequence[PrefixBlock]) -> int:
    """How many leading blocks are the same."""
    count = 0
    for before, after in zip(old, new, strict=False):
        if (before.tag, before.digest) != (after.tag, after.digest):
            break
        count += 1
    return count


def _how(
    was: PrefixBlock, now: PrefixBlock, old: Sequence[PrefixBlock], new: Sequence[PrefixBlock]
) -> tuple[str, int]:
    if now.tag != was.tag:
        return "added", 0
    if now.tag == "t" and now.name_digest != was.name_digest:
        names = {block.name_digest for block in old if block.tag == "t"}
        if now.name_digest not in names:
            return "added", 0
        gone = was.name_digest not in {block.name_digest for block in new if block.tag == "t"}
        return ("removed", was.tokens) if gone else ("moved", now.tokens)
    return "changed", was.tokens


def _order(block: PrefixBlock) -> int:
    return "tsm".index(block.tag)


def _label(block: PrefixBlock, names: Names) -> str | None:
    if block.tag != "t":
        return None
    if name := names.get(block.name_digest or b""):
        return name
    if block.server:
        return f"of the MCP server {block.server}"
    return "of an MCP server" if block.is_mcp else None


def story_of(path: Path, turn_id: str, names: Names = NOBODY) -> dict[str, Any] | None:
    """``{"previous", "previous_at", "kept_blocks", "kept_tokens", "tokens", "change", "blocks"}``
    of one recorded turn, ``None`` when its blocks are not on record.

    ``previous``: the call of the same conversation it goes on from, ``None`` when it is the first;
    ``change``: ``Change`` or ``None``; ``blocks``: ``{"part", "role", "label", "tokens", "is_same"}``
    in cache order; ``names``: see ``server.tool_names``. Blocks on the disk. Raises ``LedgerError`` or ``sqlite3.Error``.
    """
    if not path.exists():
        return None
    with contextlib.closing(connect_read_only(path)) as conn:
        conn.row_factory = sqlite3.Row
        if not check_identity(conn, path):
            return None
        row = conn.execute(_SELF, (turn_id,)).fetchone()
        if row is None or (blocks := _blocks(row["blocks"])) is None:
            return None
        before = _before(conn, row) if row["session"] else None
    old = (_blocks(before["blocks"]) or []) if before is not None else []
    kept = shared(old, blocks)
    change = first_change(old, blocks, names) if before is not None else None
    return {
        "previous": before["id"] if before is not None else None,
        "previous_at": before["at"] if before is not None else None,
        "kept_blocks": kept,
        "kept_tokens": sum(block.tokens for block in blocks[:kept]),
        "tokens": sum(block.tokens for block in blocks),
        "change": change.as_json() if change else None,
        "blocks": [_told(block, names, is_same=at < kept) for at, block in enumerate(blocks)],
    }


def _told(block: PrefixBlock, names: Names, *, is_same: bool) -> dict[str, Any]:
    part = PARTS[block.tag]
    label = _label(block, names)
    found = {"part": part, "role": block.role, "label": label, "tokens": block.tokens}
    return found | {"is_same": is_same}


def _before(conn: sqlite3.Connection, row: sqlite3.Row) -> sqlite3.Row | None:
    """The latest earlier call of the same conversation, with the same model where there is one."""
    place = (row["session"], row["agent"], row["at"], row["at"], row["seq"], NEAR)
    near = [r for r in conn.execute(_BEFORE, place) if _is_alike(r["kind"], row["kind"])]
    same = [r for r in near if r["model_asked"] == row["model_asked"]]
    return next(iter(same or near), None)


def _is_alike(one: str, other: str) -> bool:
    """Whether both carry the conversation, or are background calls of one kind."""
    return one == other or (one in MAIN_KINDS and other in MAIN_KINDS)


def _blocks(packed: bytes | None) -> list[PrefixBlock] | None:
    try:
        return unpack(packed) if packed else None
    except ValueError:
        return None

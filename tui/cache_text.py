"""What became of a turn's prompt cache, and what was lost on its way, as lines.

From ``turn["cold"]``, ``turn["notes"]`` and the answer to ``request`` (``server.views``); every
value may be missing or of another type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tui import format as fmt
from tui.lines import Line, line, wrap
from tui.rows import cold_from, count_of, mapping_of, mappings_in, number_of, text_of

_LABEL = 12

Story = Mapping[str, Any]


def cache(detail: Mapping[str, Any], story: Story | None, width: int) -> list[Line]:
    """Why the cache was cold, what the call before had left, and the block that broke it."""
    rows: list[Line] = []
    cold = cold_from(detail.get("cold"))
    if cold is not None:
        rows.extend(_pair("cold", cold.text or cold.cause, width, "warn"))
        cost = f", {fmt.money(cold.usd)} more than from the cache" if cold.usd is not None else ""
        rows.extend(_pair("again", f"{fmt.tokens(cold.tokens)} tokens{cost}", width, "warn"))
    if story is not None:
        rows.extend(_story(detail, story, width))
    return [line(("CACHE", "title")), *rows] if rows else []


def _story(detail: Mapping[str, Any], story: Story, width: int) -> list[Line]:
    if (previous := text_of(story.get("previous"))) is None:
        return []
    before, at = number_of(story.get("previous_at")), number_of(detail.get("at"))
    gap = f", {fmt.age(at - before)} earlier" if before is not None and at is not None else ""
    kept, whole = (count_of(story.get(name)) for name in ("kept_tokens", "tokens"))
    blocks = len(mappings_in(story.get("blocks")))
    same = f"{count_of(story.get('kept_blocks')) or 0} of {blocks} blocks"
    if story.get("has_text") is True:
        same = f"{_kept(story)} of {blocks} parts"
    share = f", about {fmt.tokens(kept)} of {fmt.tokens(whole)} tokens" if whole else ""
    rows = [
        *_pair("goes on from", f"{previous}{gap}", width),
        *_pair("the same", f"{same}{share}", width),
    ]
    changed = change_text(story)
    role = "warn" if changed else "good"
    return [*rows, *_pair("first change", changed or "none; it only goes on", width, role)]


def _kept(story: Story) -> int:
    return sum(block.get("is_same") is True for block in mappings_in(story.get("blocks")))


def change_text(story: Story) -> str:
    """The block that broke the cache, in words; empty when none did."""
    found = mapping_of(story.get("difference"))
    if name := text_of(found.get("name")):
        how = text_of(found.get("how")) or "changed"
        offset = count_of(found.get("offset"))
        where = f" at byte {offset:,}" if how == "changed" and offset is not None else ""
        return f"{fmt.neutralise(name, 80)} {_was(how)}{where}{_behind(story)}"
    change = mapping_of(story.get("change"))
    part, how = text_of(change.get("part")), text_of(change.get("how")) or "changed"
    if part is None:
        return ""
    number = (count_of(change.get("index")) or 0) + 1
    word = {"tools": "tool", "system": "system text", "messages": "message"}.get(part, part)
    of = text_of(change.get("label")) or text_of(change.get("role"))
    whose = f" ({fmt.neutralise(of, 40)})" if of else ""
    return f"{word} {number}{whose} {_was(how)}{_behind(story)}"


def _was(how: str) -> str:
    return {"added": "was added", "removed": "is gone", "moved": "was moved"}.get(how, "changed")


def _behind(story: Story) -> str:
    lost = count_of(mapping_of(story.get("change")).get("lost_tokens"))
    return f"; about {fmt.tokens(lost)} cached tokens began there" if lost else ""


def notes(detail: Mapping[str, Any], width: int) -> list[Line]:
    """What a translation could not carry over."""
    found = detail.get("notes")
    texts = [text for note in (found if isinstance(found, list) else []) if (text := text_of(note))]
    if not texts:
        return []
    rows = [row for text in texts for row in wrap(f"· {text[:300]}", width, "warn")]
    return [line(("LEFT OUT OR CHANGED ON THE WAY", "title")), *rows]


def _pair(label: str, text: str, width: int, role: str = "text") -> list[Line]:
    first, indent = fmt.fit(label, _LABEL), " " * _LABEL
    return [
        ((f"{first if at == 0 else indent} ", "muted"), *spans)
        for at, spans in enumerate(wrap(text, max(10, width - _LABEL - 1), role))
    ]

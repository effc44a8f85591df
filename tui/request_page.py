"""A request block by block: what can be chosen, and what is shown of the chosen one, as lines.

From the answer to ``request`` (``server.views``). Without a kept body there are sizes and digests
only, so the blocks have no names and no text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tui import cache_text
from tui import format as fmt
from tui.lines import EMPTY, Line, Span, chopped, line, wrap
from tui.rows import count_of, mapping_of, mappings_in, text_of
from tui.widgets.pick_list import PickLine

DIFF = "diff"
PARTS = ("tools", "system", "messages")
MOST_LINES = 1_500
"""Lines of one block that are drawn."""

_WORDS = {"tools": "TOOLS", "system": "SYSTEM", "messages": "MESSAGES"}
_SIGNS = {"+": "good", "-": "bad", "@": "accent"}

Story = Mapping[str, Any]
Block = Mapping[str, Any]


def title(story: Story | None, turn_id: str, width: int) -> list[Line]:
    """Which request it is, and whether its text is there."""
    name = fmt.neutralise(turn_id, 40)
    if story is None:
        return [line((f"  {name}", "strong"), ("  reading the request ...", "muted"))]
    why = text_of(story.get("why"))
    head = line((f"  {name}", "strong"), ("  as it was sent, in the order of the cache", "muted"))
    lines = [head]
    if why:
        lines.extend(((" " * 2, "text"), *spans) for spans in wrap(why, max(10, width - 3), "warn"))
    return lines


def picks(story: Story | None, is_open: Collection[str], width: int) -> list[PickLine]:
    """The entries: what changed, and the three parts, unfolded where ``is_open`` names them."""
    if story is None:
        return [(None, EMPTY)]
    blocks = mappings_in(story.get("blocks"))
    if not blocks:
        return [(None, line((" Nothing is on record of its blocks.", "muted")))]
    entries: list[PickLine] = []
    changed = cache_text.change_text(story)
    if text_of(story.get("previous")):
        said = changed or "nothing changed; it only goes on"
        role = "warn" if changed else "good"
        text = f" since the call before: {said}"
        entries.append((DIFF, line((fmt.neutralise(text, width - 2), role))))
    else:
        entries.append(
            (None, line((" No call before it in its conversation is on record.", "muted")))
        )
    for part in PARTS:
        found = [(at, block) for at, block in enumerate(blocks) if block.get("part") == part]
        if not found:
            continue
        entries.append((part, _heading(part, [block for _, block in found], part in is_open)))
        if part in is_open:
            entries.extend((str(at), _entry(n, block)) for n, (at, block) in enumerate(found, 1))
    return entries


def _heading(part: str, blocks: Sequence[Block], is_open: bool) -> Line:
    same = sum(block.get("is_same") is True for block in blocks)
    size = sum(_tokens(block) for block in blocks)
    kept = f", {same} as before" if same else ""
    return line(
        (f" {'-' if is_open else '+'} {_WORDS[part]}", "title"),
        (f"  {len(blocks)}, about {fmt.tokens(size)} tokens{kept}", "muted"),
    )


def _entry(number: int, block: Block) -> Line:
    is_same = block.get("is_same") is True
    first = next(iter((text_of(block.get("text")) or "").split("\n", 1)), "")
    spans: list[Span] = [
        (f"   {number:>4} ", "muted"),
        (fmt.fit("as before" if is_same else "new", 10), "muted" if is_same else "accent"),
        (fmt.fit(fmt.tokens(_tokens(block)), 6, "right") + "  ", "muted"),
        (fmt.fit(_name(block), 24) + "  ", "text"),
        (fmt.neutralise(first, 200), "muted"),
    ]
    return tuple(spans)


def _name(block: Block) -> str:
    named = text_of(block.get("title")) or text_of(block.get("label")) or text_of(block.get("role"))
    return named or str(block.get("part") or fmt.UNKNOWN)


def _tokens(block: Block) -> int:
    """Estimated; a kept text tells its characters, four of which are about a token."""
    return count_of(block.get("tokens")) or (count_of(block.get("chars")) or 0) // 4


def shown(story: Story | None, picked: str | None, width: int) -> list[Line]:
    """What there is of the chosen entry."""
    if story is None or picked is None:
        return []
    if picked == DIFF:
        return _difference(story, width)
    blocks = mappings_in(story.get("blocks"))
    if picked in PARTS:
        text = "enter unfolds it, and folds it again"
        return [line((f" {text}", "muted"))]
    block = blocks[int(picked)] if picked.isdigit() and int(picked) < len(blocks) else {}
    return _text(block, width)


def _text(block: Block, width: int) -> list[Line]:
    text = text_of(block.get("text"))
    head = line((f" {fmt.neutralise(_name(block), width - 2)}", "strong"))
    if text is None:
        size = fmt.tokens(_tokens(block))
        return [head, line((f" about {size} tokens; its text is not on record", "muted"))]
    lines = [head]
    for row in text.split("\n"):
        lines.extend(((" ", "text"), *spans) for spans in chopped(row, width - 2))
        if len(lines) > MOST_LINES:
            break
    whole = count_of(block.get("chars")) or len(text)
    if len(lines) > MOST_LINES or whole > len(text):
        lines = [*lines[:MOST_LINES], line((f" ... of {whole:,} characters", "muted"))]
    return lines


def _difference(story: Story, width: int) -> list[Line]:
    found = mapping_of(story.get("difference"))
    text = cache_text.change_text(story)
    lines = [((" ", "text"), *spans) for spans in wrap(text, width - 2, "strong")] if text else []
    if not text:
        return [
            line((" Everything that the call before had sent was sent again as it was.", "good"))
        ]
    changes = found.get("lines")
    rows = [text for text in changes if isinstance(text, str)] if isinstance(changes, list) else []
    if not rows:
        return [*lines, line((" Its text is not on record.", "muted"))]
    lines.append(EMPTY)
    for row in rows:
        role = _SIGNS.get(row[:1], "text")
        lines.extend(((" ", "text"), *spans) for spans in chopped(row, width - 2, role))
    return lines


def text_at(story: Story | None, picked: str | None) -> str | None:
    """The text of the chosen block, or the difference; not neutralised."""
    if story is None or picked is None:
        return None
    if picked == DIFF:
        rows = mapping_of(story.get("difference")).get("lines")
        return "\n".join(map(str, rows)) if isinstance(rows, list) and rows else None
    blocks = mappings_in(story.get("blocks"))
    if picked.isdigit() and int(picked) < len(blocks):
        return text_of(blocks[int(picked)].get("text"))
    return None

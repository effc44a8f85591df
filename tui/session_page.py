"""Projects, sessions and sub-agents as a tree, and the turns of one of them, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tui import columns
from tui import format as fmt
from tui.format import Align
from tui.groups import UNNAMED, Level, Node, Sums
from tui.lines import EMPTY, Line, Span, clip, join, line
from tui.rows import TurnRow

NOBODY = "no session named"
MOST_TURNS = 300
"""Turns of one session that are drawn, the newest."""

_COLUMNS: tuple[tuple[str, int, int, Align], ...] = (
    ("NAME", 24, 0, "left"),
    ("TURNS", 6, 0, "right"),
    ("LAST", 4, 0, "right"),
    ("COST", 10, 0, "right"),
    ("$/HOUR", 8, 0, "right"),
    ("CONTEXT", 10, 66, "right"),
    ("CACHE", 9, 78, "left"),
    ("PAYER", 11, 92, "left"),
    ("ERR", 4, 106, "right"),
)
"""Title, width, the screen width from which it is shown, alignment; the name gets what is left."""


def titles(width: int) -> Line:
    """The line of column titles."""
    shown = _shown(width)
    return (("  ", "title"), *((fmt.fit(t, w, a) + " ", "title") for t, w, a in shown))


def row(node: Node, depth: int, width: int, now: float) -> Line:
    """One project, session or sub-agent as a line, without the mark of the chosen one."""
    cells = _cells(node, depth, now)
    spans: list[Span] = [(" ", "text")]
    for title, room, align in _shown(width):
        text, role = cells[title]
        spans.append((fmt.fit(text, room, align) + " ", role))
    return tuple(spans)


def _shown(width: int) -> list[tuple[str, int, Align]]:
    shown = [(title, room, align) for title, room, least, align in _COLUMNS if width >= least]
    spare = width - 2 - sum(room + 1 for _, room, _ in shown)
    return [
        (title, max(10, room + spare) if title == "NAME" else room, align)
        for title, room, align in shown
    ]


def more(count: int, depth: int) -> Line:
    """That a node has more children than are shown."""
    return line(f" {'  ' * depth}", (f"and {fmt.plural(count, 'more sub-agent')}", "muted"))


def _cells(node: Node, depth: int, now: float) -> Mapping[str, Span]:
    sums = node.sums
    mark = "L" if sums.list_usd else ""
    unknown = "?" if sums.unpriced else ""
    cost = fmt.total(sums.cost_usd)
    cost = fmt.estimated(cost) if sums.estimated_usd else cost
    flight = "▶" if sums.running else ""
    rate = sums.per_hour(now)
    is_head = node.level is Level.PROJECT
    return {
        "NAME": _name(node, depth),
        "TURNS": (f"{flight}{sums.turns + sums.running}", "live" if sums.running else "text"),
        "LAST": (fmt.age(now - sums.last_at), "muted"),
        "COST": (cost + mark + unknown, "strong" if is_head else "text"),
        "$/HOUR": (fmt.total(rate), "strong" if rate else "muted"),
        "CONTEXT": context(sums),
        "CACHE": cache(sums, now),
        "PAYER": (_payers(sums), "muted"),
        "ERR": (str(sums.errors or fmt.NOTHING), "warn" if sums.errors else "muted"),
    }


def _payers(sums: Sums) -> str:
    """Whose account pays, in a word each."""
    return ", ".join(sorted(payer.removesuffix(" key") for payer in sums.payers)) or fmt.NOTHING


def _name(node: Node, depth: int) -> Span:
    indent = "  " * depth
    match node.level:
        case Level.PROJECT:
            return f"{indent}{place(node.name) or UNNAMED}", "strong"
        case Level.SESSION:
            client = f" {node.sums.client}" if node.sums.client else ""
            return f"{indent}{node.name[:8] or NOBODY}{client}", "text"
        case _:
            return f"{indent}└ {node.name}", "accent"


def place(project: str) -> str:
    """The last part of the project's path."""
    path = project.rstrip("/\\").replace("\\", "/")
    return path.rpartition("/")[2] or path


def context(sums: Sums) -> Span:
    """Tokens of the conversation, and how full they make the model's context."""
    if sums.context is None:
        return fmt.NOTHING, "muted"
    tokens = fmt.tokens(sums.context)
    if not sums.context_limit:
        return tokens, "text"
    share = sums.context / sums.context_limit
    return f"{tokens} {share:.0%}", "warn" if share >= 0.8 else "text"


def cache(sums: Sums, now: float) -> Span:
    """How long the cache stays warm, or how long it has been cold."""
    if sums.cache_until is None:
        return fmt.NOTHING, "muted"
    left = sums.cache_until - now
    if left > 0:
        return f"warm {fmt.age(left)}", "good" if left > 60 else "warn"
    return f"cold {fmt.age(-left)}", "muted"


def summed(sums: Sums, now: float, width: int, *, words: Sequence[str]) -> Line:
    """The whole span in one line; ``words`` say which it is."""
    listed = f", {fmt.total(sums.list_usd)} of it list price" if sums.list_usd else ""
    unknown = f", {sums.unpriced:,} unpriced" if sums.unpriced else ""
    parts = [
        line((", ".join(words), "muted")),
        line((fmt.plural(sums.turns + sums.running, "turn"), "text")),
        line((fmt.total(sums.cost_usd), "strong")),
        line((fmt.total(sums.per_hour(now)), "strong"), (f"/h{listed}{unknown}", "muted")),
    ]
    return clip((*line("  "), *join(parts)), width)


# -- one session -----------------------------------------------------------------------------


def timeline(node: Node, rows: Sequence[TurnRow], now: float, width: int) -> list[Line]:
    """Its turns, newest first, each with what had been spent by then; a sub-agent's turns stand
    together below its name, where its newest one is. ``rows``: those at hand, oldest first."""
    known = sum(turn.cost_usd or 0.0 for turn in rows)
    running, sums = max(0.0, node.sums.cost_usd - known), {}
    for turn in rows:
        running += turn.cost_usd or 0.0
        sums[turn.id] = running
    lines = [*_head(node, now, width), EMPTY, _timeline_titles(width)]
    shown, told = list(reversed(rows))[:MOST_TURNS], set[str]()
    for turn in shown:
        if turn.agent is None or node.level is Level.AGENT:
            lines.append(_turn(turn, sums, width, ""))
        elif turn.agent not in told:
            told.add(turn.agent)
            lines.extend(_agent(turn.agent, [r for r in shown if r.agent == turn.agent], sums, width))  # fmt: skip
    whole = node.sums.turns + node.sums.running
    if whole > len(shown):
        lines.append(line((f" and {whole - len(shown)} earlier turns", "muted")))
    return lines


def _head(node: Node, now: float, width: int) -> list[Line]:
    sums = node.sums
    name = fmt.neutralise(node.name, 60) or (UNNAMED if node.level is Level.PROJECT else NOBODY)
    project = sums.project if node.level is not Level.PROJECT else None
    fill, warm = context(sums), cache(sums, now)
    parts = [
        line((f" {name}", "strong")),
        line((fmt.neutralise(project, 60), "muted")) if project else EMPTY,
        line(("context ", "muted"), fill) if sums.context is not None else EMPTY,
        line(("cache ", "muted"), warm) if sums.cache_until is not None else EMPTY,
    ]
    return [clip(join(parts), width)]


_TURN: Sequence[tuple[str, int, int, Align]] = (
    ("AT", 5, 0, "left"),
    ("STATE", 12, 0, "left"),
    ("KIND", 13, 0, "left"),
    ("MODEL", 22, 84, "left"),
    ("READ", 5, 70, "right"),
    ("OUT", 5, 84, "right"),
    ("COST", 9, 0, "right"),
    ("SUM", 9, 0, "right"),
)


def _timeline_titles(width: int) -> Line:
    shown = [c for c in _TURN if width >= c[2]]
    return (("    ", "title"), *((fmt.fit(t, w, a) + " ", "title") for t, w, _, a in shown))


def _turn(turn: TurnRow, sums: Mapping[str, float], width: int, branch: str) -> Line:
    cells: Mapping[str, Span] = {
        "AT": (fmt.wall_clock(turn.at), "muted"),
        "STATE": (columns.state_text(turn), columns.LOOKS[turn.shown].role),
        "KIND": (turn.kind or fmt.NOTHING, "text"),
        "MODEL": (columns.model_text(turn, 22), "text"),
        "READ": _tokens(turn, turn.context_tokens),
        "OUT": _tokens(turn, turn.output_tokens),
        "COST": (columns.cost_text(turn), "text" if turn.cost_usd else "muted"),
        "SUM": (fmt.total(sums[turn.id]), "strong"),
    }
    spans: list[Span] = [(f" {fmt.fit(branch, 2)} ", "muted")]
    for title, room, from_width, align in _TURN:
        if width >= from_width:
            text, role = cells[title]
            spans.append((fmt.fit(text, room, align) + " ", role))
    return clip(tuple(spans), width)


def _tokens(turn: TurnRow, count: int | None) -> Span:
    if count is None and turn.is_open:
        return fmt.PENDING, "muted"
    return fmt.tokens(count), "text" if count else "muted"


def _agent(
    name: str, turns: Sequence[TurnRow], sums: Mapping[str, float], width: int
) -> Iterable[Line]:
    cost = sum(turn.cost_usd or 0.0 for turn in turns)
    head = line(
        (" ├ ", "muted"),
        (f"sub-agent {fmt.neutralise(name, 24)}", "accent"),
        (f"  {fmt.plural(len(turns), 'turn')}, {fmt.total(cost)}", "text"),
    )
    yield clip(head, width)
    for at, turn in enumerate(turns):
        yield _turn(turn, sums, width, "└" if at == len(turns) - 1 else "│")

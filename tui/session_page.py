"""The sessions as a table, and one of them as a timeline with its sub-agents, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tui import columns
from tui import format as fmt
from tui.format import Align
from tui.lines import EMPTY, Line, Span, clip, join, line
from tui.rows import TurnRow
from tui.sessions import Session

NOBODY = "no session named"
MOST_TURNS = 300
"""Turns of one session that are drawn, the newest."""

_COLUMNS: tuple[tuple[str, int, int, Align], ...] = (
    ("SESSION", 9, 0, "left"),
    ("PROJECT", 14, 76, "left"),
    ("CLIENT", 11, 100, "left"),
    ("TURNS", 5, 0, "right"),
    ("LAST", 4, 0, "right"),
    ("COST", 9, 0, "right"),
    ("$/HOUR", 8, 0, "right"),
    ("CONTEXT", 10, 56, "right"),
    ("CACHE", 9, 72, "left"),
    ("PAYER", 11, 110, "left"),
    ("AGENTS", 6, 120, "right"),
)
"""Title, width, the screen width from which it is shown, alignment."""


def titles(width: int) -> Line:
    """The line of column titles."""
    shown = [c for c in _COLUMNS if width >= c[2]]
    return (("  ", "title"), *((fmt.fit(t, w, a) + " ", "title") for t, w, _, a in shown))


def row(session: Session, width: int, now: float) -> Line:
    """One session as a line, without the mark of the chosen one."""
    cells = _cells(session, now)
    spans: list[Span] = [(" ", "text")]
    for title, room, from_width, align in _COLUMNS:
        if width >= from_width:
            text, role = cells[title]
            spans.append((fmt.fit(text, room, align) + " ", role))
    return tuple(spans)


def _cells(session: Session, now: float) -> Mapping[str, Span]:
    mark = "L" if session.list_price else ""
    unknown = "?" if session.unpriced else ""
    flight = "▶" if session.running else ""
    return {
        "SESSION": (session.id[:8] or "–", "strong"),
        "PROJECT": (place(session) or fmt.NOTHING, "text"),
        "CLIENT": (session.client or fmt.NOTHING, "muted"),
        "TURNS": (f"{flight}{len(session.rows)}", "live" if session.running else "text"),
        "LAST": (fmt.age(now - session.last_at), "muted"),
        "COST": (fmt.total(session.cost_usd) + mark + unknown, "text"),
        "$/HOUR": (fmt.total(session.per_hour_usd), "strong" if session.per_hour_usd else "muted"),
        "CONTEXT": context(session),
        "CACHE": cache(session),
        "PAYER": (session.payer or fmt.NOTHING, "muted"),
        "AGENTS": (str(session.agents or fmt.NOTHING), "muted"),
    }


def place(session: Session) -> str:
    """The last part of the project's path."""
    path = (session.project or "").rstrip("/\\").replace("\\", "/")
    return path.rpartition("/")[2] or path


def context(session: Session) -> Span:
    """Tokens of the conversation, and how full they make the model's context."""
    if session.context is None:
        return fmt.NOTHING, "muted"
    tokens = fmt.tokens(session.context)
    if session.context_limit is None:
        return tokens, "text"
    share = session.context / session.context_limit
    return f"{tokens} {share:.0%}", "warn" if share >= 0.8 else "text"


def cache(session: Session) -> Span:
    """How long the cache stays warm, or how long it has been cold."""
    left = session.cache_left_s
    if left is None:
        return fmt.NOTHING, "muted"
    if left > 0:
        return f"warm {fmt.age(left)}", "good" if left > 60 else "warn"
    return f"cold {fmt.age(-left)}", "muted"


# -- one session -----------------------------------------------------------------------------


def timeline(session: Session, width: int) -> list[Line]:
    """Its turns, newest first, each with what the session had cost by then; a sub-agent's turns
    stand together below its name, where its newest one is."""
    running, sums = 0.0, {}
    for turn in session.rows:
        running += turn.cost_usd or 0.0
        sums[turn.id] = running
    lines = [*_head(session, width), EMPTY, _timeline_titles(width)]
    shown, told = list(reversed(session.rows))[:MOST_TURNS], set[str]()
    for turn in shown:
        if turn.agent is None:
            lines.append(_turn(turn, sums, width, ""))
        elif turn.agent not in told:
            told.add(turn.agent)
            lines.extend(_agent(turn.agent, [r for r in shown if r.agent == turn.agent], sums, width))  # fmt: skip
    if len(session.rows) > MOST_TURNS:
        lines.append(line((f" and {len(session.rows) - MOST_TURNS} earlier turns", "muted")))
    return lines


def _head(session: Session, width: int) -> list[Line]:
    name = fmt.neutralise(session.id, 60) or NOBODY
    fill, warm = context(session), cache(session)
    parts = [
        line((f" {name}", "strong")),
        line((fmt.neutralise(session.project, 60), "muted")) if session.project else EMPTY,
        line(("context ", "muted"), fill) if session.context is not None else EMPTY,
        line(("cache ", "muted"), warm) if session.cache_left_s is not None else EMPTY,
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

"""What stands for a screen in a terminal that is too small for it, most important first. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tui import format as fmt
from tui import log_lines, saving_text
from tui.columns import LOOKS, cost_text, state_text
from tui.groups import Sums
from tui.lines import EMPTY, Line, clip, join, line, width_of
from tui.log_book import Entry
from tui.provider_page import look_now
from tui.rows import TurnRow
from tui.sums import Savings

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
"""Below this a screen goes without its header, tabs and footer."""

_GAP = "  "
_TIME_LEFT = re.compile(r" \d.*")


def flow(parts: Iterable[Line], width: int, height: int) -> list[Line]:
    """The parts side by side in at most ``height`` lines; what is left is cut off in the last."""
    lines: list[Line] = []
    waiting = [part for part in parts if part]
    while waiting and len(lines) < height:
        row = [waiting.pop(0)]
        while waiting:
            is_last = len(lines) == height - 1
            if not is_last and width_of(join([*row, waiting[0]], _GAP)) > width:
                break
            row.append(waiting.pop(0))
        lines.append(clip(join(row, _GAP), width))
    return lines


def savings(known: Savings, shadow: bool | None) -> list[Line]:
    """Today's net and its range."""
    today = known.today
    if not known.is_known or not today.priced:
        return [line(("nothing saved yet", "muted"))]
    role = saving_text.gain_role(today.usd, is_real=shadow is False)
    words = " saved today" if shadow is False else " would be saved today"
    reach = saving_text.between(today.low_usd, today.high_usd)
    return [
        line((saving_text.gain_total(today.usd), role), (words, "muted")),
        line((f"from {reach}", "muted")) if reach else EMPTY,
    ]


def providers(known: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Those in each state, what is wrong first, with the names where they matter."""
    by_word: dict[str, tuple[str, str, list[str]]] = {}
    for name, provider in known.items():
        look = look_now(provider)
        word = _TIME_LEFT.sub("", look.word)
        by_word.setdefault(word, (look.glyph, look.role, []))[2].append(name)
    weight = {"bad": 0, "warn": 1, "good": 2}
    ordered = sorted(by_word.items(), key=lambda found: weight.get(found[1][1], 3))
    parts = []
    for word, (glyph, role, names) in ordered:
        which = f" {fmt.neutralise(', '.join(names), 40)}" if role in ("bad", "warn") else ""
        parts.append(line((f"{glyph} {len(names)} {word}{which}", role)))
    return parts or [line(("no provider is known yet", "muted"))]


def routes(picked: str | None, entries: Sequence[str] | None, shadow: bool | None) -> list[Line]:
    """Whether anything moves, and where the chosen class or kind may go."""
    moves = line(("routes apply", "live")) if shadow is False else line("nothing moves")
    if picked is None:
        return [moves]
    name = fmt.neutralise(picked, 24)
    where = " → ".join(fmt.neutralise(entry, 40) for entry in entries or ())
    return [moves, line((name, "strong"), (f": {where or 'as its class'}", "text"))]


def agents(running: Sequence[str], ended: Sequence[str], problem: str | None) -> list[Line]:
    """The agents that run in panes, and those that have ended."""
    parts = [line((f"▶ {fmt.neutralise(name, 24)}", "live")) for name in running]
    parts += [line((f"○ {fmt.neutralise(name, 24)} ended", "warn")) for name in ended]
    if not parts:
        parts.append(line("no agent in a pane"))
        if problem is not None:
            parts.append(line((f"no panes here: {fmt.neutralise(problem, 80)}", "warn")))
    return parts


def log(newest: Entry | None) -> list[Line]:
    """The last entry."""
    if newest is None:
        return [line(("the log is empty", "muted"))]
    return [log_lines.short(newest)]


def turn(row: TurnRow | None, turn_id: str, now: float) -> list[Line]:
    """State, cost, model and running time of a turn."""
    if row is None:
        return [line((fmt.neutralise(turn_id, 40), "muted"))]
    elapsed = fmt.age(now - row.at) if row.is_open else fmt.duration(row.duration_s)
    return [
        line((state_text(row), LOOKS[row.shown].role)),
        line((cost_text(row).strip(), "strong")),
        line(fmt.neutralise(row.model_served or row.model_asked or fmt.UNKNOWN, 40)),
        line((elapsed, "muted")),
    ]


def sessions(whole: Sums, now: float) -> list[Line]:
    """What the span costs, and an hour of it."""
    return [
        line((fmt.total(whole.cost_usd), "strong")),
        line((f"{fmt.total(whole.per_hour(now))}/h", "strong")),
        line((f"in {fmt.plural(whole.turns + whole.running, 'turn')}", "muted")),
    ]

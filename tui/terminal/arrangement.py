"""Where panes go on a screen of a given size, and what stands above each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tui import format as fmt
from tui.lines import EMPTY, Line, Span, line, spread, wrap
from tui.terminal.keys import title_of

BARS = 3
"""Lines that header, tabs and footer take."""

LIVE_WIDTH, LIVE_HEIGHT = 60, 8
_WIDE, _HIGH = 150, 30
_LEAST_WIDTH, _LEAST_HEIGHT = 80, 12
"""A pane's least share before only the chosen one is shown."""
_STATES = {
    "working": ("▶ working", "live"),
    "done": ("● done", "good"),
    "idle": ("● idle", "muted"),
}


class Live(Enum):
    """Where the list of turns is."""

    NOWHERE = "nowhere"
    RIGHT = "right"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the screen is divided."""

    live: Live
    is_row: bool
    """The panes stand side by side, else one above the other."""
    is_single: bool
    """Only the chosen pane is shown."""


def arrange(
    width: int, height: int, panes: int, *, is_zoomed: bool, with_live: bool
) -> Arrangement:
    """The arrangement for so many panes on a screen of ``width`` and ``height`` cells."""
    live = Live.NOWHERE
    if with_live and not is_zoomed and panes:
        live = Live.RIGHT if width >= _WIDE else Live.BELOW if height >= _HIGH else Live.NOWHERE
    columns = width - (LIVE_WIDTH if live is Live.RIGHT else 0)
    rows = height - BARS - (LIVE_HEIGHT if live is Live.BELOW else 0)
    if is_zoomed or panes < 2:
        return Arrangement(live, is_row=True, is_single=True)
    if columns // panes >= _LEAST_WIDTH:
        return Arrangement(live, is_row=True, is_single=False)
    return Arrangement(live, is_row=False, is_single=rows // panes < _LEAST_HEIGHT)


@dataclass(frozen=True, slots=True)
class Caption:
    """What is known of a pane."""

    number: int
    agent: str
    folder: Path
    others: int
    """How many panes are not shown beside it."""
    title: str = ""
    """What the program calls its window; raw."""
    status: str = ""
    """What it says it is doing; raw."""
    ended: str = ""
    """How it ended, in words."""
    is_chosen: bool = False
    has_keys: bool = False
    behind: int = 0
    """How many rows below what is shown are out of sight."""
    leave: str = "ctrl+]"


def caption(shown: Caption, width: int) -> Line:
    """The line above a pane."""
    role = "live-badge" if shown.has_keys else "tab-badge" if shown.is_chosen else "muted"
    left: list[Span] = [
        (f" {shown.number} {fmt.neutralise(shown.agent, 40)} ", role),
        (" ", "text"),
    ]
    if shown.ended:
        left.append((fmt.neutralise(shown.ended), "warn"))
    else:
        if (state := _STATES.get(shown.status)) is not None:
            left += [state, ("  ", "text")]
        if title := title_of(shown.title, 40):
            left += [(fmt.neutralise(title, 40), "text"), ("  ", "text")]
        left.append((fmt.neutralise(_short(shown.folder), 40), "muted"))
    if shown.others and shown.is_chosen:
        left += [(f"  +{shown.others} more, tab", "muted")]
    return spread(tuple(left), _hint(shown), width)


def _hint(shown: Caption) -> Line:
    if shown.ended:
        return line(("r", "key"), " restarts ", ("d", "key"), " closes ")
    if shown.behind:
        key = line("any key") if shown.has_keys else line(("G", "key"))
        badge = (f" {fmt.plural(shown.behind, 'line')} below ", "warn-badge")
        return line(badge, " ", *key, " returns ")
    if shown.has_keys:
        return line((shown.leave, "key"), " leaves ")
    return line(("enter", "key"), " types here ") if shown.is_chosen else ()


def _short(folder: Path) -> str:
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


def welcome(problem: str | None, width: int) -> list[Line]:
    """The screen while no pane is open; ``problem``: why there can be none."""
    room = max(20, width - 4)
    keys = (
        ("c", "runs Claude Code in a pane here"),
        ("x", "runs Codex in a pane here"),
        ("f", "lends the whole terminal to either, until it ends"),
    )
    shown: list[Line] = [line(("No agent runs in a pane.", "strong")), EMPTY]
    if problem is not None:
        shown += [
            *wrap(f"Panes cannot be used: {problem}.", room, "warn"),
            *wrap("c and x lend the whole terminal instead; the gateway goes on serving.", room),
            EMPTY,
        ]
    shown += [line("  ", (key, "key"), f"  {what}") for key, what in keys]
    text = (
        "You choose the folder it starts in. It is the agent you have installed, with your own "
        "settings and login; only where it sends its requests is changed, and nothing is written."
    )
    return [*shown, EMPTY, *wrap(text, room, "muted")]

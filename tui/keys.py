"""The one table of keys: bindings, footer, help, palette and documentation are made from it.

A key is active in *contexts* (names of screens, or ``everywhere``). Keys may be changed by id;
an unknown id or a key that is taken in the same context is an error that names the nearest fit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tui.key_names import problem

EVERYWHERE = "everywhere"
LIVE = "live"
SAVINGS = "savings"
PROVIDERS = "providers"
ROUTES = "routes"
AGENTS = "agents"
LOG = "log"
DETAIL = "detail"
REQUEST = "request"
SESSIONS = "sessions"
HELP = "help"
CONFIRM = "confirm"
LEAVING = "quitting"
GO_LIVE = "going live"
EDIT = "editing a route"
START = "starting an agent"
FULL = "the whole terminal"
PANE = "a pane"

QUIT_NOW = "quit.now"
"""The id of the key that works whatever is shown."""

QUESTIONS = frozenset({CONFIRM, LEAVING, GO_LIVE, EDIT, START, FULL, PANE})
"""What lies over a screen and hides its keys; a pane that has the keyboard does the same."""

TABS = (LIVE, SAVINGS, PROVIDERS, ROUTES, AGENTS, LOG)
"""The screens that have a number, in their order; the id of each one's key is ``screen.NAME``."""
FULL_SCREENS = (*TABS, SESSIONS, DETAIL, REQUEST, HELP)
"""Where the keys of ``EVERYWHERE`` work too."""

_ABOVE_LIVE = FULL_SCREENS[1:]


@dataclass(frozen=True, slots=True)
class Key:
    """One thing a user can do."""

    id: str
    keys: str
    """Comma-separated key names; empty: only in the palette."""
    action: str
    help: str
    """One sentence."""
    contexts: tuple[str, ...]
    footer: bool = False
    short: str = ""
    """The word in the footer."""
    palette: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a key can do something now."""

    has_rows: bool = False
    is_draining: bool = False
    can_copy: bool = True
    is_filtered: bool = False
    """Whether a filter is on; without rows it is what hides them."""
    has_panes: bool = False
    """Whether an agent is in a pane."""


def _move(name: str, keys: str, text: str) -> Key:
    return Key(
        f"move.{name}", keys, f"move('{name}')", text, (*FULL_SCREENS, GO_LIVE), palette=False
    )


TABLE: tuple[Key, ...] = (
    Key("live.open", "enter", "open", "Show the selected turn in full.", (LIVE,), True, "detail"),
    Key(
        "live.freeze",
        "space",
        "freeze",
        "Freeze the view as a still picture, or show the present again.",
        (LIVE,),
        True,
        "freeze",
    ),
    Key("live.follow", "f", "follow", "Follow the newest turn, or stop.", (LIVE,)),
    Key(
        "live.filter",
        "slash",
        "filter",
        "Filter the turns: words, kind:title, cost>0.05, !ok and the like.",
        (LIVE,),
        True,
        "filter",
    ),
    Key("live.unfilter", "escape", "unfilter", "Clear the filter and the time window.", (LIVE,)),
    Key(
        "live.sort",
        "o",
        "sort",
        "Next order: newest, cost, saving, duration, cost a minute.",
        (LIVE,),
    ),
    Key(
        "live.sessions",
        "w",
        "sessions",
        "The turns by project and session.",
        (LIVE,),
        True,
        "sessions",
    ),
    Key("live.shorter", "left_square_bracket", "window(-1)", "Look back less far.", (LIVE,)),
    Key("live.longer", "right_square_bracket", "window(1)", "Look back farther.", (LIVE,)),
    Key(
        "sessions.sort",
        "o",
        "sort",
        "Next order: dollars an hour, cost, last used.",
        (SESSIONS,),
        True,
        "sort",
    ),
    Key(
        "sessions.group",
        "v",
        "group",
        "With the projects, or the sessions alone.",
        (SESSIONS,),
        True,
        "projects",
    ),
    Key(
        "sessions.shorter",
        "left_square_bracket",
        "window(-1)",
        "Add up less far back.",
        (SESSIONS,),
    ),
    Key(
        "sessions.longer", "right_square_bracket", "window(1)", "Add up farther back.", (SESSIONS,)
    ),
    Key(
        "sessions.turns",
        "enter",
        "turns",
        "Show only these turns in the list.",
        (SESSIONS,),
        True,
        "turns",
    ),
    Key(
        "copy",
        "y",
        "copy",
        "Copy the turn's id; while the list is empty, the two set-up lines.",
        (LIVE, DETAIL),
    ),
    Key(
        "detail.request",
        "v",
        "request",
        "The request block by block, and what changed since the call before.",
        (DETAIL,),
        True,
        "request",
    ),
    Key("request.fold", "enter", "fold", "Unfold a part, or fold it.", (REQUEST,), True, "fold"),
    Key("request.copy", "y", "copy", "Copy the text that is shown.", (REQUEST,), True, "copy"),
    Key(
        "request.export",
        "w",
        "export",
        "Write the request's text to a file; asks a second time.",
        (REQUEST,),
    ),
    Key(
        "detail.curl",
        "u",
        "curl",
        "Copy the turn as a curl command, without key and prompt.",
        (DETAIL,),
        True,
        "curl",
    ),
    Key(
        "detail.export",
        "w",
        "export",
        "Write what is recorded of the turn to a JSON file.",
        (DETAIL,),
        True,
        "export",
    ),
    Key(
        "savings.period",
        "t",
        "period",
        "The next period: today, 7 days, 30 days, everything on record.",
        (SAVINGS,),
        True,
        "period",
    ),
    Key("log.level", "l", "level", "Show less of the log, or all of it.", (LOG,), True, "level"),
    Key("log.follow", "f", "follow", "Follow the end of the log, or stop.", (LOG,), True, "follow"),
    _move("up", "k,up", "Up one line."),
    _move("down", "j,down", "Down one line."),
    _move("page_up", "pageup", "Up one page."),
    _move("page_down", "pagedown", "Down one page."),
    _move("half_up", "ctrl+u", "Up half a page."),
    _move("half_down", "ctrl+d", "Down half a page."),
    _move("top", "g,home", "To the top; of the turns, the newest."),
    _move("bottom", "G,end", "To the bottom; of the turns, the oldest."),
    Key(
        "agents.enter",
        "enter",
        "enter_pane",
        "Give the keyboard to the chosen pane; ctrl+] takes it back.",
        (AGENTS,),
        True,
        "type",
    ),
    Key("agents.next", "tab", "choose_pane(1)", "Choose the next pane.", (AGENTS,)),
    Key("agents.previous", "shift+tab", "choose_pane(-1)", "Choose the pane before.", (AGENTS,)),
    Key(
        "agents.zoom",
        "z",
        "zoom_pane",
        "Only the chosen pane, or all of them beside Live.",
        (AGENTS,),
        True,
        "zoom",
    ),
    Key("agents.beside", "v", "beside", "Show or hide Live beside the panes.", (AGENTS,)),
    Key(
        "agents.full",
        "f",
        "app.full_screen",
        "Lend the whole terminal to an agent until it ends.",
        (AGENTS,),
        True,
        "full",
    ),
    Key(
        "agents.restart",
        "r",
        "app.restart_pane",
        "Start the agent of the chosen pane again, once it has ended.",
        (AGENTS,),
    ),
    Key(
        "agents.close",
        "d",
        "app.close_pane",
        "Close the chosen pane, asking first while its agent runs.",
        (AGENTS,),
        True,
        "close",
    ),
    Key(
        "pane.leave",
        "ctrl+right_square_bracket",
        "leave_pane",
        "Take the keyboard back from a pane; pressed twice it reaches the agent.",
        (PANE,),
        True,
        "gives you the keyboard back; all other keys are the agent's",
        palette=False,
    ),
    Key("start.go", "enter", "start_agent(True)", "Start it there.", (START,), palette=False),
    Key("start.stay", "escape", "start_agent(False)", "Start nothing.", (START,), palette=False),
    *(
        Key(f"full.{name}", key, f"full('{name}')", text, (FULL,), palette=False)
        for name, key, text in (
            ("claude", "c", "Run Claude Code in the whole terminal."),
            ("codex", "x", "Run Codex in the whole terminal."),
            ("none", "n,escape,q", "Keep the screen."),
        )
    ),
    Key("confirm.yes", "y", "confirm(True)", "Do it.", (CONFIRM,), False, palette=False),
    Key(
        "confirm.no",
        "n,escape,q",
        "confirm(False)",
        "Leave everything as it is.",
        (CONFIRM,),
        palette=False,
    ),
    Key(
        "leave.keep",
        "k",
        "leaving('keep')",
        "Leave the screen; a gateway without one goes on at the same address.",
        (LEAVING,),
        palette=False,
    ),
    Key("leave.stop", "y", "leaving('stop')", "Drain, then stop.", (LEAVING,), palette=False),
    Key("leave.stay", "n,escape,q", "leaving('stay')", "Stay.", (LEAVING,), palette=False),
    Key("go_live.once", "y", "go_live('once')", "Live until you quit.", (GO_LIVE,), palette=False),
    Key(
        "go_live.remember",
        "r",
        "go_live('remember')",
        "Live from now on, at every start.",
        (GO_LIVE,),
        palette=False,
    ),
    Key(
        "go_live.stay",
        "n,escape,q",
        "go_live('stay')",
        "Stay in shadow.",
        (GO_LIVE,),
        palette=False,
    ),
    Key(
        "provider.pause",
        "p",
        "app.pause_provider",
        "Pause the provider, or let it take requests again.",
        (PROVIDERS,),
        True,
        "pause",
    ),
    Key(
        "provider.reset",
        "b",
        "app.reset_provider",
        "Reset the provider's breaker and cooldowns.",
        (PROVIDERS,),
        True,
        "reset",
    ),
    Key(
        "provider.probe",
        "t",
        "app.probe_provider",
        "Probe the provider: does it answer, take our key, have our models.",
        (PROVIDERS,),
        True,
        "probe",
    ),
    Key(
        "route.mode",
        "m",
        "app.cycle_mode",
        "Its next mode: observe, verify, canary, live.",
        (ROUTES,),
        True,
        "mode",
    ),
    Key("route.edit", "e", "app.edit_route", "Change where it may go.", (ROUTES,), True, "edit"),
    *(
        Key(f"edit.{name}", names, f"edit_{name}", text, (EDIT,), palette=False)
        for name, names, text in (
            ("up", "k,up", "The entry above."),
            ("down", "j,down", "The entry below."),
            ("raise", "K,shift+up", "Try this entry earlier."),
            ("lower", "J,shift+down", "Try this entry later."),
            ("add", "a", "Add a provider, or a model of one."),
            ("remove", "d,delete", "Take this entry out."),
            ("baseline", "b", "Put in the baseline, or take it out."),
            ("save", "enter", "Save the list."),
            ("discard", "escape,q", "Leave the list as it was."),
        )
    ),
    Key(
        "shadow",
        "s",
        "shadow",
        "Shadow off, after showing what that changes; or on again.",
        (EVERYWHERE,),
        True,
        "shadow",
    ),
    Key("shadow.all", "S", "all_shadow", "Everything back to shadow at once.", (EVERYWHERE,)),
    Key("agent.claude", "c", "agent('claude')", "Run Claude Code in a pane.", (EVERYWHERE,)),
    Key("agent.codex", "x", "agent('codex')", "Run Codex in a pane.", (EVERYWHERE,)),
    Key("screen.live", "1", "go('live')", "Live: every turn as it happens.", (EVERYWHERE,)),
    Key("screen.savings", "2", "go('savings')", "Savings: what moving work pays.", (EVERYWHERE,)),
    Key("screen.providers", "3", "go('providers')", "Providers: state and limits.", (EVERYWHERE,)),
    Key("screen.routes", "4", "go('routes')", "Routes: what may go where.", (EVERYWHERE,)),
    Key("screen.agents", "5", "go('agents')", "Agents: the real ones, in panes.", (EVERYWHERE,)),
    Key("screen.log", "6", "go('log')", "Log: what the gateway reports.", (EVERYWHERE,)),
    Key("back", "escape,q", "back", "Back to where you came from.", _ABOVE_LIVE, True, "back"),
    Key("help", "question_mark,f1", "help", "All keys and signs.", (EVERYWHERE,), True, "help"),
    Key(
        "palette",
        "ctrl+p,colon",
        "command_palette",
        "Find a command by name.",
        (EVERYWHERE,),
        True,
        "palette",
        palette=False,
    ),
    Key("theme", "", "change_theme", "Choose the colour theme.", (EVERYWHERE,)),
    Key(
        "quit",
        "q",
        "app.leave",
        "Quit, asking first when somebody uses the gateway.",
        (LIVE,),
        True,
        "quit",
    ),
    Key(
        "quit.now",
        "ctrl+q",
        "quit",
        "Drain and quit: requests in flight may end; again: end them at once.",
        (EVERYWHERE,),
    ),
    Key("quit.hint", "ctrl+c", "help_quit", "Say how to quit.", (EVERYWHERE,), palette=False),
)

_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "colon": ":",
    "escape": "esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "ctrl+right_square_bracket": "ctrl+]",
}


def shown(keys: str) -> str:
    """Key names as a reader knows them: ``question_mark,f1`` becomes ``? f1``."""
    return " ".join(_NAMES.get(key, key) for key in keys.split(",") if key)


def first(keys: str) -> str:
    """Only the first of the key names, for the footer."""
    return shown(keys.partition(",")[0])


def resolve(keymap: Mapping[str, str], table: Sequence[Key] = TABLE) -> tuple[Key, ...]:
    """The table with the user's keys in place of ours.

    Raises ``ValueError`` for an unknown id (naming the nearest), for what is no key, and for a
    key that would do two things in one context.
    """
    known = {key.id: key for key in table}
    for name, keys in keymap.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(f"keys: no key is named {name!r}; the nearest is {near[0]!r}")
        if not all(part.strip() for part in keys.split(",")):
            raise ValueError(f"keys: {name!r} is set to {keys!r}, which names no key")
        for part in _normalise(keys).split(","):
            if (reason := problem(part)) is not None:
                raise ValueError(f"keys: {name!r} is set to {part!r}: {reason}")
    changed = tuple(
        replace(key, keys=_normalise(keymap[key.id])) if key.id in keymap else key for key in table
    )
    _refuse_clashes(changed)
    return changed


def _normalise(keys: str) -> str:
    back = {short: name for name, short in _NAMES.items()}
    return ",".join(back.get(key.strip(), key.strip()) for key in keys.split(","))


def _refuse_clashes(table: Iterable[Key]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for key in table:
        contexts = key.contexts
        if EVERYWHERE in contexts:
            contexts = (EVERYWHERE, *FULL_SCREENS)  # a question hides the keys behind it
        if key.id == QUIT_NOW:
            contexts += (CONFIRM, LEAVING, GO_LIVE, EDIT)  # but not this one
        for context in contexts:
            for name in filter(None, key.keys.split(",")):
                other = taken.setdefault((context, name), key.id)
                if other != key.id:
                    raise ValueError(f"keys: {shown(name)!r} is both {other!r} and {key.id!r}")


def active_in(context: str, table: Iterable[Key]) -> list[Key]:
    """The keys of a context, its own first."""
    keys = list(table)
    own = [key for key in keys if context in key.contexts]
    if context in QUESTIONS:
        return own
    return own + [key for key in keys if EVERYWHERE in key.contexts]


_NEED_TURNS = frozenset(
    {
        "live.freeze",
        "live.follow",
        "live.filter",
        "live.sort",
        "live.sessions",
        "live.shorter",
        "live.longer",
    }
)


_NEED_PANE = frozenset(
    f"agents.{name}" for name in ("enter", "next", "previous", "zoom", "restart", "close")
)


def why_not(key: Key, context: str, facts: Facts) -> str | None:
    """Why a key does nothing now, or ``None`` when it does."""
    if context == LIVE and not facts.has_rows:
        if not facts.is_filtered and key.id in _NEED_TURNS:
            return "no turns yet"
        if key.id == "live.open" or key.id.startswith("move."):
            return "no turn matches the filter" if facts.is_filtered else "no turns yet"
    if key.id == "live.unfilter" and not facts.is_filtered:
        return "no filter is on"
    if key.id == "copy" and not facts.can_copy:
        return "nothing to copy yet"
    if key.id == "quit" and facts.is_draining:
        return "already draining"
    if key.id.startswith("agent.") and facts.is_draining:
        return "the gateway is draining"
    if key.id in _NEED_PANE and not facts.has_panes:
        return "no pane is open"
    if key.id == f"screen.{context}":
        return "already here"
    return None


def as_markdown(table: Iterable[Key] = TABLE) -> str:
    """The table for the documentation."""
    rows = ["| key | what it does | where |", "|---|---|---|"]
    for key in table:
        name = f"`{shown(key.keys)}`" if key.keys else "palette"
        rows.append(f"| {name} | {key.help} | {', '.join(key.contexts)} |")
    return "\n".join(rows) + "\n"

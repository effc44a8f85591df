"""The empty list as an invitation: how to point a client here, and what happens then."""

from __future__ import annotations

from tui import format as fmt
from tui.lines import EMPTY, Line, line, width_of, wrap
from tui.state import Gateway

NO_KEY = "<your gateway key>"
_PAYER_NOTE = "By hand the gateway's key pays; sbgw-tui claude keeps your own login or key."


def env_lines(gateway: Gateway) -> tuple[str, str]:
    """The two lines that point a Claude Code of another terminal here."""
    return (
        f"export ANTHROPIC_BASE_URL={fmt.neutralise(gateway.url, 80)}",
        f"export ANTHROPIC_API_KEY={fmt.neutralise(gateway.key_hint, 80) or NO_KEY}",
    )


def copied(gateway: Gateway) -> str:
    """What ``y`` puts on the clipboard while there is no turn to copy."""
    return "\n".join(env_lines(gateway)) + "\n"


def _run_line(program: str, width: int) -> list[Line]:
    """The command that runs Claude Code through here, its meaning beside or below it."""
    command, meaning = wrap(f"{program} claude", width, "accent"), "runs Claude Code through here"
    if len(command) == 1 and width_of(command[0]) + 3 + len(meaning) <= width:
        return [(*command[0], (f"   {meaning}", "muted"))]
    return [*command, line((meaning, "muted"))]


def lines(
    gateway: Gateway, width: int, copy_key: str = "y", program: str = "sbgw-tui"
) -> list[Line]:
    """The page, for a pane of ``width`` cells; ``program`` is what runs this program."""
    if gateway.url is None:
        return [line(("Waiting for the gateway ...", "muted"))]
    text_width = max(20, width - 2)
    after = "Each request appears here as it arrives, with its model, time and cost. "
    after += (
        "In shadow mode every request goes where it would have gone without the gateway, "
        "byte for byte."
        if gateway.shadow
        else "In live mode requests may be routed elsewhere, as your settings say."
    )
    page = [
        line(("No requests yet.", "strong"), (" Point a coding agent here:", "text")),
        EMPTY,
        line(("In another terminal", "title")),
        *(line("  ", *text) for text in _run_line(program, text_width - 2)),
        EMPTY,
        line(("or by hand", "title"), ("  ", "text"), (f"({copy_key} copies both lines)", "muted")),
        *(line("  ", (text, "accent")) for text in env_lines(gateway)),
        *(line("  ", *text) for text in wrap(_PAYER_NOTE, text_width - 2, "muted")),
        EMPTY,
        line(("What happens then", "title")),
        *(line("  ", *text) for text in wrap(after, text_width - 2)),
    ]
    return page


def nothing_matches(text: str, total: int, key: str, width: int) -> list[Line]:
    """The empty list when it is the filter that empties it; ``key`` clears it."""
    what = f"None of {fmt.plural(total, 'turn')} matches {fmt.neutralise(text, 100)}"
    return [
        *wrap(what, max(20, width - 2), "strong"),
        EMPTY,
        line((key, "key"), (" clears the filter", "muted")),
    ]

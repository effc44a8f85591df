"""The environment of a program in a pane: the user's own, as seen from this terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TERM = "xterm-256color"

FOREIGN = (
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOW",
    "LINES",
    "COLUMNS",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "TERMINFO",
    "TERMCAP",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "VTE_VERSION",
    "WINDOWID",
    "KONSOLE_VERSION",
    "WT_SESSION",
    "WT_PROFILE_ID",
    "ZELLIJ",
    "ALACRITTY_LOG",
    "ALACRITTY_SOCKET",
    "ALACRITTY_WINDOW_ID",
    "CONEMUANSI",
    "TERMINAL_EMULATOR",
    "TILIX_ID",
    "TERMINATOR_UUID",
    "XTERM_VERSION",
    "COLORFGBG",
)
"""Variables that describe the terminal this program itself runs in."""
FOREIGN_PREFIXES = ("KITTY_", "WEZTERM_", "GHOSTTY_", "ITERM_", "KONSOLE_", "ZELLIJ_", "WARP_")

_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")
_UTF8 = "C.UTF-8"


def pane_environment(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """``env`` for a child whose terminal is a pane of ours, started in ``folder``."""
    child = {
        name: value
        for name, value in env.items()
        if name not in FOREIGN and not name.startswith(FOREIGN_PREFIXES)
    }
    child |= {"TERM": TERM, "COLORTERM": "truecolor", "PWD": str(folder)}
    child.pop("OLDPWD", None)
    return _with_utf8(child)


def _with_utf8(child: dict[str, str]) -> dict[str, str]:
    """The pane reads UTF-8 alone; the first of these variables that is set is the one in force."""
    ruling = next((name for name in _LOCALE if child.get(name)), None)
    if ruling is None:
        child["LANG"] = _UTF8
    elif "utf" not in child[ruling].lower():
        if ruling == "LC_ALL":
            del child["LC_ALL"]
        child["LC_CTYPE"] = _UTF8
    return child

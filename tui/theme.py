"""Our themes and the look of each role in any theme.

Blue is good and orange is bad, so that no meaning hangs on red against green.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from tui.widgets.paint import Painter

SELECTED: Final = "selected"
"""What lies over the selected row; not a role of a span."""

_MUTED_BLEND = 0.33
_COLOURS: Final[Mapping[str, str]] = {
    "text": "foreground",
    "rule": "border",
    "strong": "foreground",
    "title": "secondary",
    "accent": "accent",
    "good": "success",
    "live": "primary",
    "warn": "warning",
    "bad": "error",
    "key": "primary",
    "link": "primary",
    "shadow-badge": "accent",
    "live-badge": "primary",
    "warn-badge": "warning",
    "demo-badge": "secondary",
    "tab-badge": "secondary",
}
"""The theme variable of each role."""
_BOLD: Final = frozenset({"strong", "title", "live", "bad", "key"})

ResultT = TypeVar("ResultT")

DARK = Theme(
    name="sbgw-dark",
    primary="#5aa9ff",
    secondary="#8aa4c8",
    accent="#c3a6ff",
    foreground="#d5dbe6",
    background="#0d1117",
    surface="#0d1117",
    panel="#171d27",
    success="#58b6f0",
    warning="#e8c268",
    error="#ff8a57",
    dark=True,
    variables={
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#5aa9ff",
        "border": "#2b3545",
        "scrollbar": "#2b3545",
        "scrollbar-hover": "#3a475c",
        "scrollbar-active": "#5aa9ff",
        "scrollbar-background": "#0d1117",
        "scrollbar-corner-color": "#0d1117",
    },
)

LIGHT = Theme(
    name="sbgw-light",
    primary="#0b61c4",
    secondary="#4d6480",
    accent="#6b3fc0",
    foreground="#1d2633",
    background="#fbfcfe",
    surface="#fbfcfe",
    panel="#e9eef5",
    success="#0a67a8",
    warning="#8a5a00",
    error="#b83e00",
    dark=False,
    variables={
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#0b61c4",
        "border": "#c3cddb",
        "scrollbar": "#c3cddb",
        "scrollbar-hover": "#a9b7c9",
        "scrollbar-active": "#0b61c4",
        "scrollbar-background": "#fbfcfe",
        "scrollbar-corner-color": "#fbfcfe",
    },
)


CONTRAST = Theme(
    name="sbgw-contrast",
    primary="#6fc7ff",
    secondary="#e0e0e0",
    accent="#ffa8f5",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    success="#7fd8ff",
    warning="#ffff5c",
    error="#ffae42",
    dark=True,
    variables={
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#6fc7ff",
        "border": "#ffffff",
        "scrollbar": "#ffffff",
        "scrollbar-hover": "#ffff5c",
        "scrollbar-active": "#ffff5c",
        "scrollbar-background": "#000000",
        "scrollbar-corner-color": "#000000",
    },
)

ANSI = Theme(
    name="sbgw-ansi",
    ansi=True,
    primary="ansi_bright_blue",
    secondary="ansi_cyan",
    accent="ansi_magenta",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_bright_blue",
    warning="ansi_yellow",
    error="ansi_red",
    dark=True,
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "border-blurred": "ansi_bright_blue",
        "screen-selection-background": "ansi_bright_blue",
        "screen-selection-foreground": "ansi_default",
        "block-cursor-text-style": "none",
        "block-cursor-foreground": "ansi_default",
        "block-cursor-background": "ansi_default",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_bright_blue",
        "input-selection-foreground": "ansi_default",
        "footer-key-foreground": "ansi_bright_blue",
        "border": "ansi_bright_blue",
        "scrollbar": "ansi_bright_blue",
        "scrollbar-hover": "ansi_bright_blue",
        "scrollbar-active": "ansi_bright_blue",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
        "scrollbar-corner-color": "ansi_default",
    },
)
"""The terminal's own colours, whatever they are."""

THEMES: Final = (DARK, LIGHT, CONTRAST, ANSI)
"""Those that ``ui.theme`` can name."""


def theme_named(choice: str, env: Mapping[str, str]) -> str:
    """The name of the theme that ``ui.theme`` asks for.

    ``auto`` is the dark one; where ``NO_COLOR`` is set, the one that works without any colour.
    """
    if choice == "auto":
        return ANSI.name if env.get("NO_COLOR") else DARK.name
    return f"sbgw-{choice}"


def looks(variables: Mapping[str, str], *, is_ansi: bool) -> dict[str, Style]:
    """A style without background for every role, and one for the selected row.

    ``variables`` are those of a theme. The terminal's own colours cannot be mixed, so with
    ``is_ansi`` what is muted is dimmed and what is selected is reversed.
    """
    found = {
        role: Style(
            color=Color.parse(variables[name]).rich_color,
            bold=role in _BOLD or role.endswith("-badge"),
            reverse=role.endswith("-badge"),
        )
        for role, name in _COLOURS.items()
    }
    if is_ansi:
        found["muted"] = found["text"] + Style(dim=True)
        found[SELECTED] = Style(bold=True, reverse=True)
        return found
    fore, back = Color.parse(variables["foreground"]), Color.parse(variables["background"])
    found["muted"] = Style(color=fore.blend(back, _MUTED_BLEND).rich_color)
    selected = Color.parse(variables["primary-muted"])
    found[SELECTED] = Style(bgcolor=selected.rich_color, bold=True)
    return found


class ThemedApp(App[ResultT]):
    """An application whose line widgets share one set of looks."""

    def __init__(self, *, ascii_only: bool) -> None:
        self._looks: tuple[str, dict[str, Style]] | None = None
        self.ascii_only = ascii_only
        """Whether the program's own signs are drawn in ASCII."""
        self.painter = Painter()
        super().__init__()

    @property
    def looks(self) -> Mapping[str, Style]:
        """The looks of the current theme."""
        if self._looks is None or self._looks[0] != self.theme:
            found = looks(self.theme_variables, is_ansi=self.current_theme.ansi)
            self._looks = (self.theme, found)
        return self._looks[1]

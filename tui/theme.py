"""Our two themes: blue is good, orange is bad, so that no meaning hangs on red against green."""

from __future__ import annotations

from textual.theme import Theme

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

"""All keys of the screen one came from, and what the signs mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui import columns, keys, provider_health, provider_page
from tui import format as fmt
from tui.context import Context
from tui.keys import Facts, Key
from tui.lines import EMPTY, Line, line, wrap
from tui.screens.base import GatewayScreen, bindings
from tui.widgets.lines_view import LinesView

_KEYS_WIDTH = 16
_BADGES = {
    "SHADOW": "nothing moves; what live mode would do is worked out",
    "LIVE": "what your routes say goes elsewhere; KIND LIVE: that kind alone",
    "VERIFY, V": "a sample of requests is sent to its candidate too, to compare",
    "CAPTURE, CAP": "requests are kept on this machine, prompts included",
    "ATTACHED": "the gateway runs elsewhere and goes on when you leave",
    "▶ 2": "requests in flight",
    "+$1.00L": "list price of what a login paid for: not billed",
}
_NAMES = {keys.LIVE: "Live", keys.DETAIL: "Detail", keys.HELP: "Help"}


def page(table: tuple[Key, ...], context: str, facts: Facts, width: int) -> list[Line]:
    """The help of a screen: its keys, those that work everywhere, and the signs."""
    active = keys.active_in(context, table)
    everywhere = [key for key in active if keys.EVERYWHERE in key.contexts]
    own = [key for key in active if key not in everywhere]
    lines: list[Line] = []
    for name, group in ((_NAMES.get(context, context), own), ("Everywhere", everywhere)):
        if group:
            lines.extend([line((name.upper(), "title")), *_keys(group, context, facts, width)])
            lines.append(EMPTY)
    return [*lines, *_signs(width)]


def _keys(group: Iterable[Key], context: str, facts: Facts, width: int) -> Iterable[Line]:
    for key in group:
        reason = keys.why_not(key, context, facts)
        name = keys.shown(key.keys) or "palette only"
        text = key.help if reason is None else f"{key.help} Not now: {reason}."
        role = "text" if reason is None else "muted"
        head = (fmt.fit(name, _KEYS_WIDTH), "key" if reason is None else "muted")
        yield from _hanging(head, text, width, role)


def _hanging(head: tuple[str, str], text: str, width: int, role: str) -> Iterable[Line]:
    for index, rest in enumerate(wrap(text, max(20, width - _KEYS_WIDTH), role)):
        yield (head if index == 0 else (" " * _KEYS_WIDTH, "text"), *rest)


def _signs(width: int) -> Iterable[Line]:
    yield line(("HEADER", "title"))
    for badge, text in _BADGES.items():
        yield from _hanging((fmt.fit(badge, _KEYS_WIDTH), "strong"), text, width, "text")
    yield EMPTY
    yield line(("STATES", "title"))
    for shown, text in columns.STATE_HELP.items():
        look = columns.LOOKS[shown]
        head = (fmt.fit(f"{look.glyph} {look.word}", _KEYS_WIDTH), look.role)
        yield from _hanging(head, text, width, "text")
    yield EMPTY
    yield line(("SAVED", "title"))
    saved = {
        "+$ -$": "what live mode would have saved, or lost, its cache counted; bright once it did",
        "~": "not settled: the session's next call shows whether its cache was needed",
        "?": "the price or the usage is not known",
        "key": "it would move once a key is set; in no sum",
        "–": "it would have stayed where it is",
    }
    for sign, text in saved.items():
        yield from _hanging((fmt.fit(sign, _KEYS_WIDTH), "strong"), text, width, "text")
    yield EMPTY
    yield line(("PROVIDERS", "title"))
    for status, text in provider_page.STATE_HELP.items():
        look = provider_page.LOOKS[status]
        head = (fmt.fit(f"{look.glyph} {look.word}", _KEYS_WIDTH), look.role)
        yield from _hanging(head, text, width, "text")
    for look, text in provider_health.SIGNS:
        head = (fmt.fit(f"{look.glyph} {look.word}", _KEYS_WIDTH), look.role)
        yield from _hanging(head, text, width, "text")
    yield EMPTY
    yield line(("COST", "title"))
    signs = {
        **columns.PAYER_HELP,
        "≈": "an estimate",
        "?": "unknown: the price or the usage is not known; never counted as free",
        "~": "tokens counted from the stream so far",
        "×2": "two providers or attempts were tried",
        "→": "the model that served is not the one asked for",
    }
    for sign, text in signs.items():
        yield from _hanging((fmt.fit(sign, _KEYS_WIDTH), "strong"), text, width, "text")


class HelpScreen(GatewayScreen):
    """Made from the key table."""

    CONTEXT = keys.HELP
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.HELP)

    def __init__(self, context: Context, about: str) -> None:
        super().__init__(context)
        self._about = about
        self._page = LinesView(self._lines, id="help")

    def compose_body(self) -> Iterable[Widget]:
        yield self._page

    def on_mount(self) -> None:
        self._page.focus(scroll_visible=False)

    def _lines(self, width: int) -> list[Line]:
        return page(self.context.keys, self._about, self.context.facts(), width)

    def told(self) -> Sequence[Line]:
        back = keys.first(self.context.key("back").keys)
        return [line((back, "key"), " back"), line("keys and signs")]

    def action_move(self, step: str) -> None:
        self._page.move(step)

    def action_back(self) -> None:
        self.dismiss()

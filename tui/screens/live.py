"""The first screen: every turn as it happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from tui import columns, keys, saving_text, welcome
from tui import filter as filters
from tui import format as fmt
from tui.context import Context
from tui.lines import EMPTY, Line, join, line, spread, width_of
from tui.moves import distance
from tui.order import WINDOWS_S, WORDS, Sort
from tui.screens.base import GatewayScreen, bindings
from tui.screens.detail import DetailScreen
from tui.screens.sessions import SessionsScreen
from tui.widgets.filter_bar import FilterBar
from tui.widgets.lines_view import LineBlock, LinesView
from tui.widgets.live_list import LiveList

_ROOM_FOR_FILTER = 100
"""From this width on the foot of the list repeats what the filter says."""


class LiveScreen(GatewayScreen):
    """The list, or how to get something into it."""

    CONTEXT = keys.LIVE
    BODY_WIDTH = 46
    """The width of the list's least columns."""
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.LIVE)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._list = LiveList(context.state, context.clock, id="list")
        self._titles = LineBlock(self._title_lines, id="columns")
        self._welcome = LinesView(self._welcome_lines, id="welcome")
        self._status = LineBlock(self._status_lines, id="status")
        self._filter = FilterBar()

    def compose_body(self) -> Iterable[Widget]:
        yield self._titles
        yield self._list
        yield self._welcome
        yield self._status
        yield self._filter

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def sync(self) -> None:
        self._arrange()
        super().sync()
        if self.has_class("-rows"):
            self._list.sync()
        else:
            self._welcome.sync()

    def _arrange(self) -> None:
        """Show the list or the invitation, and give the keyboard to the one that is shown."""
        has_rows = len(self.context.state) > 0
        shown = self._list if has_rows else self._welcome
        if self.has_class("-rows") != has_rows:
            self.set_class(has_rows, "-rows")
        if self.focused is not shown and not self._filter.is_open:
            self.set_focus(shown, scroll_visible=False)

    # -- lines -------------------------------------------------------------------------------

    def _title_lines(self, _width: int) -> list[Line]:
        # the list is narrower than the screen by its scrollbar
        layout = columns.layout(self._list.scrollable_content_region.width)
        return [columns.titles(layout, self.context.state.sort)]

    def _welcome_lines(self, width: int) -> list[Line]:
        state = self.context.state
        if state.total:
            key = keys.first(self.context.key("live.unfilter").keys)
            said = " ".join(filter(None, (state.filter.text, self._window_text())))
            return welcome.nothing_matches(said, state.total, key, width)
        copy_key = keys.first(self.context.key("copy").keys)
        return welcome.lines(state.gateway, width, copy_key, self.context.program)

    def _status_lines(self, width: int) -> list[Line]:
        state = self.context.state
        if not state.total:
            return [EMPTY]
        if state.is_frozen:
            key = keys.first(self.context.key("live.freeze").keys)
            badge = line((f" FROZEN +{state.pending} new ", "warn-badge"))
            hint = line((f"{key} shows the present", "muted"))
            badge = join([badge, hint, line(("·", "muted"))], " ")
        else:
            badge = line((" FOLLOW ", "live-badge")) if state.follow else EMPTY
        parts = [line(" "), badge, self._view_badge(), self._filter_badge(), self._position()]
        left = join(parts, " ")
        room = width - width_of(left) - 3
        return [spread(left, (*self._note(room), (" ", "text")), width)]

    def _filter_badge(self) -> Line:
        """That a filter hides rows, and how many it leaves."""
        state = self.context.state
        if not state.filter.is_on:
            return EMPTY
        count = line((f" FILTER {len(state)} of {state.total} ", "warn-badge"))
        if self._filter.is_open or self.size.width < _ROOM_FOR_FILTER:
            return count
        return join([count, line((fmt.neutralise(state.filter.text, 24), "muted"))], " ")

    def _window_text(self) -> str:
        seconds = self.context.state.window_s
        return "" if seconds is None else f"last {fmt.age(seconds)}"

    def _view_badge(self) -> Line:
        """The order and how far back one looks, where they are not the usual ones."""
        state = self.context.state
        sort = "" if state.sort is Sort.AGE else WORDS[state.sort]
        text = ", ".join(filter(None, (sort, self._window_text())))
        return line((f" {text} ", "tab-badge")) if text else EMPTY

    def _position(self) -> Line:
        state = self.context.state
        index = state.selected_index
        if state.filter.is_on:
            return EMPTY if index is None else line((f"{index + 1}/{len(state)}", "muted"))
        place = "" if index is None else f"{index + 1}/"
        return line((f"{place}{fmt.plural(len(state), 'turn')}", "muted"))

    def _note(self, room: int) -> Line:
        """The error of the selected turn, or where it would have gone, or what the signs mean."""
        state = self.context.state
        row = state.row(state.selected or "")
        if row is not None and (row.error_message or row.error_type):
            text = f"{row.error_type or 'error'}: {row.error_message or ''}"
            return line((fmt.neutralise(text, room), "bad"))
        if row is not None and row.cold is not None:
            return line((fmt.neutralise(saving_text.cold_note(row.cold), room), "warn"))
        if row is not None and row.projected is not None:
            role = "bad" if (row.projected.usd or 0) < 0 else "accent"
            return line((fmt.neutralise(saving_text.note(row.projected), room), role))
        legend = ("L list price, not billed", "C client's key", "G gateway's key", "≈ estimate")
        shown = [line((part, "muted")) for part in (*legend, "? unknown")]
        while shown and width_of(join(shown, "  ")) > room:
            shown.pop()
        return join(shown, "  ")

    # -- actions -----------------------------------------------------------------------------

    def action_move(self, step: str) -> None:
        if not self.has_class("-rows"):
            self._welcome.move(step)
            return
        state = self.context.state
        state.move(distance(step, self._list.size.height, len(state)))
        self.sync()

    def action_freeze(self) -> None:
        if not self.refused("live.freeze"):
            self.context.state.toggle_freeze(self.context.clock.time())
            self.sync()

    def action_follow(self) -> None:
        if not self.refused("live.follow"):
            state = self.context.state
            state.set_follow(state.is_frozen or not state.follow)
            self.sync()

    def action_filter(self) -> None:
        if not self.refused("live.filter"):
            self._filter.open(self.context.state.filter)
            self.sync()

    def action_unfilter(self) -> None:
        """Show every turn again."""
        state = self.context.state
        if state.filter.text:
            state.set_filter(filters.OFF)
        if state.window_s is not None:
            state.set_window(None, self.context.clock.time())
        self.sync()

    def action_sort(self) -> None:
        """The next order."""
        if not self.refused("live.sort"):
            state, orders = self.context.state, list(Sort)
            state.set_sort(orders[(orders.index(state.sort) + 1) % len(orders)])
            self.sync()

    def action_window(self, step: int) -> None:
        """Look back less or farther."""
        if self.refused("live.longer" if step > 0 else "live.shorter"):
            return
        state = self.context.state
        at = WINDOWS_S.index(state.window_s) + step
        state.set_window(WINDOWS_S[max(0, min(len(WINDOWS_S) - 1, at))], self.context.clock.time())
        self.sync()

    def action_sessions(self) -> None:
        """The turns by session."""
        if not self.refused("live.sessions"):
            self.app.push_screen(SessionsScreen(self.context))

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self.context.state.set_filter(event.wanted)
        self.sync()

    @on(FilterBar.Closed)
    def _filter_closed(self) -> None:
        self.sync()

    def action_copy(self) -> None:
        state = self.context.state
        if self.refused("copy"):
            return
        if state.selected is None:
            self.app.copy_to_clipboard(welcome.copied(state.gateway))
            self.tell("Copied the two lines. Paste them where Claude Code starts.")
        else:
            self.app.copy_to_clipboard(fmt.neutralise(state.selected))
            self.tell(f"Copied {state.selected}")

    @on(LiveList.Opened)
    def action_open(self) -> None:
        selected = self.context.state.selected
        if not self.refused("live.open") and selected is not None:
            self.app.push_screen(DetailScreen(self.context, selected))

"""The widget that shows a terminal session and gives it keys, mouse and pastes.

While it has the focus every key is the program's, except the one that leaves it. Painting is
bounded: a few rows a frame, each straight to the terminal where nothing overlaps.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from server.clock import Clock
from tui.terminal import pacing
from tui.terminal.engine import ALT, CTRL, SHIFT, Colours, Cursor, MouseDeed, MousePress
from tui.terminal.keys import key_press
from tui.terminal.session import HOLD, TerminalSession
from tui.terminal.strips import Stylist, with_cursor
from tui.widgets.lines_view import LineWidget

LEAVE = "ctrl+right_square_bracket"
"""The key that gives the keyboard back, unless the user has set another one."""

RESIZE_S = 0.05
_WHEEL_ROWS = 3
_BUTTONS = {1: 1, 2: 2, 3: 3}


class TerminalPane(LineWidget, can_focus=True, inherit_bindings=False):
    """Shows ``session``; ``leave`` are the names of the keys that give the keyboard back."""

    class Left(Message):
        """The user has typed the key that leaves the pane."""

    class Told(Message):
        """Title, state or place in the history are other ones."""

    class Refused(Message):
        """Something could not be given to the program."""

    def __init__(
        self, session: TerminalSession, clock: Clock, *, leave: Iterable[str] = (LEAVE,)
    ) -> None:
        super().__init__()
        self.session = session
        self.is_shifted = False
        """Whether the mouse is used with shift, which keeps it from the program."""
        self._clock = clock
        self._leave = frozenset(leave)
        self._stylist: Stylist | None = None
        self._strips: dict[int, Strip] = {}
        self._waiting: set[int] = set()
        self._cursor: Cursor | None = None
        self._hold = pacing.Hold()
        self._start, self._most = 0, pacing.MOST_ROWS
        self._framed_at = 0.0
        self._frame_timer: Timer | None = None
        self._resize_timer: Timer | None = None
        self._is_drawing = False
        self._told: tuple[object, ...] = ()

    # -- its place on the screen -------------------------------------------------------------

    def on_mount(self) -> None:
        self.session.listeners.on_output = self._wake
        self._recolour()

    def on_unmount(self) -> None:
        if self.session.listeners.on_output == self._wake:
            self.session.listeners.on_output = None

    def on_resize(self) -> None:
        columns, rows = self.size
        if not columns or not rows:
            return
        if self.session.engine is None and self.session.ending is None:
            self.session.start(columns, rows)
        if self._resize_timer is not None:
            self._resize_timer.stop()
        self._resize_timer = self.set_timer(RESIZE_S, self._fit)

    def _fit(self) -> None:
        self._resize_timer = None
        self.session.resize(*self.size)
        self._strips.clear()
        self.redraw()

    def redraw(self) -> None:
        """Everything is to be drawn again, by and by."""
        self._waiting.update(range(self.size.height))
        self._wake()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._stylist = None
        self._strips.clear()
        if self.is_mounted:
            self._recolour()
            self.redraw()

    def _recolour(self) -> None:
        """The theme's colours are the terminal's."""
        theme, base = self.app.ansi_theme, self.base
        fore = base.color.get_truecolor(theme) if base.color else theme.foreground_color
        back = base.bgcolor.get_truecolor(theme, False) if base.bgcolor else theme.background_color
        palette = {
            n: (c[0], c[1], c[2]) for n, c in enumerate(theme.ansi_colors[n] for n in range(16))
        }
        self.session.recolour(
            Colours(
                (fore[0], fore[1], fore[2]),
                (back[0], back[1], back[2]),
                self.app.current_theme.dark,
                palette,
            )
        )

    # -- painting ----------------------------------------------------------------------------

    def _wake(self) -> None:
        """See to it that a frame comes, and not too soon after the last one."""
        if self._frame_timer is None and self.is_attached:
            due = self._framed_at + pacing.FRAME_S - self._clock.monotonic()
            self._frame_timer = self.set_timer(max(0.001, min(due, pacing.FRAME_S)), self._frame)

    def _frame(self) -> None:
        self._frame_timer = None
        engine, began = self.session.engine, self._clock.monotonic()
        self._framed_at = began
        if engine is None or not self._is_seen:
            return
        if self._hold.is_on(self.session.is_running and engine.mode(HOLD), began):
            self._wake()
            return
        told = engine.title, engine.status, engine.scrolled_back()
        if told != self._told:
            self._told = told
            self.post_message(self.Told())
        self._waiting.update(engine.take_dirty())
        self._follow_cursor(engine.cursor())
        height = self.size.height
        self._waiting = {y for y in self._waiting if y < height}
        row = self._cursor.y if self._cursor is not None else None
        chosen, self._start = pacing.rows_of_frame(self._waiting, row, self._start, self._most)
        stylist, width = self._pen(), self.size.width
        for y, runs in engine.rows(frozenset(chosen)):
            self._strips[y] = stylist.strip(runs, width)
        self._waiting.difference_update(chosen)
        self.put(chosen)
        if len(chosen) == self._most:
            self._most = pacing.adapted(self._most, self._clock.monotonic() - began)
        if self._waiting:
            self._wake()

    @property
    def _is_seen(self) -> bool:
        top = self.app.screen
        return self.is_attached and (top is self.screen or top.is_modal)

    def _follow_cursor(self, cursor: Cursor | None) -> None:
        if cursor != self._cursor:
            for old in (self._cursor, cursor):
                if old is not None:
                    self._waiting.add(old.y)
            self._cursor = cursor

    def _pen(self) -> Stylist:
        if self._stylist is None:
            self._stylist = Stylist(self.base)
        return self._stylist

    def _draw_lines(self, lines: Iterable[int]) -> None:
        self._is_drawing = True
        try:
            super()._draw_lines(lines)
        finally:
            self._is_drawing = False

    def render_line(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            strip = Strip.blank(self.size.width, self.base)
        if self._cursor is not None and y == self._cursor.y and self.session.is_running:
            strip = with_cursor(strip, self._cursor, has_focus=self.has_focus)
        if not self._is_drawing:  # the toolkit asks which character is under the pointer
            return strip.apply_offsets(0, y)
        return self._selected(strip, y)

    # -- selecting text ----------------------------------------------------------------------

    @property
    def allow_select(self) -> bool:
        """A program that uses the mouse has it, unless shift is held."""
        return self.is_shifted or not self.session.wants_mouse

    def _selected(self, strip: Strip, y: int) -> Strip:
        selection = self.text_selection
        span = selection.get_span(y) if selection is not None else None
        if span is None:
            return strip
        text, (start, end) = strip.text, span
        first = cell_len(text[:start])
        last = strip.cell_length if end == -1 else cell_len(text[:end])
        head, body, tail = (
            strip.crop(*part) for part in ((0, first), (first, last), (last, strip.cell_length))
        )
        look = self.screen.get_component_rich_style("screen--selection")
        return Strip.join([head, body.apply_style(look), tail])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, without the blanks at the ends of its lines."""
        rows = [self._strips.get(y) for y in range(self.size.height)]
        text = "\n".join(row.text if row is not None else "" for row in rows)
        found = selection.extract(text)
        return "\n".join(line.rstrip() for line in found.splitlines()), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # -- the keyboard ------------------------------------------------------------------------

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if not self._scrolled(event.key):
            self.send_key(event.key, event.character)

    def leaves(self, key: str) -> bool:
        """Give the keyboard back if ``key`` is the one that does; whether it is.

        Asked before keys are handed on, or those typed right after it would still come here.
        """
        if key not in self._leave:
            return False
        self.screen.set_focus(None)
        self.post_message(self.Left())
        return True

    def send_key(self, name: str, character: str | None = None) -> None:
        """Give a key to the program, by the toolkit's name of it."""
        key = key_press(name, character)
        if key is not None and not self.session.press(key) and self.session.is_running:
            self.post_message(self.Refused())

    def _scrolled(self, key: str) -> bool:
        engine = self.session.engine
        if key not in ("shift+pageup", "shift+pagedown") or engine is None or engine.is_alternate():
            return False
        self.scroll_rows((1 - self.size.height) * (1 if key == "shift+pageup" else -1))
        return True

    def scroll_rows(self, delta: int) -> None:
        """Show older rows (negative) or newer ones."""
        if self.session.engine is not None:
            self.session.engine.scroll(delta)
            self._wake()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        if not self.session.paste(event.text) and self.session.is_running:
            self.post_message(self.Refused())

    def on_focus(self) -> None:
        self.session.focus(True)
        self._show_cursor()

    def on_blur(self) -> None:
        self.session.focus(False)
        self._show_cursor()

    def _show_cursor(self) -> None:
        if self._cursor is not None:
            self._waiting.add(self._cursor.y)
            self._wake()

    # -- the mouse ---------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._send_mouse(event, MouseDeed.PRESS)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self._send_mouse(event, MouseDeed.RELEASE)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._send_mouse(event, MouseDeed.MOVE)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 4, -_WHEEL_ROWS)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 5, _WHEEL_ROWS)

    def _wheel(self, event: events.MouseEvent, button: int, delta: int) -> None:
        event.stop()
        if self.session.wants_mouse and not event.shift:
            self.session.mouse(self._mouse_press(event, MouseDeed.PRESS, button))
        else:
            self.session.wheel(delta)

    def _send_mouse(self, event: events.MouseEvent, deed: MouseDeed) -> None:
        if self.session.wants_mouse and not event.shift:
            event.stop()
            self.session.mouse(self._mouse_press(event, deed, _BUTTONS.get(event.button, 0)))

    def _mouse_press(self, event: events.MouseEvent, deed: MouseDeed, button: int) -> MousePress:
        mods = (
            (ALT if event.meta else 0) | (CTRL if event.ctrl else 0) | (SHIFT if event.shift else 0)
        )
        x = max(0, min(self.size.width - 1, event.x))
        y = max(0, min(self.size.height - 1, event.y))
        is_held = button != 0 and deed is not MouseDeed.RELEASE
        return MousePress(deed, button, x, y, mods, is_held)

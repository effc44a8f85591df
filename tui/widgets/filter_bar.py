"""The line in which a filter is typed; every keystroke applies it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from tui import filter as filters
from tui.filter import Filter
from tui.format import neutralise
from tui.lines import Line, wrap
from tui.widgets.lines_view import LineBlock

MOST_CHARS = 200

_HINT = (
    f"Enter keeps it, esc clears it. Words, {' '.join(f'{name}:' for name in filters.TEXTS)} or "
    f"{' '.join(filters.NUMBERS)} with > or <; ! negates."
)


class _Line(Input):
    """Takes only text that can be shown."""

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        first = event.text.splitlines()[:1]
        self.insert_text_at_cursor(neutralise("".join(first))[:MOST_CHARS])


class FilterBar(Vertical):
    """Closed until ``open``; reports ``Changed`` as one types, and ``Closed``."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    class Changed(Message):
        """The text reads differently now."""

        def __init__(self, wanted: Filter) -> None:
            super().__init__()
            self.wanted = wanted

    class Closed(Message):
        """Typing has ended; what was typed stays in force."""

    def __init__(self) -> None:
        super().__init__(id="filter")
        self._said: Filter = filters.OFF
        self._line = _Line(
            max_length=MOST_CHARS, compact=True, select_on_focus=False, id="filter-text"
        )
        self._line.cursor_blink = False
        self._note = LineBlock(self._note_lines, id="filter-note")

    def compose(self) -> ComposeResult:
        with Horizontal(id="filter-row"):
            yield Label("/", id="filter-mark", markup=False)
            yield self._line
        yield self._note

    def _note_lines(self, width: int) -> Sequence[Line]:
        if not self.is_open:
            return ()
        text, role = (self._said.problem, "warn") if self._said.problem else (_HINT, "muted")
        return [((" ", "text"), *line) for line in wrap(text, max(10, width - 2), role)][:3]

    @property
    def is_open(self) -> bool:
        """Whether one is typing."""
        return self.has_class("-open")

    def open(self, current: Filter) -> None:
        """Take the keyboard, with the filter that is in force."""
        self._said = current
        self._line.value = current.text
        self._line.cursor_position = len(current.text)
        self.add_class("-open")
        self._note.sync()
        self._line.focus(scroll_visible=False)

    def close(self) -> None:
        """Give the keyboard back."""
        if self.is_open:
            self.remove_class("-open")
            self.post_message(self.Closed())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open and event.value != self._said.text:
            self._said = filters.parse(event.value)
            self._note.sync()
            self.post_message(self.Changed(self._said))

    @on(Input.Submitted)
    def _kept(self, event: Input.Submitted) -> None:
        event.stop()
        self.close()

    def action_cancel(self) -> None:
        self._said = filters.OFF
        self.post_message(self.Changed(self._said))
        self.close()

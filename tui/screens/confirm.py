"""Questions with a yes and a no: any one, and the one before quitting with requests in flight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button

from tui import format as fmt
from tui import keys
from tui.context import Context
from tui.lines import EMPTY, Line, line, wrap
from tui.screens.base import bindings
from tui.screens.dialog import Answer, Dialog
from tui.widgets.lines_view import LineBlock


class ConfirmQuit(ModalScreen[bool]):
    """``True``: drain and quit; the number of requests is up to date while one thinks."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.CONFIRM)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._shared = context
        self._text = LineBlock(self._lines, id="question")

    def compose(self) -> ComposeResult:
        yes, no = (keys.first(self._shared.key(f"confirm.{n}").keys) for n in ("yes", "no"))
        with Vertical(id="dialog"):
            yield self._text
            with Horizontal(id="answers"):
                yield Button(f"Stay ({no})", id="no", compact=True)
                yield Button(f"Drain and quit ({yes})", id="yes", variant="warning", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    def sync(self) -> None:
        """Count again."""
        self._text.sync()

    def _lines(self, width: int) -> list[Line]:
        count = self._shared.state.totals.in_flight
        what = "They" if count != 1 else "It"
        text = f"{what} may finish; new requests are turned away meanwhile."
        return [
            line((f"{fmt.plural(count, 'request')} in flight", "strong")),
            *wrap(text, max(10, width)),
            EMPTY,
        ]

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_confirm(self, answer: bool) -> None:
        self.dismiss(answer)


class Question(Dialog[bool]):
    """Asks in a sentence or two; nothing happens unless the user says yes."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.CONFIRM)

    def __init__(self, context: Context, title: str, text: str, *, yes: str, no: str) -> None:
        super().__init__(context, title)
        self._text = text
        self._labels = (no, yes)

    def lines(self, width: int) -> Sequence[Line]:
        return wrap(self._text, max(10, width))

    def answers(self) -> Sequence[Answer]:
        no, yes = self._labels
        return (Answer("no", no, "confirm.no", is_safe=True), Answer("yes", yes, "confirm.yes"))

    def answered(self, answer_id: str) -> None:
        self.dismiss(answer_id == "yes")

    def action_confirm(self, answer: bool) -> None:
        self.dismiss(answer)
